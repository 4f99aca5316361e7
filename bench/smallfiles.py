#!/usr/bin/python3
"""One process over COUNT files of 4 KiB in one directory, the same for every system measured.

usage: smallfiles.py DIRECTORY COUNT     prints one JSON object {row: operations per second}

Every row is COUNT times the named system calls with nothing in between; Python adds one to two microseconds to each. Kernel caches are
dropped before each cold row, outside the measured time. The warm row begins two seconds after the cold one: it measures caches that stay
valid, not those that are trusted unasked for a second (GlusterFS's attribute and entry time-outs) whatever other nodes do meanwhile.
"""
import json
import os
import sys
import time


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as control:
        control.write("3")


def rate(count, work):
    begin = time.perf_counter()
    work()
    return count / (time.perf_counter() - begin)


def main():
    directory, count = sys.argv[1], int(sys.argv[2])
    os.mkdir(directory)
    data = os.urandom(4096)
    names = [f"{directory}/file-{index:05d}" for index in range(count)]
    moved = [f"{directory}/moved-{index:05d}" for index in range(count)]

    def create():
        for name in names:
            descriptor = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            os.write(descriptor, data)
            os.close(descriptor)

    def stat():
        for name in names:
            os.stat(name)

    def list_long():
        seen = 0
        with os.scandir(directory) as entries:
            for entry in entries:
                entry.stat(follow_symlinks=False)
                seen += 1
        if seen != count:
            raise SystemExit(f"{directory}: listed {seen} of {count} entries")

    def read():
        for name in names:
            descriptor = os.open(name, os.O_RDONLY)
            if os.read(descriptor, 8192) != data:
                raise SystemExit(f"{name}: other content than was written")
            os.close(descriptor)

    def rename():
        for old, new in zip(names, moved):
            os.rename(old, new)

    def unlink():
        for name in moved:
            os.unlink(name)

    rates = {"create": rate(count, create)}
    drop_caches()
    rates["stat-cold"] = rate(count, stat)
    drop_caches()
    rates["ls-cold"] = rate(count, list_long)
    drop_caches()
    rates["read-cold"] = rate(count, read)
    time.sleep(2)
    rates["read-warm"] = rate(count, read)
    rates["rename"] = rate(count, rename)
    rates["unlink"] = rate(count, unlink)
    os.rmdir(directory)
    print(json.dumps(rates))


main()
