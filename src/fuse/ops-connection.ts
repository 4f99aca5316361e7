import { Errno } from '../base/errno.js';
import { InitIn, InitOut, OutHeader } from './abi.js';
import { InitFlag, KERNEL_MAJOR, KERNEL_MINOR_MAX, KERNEL_MINOR_MIN } from './abi-constants.js';
import { operation, type Operation } from './operation.js';
import type { Session } from './session.js';

/** Fields of InitIn before the reserved words; older kernels send no more, newer ones may. */
const INIT_IN_BYTES_MIN = 16;
const WRITE_BYTES_MAX = 1 << 20;
const PAGES_MAX = 256;
/** Background requests (asynchronous O_DIRECT, read-ahead, RELEASE) in flight before the kernel holds more back. */
const BACKGROUND_MAX = 256;
const CONGESTION_AT = 192;
const READAHEAD_BYTES = 1 << 20;

/**
 * What we take of what the kernel offers. Not among them, on purpose: WRITEBACK_CACHE (the kernel would never believe a size or time that
 * another node set), EXPLICIT_INVAL_DATA (with it AUTO_INVAL_DATA does nothing), EXPORT_SUPPORT (node numbers do not outlive the mount),
 * POSIX_ACL (ACLs are not kept), REQUEST_TIMEOUT (would cut the whole mount off while a volume waits for its quorum).
 */
const WANTED: readonly (keyof typeof InitFlag)[] = [
  'ASYNC_READ',
  'POSIX_LOCKS',
  'ATOMIC_O_TRUNC',
  'BIG_WRITES',
  'FLOCK_LOCKS',
  'AUTO_INVAL_DATA',
  'ASYNC_DIO',
  'PARALLEL_DIROPS',
  'ABORT_ERROR',
  'MAX_PAGES',
  'CACHE_SYMLINKS',
  'HANDLE_KILLPRIV_V2',
  'INIT_EXT',
  'HAS_EXPIRE_ONLY',
  'DIRECT_IO_ALLOW_MMAP',
  'NO_EXPORT_SUPPORT',
  'HAS_RESEND',
];

/**
 * The flags to answer INIT with: what is wanted and offered, as the two words of InitOut. `listAttributes`: listing with attributes only pays
 * where the kernel may keep the names that come with them.
 */
export function agreeFlags(offered: number, offered2: number, listAttributes: boolean): { flags: number; flags2: number } {
  let flags = 0;
  let flags2 = 0;
  const wanted = listAttributes ? [...WANTED, 'DO_READDIRPLUS' as const, 'READDIRPLUS_AUTO' as const] : WANTED;
  const extended = (offered & (1 << InitFlag.INIT_EXT)) !== 0;
  for (const name of wanted) {
    const bit = InitFlag[name];
    if (bit < 32) flags |= offered & (1 << bit);
    else if (extended) flags2 |= offered2 & (1 << (bit - 32));
  }
  return { flags: flags >>> 0, flags2: flags2 >>> 0 };
}

function encodeInitOut(session: Session, minor: number, flags: number, flags2: number, readahead: number): void {
  const view = session.outView;
  const base = OutHeader.bytes;
  const at = InitOut.at;
  session.out.fill(0, base, base + InitOut.bytes);
  view.setUint32(base + at.major, KERNEL_MAJOR, true);
  view.setUint32(base + at.minor, minor, true);
  view.setUint32(base + at.max_readahead, readahead, true);
  view.setUint32(base + at.flags, flags, true);
  view.setUint32(base + at.flags2, flags2, true);
  view.setUint16(base + at.max_background, BACKGROUND_MAX, true);
  view.setUint16(base + at.congestion_threshold, CONGESTION_AT, true);
  view.setUint32(base + at.max_write, WRITE_BYTES_MAX, true);
  view.setUint32(base + at.time_gran, 1, true);
  view.setUint16(base + at.max_pages, PAGES_MAX, true);
}

export const init: Operation = {
  ...operation('INIT', { anywhere: true }, (session, request, message) => {
    if (message.end - message.body < INIT_IN_BYTES_MIN) return session.failWith(request, Errno.EPROTO);
    const major = message.u32(InitIn.at.major);
    const kernelMinor = message.u32(InitIn.at.minor);
    if (major !== KERNEL_MAJOR || kernelMinor < KERNEL_MINOR_MIN) {
      session.log.error('this kernel is too old: FUSE 7.31 (Linux 5.4) or newer is needed', {
        major,
        minor: kernelMinor,
      });
      return session.failWith(request, Errno.EPROTO);
    }
    const offered2 = message.end - message.body >= InitIn.at.flags2 + 4 ? message.u32(InitIn.at.flags2) : 0;
    const minor = Math.min(kernelMinor, KERNEL_MINOR_MAX);
    const { flags, flags2 } = agreeFlags(message.u32(InitIn.at.flags), offered2, session.policy.names);
    session.state.setAgreed(minor, flags, flags2);
    encodeInitOut(session, minor, flags, flags2, Math.max(message.u32(InitIn.at.max_readahead), READAHEAD_BYTES));
    session.send(request, InitOut.bytes);
    session.log.info('the kernel agreed', { protocol: `${KERNEL_MAJOR}.${minor}`, flags, flags2 });
    session.onInit();
  }),
};

export const destroy = operation('DESTROY', { anywhere: true }, (session, request) => session.ok(request));

/** Operations that are answered the same way always. ENOSYS makes the kernel stop asking and do it by itself. */
export function refusal(label: string, errno: number): Operation {
  return operation(label, { anywhere: true }, (session, request) => session.failWith(request, errno));
}

export const notifyReply = operation('NOTIFY_REPLY', { anywhere: true, silent: true }, () => undefined);
