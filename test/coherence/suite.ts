/** The suite's vocabulary: what a claim gets. */
import type { TestContext } from 'node:test';
import type { Agent } from '../conformance/posix/client.js';
import { PosixFixture } from '../conformance/posix/suite.js';
import type { Cluster } from '../support/cluster.js';
import { amount } from '../support/size.js';
import { runActors } from './actors.js';
import type { Job, Outcome, Work } from './jobs.js';

export type CoherenceClaims = Record<string, (t: CoherenceFixture) => Promise<void>>;

interface Bounds {
  seconds?: number;
  operationsMin?: number;
  operationsMax?: number;
  meanwhile?: () => Promise<void>;
}

const LETTERS = 'ABCDEFGH';

export class CoherenceFixture extends PosixFixture {
  constructor(
    readonly cluster: Cluster,
    /** Where the mounts are. */
    readonly mounts: readonly string[],
    name: string,
    private readonly context: TestContext,
    private readonly agentsLeft: Agent[],
  ) {
    super({ directories: [...mounts], fuse: true }, name, agentsLeft);
  }

  /** The same directory through other mounts; to be ended by who asked for it. */
  over(mounts: readonly string[]): CoherenceFixture {
    return new CoherenceFixture(this.cluster, mounts, this.name, this.context, this.agentsLeft);
  }

  /** Runs one program of this kind on each mount, or these on the mounts in turn. */
  run(work: Work | readonly Work[], { seconds = amount(0.6, 10), operationsMin = 0, operationsMax = 4000, meanwhile }: Bounds = {}): Promise<Outcome[]> {
    const works = Array.isArray(work) ? (work as readonly Work[]) : this.mounts.map(() => work as Work);
    const jobs = works.map((one, i): Job => {
      const client = LETTERS[i] ?? 'Z';
      return { client, directory: `${this.mounts[i % this.mounts.length]}/${this.name}`, seed: i + 1, seconds, operationsMin, operationsMax, work: one };
    });
    return runActors(jobs, meanwhile);
  }

  /** A line in the report of the tests. */
  tell(line: string): void {
    this.context.diagnostic(line);
  }
}

/** The q-th part of these numbers, 0.5 for the median; 0 for none. */
export function quantile(numbers: readonly number[], q: number): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0;
}
