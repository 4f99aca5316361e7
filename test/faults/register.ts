/**
 * Is a history of one register, whose writes all carry different values, linearizable? Exact and fast, after Gibbons and Korach (Testing
 * Shared Memories, 1997): a value's operations (its write and the reads that returned it) take effect next to each other, so each value has a
 * zone between its earliest end and its latest begin.
 *
 *   forward zone    earliest end < latest begin: the register holds the value for all of that time
 *   backward zone   all of its operations overlap: it may take effect in any instant of the zone
 *
 *   linearizable  <=>  no read ends before the write of its value begins, no two forward zones overlap,
 *                      no backward zone lies within a forward one
 */
export interface RegisterOp {
  kind: 'write' | 'read';
  value: number;
  begin: number;
  /** Infinity: it was never answered. */
  end: number;
  client?: number;
}

export const INITIAL = 0;

interface Zone {
  value: number;
  written: RegisterOp | undefined;
  earliestEnd: number;
  latestBegin: number;
}

/** Sentences about what is wrong; empty when the history is linearizable. The register holds `initial` first. */
export function registerProblems(ops: readonly RegisterOp[], initial = INITIAL): string[] {
  const zones = new Map<number, Zone>();
  const first: RegisterOp = { kind: 'write', value: initial, begin: -Infinity, end: -Infinity };
  zones.set(initial, { value: initial, written: first, earliestEnd: -Infinity, latestBegin: -Infinity });
  const problems: string[] = [];
  for (const op of ops) {
    // Nobody knows what a read without an answer returned.
    if (op.kind === 'read' && op.end === Infinity) continue;
    const zone = zones.get(op.value) ?? { value: op.value, written: undefined, earliestEnd: Infinity, latestBegin: -Infinity };
    zones.set(op.value, zone);
    if (op.kind === 'write') {
      if (zone.written !== undefined) problems.push(`the value ${shown(op.value)} was written twice: the history proves nothing`);
      zone.written = op;
    }
    zone.earliestEnd = Math.min(zone.earliestEnd, op.end);
    zone.latestBegin = Math.max(zone.latestBegin, op.begin);
  }
  const seen = [...zones.values()].filter((zone) => zone.earliestEnd !== Infinity);
  for (const zone of seen) {
    if (zone.written === undefined) problems.push(`${shown(zone.value)} was read, which nobody wrote`);
    else if (zone.earliestEnd < zone.written.begin) problems.push(`${shown(zone.value)} was read before it was written`);
  }
  const forward = seen.filter((zone) => zone.earliestEnd < zone.latestBegin).sort((a, b) => a.earliestEnd - b.earliestEnd);
  const backward = seen.filter((zone) => zone.earliestEnd >= zone.latestBegin);
  let last: Zone | undefined;
  for (const zone of forward) {
    if (last !== undefined && zone.earliestEnd < last.latestBegin)
      problems.push(`${shown(last.value)} and ${shown(zone.value)} were both the newest: one was seen again after the other had replaced it`);
    if (last === undefined || zone.latestBegin > last.latestBegin) last = zone;
  }
  for (const zone of backward) {
    const around = holder(forward, zone);
    if (around !== undefined) problems.push(`${shown(around.value)} was seen before and after ${shown(zone.value)} was ${zone.written === undefined ? 'read' : 'written'}`);
  }
  return problems;
}

/** The forward zone with the backward one inside. The forward ones are sorted by their beginnings. */
function holder(forward: readonly Zone[], zone: Zone): Zone | undefined {
  // A backward zone reaches from its latest begin to its earliest end.
  return forward.find((candidate) => candidate.earliestEnd < zone.latestBegin && zone.earliestEnd < candidate.latestBegin);
}

function shown(value: number): string {
  if (value === INITIAL) return 'nothing';
  if (value === -1) return 'garbage';
  return value > 0xffff_ffff ? `client ${Math.floor(value / 2 ** 32)}'s value ${value % 2 ** 32}` : `value ${value}`;
}
