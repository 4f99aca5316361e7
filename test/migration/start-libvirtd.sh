#!/bin/sh
# start-libvirtd.sh HOSTNAME DIRECTORY REAPER: libvirtd with a host name and a /dev of its own, in mounts and a UTS namespace of its own.
#
# libvirt 9 keeps what it found out about QEMU only as long as "has KVM" and "/dev/kvm can be used" agree, and tries QEMU out again (seconds each time) for
# every command where QEMU was built with KVM and the machine has none. So /dev/kvm is an empty file while it tries, which shows that KVM does
# not work, and is removed afterwards.
set -e
hostname "$1"
mkdir -p "$2/dev"
mount -t tmpfs -o mode=755 tmpfs "$2/dev"
for name in null zero full random urandom tty ptmx; do cp -a "/dev/$name" "$2/dev/"; done
mkdir "$2/dev/pts" "$2/dev/shm"
mount --rbind /dev/pts "$2/dev/pts"
touch "$2/dev/kvm"
chmod 666 "$2/dev/kvm"
mount --rbind "$2/dev" /dev
exec python3 "$3" libvirtd --listen --pid-file /run/libvirt/libvirtd.pid
