/**
 * Is a history linearizable? The search of Wing and Gong with Lowe's memory of configurations: operations are put in an order that respects
 * real time (what returned before another was called comes first) and that a sequential model accepts, one after the other, going back where
 * the model refuses; a pair of (operations done, state) that led nowhere is not tried again.
 *
 * An operation that never returned may take effect at any instant after its call, or not at all.
 *
 * The search is exponential at worst. Its work is bounded, and a search that was given up says `undecided`: that is not a pass.
 */
import { assert } from '../../src/base/assert.js';

export interface Operation<I, O> {
  /** Who called, for reports. */
  client: string;
  input: I;
  /** Undefined for an operation that never returned, or whose outcome is unknown. */
  output: O | undefined;
  /** Instants of one clock. An operation that returned at the instant at which another was called may have been concurrent with it. */
  call: number;
  /** Infinity where it never returned; an operation without output that has a finite end took effect before it or never. */
  return: number;
}

/** A sequential object, as pure functions. */
export interface Model<S, I, O> {
  initial: S;
  /** The states that may follow when the operation takes effect with this output; none when it cannot. `output` undefined: any outcome. */
  step(state: S, input: I, output: O | undefined): readonly S[];
  /** Equal for equal states only. */
  key(state: S): string;
}

export type Verdict =
  | { kind: 'linearizable'; steps: number }
  | { kind: 'undecided'; steps: number }
  /** `reached`: how many operations could be put in order at most; `stuck`: what could not follow them, and the state then; `at`: the earliest call among them. */
  | { kind: 'wrong'; steps: number; reached: number; stuck: string; at: number };

export const STEPS_MAX = 400_000;

interface Choice<S> {
  /** Index of the operation, in order of calls. */
  index: number;
  state: S;
}

interface Frame<S> {
  choices: Choice<S>[];
  next: number;
  state: S;
  /** The operation that led here; -1 at the beginning. */
  taken: number;
  /** The latest call among the operations done: what must have happened before it can happen no more. */
  latestCall: number;
}

/** Operations done, as a string that is equal for equal sets. */
function setKey(words: Uint16Array): string {
  return String.fromCharCode(...words);
}

/** Looks for an order of `history`; gives up after `stepsMax` calls of the model. */
export function checkLinearizable<S, I, O>(model: Model<S, I, O>, history: readonly Operation<I, O>[], stepsMax = STEPS_MAX): Verdict {
  const operations = history.toSorted((a, b) => a.call - b.call);
  for (const operation of operations) assert(operation.call <= operation.return, 'an operation returns after its call');
  const done = new Uint16Array(Math.ceil(operations.length / 16));
  const isDone = (index: number): boolean => (((done[index >> 4] as number) >> (index & 15)) & 1) === 1;
  const flip = (index: number): void => {
    done[index >> 4] = (done[index >> 4] as number) ^ (1 << (index & 15));
  };
  let left = operations.filter((operation) => operation.output !== undefined).length;
  let steps = 0;
  let reached = -1;
  let stuck = '';
  let at = Infinity;
  const seen = new Set<string>();

  /** Operations that may come next, the ones that must return soonest first: those with an open end are seldom needed. */
  const choose = (state: S, latestCall: number): Choice<S>[] => {
    const open: number[] = [];
    let firstReturn = Infinity;
    for (let index = 0; index < operations.length; index++) {
      const { call, output, return: end } = operations[index] as Operation<I, O>;
      if (call > firstReturn) break;
      if (isDone(index)) continue;
      open.push(index);
      if (output !== undefined) firstReturn = Math.min(firstReturn, end);
    }
    const choices: (Choice<S> & { end: number })[] = [];
    const before = model.key(state);
    for (const index of open) {
      const { input, output, call, return: end } = operations[index] as Operation<I, O>;
      if (call > firstReturn || (output === undefined && end < latestCall)) continue;
      steps++;
      for (const next of model.step(state, input, output)) {
        // An operation that need not happen is of use only where it changes something.
        if (output !== undefined || model.key(next) !== before) choices.push({ index, state: next, end: output === undefined ? Infinity : end });
      }
    }
    return choices.sort((a, b) => a.end - b.end || a.index - b.index);
  };

  const stack: Frame<S>[] = [{ choices: choose(model.initial, -Infinity), next: 0, state: model.initial, taken: -1, latestCall: -Infinity }];
  let depth = 0;
  while (stack.length > 0) {
    if (left === 0) return { kind: 'linearizable', steps };
    if (steps > stepsMax) return { kind: 'undecided', steps };
    const frame = stack.at(-1) as Frame<S>;
    if (depth > reached) {
      reached = depth;
      stuck = describe(operations, isDone, model.key(frame.state));
      at = operations.find((operation, index) => !isDone(index) && operation.output !== undefined)?.call ?? Infinity;
    }
    const choice = frame.choices[frame.next++];
    if (choice === undefined) {
      stack.pop();
      if (frame.taken < 0) break;
      flip(frame.taken);
      if ((operations[frame.taken] as Operation<I, O>).output !== undefined) {
        left++;
        depth--;
      }
      continue;
    }
    flip(choice.index);
    const configuration = `${setKey(done)}|${model.key(choice.state)}`;
    if (seen.has(configuration)) {
      flip(choice.index);
      continue;
    }
    seen.add(configuration);
    const { output, call } = operations[choice.index] as Operation<I, O>;
    if (output !== undefined) {
      left--;
      depth++;
    }
    const latestCall = Math.max(frame.latestCall, call);
    stack.push({ choices: left === 0 ? [] : choose(choice.state, latestCall), next: 0, state: choice.state, taken: choice.index, latestCall });
  }
  return { kind: 'wrong', steps, reached, stuck, at };
}

const DESCRIBED_MAX = 6;

function describe<I, O>(operations: readonly Operation<I, O>[], isDone: (index: number) => boolean, state: string): string {
  const next = operations
    .filter((operation, index) => !isDone(index) && operation.output !== undefined)
    .slice(0, DESCRIBED_MAX)
    .map(({ client, input, output, call, return: end }) => `${client} ${JSON.stringify(input)} → ${JSON.stringify(output)} [${call}, ${end}]`);
  return `state ${state}; next ${next.join('; ')}`;
}

/** Splits a history by the object that an operation is on. What is linearizable for every object alone is so as a whole. */
export function partition<I, O>(history: readonly Operation<I, O>[], keyOf: (input: I) => string): Map<string, Operation<I, O>[]> {
  const parts = new Map<string, Operation<I, O>[]>();
  for (const operation of history) {
    const key = keyOf(operation.input);
    const part = parts.get(key);
    if (part === undefined) parts.set(key, [operation]);
    else part.push(operation);
  }
  return parts;
}
