/** The rows of DESIGN §10: what each measures and how. All rows are rates: more is better. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { must, PROJECT_ROOT, run } from '../scripts/lib/steps.mjs';

const FILE_SIZE = '512m';
const RANDOM_SECONDS = 5;
const SMALL_FILES = 1_000;
/** A row that does not end in this time counts as failed: the slowest known system needs 10 s. */
const ROW_TIMEOUT_MS = 180_000;

const RANDOM = ['--bs=4k', '--norandommap', '--time_based', `--runtime=${RANDOM_SECONDS}`];
const DIRECT = ['--ioengine=libaio', '--direct=1'];
const BUFFERED = ['--ioengine=psync'];

/**
 * fio rows share one file, so their order matters: the first makes it. `unit` is what fio's answer is read as; `cold`: the page cache is
 * dropped first. `bound`: the share of the bare disk that hardware allows (three replicas on one disk: a third for replicated writes).
 * `leased`: clients have leases for the sake of this row; its ratio to MooseFS is shown.
 */
export const FIO_ROWS = [
  { row: 'seq-write', title: 'seq write 1 MiB, fsync at end', unit: 'MiB/s', bound: 1 / 3, options: ['--rw=write', '--bs=1m', '--end_fsync=1', ...BUFFERED], fresh: true },
  { row: 'seq-read', title: 'seq read 1 MiB cold', unit: 'MiB/s', bound: 1, cold: true, options: ['--rw=read', '--bs=1m', ...BUFFERED] },
  { row: 'direct-write', title: 'O_DIRECT write 1 MiB depth 4', unit: 'MiB/s', bound: 1 / 3, options: ['--rw=write', '--bs=1m', '--iodepth=4', ...DIRECT] },
  { row: 'direct-read', title: 'O_DIRECT read 1 MiB depth 4', unit: 'MiB/s', bound: 1, cold: true, options: ['--rw=read', '--bs=1m', '--iodepth=4', ...DIRECT] },
  { row: 'randread-1', title: 'O_DIRECT 4 KiB random read depth 1', unit: 'IOPS', bound: 1, leased: true, cold: true, options: ['--rw=randread', '--iodepth=1', ...RANDOM, ...DIRECT] },
  { row: 'randread-16', title: 'O_DIRECT 4 KiB random read depth 16', unit: 'IOPS', bound: 1, leased: true, cold: true, options: ['--rw=randread', '--iodepth=16', ...RANDOM, ...DIRECT] },
  { row: 'randwrite-1', title: 'O_DIRECT 4 KiB random write depth 1', unit: 'IOPS', bound: 1 / 3, leased: true, options: ['--rw=randwrite', '--iodepth=1', ...RANDOM, ...DIRECT] },
  { row: 'randwrite-16', title: 'O_DIRECT 4 KiB random write depth 16', unit: 'IOPS', bound: 1 / 3, leased: true, options: ['--rw=randwrite', '--iodepth=16', ...RANDOM, ...DIRECT] },
  { row: 'fdatasync', title: '4 KiB write + fdatasync', unit: 'IOPS', bound: 1 / 3, options: ['--rw=randwrite', '--fdatasync=1', ...RANDOM, ...BUFFERED] },
  { row: 'buffered-randwrite', title: 'buffered 4 KiB random write', unit: 'IOPS', bound: 1 / 3, options: ['--rw=randwrite', '--end_fsync=1', ...RANDOM, ...BUFFERED] },
];

/** One process over 1,000 files; `bench/smallfiles.py` measures all of them in one go. */
export const SMALL_ROWS = [
  { row: 'create', title: 'create 4 KiB file', unit: '/s', bound: 1 / 3, leased: true },
  { row: 'stat-cold', title: 'stat cold', unit: '/s', bound: 1, leased: true },
  { row: 'ls-cold', title: 'ls -l cold', unit: 'entries/s', bound: 1, leased: true },
  { row: 'read-cold', title: 'read 4 KiB file cold', unit: '/s', bound: 1, leased: true },
  { row: 'read-warm', title: 'read 4 KiB file warm', unit: '/s', bound: 1, leased: true },
  { row: 'rename', title: 'rename', unit: '/s', bound: 1 / 3 },
  { row: 'unlink', title: 'unlink', unit: '/s', bound: 1 / 3 },
];

export const ROWS = [...FIO_ROWS, ...SMALL_ROWS];

/** Writes dirty pages out and drops the page cache, dentries and inodes of the whole machine. */
export async function dropCaches() {
  await run(['sync'], { timeoutMs: 120_000 });
  writeFileSync('/proc/sys/vm/drop_caches', '3');
}

async function fio(file, options) {
  const words = ['fio', '--name=row', `--filename=${file}`, `--size=${FILE_SIZE}`, '--refill_buffers', '--output-format=json', ...options];
  const { stdout } = await must(words, { timeoutMs: ROW_TIMEOUT_MS });
  const job = JSON.parse(stdout.slice(stdout.indexOf('{'))).jobs[0];
  if (job.error !== 0) throw new Error(`fio: error ${job.error} in ${words.join(' ')}`);
  return options.some((option) => option.startsWith('--rw=') && option.includes('read')) ? job.read : job.write;
}

/**
 * Measures `wanted` (row names) below `directory`, which is made and removed. Calls `tell(row, value | Error)` as each is known: a row that
 * fails does not stop the others.
 */
export async function measure(directory, wanted, tell) {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  try {
    const file = join(directory, 'fio.bin');
    const fioRows = FIO_ROWS.filter(({ row }) => wanted.has(row));
    if (fioRows.length > 0 && !fioRows[0].fresh) await fio(file, FIO_ROWS[0].options);
    for (const { row, unit, cold, fresh, options } of fioRows) {
      try {
        if (fresh) rmSync(file, { force: true });
        // Each row begins without the dirty pages of the one before it.
        if (cold) await dropCaches();
        else await run(['sync'], { timeoutMs: 120_000 });
        const side = await fio(file, options);
        tell(row, unit === 'IOPS' ? side.iops : side.bw_bytes / 1024 / 1024);
      } catch (error) {
        tell(row, error);
      }
    }
    rmSync(file, { force: true });
    if (SMALL_ROWS.some(({ row }) => wanted.has(row))) {
      try {
        const words = ['/usr/bin/python3', join(PROJECT_ROOT, 'bench', 'smallfiles.py'), join(directory, 'small'), String(SMALL_FILES)];
        const { stdout } = await must(words, { timeoutMs: ROW_TIMEOUT_MS });
        const rates = JSON.parse(stdout);
        for (const { row } of SMALL_ROWS) if (wanted.has(row)) tell(row, rates[row]);
      } catch (error) {
        for (const { row } of SMALL_ROWS) if (wanted.has(row)) tell(row, error);
      }
    }
  } finally {
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  }
}
