/** All claims, each a subtest in a directory of its own. */
import type { TestContext } from 'node:test';
import type { Agent } from '../conformance/posix/client.js';
import type { Cluster } from '../support/cluster.js';
import { run } from '../support/exec.js';
import { SHORT } from '../support/size.js';
import { GREED } from './greed.js';
import { HISTORIES } from './histories.js';
import { STORMS } from './storms.js';
import { DEAD_CLIENTS } from './dead-clients.js';
import { RACES } from './races.js';
import { CoherenceFixture, type CoherenceClaims } from './suite.js';

export const COHERENCE: Record<string, CoherenceClaims> = { race: RACES, history: HISTORIES, storm: STORMS, 'dead client': DEAD_CLIENTS, ...(SHORT ? {} : { greed: GREED }) };

const CLAIM_MS_MAX = 200_000;

/** `GLUON_COHERENCE_ONLY` narrows it to claims that contain the text. */
export async function coherenceOver(t: TestContext, cluster: Cluster, only = process.env['GLUON_COHERENCE_ONLY'] ?? ''): Promise<void> {
  let count = 0;
  const idle: Agent[] = [];
  const mounts = cluster.nodes.map((node) => node.mountPoint);
  for (const [group, claims] of Object.entries(COHERENCE)) {
    for (const [claim, body] of Object.entries(claims)) {
      if (!`${group}: ${claim}`.includes(only)) continue;
      const name = `coherence-${++count}`;
      await t.test(`${group}: ${claim}`, { timeout: CLAIM_MS_MAX }, async (context) => {
        await run('mkdir', [`${mounts[0]}/${name}`], { boundMs: 30_000 });
        const fixture = new CoherenceFixture(cluster, mounts, name, context, idle);
        try {
          await body(fixture);
        } finally {
          await fixture.end();
        }
      });
    }
  }
  for (const agent of idle) await agent.kill();
}
