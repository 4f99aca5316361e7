#!/usr/bin/env python3
"""Works on a mount until its standard input ends, and writes down what it asked and what it was told. Knows no gluon code.

usage: load.py work CLIENT DIRECTORY HISTORY SEED    CLIENT: 1, 2, ...
       load.py look DIRECTORY                        tells what is there, as JSON

DIRECTORY is shared by all clients and holds
  blocks        BLOCKS blocks of 4 KiB, written and read by everybody; each says whose it is: (value, block, crc), value = CLIENT << 32 | n
  log           records of 64 bytes, appended by everybody
  names/        files that each client makes, renames, replaces and removes

HISTORY gets a JSON line when an operation begins and one when it ends; times are CLOCK_MONOTONIC in nanoseconds, one clock for all clients of a machine:
  ["b", id, ns, op, ...arguments]      ["e", id, ns, "ok" or the errno's name, result]
  ["c", ns, late ms, slowness]         the machine itself: how late a sleep ended, and how many threads shared a processor
"""
import errno
import json
import mmap
import os
import random
import struct
import sys
import threading
import time
import zlib

BLOCK = 4096
BLOCKS = 24
HEAD = struct.Struct('<8sQII')
MAGIC = b'gluonblk'
RECORD = 64
GARBAGE = -1


def block_bytes(value, block):
    body = random.Random(value * 31 + block).randbytes(BLOCK - HEAD.size)
    return HEAD.pack(MAGIC, value, block, zlib.crc32(body, block)) + body


def block_value(data, block):
    """The value that a block holds: 0 never written, GARBAGE when it is no block as anybody wrote it."""
    if data == bytes(len(data)):
        return 0
    if len(data) != BLOCK:
        return GARBAGE
    magic, value, of, crc = HEAD.unpack_from(data)
    if magic != MAGIC or of != block or crc != zlib.crc32(data[HEAD.size:], block):
        return GARBAGE
    return value


def record_bytes(client, n):
    text = b'%d %d ' % (client, n)
    text += b'%08x' % zlib.crc32(text)
    return text.ljust(RECORD - 1) + b'\n'


def record_of(data):
    """[client, n] of a record, None for zeros, 'garbage' for anything else."""
    if data == bytes(len(data)):
        return None
    try:
        client, n, _ = data.split(None, 2)
        if data == record_bytes(int(client), int(n)):
            return [int(client), int(n)]
    except ValueError:
        pass
    return 'garbage'


def content_bytes(client, n):
    line = b'%d %d\n' % (client, n)
    return line * (1 + n * 7 % 200)


def content_of(data):
    """n of a named file's content, 0 when it is empty, GARBAGE when it is not whole."""
    if data == b'':
        return 0
    try:
        client, n = data.split(b'\n', 1)[0].split()
        return int(n) if data == content_bytes(int(client), int(n)) else GARBAGE
    except ValueError:
        return GARBAGE


def read_file(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        out = b''
        while True:
            data = os.read(fd, 1 << 20)
            if not data:
                return out
            out += data
    finally:
        os.close(fd)


class History:
    def __init__(self, path):
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.count = 0
        self.lock = threading.Lock()

    def line(self, *words):
        os.write(self.fd, json.dumps(words).encode() + b'\n')

    def begin(self, op, *arguments):
        with self.lock:
            self.count += 1
            number = self.count
        self.line('b', number, time.monotonic_ns(), op, *arguments)
        return number

    def end(self, number, outcome, *result):
        self.line('e', number, time.monotonic_ns(), outcome, *result)


class Worker:
    def __init__(self, client, directory, history, seed):
        self.client = client
        self.directory = directory
        self.history = history
        self.seed = seed
        self.over = threading.Event()

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def do(self, op, arguments, call):
        """One operation, written down; True and its result, or False. An operation that failed is not repeated: whoever looks at the history judges."""
        number = self.history.begin(op, *arguments)
        try:
            result = call()
        except OSError as error:
            self.history.end(number, errno.errorcode.get(error.errno, str(error.errno)))
            self.over.wait(0.02)
            return False, None
        if isinstance(result, int):
            self.history.end(number, 'ok', result)
        else:
            self.history.end(number, 'ok')
        return True, result

    def opened(self, name, flags, old):
        """A new descriptor, since the old one (if any) failed; tried again, since without it there is nothing to do."""
        if old is not None:
            os.close(old)
        while not self.over.is_set():
            done, fd = self.do('open', [name], lambda: os.open(self.path(name), flags, 0o644))
            if done:
                return fd
        return None

    def blocks(self):
        dice = random.Random(self.seed)
        buffered = direct = None
        page = mmap.mmap(-1, BLOCK)
        written = 0
        good = False
        while not self.over.wait(0.002):
            if not good:
                buffered = self.opened('blocks', os.O_RDWR, buffered)
                direct = self.opened('blocks', os.O_RDWR | os.O_DIRECT, direct)
            block = dice.randrange(BLOCKS)
            fd = direct if dice.random() < 0.5 else buffered
            kind = dice.random()

            def write():
                page[:] = block_bytes(value, block)
                if os.pwritev(fd, [page], block * BLOCK) != BLOCK:
                    raise OSError(errno.EIO, 'a short write')

            def read():
                # The page of an earlier read must not pass for this one's.
                page[:HEAD.size] = b'x' * HEAD.size
                count = os.preadv(fd, [page], block * BLOCK)
                return block_value(page[:count], block)

            if kind < 0.45:
                written += 1
                value = self.client << 32 | written
                good, _ = self.do('write', [block, value], write)
            elif kind < 0.9:
                good, _ = self.do('read', [block, int(fd == direct)], read)
            else:
                good, _ = self.do('fsync', [], lambda: os.fdatasync(fd))

    def log(self):
        dice = random.Random(self.seed + 1)
        fd = None
        n = 0
        good = False
        while not self.over.wait(0.004):
            if not good:
                fd = self.opened('log', os.O_WRONLY | os.O_APPEND, fd)
            n += 1

            def append():
                if os.write(fd, record_bytes(self.client, n)) != RECORD:
                    raise OSError(errno.EIO, 'a short write')

            good, _ = self.do('append', [n], append)
            if dice.random() < 0.2:
                self.do('log fsync', [], lambda: os.fsync(fd))

    def names(self):
        dice = random.Random(self.seed + 2)
        others = [c for c in (1, 2, 3) if c != self.client]
        n = 0
        while not self.over.wait(0.004):
            n += 1
            name = self.path('names', f'{self.client}-{n}')
            current = self.path('names', f'current-{self.client}')

            def create():
                fd = os.open(f'{name}.new', os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
                try:
                    data = content_bytes(self.client, n)
                    if os.write(fd, data) != len(data):
                        raise OSError(errno.EIO, 'a short write')
                    os.fsync(fd)
                finally:
                    os.close(fd)

            def look():
                try:
                    return content_of(read_file(self.path('names', f'current-{other}')))
                except FileNotFoundError:
                    return 0

            if not self.do('create', [n], create)[0] or not self.do('rename', [n], lambda: os.rename(f'{name}.new', name))[0]:
                continue
            if n % 3 == 0:
                self.do('unlink', [n], lambda: os.unlink(name))
            elif n % 3 == 1:
                self.do('replace', [n], lambda: os.rename(name, current))
            if n % 4 == 0:
                self.do('names fsync', [], self.sync_names)
            other = dice.choice(others)
            self.do('look', [other], look)

    def sync_names(self):
        fd = os.open(self.path('names'), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def machine(self):
        processors = len(os.sched_getaffinity(0))
        while not self.over.is_set():
            begin = time.monotonic()
            time.sleep(0.02)
            late = (time.monotonic() - begin - 0.02) * 1000
            with open('/proc/stat', encoding='ascii') as file:
                running = next(int(line.split()[1]) for line in file if line.startswith('procs_running'))
            self.history.line('c', time.monotonic_ns(), round(late, 1), round(running / processors, 2))
            self.over.wait(0.03)

    def run(self):
        threads = [threading.Thread(target=work, daemon=True) for work in (self.blocks, self.log, self.names, self.machine)]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        self.over.set()
        for thread in threads:
            thread.join()


def look(directory):
    def path(*names):
        return os.path.join(directory, *names)

    begin = time.monotonic_ns()
    blocks = read_file(path('blocks'))
    log = read_file(path('log'))
    names = {}
    for name in sorted(os.listdir(path('names'))):
        names[name] = content_of(read_file(path('names', name)))
    return {
        'begin': begin,
        'ns': time.monotonic_ns(),
        'blocks': [block_value(blocks[b * BLOCK:(b + 1) * BLOCK], b) for b in range(BLOCKS)],
        'log': [record_of(log[at:at + RECORD]) for at in range(0, len(log), RECORD)],
        'names': names,
    }


def main():
    if sys.argv[1] == 'look':
        print(json.dumps(look(sys.argv[2])))
        return
    client, directory, history, seed = sys.argv[2:6]
    Worker(int(client), directory, History(history), int(seed)).run()


main()
