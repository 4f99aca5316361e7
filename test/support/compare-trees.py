#!/usr/bin/env python3
"""Compares directory trees with nothing but the operating system's own calls; knows no gluon code.

usage: compare-trees.py [--bricks] [--no-top] [--max N] TREE TREE [TREE...]

Every tree is compared with the first one: names byte for byte, type, mode, owner, size, content, link targets,
device numbers, mtime in nanoseconds, xattrs, and which names are hard links of each other. Each difference is a line on stdout,
the last line counts what was compared. Exit status 0: equal, 1: different, 2: could not compare.

A brick is recognised by its .gluon directory: that directory and the xattrs trusted.gluon.* are left out of the comparison.
--bricks  all trees are bricks of one replica set: the identity xattr of every inode must be there and equal, and so must its link count
--no-top  leaves the attributes of the top directories themselves out
"""
import argparse
import errno
import hashlib
import os
import stat
import sys

PRIVATE = 'trusted.gluon.'
IDENTITY = 'trusted.gluon.gfid'


def xattrs(path, with_identity):
    out = {}
    for name in os.listxattr(path, follow_symlinks=False):
        if name.startswith(PRIVATE) and not (with_identity and name == IDENTITY):
            continue
        try:
            out[name] = os.getxattr(path, name, follow_symlinks=False)
        except OSError as error:
            out[name] = repr(error)
    return out


BLOCK = 65536
ZEROS = bytes(BLOCK)


def digest(path):
    """Of the bytes a reader sees: blocks of zeros count alike whether they are holes or written, and holes are not read."""
    h = hashlib.sha256()
    with open(path, 'rb', buffering=0) as file:
        end = os.fstat(file.fileno()).st_size
        at = 0
        while at < end:
            try:
                data_at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    break
                raise
            # Blocks begin at multiples of their size; the one that data begins in may begin in a hole.
            hole = os.lseek(file.fileno(), data_at, os.SEEK_HOLE)
            at = max(at, data_at // BLOCK * BLOCK)
            while at < hole:
                data = os.pread(file.fileno(), BLOCK, at)
                if not data:
                    return h.hexdigest()
                if data != ZEROS[:len(data)]:
                    h.update(b'%d:' % at)
                    h.update(data)
                at += BLOCK
    return h.hexdigest()


def describe(path, with_identity):
    s = os.lstat(path)
    facts = {
        'type': stat.S_IFMT(s.st_mode),
        'mode': oct(stat.S_IMODE(s.st_mode)),
        'owner': (s.st_uid, s.st_gid),
        'mtime': s.st_mtime_ns,
        'xattrs': xattrs(path, with_identity),
    }
    if stat.S_ISREG(s.st_mode):
        facts['size'] = s.st_size
        facts['content'] = digest(path)
    elif stat.S_ISLNK(s.st_mode):
        facts['target'] = os.readlink(path)
    elif stat.S_ISBLK(s.st_mode) or stat.S_ISCHR(s.st_mode):
        facts['device'] = s.st_rdev
    if with_identity:
        facts['nlink'] = s.st_nlink
    if with_identity and IDENTITY not in facts['xattrs']:
        facts['identity'] = 'missing'
    return s, facts


def scan(root, options):
    """Relative path -> facts; hard links appear as the set of their names."""
    tree = {}
    links = {}
    brick = os.path.isdir(os.path.join(root, b'.gluon'))
    if options.bricks and not brick:
        raise SystemExit(f'{os.fsdecode(root)} has no .gluon directory: not a brick')
    pending = [b'']
    while pending:
        directory = pending.pop()
        s, facts = describe(os.path.join(root, directory) if directory else root, options.bricks)
        if directory or not options.no_top:
            tree[directory] = facts
        for name in os.listdir(os.path.join(root, directory)):
            if brick and not directory and name == b'.gluon':
                continue
            path = os.path.join(directory, name)
            full = os.path.join(root, path)
            mode = os.lstat(full).st_mode
            if stat.S_ISDIR(mode):
                pending.append(path)
                continue
            s, facts = describe(full, options.bricks)
            tree[path] = facts
            links.setdefault((s.st_dev, s.st_ino), []).append(path)
    for group in links.values():
        if len(group) > 1:
            for path in group:
                tree[path]['hard links'] = tuple(sorted(group))
    return tree


def shown(path):
    return ascii(os.fsdecode(path) or '.')[1:-1]


def differences(first, other):
    for path in sorted(first.keys() | other.keys()):
        a, b = first.get(path), other.get(path)
        if a is None or b is None:
            yield f'{shown(path)}: {"only in the other" if a is None else "missing"}'
            continue
        for key in sorted(a.keys() | b.keys()):
            if a.get(key) != b.get(key):
                yield f'{shown(path)}: {key} {a.get(key)!r} != {b.get(key)!r}'


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--bricks', action='store_true')
    parser.add_argument('--no-top', action='store_true')
    parser.add_argument('--max', type=int, default=40)
    parser.add_argument('trees', nargs='+', type=os.fsencode)
    options = parser.parse_args()
    try:
        first = scan(options.trees[0], options)
        count = 0
        for root in options.trees[1:]:
            for line in differences(first, scan(root, options)):
                count += 1
                if count <= options.max:
                    print(f'{os.fsdecode(root)}: {line[:2000]}')
    except OSError as error:
        print(f'cannot compare: {error}')
        return 2
    print(f'{len(first)} entries in {len(options.trees)} trees, {count} differences')
    return 1 if count else 0


sys.exit(main())
