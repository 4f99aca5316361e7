/** Requests that are held: until the primary serves, while a member is missing, for the last step of a catch-up. */

export class Gate {
  readonly #reasons = new Set<string>();
  readonly #serving: () => boolean;
  #held: (() => void)[] = [];

  /** Nothing is let through before `serving` says so. */
  constructor(serving: () => boolean) {
    this.#serving = serving;
  }

  get closed(): boolean {
    return this.#reasons.size > 0;
  }

  /** Requests held now. */
  get size(): number {
    return this.#held.length;
  }

  closedBy(reason: string): boolean {
    return this.#reasons.has(reason);
  }

  close(reason: string): void {
    this.#reasons.add(reason);
  }

  /** Takes a reason away; what was held runs, in the order in which it came, when no other is left. */
  open(reason: string): void {
    this.#reasons.delete(reason);
    this.letThrough();
  }

  /** Runs when the gate opens, and not at all when the role ends before. */
  hold(run: () => void): void {
    this.#held.push(run);
  }

  letThrough(): void {
    if (this.#reasons.size > 0 || !this.#serving()) return;
    const held = this.#held;
    this.#held = [];
    for (const run of held) run();
  }

  clear(): void {
    this.#held = [];
  }
}
