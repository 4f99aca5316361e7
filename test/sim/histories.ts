/** What clients asked and were told, with the instants, in one history for each kind of object. */
import { checkLinearizable, partition, type Model, type Operation } from '../support/linearizability.js';
import {
  blockModel, fileModel, lockModel, namesModel, UNWRITTEN, type BlockInput, type BlockOutput, type FileInput, type FileOutput, type LockInput, type LockOutput, type Names,
  type NamesInput, type NamesOutput,
} from '../support/sequential-models.js';

/** Instants are counted and not measured, so that no two are equal. */
export class Instants {
  #last = 0;

  next(): number {
    return ++this.#last;
  }
}

export class History<I, O> {
  readonly operations: Operation<I, O>[] = [];
  readonly #instants: Instants;

  constructor(instants: Instants) {
    this.#instants = instants;
  }

  begin(client: string, input: I): Operation<I, O> {
    const operation: Operation<I, O> = { client, input, output: undefined, call: this.#instants.next(), return: Infinity };
    this.operations.push(operation);
    return operation;
  }

  end(operation: Operation<I, O>, output: O): void {
    operation.output = output;
    operation.return = this.#instants.next();
  }

  /** It is certain that it had no effect. */
  withdraw(operation: Operation<I, O>): void {
    this.operations.splice(this.operations.indexOf(operation), 1);
  }
}

/** What the shared tree holds when a history begins. */
export interface Content {
  names: Names;
  blocks: ReadonlyMap<string, string>;
  file: readonly string[];
}

export const NOTHING: Content = { names: new Map(), blocks: new Map(), file: [] };

export interface Sync {
  /** What was made durable: names of SharedFiles, or the identity of an inode. */
  object: string;
  call: number;
  return: number;
}

/** From the beginning, or from a total loss of power, to the next or the end. */
export class Histories {
  readonly instants: Instants;
  readonly initial: Content;
  readonly blocks: History<BlockInput, BlockOutput>;
  readonly file: History<FileInput, FileOutput>;
  readonly names: History<NamesInput, NamesOutput>;
  readonly lock: History<LockInput, LockOutput>;
  readonly syncs: Sync[] = [];

  constructor(instants: Instants, initial: Content) {
    this.instants = instants;
    this.initial = initial;
    this.blocks = new History(instants);
    this.file = new History(instants);
    this.names = new History(instants);
    this.lock = new History(instants);
  }

  get count(): number {
    return [this.blocks, this.file, this.names, this.lock].reduce((sum, { operations }) => sum + operations.length, 0);
  }

  /** Violations: histories that no order explains, and such that could not be decided within the bound. */
  check(): string[] {
    const { initial } = this;
    const wrong: string[] = [];
    const check = <S, I, O>(what: string, model: Model<S, I, O>, operations: Operation<I, O>[]): void => {
      const verdict = checkLinearizable(model, operations);
      if (verdict.kind === 'undecided') wrong.push(`${what}: the search for an order of ${operations.length} operations was given up after ${verdict.steps} steps`);
      if (verdict.kind === 'wrong') wrong.push(`${what}: no order explains ${operations.length} operations; after ${verdict.reached} of them: ${verdict.stuck}`);
    };
    for (const [block, operations] of partition(this.blocks.operations, (input) => input.block)) check(block, blockModel(initial.blocks.get(block) ?? UNWRITTEN), operations);
    check('the appended file', fileModel(initial.file), this.file.operations);
    check('names', namesModel(initial.names, this.#knownIds()), this.names.operations);
    check('the lock', lockModel, this.lock.operations);
    return wrong;
  }

  /** What creators were told, and what was there before. */
  #knownIds(): Set<string> {
    const known = new Set(this.initial.names.values());
    for (const { input, output } of this.names.operations) if (('create' in input || 'mkdir' in input) && output?.id !== undefined) known.add(output.id);
    return known;
  }
}
