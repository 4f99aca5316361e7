/** What QEMU does with an image. */
import assert from 'node:assert/strict';
import type { Node } from '../../support/cluster.js';
import { waitFor } from '../../support/wait.js';
import { diskProblems, makeDisk } from '../guest-disk.js';
import { Machine, Qemu } from '../machine.js';
import type { Stage } from '../stage.js';
import type { Check } from './check.js';

const HANDOVERS = 25;
const STARTS = 6;
const STALL_MS = 7_000;
const PAUSE_MS = 60_000;
const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;
const ZERO_RANGE = 16;

let places = 0;

/** A QEMU that has the image open for writing and runs nothing. */
function idleQemu(stage: Stage, node: Node, path: string): Promise<Qemu> {
  const words = ['-accel', 'tcg', '-machine', 'pc', '-m', '32', '-display', 'none', '-nodefaults', '-S'];
  return Qemu.start(stage, node, `${stage.bed.cluster.root}/q${++places}`, [...words, '-drive', `file=${path},format=raw,if=none,id=disk,cache=none`, '-device', 'virtio-blk-pci,drive=disk']);
}

export const QEMU: readonly Check[] = [
  {
    sentence: 'QEMU: an image lock (OFD) that is released is free on the other node when fcntl returns, and one that is taken is seen there',
    run: async ({ folder, source, target, python }) => {
      const [here, there] = [python(source), python(target)];
      await here.ask(`open('${folder}/disk', 'w').write('x' * 8192) and None`);
      for (const process of [here, there]) await process.ask(`known.update(fd=os.open('${folder}/disk', os.O_RDWR))`);
      const read = 0;
      const write = 1;
      const unlocked = 2;
      for (let n = 0; n < HANDOVERS; n++) {
        const [holder, other] = n % 2 === 0 ? [here, there] : [there, here];
        for (const byte of [100, 101, 201, 203]) await holder.ask(`lock(known['fd'], OFD_SETLK, ${read}, ${byte}, 1)`);
        assert.equal(await other.ask(`lock(known['fd'], OFD_GETLK, ${write}, 201, 1)`), read, 'the lock is not seen on the other node');
        assert.equal(await other.ask(`lock(known['fd'], OFD_SETLK, ${write}, 201, 1)`), 'EAGAIN');
        await holder.ask(`lock(known['fd'], OFD_SETLK, ${unlocked}, 100, 200)`);
        assert.equal(await other.ask(`lock(known['fd'], OFD_GETLK, ${write}, 100, 200)`), unlocked, `handover ${n}: the lock that was released is still seen`);
      }
    },
  },
  {
    sentence: 'QEMU: what the source wrote and synced before it let go is what the destination reads, whichever way it reads',
    run: async ({ folder, source, target, python }) => {
      const [here, there] = [python(source), python(target)];
      await here.ask(`open('${folder}/disk', 'wb').write(b'-' * 65536) and None`);
      for (const process of [here, there]) await process.ask(`known.update(fd=os.open('${folder}/disk', os.O_RDWR), direct=os.open('${folder}/disk', os.O_RDWR | os.O_DIRECT))`);
      for (let n = 0; n < HANDOVERS; n++) {
        const [writer, reader] = n % 2 === 0 ? [here, there] : [there, here];
        const [out, back] = n % 4 < 2 ? ['fd', 'direct'] : ['direct', 'fd'];
        const byte = 65 + n;
        await reader.ask(`os.pread(known['fd'], 8192, 4096)[0]`);
        assert.equal(await writer.ask(`os.pwritev(known['${out}'], [aligned(${byte}, 8192)], 4096)`), 8192);
        await writer.ask(`os.fdatasync(known['${out}'])`);
        assert.deepEqual(await reader.ask(`(lambda m: [os.preadv(known['${back}'], [m], 4096), m[0], m[8191]])(mmap.mmap(-1, 8192))`), [8192, byte, byte], `handover ${n}, written by ${out}, read by ${back}`);
      }
    },
  },
  {
    sentence: 'QEMU: the alignment probe (O_DIRECT reads of 1 to 4096 bytes) meets no EINVAL; FUA writes (RWF_DSYNC), unaligned discards and write-zeroes work; SEEK_DATA behind the data is ENXIO',
    run: async ({ folder, source, target, python }) => {
      const [here, there] = [python(source), python(target)];
      await here.ask(`known.update(fd=os.open('${folder}/disk', os.O_RDWR | os.O_CREAT), direct=os.open('${folder}/disk', os.O_RDWR | os.O_DIRECT)) or os.truncate('${folder}/disk', 1 << 20)`);
      for (const size of [1, 512, 1024, 2048, 4096]) assert.equal(await here.ask(`os.preadv(known['direct'], [memoryview(aligned(0, 4096))[:${size}]], 0)`), size);
      assert.equal(await here.ask("os.pwritev(known['fd'], [b'd' * 196608], 65536, os.RWF_DSYNC)"), 196_608);
      assert.equal(await here.ask(`fallocate(known['fd'], ${PUNCH_HOLE | KEEP_SIZE}, 65536 + 100, 70000)`), null);
      assert.equal(await here.ask(`fallocate(known['fd'], ${ZERO_RANGE | KEEP_SIZE}, 200000, 5000)`), null);
      assert.equal(await there.ask(`(lambda d: d[65536:65636] == b'd' * 100 and d[65636:135636] == bytes(70000) and d[200000:205000] == bytes(5000) and d[205000:262144] == b'd' * 57144)(open('${folder}/disk', 'rb').read())`), true);
      await there.ask(`known.update(fd=os.open('${folder}/disk', os.O_RDONLY))`);
      const data = Number(await there.ask("os.lseek(known['fd'], 0, os.SEEK_DATA)"));
      assert.ok(data >= 0 && data <= 65_536, `SEEK_DATA from 0 gives ${data}`);
      const hole = Number(await there.ask("os.lseek(known['fd'], 250000, os.SEEK_HOLE)"));
      assert.ok(hole >= 262_144 && hole <= 1 << 20, `SEEK_HOLE from 250000 gives ${hole}`);
      assert.equal(await there.ask("os.lseek(known['fd'], 1 << 20, os.SEEK_DATA)"), 'ENXIO');
    },
  },
  {
    sentence: 'QEMU: a second one never gets an image that is in use, on no node; one that was killed leaves no lock, on no node',
    run: async ({ stage, folder, note }) => {
      const path = `${folder}/disk`;
      await stage.on(stage.node(0), ['truncate', '-s', '16M', path]);
      let slowestMs = 0;
      for (let n = 0; n < STARTS; n++) {
        const begin = performance.now();
        // Twice on a node, then on the next.
        const first = await idleQemu(stage, stage.node((n >> 1) % 3), path);
        slowestMs = Math.max(slowestMs, performance.now() - begin);
        try {
          const other = stage.node(((n >> 1) + n + 1) % 3);
          await assert.rejects(idleQemu(stage, other, path).then((second) => second.kill()), /Failed to get "write" lock/, `node ${other.index + 1} got an image that is in use`);
          const write = await stage.on(other, ['qemu-io', '-f', 'raw', '-c', 'write 0 4k', path], { accept: 'any' });
          assert.notEqual(write.status, 0, 'qemu-io writes to an image that is in use');
          await stage.on(other, ['qemu-img', 'info', '--force-share', path]);
        } finally {
          await first.kill();
        }
      }
      note(`slowest start ${slowestMs.toFixed(0)} ms`);
    },
  },
  {
    sentence: 'QEMU: a qcow2 image that grew on the source has its full size on the destination, also for who had it open',
    run: async ({ stage, folder, source, target, python }) => {
      const path = `${folder}/disk`;
      await stage.on(source, ['qemu-img', 'create', '-q', '-f', 'qcow2', path, '64M']);
      const there = python(target);
      await there.ask(`known.update(fd=os.open('${path}', os.O_RDONLY)) or len(os.pread(known['fd'], 65536, 0))`);
      for (const [n, offset] of ['0', '20M', '40M'].entries()) {
        const pattern = String(17 + n);
        await stage.on(source, ['qemu-io', '-f', 'qcow2', '-t', n === 1 ? 'writeback' : 'none', '-c', `write -P ${pattern} ${offset} 6M`, path]);
        const size = Number((await stage.on(source, ['stat', '-c', '%s', path])).stdout);
        assert.equal(await there.ask("os.fstat(known['fd']).st_size"), size);
        assert.equal(await there.ask(`len(os.pread(known['fd'], 1 << 20, ${size} - 65536))`), 65_536);
        await stage.on(target, ['qemu-io', '-f', 'qcow2', '-t', n === 2 ? 'writeback' : 'none', '-r', '-c', `read -P ${pattern} ${offset} 6M`, path]);
      }
      await stage.on(target, ['qemu-img', 'check', '-q', path]);
    },
  },
  {
    sentence: 'QEMU: a full volume pauses the guest (werror=enospc), and it goes on when there is room; so it does after the majority was lost, with a clean file system',
    run: async ({ stage, folder, source, atEnd, note }) => {
      const { bed } = stage;
      const disk = await makeDisk(stage, source, folder.slice(stage.instances.length + 1), { format: 'qcow2', cache: 'none', aio: 'threads' });
      const machine = await Machine.boot(stage, source, disk, { seed: 99 });
      atEnd(() => machine.kill());
      await machine.ready();
      const disks = stage.nodes.map((node) => bed.disksOf(node).brick);
      await Promise.all(disks.map((brick) => brick.fill()));
      try {
        const before = machine.console.progress?.synced;
        const paused = await machine.qemu.qmp.event('STOP', 0, PAUSE_MS).catch(async (error: unknown) => {
          const room = await Promise.all(stage.nodes.map(async (node) => (await stage.on(node, ['df', '--output=avail,target', '-B1', bed.disksOf(node).brick.at])).stdout.trim().split('\n').at(-1)));
          throw new Error(`${String(error)}; the guest had synced ${before?.join(' and ')}, then ${machine.console.progress?.synced.join(' and ')}; free: ${room.join(', ')}`, { cause: error });
        });
        const [error] = machine.qemu.qmp.events.filter(({ event }) => event === 'BLOCK_IO_ERROR');
        assert.equal(error?.data['nospace'], true, `${JSON.stringify(error)} before ${JSON.stringify(paused)}`);
      } finally {
        await Promise.all(disks.map((brick) => brick.free()));
      }
      await waitFor('the guest to go on when there is room', PAUSE_MS, async () => {
        const { status } = await machine.qemu.qmp.run<{ status: string }>('query-status');
        if (status === 'io-error') await machine.qemu.qmp.run('cont');
        return status === 'running';
      }, 500);
      await machine.progress();
      note('full: paused, and went on');
      const [, second, third] = stage.nodes;
      assert.ok(second !== undefined && third !== undefined);
      await bed.withoutBrick(second, () =>
        bed.withoutBrick(third, async () => {
          await new Promise((resolve) => setTimeout(resolve, STALL_MS));
          const before = machine.console.progress?.synced;
          await new Promise((resolve) => setTimeout(resolve, 1000));
          assert.deepEqual(machine.console.progress?.synced, before, 'the guest syncs blocks without a majority');
        }),
      );
      await machine.progress(PAUSE_MS);
      note('no majority: waited, and went on');
      await machine.end();
      assert.deepEqual(machine.console.errors, []);
      assert.deepEqual(await diskProblems(stage, source, disk), []);
    },
  },
];
