# Completion of gluon's words in bash. Installed as /usr/share/bash-completion/completions/gluon.

_gluon_volumes() {
    gluon --timeout=2 volume list 2>/dev/null
}

_gluon() {
    local word=${COMP_WORDS[COMP_CWORD]} words=() i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} == -* ]] || words+=("${COMP_WORDS[i]}")
    done
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W '--mode=script --xml --json --remote-host= --state-dir= --gluond-sock= --timeout= --log-file= --log-level= --wignore --version --help' -- "$word"))
        return
    fi

    local choices=''
    case ${#words[@]}:${words[0]}:${words[1]} in
    0:*) choices='peer pool volume system get-state mount help version' ;;
    1:peer:*) choices='probe detach status help' ;;
    1:pool:*) choices='list help' ;;
    1:volume:*) choices='create start stop delete info list status set get reset heal bitrot help' ;;
    1:system:*) choices='uuid getwd stop help' ;;
    2:volume:set) choices="$(_gluon_volumes) help" ;;
    2:volume:info | 2:volume:status | 2:volume:get) choices="$(_gluon_volumes) all" ;;
    2:volume:start | 2:volume:stop | 2:volume:delete | 2:volume:reset | 2:volume:heal | 2:volume:bitrot) choices=$(_gluon_volumes) ;;
    2:peer:detach) choices=$(gluon --timeout=2 pool list 2>/dev/null | awk -F '\t' 'NR > 1 && $2 != "localhost" { print $2 }') ;;
    3:volume:start | 3:volume:stop) choices='force' ;;
    3:volume:create) choices='replica transport' ;;
    3:volume:status) choices='detail clients tasks' ;;
    3:volume:heal) choices='info full statistics' ;;
    3:volume:bitrot) choices='enable disable scrub scrub-throttle scrub-frequency' ;;
    3:volume:set) choices="group $(gluon --timeout=2 volume get "${words[2]}" all 2>/dev/null | awk 'NR > 2 { print $1 }')" ;;
    3:volume:get | 3:volume:reset) choices="all $(gluon --timeout=2 volume get "${words[2]}" all 2>/dev/null | awk 'NR > 2 { print $1 }')" ;;
    4:volume:heal) case ${words[3]} in info) choices='summary split-brain' ;; statistics) choices='heal-count' ;; esac ;;
    4:volume:bitrot) case ${words[3]} in scrub) choices='status ondemand pause resume' ;; scrub-throttle) choices='lazy normal aggressive' ;; scrub-frequency) choices='hourly daily weekly biweekly monthly' ;; esac ;;
    4:volume:set) [[ ${words[3]} == group ]] && choices='virt' ;;
    esac
    COMPREPLY=($(compgen -W "$choices" -- "$word"))
}

complete -F _gluon gluon
