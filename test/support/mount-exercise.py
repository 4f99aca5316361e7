"""Operations of a Linux program on a mount, each checked. usage: mount-exercise.py NAME DIRECTORY"""
import ctypes, errno, fcntl, mmap, os, signal, stat, struct, sys, time

libc = ctypes.CDLL(None, use_errno=True)
F_OFD_SETLK = 37
AT_SYMLINK_FOLLOW = 0x400
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE = 1, 2, 16
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4


def check(claim, text):
    if not claim:
        raise SystemExit(f'FAILED: {text}')


def fails(number, call, *args):
    try:
        call(*args)
    except OSError as error:
        check(error.errno == number, f'{call} ended with {errno.errorcode.get(error.errno)}, not {errno.errorcode.get(number)}')
    else:
        raise SystemExit(f'FAILED: {call} should have ended with {errno.errorcode.get(number)}')


def renameat2(old, new, flags):
    if libc.renameat2(-100, old.encode(), -100, new.encode(), flags) != 0:
        raise OSError(ctypes.get_errno(), 'renameat2')


def fallocate(fd, mode, offset, length):
    if libc.fallocate(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)) != 0:
        raise OSError(ctypes.get_errno(), 'fallocate')


def lock_of(kind, start, length):
    return struct.pack('hhqqi4x', kind, os.SEEK_SET, start, length, 0)


def in_child(action):
    """Runs it in another process; the result is its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(action() or 0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def names(d):
    os.mkdir(f'{d}/dir')
    fails(errno.EEXIST, os.mkdir, f'{d}/dir')
    odd = os.fsencode(d) + b'/\x01\x1b[31m\xff\xfe new\nline'
    os.close(os.open(odd, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    check(b'\x01\x1b[31m\xff\xfe new\nline' in os.listdir(os.fsencode(d)), 'a name keeps its bytes')
    fails(errno.ENAMETOOLONG, os.mkdir, f'{d}/' + 'x' * 256)
    os.mkdir(f'{d}/' + 'x' * 255)
    os.symlink('../no/where', f'{d}/sym')
    check(os.readlink(f'{d}/sym') == '../no/where', 'a link keeps its target')
    os.mkfifo(f'{d}/fifo', 0o600)
    check(stat.S_ISFIFO(os.stat(f'{d}/fifo').st_mode), 'a FIFO is one')
    os.mknod(f'{d}/device', 0o600 | stat.S_IFCHR, os.makedev(240, 300))
    check(os.stat(f'{d}/device').st_rdev == os.makedev(240, 300), 'a device keeps its number')
    for name, text in (('a', b'A'), ('b', b'B')):
        with open(f'{d}/{name}', 'wb') as file:
            file.write(text)
    fails(errno.EEXIST, renameat2, f'{d}/a', f'{d}/b', RENAME_NOREPLACE)
    renameat2(f'{d}/a', f'{d}/b', RENAME_EXCHANGE)
    check(open(f'{d}/a', 'rb').read() == b'B', 'exchange swaps')
    fails(errno.EINVAL, renameat2, f'{d}/a', f'{d}/b', RENAME_WHITEOUT)
    os.link(f'{d}/a', f'{d}/dir/hard')
    check(os.stat(f'{d}/a').st_nlink == 2, 'a hard link counts')
    check(os.stat(f'{d}/a').st_ino == os.stat(f'{d}/dir/hard').st_ino, 'a hard link is the same inode')
    os.rename(f'{d}/dir/hard', f'{d}/b')
    fails(errno.ENOTEMPTY, os.rmdir, d)
    os.rmdir(f'{d}/dir')
    fails(errno.ENOENT, os.stat, f'{d}/dir')
    fd = os.open(d, os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(fd, b'unnamed')
    check(os.fstat(fd).st_nlink == 0, 'an unnamed file has no link')
    check(libc.linkat(-100, f'/proc/self/fd/{fd}'.encode(), -100, f'{d}/named'.encode(), AT_SYMLINK_FOLLOW) == 0, 'an unnamed file can be linked')
    check(open(f'{d}/named', 'rb').read() == b'unnamed', 'link names an unnamed file')
    fd = os.open(f'{d}/b', os.O_RDWR)
    os.unlink(f'{d}/b')
    os.write(fd, b'still')
    check(os.pread(fd, 10, 0)[:5] == b'still', 'an unlinked open file works')


def listing(d):
    expected = {f'entry-{i:05d}' for i in range(3000)}
    for name in expected:
        os.close(os.open(f'{d}/{name}', os.O_CREAT | os.O_WRONLY))
    check(set(os.listdir(d)) == expected, 'every name is listed')
    check(len(os.listdir(d)) == len(expected), 'no name is listed twice')
    with os.scandir(d) as entries:
        for number, entry in enumerate(entries):
            check(entry.inode() == entry.stat().st_ino, 'the listed inode number is that of stat')
            os.unlink(entry.path)
    check(number == 2999 and os.listdir(d) == [], 'a listing goes on while its names vanish')


def attributes(d):
    path = f'{d}/file'
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    os.utime(path, ns=(1_000_000_001, -1_999_999_999))
    st = os.stat(path)
    check((st.st_atime_ns, st.st_mtime_ns) == (1_000_000_001, -1_999_999_999), 'times keep nanoseconds, also before 1970')
    before = time.time_ns()
    os.utime(path)
    check(abs(os.stat(path).st_mtime_ns - before) < 5_000_000_000, 'UTIME_NOW is now')
    os.chmod(path, 0o6755)
    os.chown(path, 1000, 1000)
    st = os.stat(path)
    check(st.st_mode & 0o7777 == 0o755 and st.st_uid == 1000, 'a change of owner takes set-user-id away')
    os.chmod(path, 0o4777)
    def write_as_user():
        os.setuid(1000)
        with open(path, 'ab') as file:
            file.write(b'x')
    check(in_child(write_as_user) == 0, 'others may write')
    check(os.stat(path).st_mode & 0o4000 == 0, 'a write by others takes set-user-id away')
    os.truncate(path, 10_000)
    check(os.stat(path).st_size == 10_000, 'truncate extends')
    os.setxattr(path, 'user.k', b'v' * 1000)
    os.setxattr(path, 'trusted.k', b'')
    fails(errno.EEXIST, os.setxattr, path, 'user.k', b'', os.XATTR_CREATE)
    fails(errno.ENODATA, os.setxattr, path, 'user.no', b'', os.XATTR_REPLACE)
    check(os.getxattr(path, 'user.k') == b'v' * 1000 and set(os.listxattr(path)) == {'user.k', 'trusted.k'}, 'xattrs are kept')
    check(libc.getxattr(path.encode(), b'user.k', ctypes.create_string_buffer(10), 10) == -1 and ctypes.get_errno() == errno.ERANGE, 'too little room')
    os.removexattr(path, 'user.k')
    fails(errno.ENODATA, os.getxattr, path, 'user.k')
    acl = struct.pack('<I', 2) + b''.join(struct.pack('<HHi', *entry) for entry in ((1, 6, -1), (4, 4, -1), (0x20, 4, -1)))
    fails(errno.EOPNOTSUPP, os.setxattr, path, 'system.posix_acl_access', acl)
    fails(errno.ENOTTY, fcntl.ioctl, fd, 0x5401, b'\0' * 64)
    def forbidden():
        os.chmod(path, 0o600)
        os.setuid(2000)
        fails(errno.EACCES, os.open, path, os.O_RDONLY)
    check(in_child(forbidden) == 0, 'permissions hold')
    vfs = os.statvfs(d)
    check(vfs.f_namemax == 255 and vfs.f_blocks > 0, 'statfs answers')
    os.close(fd)


def data(d):
    path = f'{d}/file'
    fd = os.open(path, os.O_CREAT | os.O_RDWR)
    block = os.urandom(3 << 20)
    check(os.write(fd, block) == len(block), 'a large write is whole')
    check(os.pread(fd, len(block), 0) == block, 'what was written is read')
    os.fsync(fd)
    os.fdatasync(fd)
    fallocate(fd, FALLOC_KEEP_SIZE, 0, 8 << 20)
    check(os.fstat(fd).st_size == len(block), 'KEEP_SIZE keeps the size')
    fallocate(fd, 0, 0, 4 << 20)
    check(os.fstat(fd).st_size == 4 << 20, 'fallocate extends')
    fallocate(fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 1 << 20, 1 << 20)
    check(os.pread(fd, 1 << 20, 1 << 20) == bytes(1 << 20), 'a hole reads as zeros')
    check(os.lseek(fd, 0, os.SEEK_HOLE) == 1 << 20 and os.lseek(fd, 1 << 20, os.SEEK_DATA) == 2 << 20, 'a hole is found')
    fails(errno.ENXIO, os.lseek, fd, 1 << 30, os.SEEK_DATA)
    fallocate(fd, FALLOC_ZERO_RANGE, 100, 50)
    check(os.pread(fd, 50, 100) == bytes(50), 'a zeroed range reads as zeros')
    os.truncate(path, 100)
    check(os.pread(fd, 1000, 0) == block[:100], 'the cache is cut with the file')
    other = os.open(f'{d}/copy', os.O_CREAT | os.O_RDWR)
    check(os.copy_file_range(fd, other, 100, 0, 50) == 100 and os.pread(other, 100, 50) == block[:100], 'copy_file_range copies')
    for i in range(10):
        with open(f'{d}/log', 'ab') as file:
            file.write(b'%04d\n' % i)
    check(open(f'{d}/log').read() == ''.join(f'{i:04d}\n' for i in range(10)), 'O_APPEND appends')
    direct = os.open(f'{d}/direct', os.O_CREAT | os.O_RDWR | os.O_DIRECT | os.O_DSYNC)
    page = mmap.mmap(-1, 1 << 20)
    page.write(os.urandom(1 << 20))
    check(os.pwrite(direct, page, 0) == 1 << 20, 'O_DIRECT writes')
    back = mmap.mmap(-1, 1 << 20)
    check(os.preadv(direct, [back], 0) == 1 << 20 and back[:] == page[:], 'O_DIRECT reads')
    shared = mmap.mmap(direct, 1 << 20)
    shared[4096:4101] = b'hello'
    shared.flush()
    check(os.pread(os.open(f'{d}/direct', os.O_RDONLY), 5, 4096) == b'hello', 'a shared mapping of an O_DIRECT file is written')
    with open(path, 'r+b') as file:
        with mmap.mmap(file.fileno(), 0) as mapping:
            mapping[0:5] = b'MAPPD'
    check(open(path, 'rb').read(5) == b'MAPPD', 'a shared mapping is written')
    check(os.fstat(os.open(path, os.O_RDWR | os.O_TRUNC)).st_size == 0, 'O_TRUNC empties')
    dirfd = os.open(d, os.O_RDONLY)
    os.fsync(dirfd)


def locks(d):
    path = f'{d}/locked'
    fd = os.open(path, os.O_CREAT | os.O_RDWR)
    fcntl.fcntl(fd, F_OFD_SETLK, lock_of(fcntl.F_WRLCK, 100, 1))
    def other(action):
        return in_child(lambda: action(os.open(path, os.O_RDWR)))
    def conflicts(f):
        fails(errno.EAGAIN, fcntl.fcntl, f, F_OFD_SETLK, lock_of(fcntl.F_RDLCK, 100, 1))
        fcntl.fcntl(f, F_OFD_SETLK, lock_of(fcntl.F_WRLCK, 101, 1))
    check(other(conflicts) == 0, 'an OFD lock of another open file conflicts')
    os.close(fd)
    for _ in range(100):
        fd = os.open(path, os.O_RDWR)
        fcntl.fcntl(fd, F_OFD_SETLK, lock_of(fcntl.F_WRLCK, 100, 1))
        os.close(fd)
    fd = os.open(path, os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_EX, 10, 0)
    held = struct.unpack('hhqqi4x', fcntl.fcntl(fd, fcntl.F_GETLK, lock_of(fcntl.F_WRLCK, 0, 0)))
    check(held[0] == fcntl.F_UNLCK, 'an owner has no conflict with itself')
    owner = os.getpid()
    def sees(f):
        got = struct.unpack('hhqqi4x', fcntl.fcntl(f, fcntl.F_GETLK, lock_of(fcntl.F_WRLCK, 0, 0)))
        check(got[:1] + got[2:] == (fcntl.F_WRLCK, 0, 10, owner), f'GETLK names the holder: {got}')
    check(other(sees) == 0, 'GETLK')
    def interrupted(f):
        def ring(*_):
            raise InterruptedError
        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try:
            fcntl.lockf(f, fcntl.LOCK_EX, 10, 0)
        except InterruptedError:
            return 7
    check(other(interrupted) == 7, 'a signal ends a lock wait')
    pid = os.fork()
    if pid == 0:
        fcntl.lockf(os.open(path, os.O_RDWR), fcntl.LOCK_EX, 10, 0)
        os._exit(0)
    time.sleep(0.3)
    os.kill(pid, signal.SIGKILL)
    began = time.time()
    os.waitpid(pid, 0)
    check(time.time() - began < 2, 'SIGKILL ends a lock wait')
    os.close(os.open(path, os.O_RDWR))
    check(other(lambda f: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 0)) == 0, 'closing any descriptor drops the POSIX locks')
    fcntl.flock(fd, fcntl.LOCK_EX)
    check(other(lambda f: fails(errno.EAGAIN, fcntl.flock, f, fcntl.LOCK_SH | fcntl.LOCK_NB)) == 0, 'flock conflicts')
    check(other(lambda f: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)) == 0, 'flock and POSIX locks know nothing of each other')
    os.close(fd)
    check(other(lambda f: fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)) == 0, 'closing drops flock')
    pid = os.fork()
    if pid == 0:
        f = os.open(path, os.O_RDWR)
        fcntl.lockf(f, fcntl.LOCK_EX)
        print('locked', flush=True)
        time.sleep(60)
    time.sleep(0.5)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    check(other(lambda f: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)) == 0, 'death drops locks')


if __name__ == '__main__':
    os.umask(0o022)
    work = os.path.join(sys.argv[2], f'exercise-{sys.argv[1]}')
    os.mkdir(work)
    globals()[sys.argv[1]](work)
    print('done')
