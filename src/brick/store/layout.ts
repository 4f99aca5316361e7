/**
 * Names on the brick's disk.
 *
 *   .gluon/brick.json           identity and small state, see BrickMeta
 *   .gluon/sessions             clients that may change the volume, see replica/session-table.ts
 *   .gluon/lock                 held by the brick process
 *   .gluon/ballast              room for the brick's own files on a disk that is full
 *   .gluon/handles/ab/<gfid>    hard link to every file; for a directory a symbolic link with the text "<parent gfid>/<name>"
 *   .gluon/handles/ab/<gfid>.next   where a directory that is being moved will be
 *   .gluon/orphans/<gfid>       marks an inode that lost its last name and is kept
 *   .gluon/aside/<gfid>         directories that resync moved out of the way
 *   .gluon/foreign/<n>          what other programs put into the tree and was in the way of the volume
 *   .gluon/journal/<generation> change journal
 *   .gluon/db/                  databases, all of which can be made again
 *   .gluon/sums/ab/<gfid>       checksums of a file's blocks, while features.bitrot is on; can be made again
 *   .gluon/sums-<n>/            checksums that are being removed
 *
 * Handles have one level of 256 directories, all of which stay open, so that every inode is one component away from a
 * descriptor. (A second level would cost a lookup per call and up to 65,536 blocks, and the disks index large directories.)
 */
export const PRIVATE_NAME = '.gluon';
export const FORMAT_VERSION = 1;
export const PRIVATE_DIRECTORIES = ['handles', 'orphans', 'aside', 'foreign', 'journal', 'db'] as const;
export const SUMS_NAME = 'sums';
/** Counts of the scrubber and when it ran. */
export const SCRUB_NAME = 'scrub.json';
export const META_NAME = 'brick.json';
export const SESSIONS_NAME = 'sessions';
/** See ballast.ts. */
export const BALLAST_NAME = 'ballast';
export const LOCK_NAME = 'lock';
export const HANDLE_DIRECTORIES = 256;

export const XATTR_PREFIX = 'trusted.gluon.';
export const XATTR_GFID = 'trusted.gluon.gfid';
/** i64 seconds, u32 nanoseconds. Absent where it equals mtime, which is true of most files. */
export const XATTR_CTIME = 'trusted.gluon.ctime';
export const XATTR_VOLUME = 'trusted.gluon.volume-id';

export function handleDirectoryName(index: number): string {
  return index.toString(16).padStart(2, '0');
}

/** The parent in a directory's handle while it is in `aside/`. */
export const ASIDE = 'aside';
