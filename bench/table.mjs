/** Rendering and judging of results: `{system: {row: value}}`. */
import { ROWS } from './rows.mjs';

/** A row stands at "three times the better peer, or 70 % of what the hardware allows where that is less" (DESIGN §10). */
const GOAL_PEER_FACTOR = 3;
const GOAL_HARDWARE_SHARE = 0.7;

export function median(values) {
  const sorted = values.toSorted((left, right) => left - right);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function numberText(value) {
  if (value === undefined) return '-';
  if (value >= 100_000) return `${Math.round(value / 1000)}k`;
  if (value >= 10_000) return `${(value / 1000).toFixed(1)}k`;
  return value >= 100 ? Math.round(value).toLocaleString('en-US') : value.toFixed(1);
}

function ratioText(value, base) {
  return value === undefined || base === undefined || base === 0 ? '-' : `${(value / base).toFixed(2)}x`;
}

/** The better GlusterFS profile of a row, or undefined when none was measured. */
export function betterGluster(results, row) {
  const values = Object.keys(results)
    .filter((system) => system.startsWith('glusterfs'))
    .map((system) => results[system][row])
    .filter((value) => value !== undefined);
  return values.length === 0 ? undefined : Math.max(...values);
}

/** Where gluon stands in one row: below the better GlusterFS profile, level with it, or at the goal of DESIGN §10. */
export function standing(results, { row, bound }) {
  const gluon = results.gluon?.[row];
  if (gluon === undefined) return { verdict: '-' };
  const gluster = betterGluster(results, row);
  const hardware = results.disk?.[row] === undefined ? undefined : results.disk[row] * bound;
  const goals = [gluster === undefined ? undefined : gluster * GOAL_PEER_FACTOR, hardware === undefined ? undefined : hardware * GOAL_HARDWARE_SHARE];
  const goal = Math.min(...goals.filter((value) => value !== undefined));
  if (gluster === undefined) return { verdict: Number.isFinite(goal) && gluon >= goal ? 'goal' : '-', goal };
  if (gluon < gluster) return { verdict: 'BELOW', goal };
  return { verdict: Number.isFinite(goal) && gluon >= goal ? 'goal' : 'level', goal };
}

/** Columns aligned on the right, except the first. */
export function alignedTable(lines) {
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  return lines.map((line) => line.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]))).join('  ')).join('\n');
}

export function resultTable(results, wanted) {
  const systems = Object.keys(results);
  const withGluon = systems.includes('gluon');
  const withMoose = withGluon && systems.includes('moosefs');
  const head = ['workload', 'unit', ...systems, ...(withGluon ? ['/ GlusterFS', ...(withMoose ? ['/ MooseFS'] : []), '/ disk', 'goal', 'stands'] : [])];
  const lines = [head];
  for (const row of ROWS.filter(({ row: name }) => wanted.has(name))) {
    const values = systems.map((system) => numberText(results[system][row.row]));
    const line = [row.title, row.unit, ...values];
    if (withGluon) {
      const gluon = results.gluon[row.row];
      const { verdict, goal } = standing(results, row);
      line.push(ratioText(gluon, betterGluster(results, row.row)));
      if (withMoose) line.push(row.leased ? ratioText(gluon, results.moosefs[row.row]) : '-');
      line.push(ratioText(gluon, results.disk?.[row.row]), Number.isFinite(goal) ? numberText(goal) : '-', verdict);
    }
    lines.push(line);
  }
  return alignedTable(lines);
}
