/** `features.bitrot` of one brick process: keeps checksums and runs the scrubber while the option is on, removes them when it goes off. */
import { FsError } from '../base/errno.js';
import { sizeInBytes } from '../cluster/option-values.js';
import type { Clock } from '../env/clock.js';
import type { Log } from '../env/log.js';
import type { OpenBrick } from '../brick/store/identity.js';
import { EMPTY_RECORD, Scrubber, type ScrubRecord, type ScrubSettings, type ScrubStatus } from '../brick/scrubber.js';

const MIB = 1 << 20;
const THROTTLES: Record<string, number> = { lazy: 8 * MIB, normal: 32 * MIB, aggressive: 128 * MIB };
const HOUR_MS = 3_600_000;
const PERIODS: Record<string, number> = {
  hourly: HOUR_MS,
  daily: 24 * HOUR_MS,
  weekly: 7 * 24 * HOUR_MS,
  biweekly: 14 * 24 * HOUR_MS,
  monthly: 30 * 24 * HOUR_MS,
};
/** What changed so long before the last sign of life before a power loss may have been under way then. */
const SUSPECT_SEC = 60;
const STEP_MS = 5;
const RETRY_MS = 60_000;
/** Every damaged block is a line in the log, up to here. */
const LINES_MAX = 1000;

type Options = Readonly<Record<string, string>>;

export function scrubSettings(options: Options): ScrubSettings {
  const rate = sizeInBytes(options['features.scrub-rate'] ?? '0');
  return {
    rate: rate > 0 ? rate : (THROTTLES[options['features.scrub-throttle'] ?? 'lazy'] ?? 8 * MIB),
    paused: options['features.scrub'] === 'pause',
    periodMs: PERIODS[options['features.scrub-freq'] ?? 'biweekly'] ?? 14 * 24 * HOUR_MS,
  };
}

function savedRecord(saved: unknown): ScrubRecord {
  const record = { ...EMPTY_RECORD };
  for (const key of Object.keys(record) as (keyof ScrubRecord)[]) {
    const value = (saved as Partial<Record<string, unknown>> | undefined)?.[key];
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) record[key] = value;
  }
  return record;
}

export class BrickBitrot {
  readonly #open: OpenBrick;
  readonly #bootId: string;
  readonly #clock: Clock;
  readonly #log: Log;
  #settings: ScrubSettings = scrubSettings({});
  #wanted: boolean | undefined;
  #running: { scrubber: Scrubber; over: AbortController; run: Promise<void> } | undefined;
  #changing: Promise<void> = Promise.resolve();
  #ending = false;
  #lines = 0;

  constructor(open: OpenBrick, bootId: string, clock: Clock, log: Log) {
    this.#open = open;
    this.#bootId = bootId;
    this.#clock = clock;
    this.#log = log;
  }

  /**
   * Obeys the volume's options. The first call takes effect before it returns: no change may be made without its checksums where there are any.
   * Later ones take effect one after the other.
   */
  configure(options: Options): void {
    this.#settings = scrubSettings(options);
    const on = options['features.bitrot'] === 'on';
    if (on === this.#wanted) return;
    const first = this.#wanted === undefined;
    this.#wanted = on;
    if (first && on) this.#begin();
    this.#changing = this.#changing.then(() => this.#follow());
  }

  /** Undefined while the option is off. */
  status(): ScrubStatus | undefined {
    return this.#running?.scrubber.status();
  }

  /** `volume bitrot NAME scrub ondemand`. */
  scrub(): void {
    this.#running?.scrubber.begin();
  }

  /** Before the store is closed. */
  async stop(): Promise<void> {
    this.#ending = true;
    await this.#changing;
    await this.#stopScrubber();
  }

  async #follow(): Promise<void> {
    if (this.#ending) return;
    const { store } = this.#open;
    if (this.#wanted === true) {
      if (this.#running === undefined) this.#begin();
      await this.#steps(store.sweepSums());
    } else {
      await this.#stopScrubber();
      await this.#steps(store.dropSums());
    }
  }

  /** A little at a time: the brick serves meanwhile. */
  async #steps(work: Generator<void>): Promise<void> {
    while (!this.#ending && work.next().done !== true) await new Promise<void>((resolve) => void this.#clock.after(STEP_MS, resolve));
  }

  /** A disk that has no room for checksums goes without, and is tried again later: the brick serves in any case. */
  #begin(): void {
    try {
      this.#keep();
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      this.#log.error('checksums cannot be kept: files are served unchecked', { error: String(error) });
      // Those of an earlier time would be wrong from now on: out of the way at once.
      const drop = this.#open.store.dropSums();
      drop.next();
      this.#changing = this.#changing.then(() => this.#steps(drop));
      this.#clock.after(RETRY_MS, () => {
        this.#changing = this.#changing.then(() => this.#follow());
      });
    }
  }

  #keep(): void {
    const { store, journal } = this.#open;
    const { bootId, incomplete } = journal.readMeta();
    const sums = store.keepSums({
      found: (gfid, offset, suspect) => {
        if (this.#lines++ >= LINES_MAX) return;
        if (suspect) this.#log.info('a block has an old checksum since the last crash', { gfid, offset });
        else this.#log.error('a block is damaged: its bytes do not match its checksum', { gfid, offset });
      },
      lost: (range) => this.#log.error('no brick has the bytes of a damaged block: reading it is an error until it is written again', { ...range }),
    });
    if ((bootId !== '' && bootId !== this.#bootId) || incomplete) sums.known.suspectSince(this.#open.metaWrittenSec - SUSPECT_SEC);
    const scrubber = new Scrubber({
      store, sums, clock: this.#clock, log: this.#log, settings: () => this.#settings,
      record: savedRecord(store.savedScrub()), save: (record) => store.saveScrub(record),
    });
    const over = new AbortController();
    this.#running = { scrubber, over, run: scrubber.run(over.signal) };
    this.#log.info('checksums are kept', { unclean: bootId !== '' });
  }

  async #stopScrubber(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    this.#running = undefined;
    running.over.abort();
    await running.run;
  }
}
