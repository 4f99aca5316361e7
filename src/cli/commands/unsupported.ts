/** What GlusterFS has and gluon has not: known by name, so that the answer says why, or what to use. */
import { RefusedError } from '../client.js';
import type { Command } from '../command.js';

const NO_DISTRIBUTION = 'a volume is one replica set, so there is nothing to distribute over';

const TABLE: [words: string, reason: string][] = [
  ['volume add-brick', `${NO_DISTRIBUTION}; make a new volume with the bricks you want`],
  ['volume remove-brick', `${NO_DISTRIBUTION}; make a new volume with the bricks you want`],
  ['volume rebalance', NO_DISTRIBUTION],
  ['volume profile', "use 'volume status NAME clients' and the JSON log of the brick"],
  ['volume top', "use 'volume status NAME clients'"],
  ['volume statedump', "use 'get-state' and 'volume status NAME clients'"],
  ['volume clear-locks', 'locks vanish with their owner: end the process or the mount that holds them'],
  ['volume barrier', 'freeze the guest instead (virsh domfsfreeze)'],
  ['volume sync', 'every node reads the same cluster state, there is nothing to copy'],
  ['volume log', "logs are rotated with 'logrotate' or by the journal"],
  ['volume quota', 'set limits in the file system under the bricks'],
  ['volume inode-quota', 'set limits in the file system under the bricks'],
  ['volume geo-replication', 'copy from a mount with rsync'],
  ['volume gsync-create', 'copy from a mount with rsync'],
  ['volume tier', 'use a caching block device under the bricks'],
  ['snapshot', 'take snapshots inside the image format (qemu-img snapshot) or of the disk under a brick'],
  ['nfs-ganesha', 'mount the volume and export it with the NFS server of the system'],
  ['system:: getspec', "clients get the volume from gluond: see 'volume info'"],
  ['system:: portmap', "see 'volume status' for the ports"],
  ['system:: fsm', "see 'peer status'"],
  ['system:: mount', "use 'mount -t gluon HOST:VOLUME DIRECTORY'"],
  ['system:: umount', "use 'umount DIRECTORY'"],
  ['system:: uuid reset', 'a node keeps its identity: detach it and empty its state directory'],
  ['system:: copy', 'copy the file with scp'],
  ['system:: execute', 'run the command with ssh'],
  ['bitrot', "use 'volume bitrot'"],
];

function unsupported(words: string, reason: string): Command {
  return {
    words: words.split(' '),
    pattern: '',
    summary: reason,
    secondary: true,
    prepare: () => ({
      operation: words,
      run: () => Promise.reject(new RefusedError(`not supported by gluon: ${reason}`, 95)),
    }),
  };
}

export const UNSUPPORTED_COMMANDS: Command[] = TABLE.map(([words, reason]) => unsupported(words, reason));
