/**
 * Judges a round: the histories of the clients, and what every mount shows when it is over.
 *
 *   lost    acknowledged, and not there any more
 *   wrong   anything else that no correct file system does: an error, garbage, a stale or a future value, something done twice, two
 *           mounts that differ
 *
 * A power cut of all bricks takes what was not synced: then only what an fsync covers must be there (`cut`): one that was over before, of anybody, or the first one of the
 * same client, whenever that succeeded. After the cut it must not, where what it is about is gone.
 */
import type { History, Operation } from './history.js';
import { INITIAL, registerProblems, type RegisterOp } from './register.js';

/** What a mount shows (load.py look). */
export interface Look {
  begin: number;
  ns: number;
  blocks: number[];
  log: ([number, number] | 'garbage' | null)[];
  names: Record<string, number>;
}

export interface Verdict {
  acknowledged: number;
  lost: string[];
  wrong: string[];
}

export interface Circumstances {
  /** The time in which all bricks lost power, if they did. */
  cut?: { begin: number; end: number };
  /** Errors that an operation of this client may have failed with. */
  mayFail(operation: Operation): boolean;
}

export const GARBAGE = -1;
const CHANGES = new Set(['write', 'append', 'create', 'rename', 'replace', 'unlink', 'fsync', 'log fsync', 'names fsync']);

export function judge(histories: readonly History[], looks: readonly Look[], circumstances: Circumstances): Verdict {
  const all = histories.flatMap((history) => history.operations).sort((a, b) => a.begin - b.begin);
  const verdict: Verdict = { acknowledged: 0, lost: [], wrong: [] };
  for (const operation of all) {
    const { client, op, args, outcome } = operation;
    if (outcome === 'ok' && CHANGES.has(op)) verdict.acknowledged++;
    else if (outcome !== 'ok' && outcome !== undefined && !circumstances.mayFail(operation))
      verdict.wrong.push(`client ${client}: ${op} ${args.join(' ')} failed with ${outcome} after ${((operation.end - operation.begin) / 1e6).toFixed(0)} ms`);
  }
  const [first, ...others] = looks;
  if (first === undefined) return verdict;
  for (const [index, other] of others.entries()) {
    const differing = (['blocks', 'log', 'names'] as const).filter((part) => JSON.stringify(first[part]) !== JSON.stringify(other[part]));
    if (differing.length > 0) verdict.wrong.push(`mount ${index + 2} shows other ${differing.join(', ')} than the first one`);
  }
  const judges = new Judge(all, circumstances, verdict);
  judges.blocks(looks);
  judges.currents(looks);
  judges.log(first);
  judges.names(histories, first);
  return verdict;
}

class Judge {
  constructor(
    private readonly all: readonly Operation[],
    private readonly circumstances: Circumstances,
    private readonly verdict: Verdict,
  ) {}

  blocks(looks: readonly Look[]): void {
    const syncs = this.all.filter(({ op }) => op === 'fsync');
    for (const block of looks[0]?.blocks.keys() ?? []) {
      const ops = this.all.filter(({ op, args }) => (op === 'write' || op === 'read') && args[0] === block);
      const history = ops.map((o) => registerOp(o, o.op === 'write' ? 'write' : 'read', o.op === 'write' ? (o.args[1] ?? 0) : o.result));
      this.register(`block ${block}`, history, looks.map((look) => seen(look, look.blocks[block] ?? INITIAL)), syncs);
    }
  }

  /** The file that each client replaces by rename is a register too: its content tells which rename was the last. */
  currents(looks: readonly Look[]): void {
    const syncs = this.all.filter(({ op }) => op === 'names fsync');
    const clients = new Set(this.all.filter(({ op }) => op === 'replace').map(({ client }) => client));
    for (const client of clients) {
      const writes = this.all.filter((o) => o.op === 'replace' && o.client === client).map((o) => registerOp(o, 'write', o.args[0] ?? 0));
      const reads = this.all.filter((o) => o.op === 'look' && o.args[0] === client && o.outcome === 'ok').map((o) => registerOp(o, 'read', o.result));
      const name = `current-${client}`;
      this.register(`names/${name}`, [...writes, ...reads], looks.map((look) => seen(look, look.names[name] ?? INITIAL)), syncs);
    }
  }

  /** `final` are the reads after everything. */
  private register(what: string, history: RegisterOp[], final: RegisterOp[], syncs: readonly Operation[]): void {
    const { cut } = this.circumstances;
    const { wrong, lost } = this.verdict;
    if (cut === undefined) {
      for (const { value } of final) {
        const older = newerWrite(history, value);
        if (older !== undefined) lost.push(`${what}: a write that was acknowledged is gone`);
      }
      for (const problem of registerProblems([...history, ...final])) wrong.push(`${what}: ${problem}`);
      return;
    }
    // Two histories with a loss between them. Power went some time between the beginning and the end of the cut: what was answered until then belongs to the
    // first, a write that was not answered to both.
    const before = history.filter((op) => op.end <= cut.end || (op.kind === 'write' && op.begin < cut.end));
    const early = before.map((op) => (op.end <= cut.end ? op : { ...op, end: Infinity }));
    for (const problem of registerProblems(early)) wrong.push(`${what}, before the power cut: ${problem}`);
    const late = [...history.filter((op) => op.end > cut.end).map((op) => ({ ...op, begin: Math.max(op.begin, cut.begin) })), ...final];
    const settled = new Map(early.filter((op) => op.kind === 'write' && op.end !== Infinity).map((op) => [op.value, op]));
    const survivors = new Set(late.filter((op) => op.kind === 'read' && op.end !== Infinity && (op.value === INITIAL || settled.has(op.value))).map((op) => op.value));
    if (survivors.size > 1) wrong.push(`${what}: after the power cut ${survivors.size} different old values were read`);
    const [survivor = INITIAL] = survivors;
    const synced = [...settled.values()].filter(
      (write) => syncs.some((sync) => sync.outcome === 'ok' && write.end < sync.begin && sync.end < cut.begin) || firstSucceeded(syncs, write),
    );
    const survived = settled.get(survivor);
    if (survivors.size > 0 && synced.some((write) => survivor === INITIAL || (survived !== undefined && survived.end < write.begin)))
      lost.push(`${what}: a write that was synced before the power cut is gone`);
    for (const problem of registerProblems(late, survivor)) wrong.push(`${what}, after the power cut: ${problem}`);
  }

  log(look: Look): void {
    const { wrong, lost } = this.verdict;
    const found = new Map<string, number>();
    const newest = new Map<number, number>();
    const powerCut = this.circumstances.cut !== undefined;
    for (const record of look.log) {
      if (record === 'garbage' || (record === null && !powerCut)) wrong.push(`log: ${record === null ? 'zeros' : 'garbage'} in place of a record`);
      if (record === null || record === 'garbage') continue;
      const [client, n] = record;
      found.set(`${client} ${n}`, (found.get(`${client} ${n}`) ?? 0) + 1);
      if (n < (newest.get(client) ?? 0)) wrong.push(`log: record ${n} of client ${client} stands after ${newest.get(client)}`);
      newest.set(client, n);
    }
    const appends = this.all.filter(({ op }) => op === 'append');
    const begun = new Set(appends.map(({ client, args }) => `${client} ${args[0]}`));
    for (const [key, count] of found) {
      if (count > 1) wrong.push(`log: record ${key} stands there ${count} times`);
      if (!begun.has(key)) wrong.push(`log: record ${key}, which nobody appended`);
    }
    for (const append of appends) {
      const key = `${append.client} ${append.args[0]}`;
      if (!found.has(key) && this.mustSurvive(append, 'log fsync')) lost.push(`log: the acknowledged record ${key} is gone`);
    }
  }

  /** Each name of each client goes through the states  nothing, n.new, n, removed or renamed over `current`. */
  names(histories: readonly History[], look: Look): void {
    const { wrong, lost } = this.verdict;
    const known = new Set<string>();
    for (const { client, operations } of histories) {
      known.add(`current-${client}`);
      const chains = new Map<number, Operation[]>();
      for (const operation of operations) {
        if (!['create', 'rename', 'unlink', 'replace'].includes(operation.op)) continue;
        const n = operation.args[0] ?? 0;
        chains.set(n, [...(chains.get(n) ?? []), operation]);
      }
      for (const [n, chain] of chains) {
        const name = `${client}-${n}`;
        known.add(name).add(`${name}.new`);
        const must = chain.filter((operation) => this.mustSurvive(operation, 'names fsync')).length;
        const fresh = look.names[`${name}.new`];
        const named = look.names[name];
        if (fresh !== undefined && named !== undefined) wrong.push(`names/${name}: both the old and the new name are there`);
        const states = named !== undefined ? [2] : fresh !== undefined ? [1] : [0, 3];
        if (!states.some((state) => state >= must && state <= chain.length)) {
          if (named === undefined && fresh === undefined) lost.push(`names/${name} is gone`);
          else (chain.length === 3 && must === 3 ? wrong : lost).push(`names/${name}: an acknowledged ${chain[must - 1]?.op} is undone`);
        }
        const content = named ?? fresh;
        // Until the create is answered its content may be a part.
        const whole = named !== undefined || must >= 1;
        if (content !== undefined && whole && content !== n) lost.push(`names/${name}: its content is gone`);
      }
    }
    for (const name of Object.keys(look.names)) if (!known.has(name)) wrong.push(`names/${name}, which nobody made`);
  }

  /** It was acknowledged, and no power cut could take it. */
  private mustSurvive({ outcome, end, client }: Operation, sync: string): boolean {
    if (outcome !== 'ok') return false;
    const { cut } = this.circumstances;
    if (cut === undefined || end > cut.end) return true;
    return firstSucceeded(this.all.filter((other) => other.op === sync), { end, client });
  }
}

/** The first fsync of the client that began after the change (and ended) succeeded. A later one says nothing: a loss is told once. */
function firstSucceeded(syncs: readonly Operation[], { end, client }: { end: number; client?: number | undefined }): boolean {
  return syncs.find((sync) => sync.client === client && sync.begin > end && sync.outcome !== undefined)?.outcome === 'ok';
}

function registerOp({ client, begin, end, outcome }: Operation, kind: RegisterOp['kind'], value: number): RegisterOp {
  // A write that failed may have taken effect; a read that failed says nothing.
  return { kind, value, begin, end: outcome === 'ok' ? end : Infinity, client };
}

function seen(look: Look, value: number): RegisterOp {
  return { kind: 'read', value, begin: look.begin, end: look.ns };
}

/** A write that certainly came after the one of this value. */
function newerWrite(history: readonly RegisterOp[], value: number): RegisterOp | undefined {
  const own = history.find((op) => op.kind === 'write' && op.value === value);
  if (value !== INITIAL && own === undefined) return undefined;
  const end = own?.end ?? -Infinity;
  return history.find((op) => op.kind === 'write' && op.begin > end && op.end !== Infinity);
}
