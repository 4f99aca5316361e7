#!/bin/sh
# Holds the descriptors of one mount, so that the mount and its open files outlive the worker that serves it:
#   3 and 4  /dev/fuse    5  the worker's state    6  where the first worker reports    7  (adopt) the end of the worker that is there
# usage: mount-supervisor.sh [adopt] WORKER-COMMAND...
# A shell script, because nothing in it can leak, throw or need an upgrade, and it takes a megabyte.
# It ends when a worker says that the mount is no more (status 0) or cannot be served (3); any other end brings a new worker.

serve() {
	trap '' HUP INT TERM
	GLUON_SUPERVISOR=$$
	UV_THREADPOOL_SIZE=${UV_THREADPOOL_SIZE:-8}
	export GLUON_SUPERVISOR UV_THREADPOOL_SIZE
	if [ "$1" = adopt ]; then
		shift
		word=
		read -r word <&7
		exec 7<&-
		[ "$word" = ended ] && return 0
	fi
	failures=0
	bugs=0
	while :; do
		began=$(date +%s)
		# How many workers in a row died of themselves soon after they began: the next one then refuses what they were asked.
		GLUON_WORKER_BUGS=$bugs
		export GLUON_WORKER_BUGS
		"$@"
		status=$?
		case $status in 0 | 3) return "$status" ;; esac
		# One that served for a while did not die of how it starts.
		lived=$(($(date +%s) - began))
		[ "$lived" -ge 2 ] && failures=0
		[ "$lived" -ge 10 ] && bugs=0
		case $status in
		1 | 134 | 139) bugs=$((bugs + 1)) ;;
		*) bugs=0 ;;
		esac
		case $failures in
		0) ;;
		1) sleep 0.1 ;;
		2) sleep 0.3 ;;
		3) sleep 1 ;;
		*) sleep 3 ;;
		esac
		failures=$((failures + 1))
	done
}

# The shell reads a script as it runs: everything is in a function and the last line leaves, so that the file may be replaced meanwhile.
serve "$@"
exit
