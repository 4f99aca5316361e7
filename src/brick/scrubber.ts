/**
 * Looks for damage that nobody reads: goes through all files of the brick, compares their bytes with their checksums, and makes checksums for files that
 * have none. What it finds is repaired by the primary of the set (replica/mender.ts).
 *
 *   waiting ──due, asked for, or never completed──▶ running ──last file──▶ waiting
 *                                                   │  ▲
 *                                            paused ▼  │ resumed
 */
import { Errno, FsError } from '../base/errno.js';
import type { Gfid } from '../base/ids.js';
import type { Clock } from '../env/clock.js';
import type { Log } from '../env/log.js';
import { SEEK_DATA } from '../fops/ops.js';
import type { ScrubReport } from '../replica/authority.js';
import { SUM_BLOCK_BYTES } from '../replica/soundness.js';
import type { DirectoryStore } from './store/store.js';
import { CHECK_BYTES, type SumScrub } from './store/sum-scrub.js';
import type { Sums } from './store/sums.js';

export interface ScrubSettings {
  /** Bytes that are read in a second. */
  rate: number;
  paused: boolean;
  /** From the end of one run to the beginning of the next. */
  periodMs: number;
}

/** What is kept over restarts. Times are seconds of the wall clock, 0 for never. */
export interface ScrubRecord {
  beganSec: number;
  endedSec: number;
  durationSec: number;
  /** Of the last complete run. */
  files: number;
  bytes: number;
  corrupted: number;
  torn: number;
  repaired: number;
}

/** `filesNow`, `bytesNow`: of the run under way; `unchecked`: files that it found without checksums and that have none yet, so they are read unchecked. */
export type ScrubStatus = ScrubRecord & ScrubReport;

export const EMPTY_RECORD: ScrubRecord = { beganSec: 0, endedSec: 0, durationSec: 0, files: 0, bytes: 0, corrupted: 0, torn: 0, repaired: 0 };

export interface ScrubberOptions {
  store: DirectoryStore;
  sums: Sums;
  clock: Clock;
  log: Log;
  settings(): ScrubSettings;
  record: ScrubRecord;
  save(record: ScrubRecord): void;
}

const LOOK_MS = 1000;
const SWEEP_PAUSE_MS = 10;
const DAMAGED_FILES_MAX = 100;
const DAMAGED_RANGES_MAX = 1000;
/** A file that changes while it is looked at is not followed for ever. */
const FILE_BYTES_MAX = 2 ** 45;

export class Scrubber {
  readonly #options: ScrubberOptions;
  readonly #steps: SumScrub;
  #record: ScrubRecord;
  #state: ScrubStatus['state'] = 'waiting';
  #wanted = false;
  #files = 0;
  #bytes = 0;
  #unchecked = 0;
  #unreadable = 0;
  /** When the bytes read so far may have been read, by the rate. */
  #dueMs = 0;
  #wake: (() => void) | undefined;

  constructor(options: ScrubberOptions) {
    this.#options = options;
    this.#steps = options.store.scrubSteps(options.sums);
    this.#record = options.record;
    options.sums.known.restoreCounts(options.record);
  }

  /** A run begins now, if none is under way. */
  begin(): void {
    this.#wanted = true;
    this.#wake?.();
  }

  status(): ScrubStatus {
    const { sums } = this.#options;
    const { corrupted, torn, repaired, damaged, lost } = sums.known.counts;
    const damagedFiles = [...new Set(sums.damage(DAMAGED_RANGES_MAX).map((range) => range.gfid))].slice(0, DAMAGED_FILES_MAX);
    return {
      ...this.#record, corrupted, torn, repaired, damaged, lost, damagedFiles,
      state: this.#state, filesNow: this.#files, bytesNow: this.#bytes, unchecked: this.#unchecked, unreadable: this.#unreadable,
    };
  }

  /** Until the signal. Throws what is not an error of the disk. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.#wake?.());
    while (!signal.aborted) {
      if (this.#due()) await this.#pass(signal);
      else await this.#sleep(LOOK_MS);
      this.#saveCounts();
    }
    this.#saveCounts();
  }

  #due(): boolean {
    const { settings, clock } = this.#options;
    const { paused, periodMs } = settings();
    if (paused) return false;
    if (this.#wanted || this.#record.endedSec === 0) return true;
    return clock.wall().sec * 1000 >= this.#record.endedSec * 1000 + periodMs;
  }

  async #pass(signal: AbortSignal): Promise<void> {
    const { store, sums, clock, log } = this.#options;
    this.#wanted = false;
    this.#state = 'running';
    this.#files = 0;
    this.#bytes = 0;
    this.#unchecked = 0;
    this.#unreadable = 0;
    const beganSec = clock.wall().sec;
    const startedMs = clock.now();
    this.#dueMs = startedMs;
    log.info('scrubbing begins');
    try {
      for (const gfid of store.handles()) {
        await this.#file(gfid, signal);
        if (signal.aborted) return;
      }
      const sweep = sums.files.sweep();
      while (sweep.next().done !== true) {
        await this.#sleep(SWEEP_PAUSE_MS);
        if (signal.aborted) return;
      }
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      log.error('scrubbing was interrupted', { error: String(error) });
      await this.#sleep(LOOK_MS * 10);
      return;
    } finally {
      this.#state = 'waiting';
    }
    // Everything was compared: what is wrong from now on was not left by the last crash.
    sums.known.endSuspicion();
    const durationSec = Math.round((clock.now() - startedMs) / 1000);
    this.#record = { ...this.#record, beganSec, endedSec: Math.max(1, clock.wall().sec), durationSec, files: this.#files, bytes: this.#bytes };
    this.#save();
    log.info('scrubbing ended', { files: this.#files, bytes: this.#bytes, seconds: durationSec, ...sums.known.counts });
  }

  async #file(gfid: Gfid, signal: AbortSignal): Promise<void> {
    const state = this.#steps.stateOf(gfid);
    if (state === 'none') return;
    try {
      if (state === 'kept') await this.#compare(gfid, signal);
      else await this.#make(gfid, signal);
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      if (error.errno !== Errno.ESTALE) this.#unread(gfid, error);
    }
    this.#files++;
  }

  #unread(gfid: Gfid, error: FsError): void {
    this.#unreadable++;
    this.#options.log.error('a file could not be scrubbed', { gfid, error: String(error) });
  }

  async #compare(gfid: Gfid, signal: AbortSignal): Promise<void> {
    for (let at = 0; at < FILE_BYTES_MAX;) {
      at = this.#nextData(gfid, at);
      if (at < 0 || !(await this.#turn(signal))) return;
      const count = await this.#steps.check(gfid, at);
      if (count === 0) return;
      this.#spent(count);
      at += count;
    }
  }

  /** Where the next bytes are that are not in a hole, at the beginning of a block; -1 where there are none, or no file. */
  #nextData(gfid: Gfid, from: number): number {
    try {
      const at = this.#options.store.lseek(gfid, from, SEEK_DATA);
      return at - (at % SUM_BLOCK_BYTES);
    } catch (error) {
      if (error instanceof FsError && (error.errno === Errno.ENXIO || error.errno === Errno.ESTALE)) return -1;
      throw error;
    }
  }

  async #make(gfid: Gfid, signal: AbortSignal): Promise<void> {
    const { sums } = this.#options;
    this.#unchecked++;
    const build = sums.files.beginBuild(gfid);
    if (build === undefined) return;
    try {
      for (let done = false; !done;) {
        if (!(await this.#turn(signal))) return;
        const count = await this.#steps.prepare(gfid, build.next * SUM_BLOCK_BYTES);
        if (sums.files.building !== build) return;
        done = sums.buildStep(build, CHECK_BYTES / SUM_BLOCK_BYTES);
        this.#spent(count);
      }
      await this.#steps.finish(build);
      if (this.#steps.stateOf(gfid) !== 'missing') this.#unchecked--;
    } finally {
      if (sums.files.building === build) sums.files.endBuild();
    }
  }

  #spent(bytes: number): void {
    this.#bytes += bytes;
    this.#dueMs = Math.max(this.#dueMs, this.#options.clock.now() - LOOK_MS) + (bytes / this.#options.settings().rate) * 1000;
  }

  /** Waits until more may be read; false when it is over. */
  async #turn(signal: AbortSignal): Promise<boolean> {
    const { clock, settings } = this.#options;
    for (;;) {
      if (signal.aborted) return false;
      const { paused } = settings();
      this.#state = paused ? 'paused' : 'running';
      if (paused) await this.#sleep(LOOK_MS);
      else if (this.#dueMs > clock.now()) await this.#sleep(Math.min(LOOK_MS, this.#dueMs - clock.now()));
      else return true;
    }
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(ms, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  #saveCounts(): void {
    const { corrupted, torn, repaired } = this.#options.sums.known.counts;
    const { corrupted: c, torn: t, repaired: r } = this.#record;
    if (corrupted !== c || torn !== t || repaired !== r) this.#save();
  }

  /** A disk that refuses loses the counts at the next restart, and nothing else. */
  #save(): void {
    const { corrupted, torn, repaired } = this.#options.sums.known.counts;
    this.#record = { ...this.#record, corrupted, torn, repaired };
    try {
      this.#options.save(this.#record);
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      this.#options.log.warn('the record of the scrubber could not be written', { error: String(error) });
    }
  }
}
