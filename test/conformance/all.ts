/** All conformance tests, and the runner that makes them node:test tests of one subject. */
import { after, before, describe, test } from 'node:test';
import { ATTRIBUTE_TESTS } from './attributes.js';
import { DATA_TESTS } from './data.js';
import { LOCK_TESTS } from './locks.js';
import { NAME_TESTS } from './names.js';
import { RENAME_TESTS } from './rename.js';
import { SESSION_TESTS } from './sessions.js';
import { Fixture, NotApplicable, type ConformanceTests, type Subject } from './suite.js';
import { TREE_TESTS } from './tree.js';
import { XATTR_TESTS } from './xattrs.js';

export const CONFORMANCE: Record<string, ConformanceTests> = {
  names: NAME_TESTS,
  attributes: ATTRIBUTE_TESTS,
  tree: TREE_TESTS,
  rename: RENAME_TESTS,
  data: DATA_TESTS,
  xattrs: XATTR_TESTS,
  locks: LOCK_TESTS,
  sessions: SESSION_TESTS,
};

const TEST_MS_MAX = 60_000;

/** Declares every conformance test for one subject. `skip` names claims that the subject is known not to keep, with the reason. */
export function conformanceOf(label: string, make: () => Promise<Subject>, skip: Record<string, string> = {}): void {
  describe(`${label} conforms`, () => {
    let subject: Subject;
    before(async () => {
      subject = await make();
    });
    after(async () => {
      await subject.close();
    });
    for (const [group, tests] of Object.entries(CONFORMANCE)) {
      describe(group, () => {
        for (const [claim, body] of Object.entries(tests)) {
          test(claim, { timeout: TEST_MS_MAX, skip: skip[claim] }, async (context) => {
            const fixture = await Fixture.make(subject);
            try {
              await body(fixture);
            } catch (error) {
              if (!(error instanceof NotApplicable)) throw error;
              context.skip(error.message);
            } finally {
              await fixture.end();
            }
          });
        }
      });
    }
  });
}
