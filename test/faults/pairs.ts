/**
 * Alternating pairs: A and B take a change, then A and C, then B and C. Two copies of three always hold the newest change, and it is never the same two: who
 * believes a copy that was absent serves what was replaced. Also H5 (only the stale copy is there), H9 and H10 (names made, replaced and removed
 * while a brick is down).
 *
 *   1. A B   v1                 C is down
 *   2.   C   alone              must wait: v1 is unknown to it
 *   3. A C   v1 is read, v2     C was made equal by A before it counted
 *   4. B     alone              must wait: v2 is unknown to it
 *   5. B C   v2 is read, v3     B was made equal by C
 *   6. A B   v3 is read         all names as the last change left them
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import type { Node } from '../support/cluster.js';
import { start, type Running } from '../support/exec.js';
import { onHost } from '../support/network.js';
import { nameOf, type Bed } from './bed.js';

const ANSWER_MS = 60_000;
const WAITS_MS = 3_000;

/** Everything in the directory $1 is as version $2 left it; otherwise status 3 and a sentence. */
const READ = `
set -eu
cd "$1"; old=$2
if [ "$old" = 0 ]; then exit 0; fi
[ "$(cat bytes)" = "bytes $old" ] || { echo "bytes holds $(cat bytes), not $old"; exit 3; }
[ "$(cat target)" = "target $old" ] || { echo "target holds $(cat target), not $old"; exit 3; }
[ "$(ls | tr '\\n' ' ')" = "bytes made-$old target " ] || { echo "names after $old: $(ls | tr '\\n' ' ')"; exit 3; }
[ "$(stat -c %a bytes)" = "60$old" ] || { echo "mode after $old: $(stat -c %a bytes)"; exit 3; }
`;
/** From version $2 to $3: bytes and mode of a file, a name replaced by rename, one made, one removed. All of it is synced. */
const CHANGE = `
set -eu
cd "$1"; old=$2 new=$3
printf 'bytes %s' "$new" > bytes; chmod "60$new" bytes
printf 'target %s' "$new" > fresh; sync fresh; mv fresh target
: > "made-$new"; rm -f "made-$old"
sync bytes target .
`;

export class Pairs {
  private readonly directory: string;
  /** Acknowledged ones. */
  changes = 0;

  constructor(
    private readonly bed: Bed,
    name: string,
    private readonly note: (text: string) => void,
  ) {
    this.directory = join(bed.client.mountPoint, name);
  }

  /** Violations, one sentence each. */
  async run(): Promise<string[]> {
    const { bed } = this;
    const [a, b, c] = bed.cluster.nodes;
    if (a === undefined || b === undefined || c === undefined) throw new Error('three nodes are needed');
    const problems: string[] = [];
    const step = async (what: string, work: Promise<string>): Promise<void> => {
      const problem = await work.catch((error: unknown) => String(error));
      this.note(`${what}: ${problem === '' ? 'as it must be' : problem}`);
      if (problem !== '') problems.push(`${what}: ${problem}`);
    };
    await this.answered(['mkdir', this.directory]);
    await this.down(c);
    await step('A and B take v1', this.change(0, 1));
    await this.down(a, b);
    await this.up(c);
    await step('C alone waits', this.waits());
    await this.up(a);
    await step('A and C show v1', this.shows(1));
    await step('A and C take v2', this.change(1, 2));
    await this.down(a, c);
    await this.up(b);
    await step('B alone waits', this.waits());
    await this.up(c);
    await step('B and C show v2', this.shows(2));
    await step('B and C take v3', this.change(2, 3));
    await this.down(c);
    await this.up(a);
    await step('A and B show v3', this.shows(3));
    await step('A and B take v4', this.change(3, 4));
    await this.up(c);
    await bed.cluster.waitUntilHealed();
    for (const node of bed.cluster.nodes) await bed.mountAgain(node);
    for (const host of bed.hosts) await step(`${nameOf(host)} shows v4`, this.shows(4, host));
    const differences = await bed.brickDifferences();
    if (differences !== '') problems.push(`the brick directories differ: ${differences}`);
    return problems;
  }

  private async down(...nodes: Node[]): Promise<void> {
    this.note(`${nodes.map(nameOf).join(', ')} down`);
    await Promise.all(nodes.map((node) => this.bed.killNode(node)));
  }

  /** Only the daemon and its brick: a mount is not served where there is no majority. */
  private async up(node: Node): Promise<void> {
    this.note(`${nameOf(node)} up`);
    this.bed.cluster.spawnDaemon(node);
    await sleep(500);
  }

  private script(script: string, words: string[], host: Node): Running {
    const directory = join(host.mountPoint, this.directory.slice(this.bed.client.mountPoint.length));
    const [command = '', ...rest] = onHost(host.network, ['bash', '-c', script, 'pairs', directory, ...words]);
    return start(command, rest, { boundMs: ANSWER_MS, accept: [0, 3], env: this.bed.cluster.environment(host) });
  }

  private async answered(words: string[]): Promise<void> {
    await this.bed.cluster.on(this.bed.client, words, { boundMs: ANSWER_MS });
  }

  private async shows(version: number, host = this.bed.client): Promise<string> {
    const { stdout } = await this.script(READ, [String(version)], host).done;
    return stdout.trim();
  }

  private async change(from: number, to: number): Promise<string> {
    const before = await this.shows(from);
    await this.script(CHANGE, [String(from), String(to)], this.bed.client).done;
    this.changes++;
    return before;
  }

  /** A read that was begun gets no answer for a while; an error would be as wrong as old data. */
  private async waits(): Promise<string> {
    const reading = this.script('stat "$1/bytes" > /dev/null && cat "$1/bytes"', [], this.bed.client);
    let answer: string | undefined;
    reading.done.then(
      ({ status, stdout, stderr }) => (answer = `it answered (status ${status}) ${stdout}${stderr}`),
      (error: unknown) => (answer = String(error)),
    );
    await sleep(WAITS_MS);
    return answer ?? '';
  }
}
