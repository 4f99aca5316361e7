#!/bin/sh
# usage: volume.sh HOST1 HOST2 HOST3      on one of them, with gluond running on all
set -e
[ $# -eq 3 ] || { echo "usage: $0 HOST1 HOST2 HOST3" >&2; exit 1; }

for host in "$@"; do gluon peer probe "$host"; done

# One copy on each node. /gluon/instances is a directory of a file system of its own (ext4 or XFS), not of the root disk.
gluon volume create vm-instances replica 3 "$1:/gluon/instances" "$2:/gluon/instances" "$3:/gluon/instances"

# A node that says nothing for so long is given up: the longest that guests of the other nodes stand still when it dies. Shorter than 8 s does not get
# shorter pauses, because the cluster's store may have to elect a leader first.
gluon volume set vm-instances network.ping-timeout 10

# 0: without a majority of bricks guests wait for as long as it takes. Anything else hands I/O errors to guests after that time, and their file systems become read-only.
gluon volume set vm-instances network.frame-timeout 0

# Healing gives way to the guests' I/O.
gluon volume set vm-instances cluster.heal-throttle on

# Checksums of all files, so that bytes that a disk damaged are repaired from another node and never served. Costs some processor for each write: see the README.
gluon volume set vm-instances features.bitrot on

# Only the compute nodes may mount it. Take your own network.
# gluon volume set vm-instances auth.allow 10.0.0.*

gluon volume start vm-instances
