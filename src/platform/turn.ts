/**
 * Turns of the event loop as far as sending goes: each callback from the kernel (a socket or /dev/fuse can be read) begins one. Counted, because asking the loop to say when a turn ends
 * (`setImmediate`) has it ask the kernel once more for nothing.
 */
let turns = 0;

/** The kernel has something for this process. */
export function turnBegins(): void {
  turns++;
}

/** Two calls that answer the same are in the same turn. */
export function presentTurn(): number {
  return turns;
}
