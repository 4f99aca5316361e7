/** The table of results. */
import { median } from './healthy.js';
import type { Outcome } from './scenario.js';

export interface Row {
  scenario: string;
  outcome: Outcome;
}

const COLUMNS = ['scenario', 'migrations', 'downtime median ms', 'worst ms', 'guest errors', 'blocks verified', 'bricks', 'result'] as const;

function cells({ scenario, outcome }: Row): string[] {
  const downtimes = outcome.migrations.map(({ downtimeMs }) => downtimeMs);
  return [
    scenario,
    String(downtimes.length),
    downtimes.length === 0 ? '-' : median(downtimes).toFixed(0),
    downtimes.length === 0 ? '-' : Math.max(...downtimes).toFixed(0),
    String(outcome.guestErrors.length),
    String(outcome.verified),
    outcome.bricks === '' ? 'equal' : 'DIFFER',
    outcome.violations.length === 0 ? 'ok' : `${outcome.violations.length} VIOLATION(S)`,
  ];
}

/** Names to the left, numbers to the right. */
export function resultTable(rows: readonly Row[]): string {
  const lines = [[...COLUMNS], ...rows.map(cells)];
  const widths = COLUMNS.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines.map((line) => line.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  ')).join('\n');
}
