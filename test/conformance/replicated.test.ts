/** The conformance suite over the client and three replicated bricks. */
import { BrickSet } from '../support/brick-set.js';
import { conformanceOf } from './all.js';
import type { Subject } from './suite.js';

async function replicatedSubject(): Promise<Subject> {
  const set = await BrickSet.start();
  return {
    open: async () => {
      const client = set.client();
      return {
        fops: client.fops,
        close: async () => {
          set.forget(client);
          // The bricks hear of it in their own time; a later request of another client comes after it.
          await new Promise((resolve) => setTimeout(resolve, 20));
        },
      };
    },
    manySessions: true,
    exactlyOnce: true,
    close: () => set.close(),
  };
}

conformanceOf('a client over three bricks', replicatedSubject);
