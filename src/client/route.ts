/**
 * How the primary is reached: directly, or through another brick.
 *
 *   direct ──cannot be reached, or was silent──▶ relayed ──after a detour's time──▶ direct
 *
 * A path may take smaller packets than both ends believe (an MTU black hole): a connection is made, small messages pass, and it falls silent with the first large one,
 * as often as it is made. So a direct connection that was silent is not made again at once, and later each time that it is silent again soon.
 */
import type { BrickId } from '../fops/view.js';
import type { BrickSpec } from '../fops/volume.js';

/** So many attempts in a row to reach the primary failed before it is tried through other bricks. */
const DIRECT_ATTEMPTS = 3;
/** An attempt that took so long was not refused, but got no answer. */
const UNANSWERED_MS = 1000;
const DETOUR_MS_MIN = 5000;
const DETOUR_MS_MAX = 300_000;
/** A direct connection that stood for so many times the last detour proves that the path is good. */
const FORGIVEN = 2;
/** Directly, and through another brick. */
const PATIENT_AFTER = 2;
/** A connection that lived so long was good. */
const GOOD_MS = 30_000;

export class Route {
  #failures = 0;
  /** Connections in a row that ended silent. */
  #silences = 0;
  /** When it was connected last, or the direct way last tried while it was relayed. */
  #since = 0;
  /** When it was connected last. */
  #attached = 0;
  /** The brick that it is reached through. */
  #through: BrickId | undefined;
  /** The last one through which it was silent. */
  #silentThrough: BrickId | undefined;
  #detourMs = 0;
  #detourUntil = 0;

  get relayed(): boolean {
    return this.#through !== undefined;
  }

  /** The kernel needs longer than usual to find a way for large packets: a connection that is made anew each time never lives to see it. */
  get patient(): boolean {
    return this.#silences >= PATIENT_AFTER;
  }

  /** The direct way is not tried first. */
  avoidsDirect(now: number): boolean {
    return now < this.#detourUntil;
  }

  /** An attempt to connect directly failed; true when others are to be asked. */
  failed(tookMs: number): boolean {
    this.#failures = tookMs >= UNANSWERED_MS ? DIRECT_ATTEMPTS : this.#failures + 1;
    return this.#failures >= DIRECT_ATTEMPTS;
  }

  /** Directly, or through another brick. */
  connected(now: number, through?: BrickId): void {
    this.#failures = 0;
    this.#since = this.#attached = now;
    this.#through = through;
  }

  /** In the order in which they are asked to pass messages on: those on the same bad path come last, the one on this node (it has a socket) by guess, the silent one for sure. */
  ordered<T extends Pick<BrickSpec, 'id' | 'socket'>>(bricks: readonly T[]): T[] {
    const rank = ({ id, socket }: T): number => (id === this.#silentThrough ? 2 : socket === undefined ? 0 : 1);
    return bricks.toSorted((one, other) => rank(one) - rank(other));
  }

  /** The connection ended without a word of the primary, which answers every ping. */
  wasSilent(now: number): void {
    this.#silences = now - this.#attached < GOOD_MS ? this.#silences + 1 : 1;
    if (this.#through !== undefined) {
      this.#silentThrough = this.#through;
      return;
    }
    const again = this.#detourMs > 0 && now - this.#since < this.#detourMs * FORGIVEN;
    this.#detourMs = again ? Math.min(this.#detourMs * 2, DETOUR_MS_MAX) : DETOUR_MS_MIN;
    this.#detourUntil = now + this.#detourMs;
  }

  /** It is relayed, and time to look whether the primary can be reached directly; once for each time. */
  looksForDirect(now: number): boolean {
    if (!this.relayed || this.avoidsDirect(now) || now - this.#since < DETOUR_MS_MIN) return false;
    this.#since = now;
    return true;
  }

  /** Another brick is primary. */
  reset(): void {
    this.#failures = 0;
    this.#silences = 0;
    this.#detourMs = 0;
    this.#detourUntil = 0;
    this.#silentThrough = undefined;
  }
}
