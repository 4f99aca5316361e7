/** The table of results. */
import type { RoundResult } from './round.js';

export interface Row {
  fault: string;
  results: RoundResult[];
  /** Rounds that failed, for whatever reason. */
  failed: number;
}

const COLUMNS = ['fault', 'rounds', 'acknowledged', 'longest stall ms', 'allowed ms', 'lost', 'wrong', 'heal s', 'failed'] as const;

function cells({ fault, results, failed }: Row): string[] {
  const most = (of: (result: RoundResult) => number): number => Math.max(0, ...results.map(of));
  const total = (of: (result: RoundResult) => number): number => results.reduce((sum, result) => sum + of(result), 0);
  return [
    fault,
    String(results.length),
    String(total((r) => r.acknowledged)),
    most((r) => r.stallMs).toFixed(0),
    most((r) => r.boundMs).toFixed(0),
    String(total((r) => r.lost.length)),
    String(total((r) => r.wrong.length)),
    most((r) => r.healS).toFixed(1),
    String(failed),
  ];
}

/** Names to the left, numbers to the right. */
export function resultTable(rows: readonly Row[]): string {
  const lines = [[...COLUMNS], ...rows.map(cells)];
  const widths = COLUMNS.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines.map((line) => line.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  ')).join('\n');
}
