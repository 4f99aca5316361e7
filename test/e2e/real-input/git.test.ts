/** git works on the volume: clone, check, commit, repack, and the other nodes see the same repository. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Cluster, withCluster } from '../../support/cluster.js';
import { shell } from '../../support/exec.js';
import { entriesIn, victims, victimText, withVictim } from '../../support/faults.js';
import { amount } from '../../support/size.js';

const FILES = amount(120, 6000);
const ROUNDS = amount(1, 10);

const IDENTITY = {
  GIT_AUTHOR_NAME: 'gluon test',
  GIT_AUTHOR_EMAIL: 'test@gluon.invalid',
  GIT_COMMITTER_NAME: 'gluon test',
  GIT_COMMITTER_EMAIL: 'test@gluon.invalid',
  GIT_CONFIG_GLOBAL: '/dev/null',
};

/** A repository of real files with some history. */
const ORIGIN = `
git init -q -b main "$1"; cd "$1"
find /usr/include /usr/share/perl -xdev -type f -size -64k 2>/dev/null | sort | awk -v n="$2" "NR <= n" | tar -T - -cf - 2>/dev/null | tar -xf -
git add -A; git commit -q -m first
for n in 1 2 3; do
  find . -name '*.h' -not -path './.git/*' | sort | awk "NR % 7 == $n" | while read -r file; do echo "/* change $n */" >> "$file"; done
  git add -A; git commit -q -m "change $n"; git tag "v$n"
done
`;

const WORK = `
git clone -q --no-hardlinks "$1" "$2"; cd "$2"
git fsck --full --strict 2>&1
test -z "$(git status --porcelain)"
for n in $(seq "$3"); do
  git checkout -q -b "branch$n" main
  find . -name '*.h' -not -path './.git/*' | sort | awk "NR % 11 == $n" | while read -r file; do sed -i "1i // branch $n" "$file"; done
  git rm -qf "$(git ls-files | awk "NR == $n")"
  git add -A; git commit -q -m "branch $n"
  git stash list > /dev/null
  git checkout -q main
  git merge -q --no-edit -X theirs "branch$n" > /dev/null 2>&1 || { git add -A; git commit -q -m "merge $n"; }
done
git gc -q --prune=now
git fsck --full --strict 2>&1
test -z "$(git status --porcelain)"
git rev-parse HEAD^{tree}
`;

let scratch: string;

before(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'gluon-git-'));
  await shell(ORIGIN, [join(scratch, 'origin'), String(FILES)], { env: IDENTITY });
});
after(() => rmSync(scratch, { recursive: true, force: true }));

test('git clone, commit, merge, gc and fsck on the volume', async (t) => {
  await withCluster(
    () => Cluster.mounted(),
    async (cluster) => {
      for (const victim of victims('primary')) {
        await t.test(`find nothing wrong${victimText(victim)}`, async () => {
          const name = `clone-${victim}`;
          let tree = '';
          const work = async (): Promise<void> => {
            const words = [join(scratch, 'origin'), join(cluster.node(0).mountPoint, name), String(ROUNDS)];
            tree = (await shell(WORK, words, { env: IDENTITY, boundMs: 600_000 })).stdout.trim().split('\n').at(-1) ?? '';
          };
          await withVictim(cluster, victim, work, entriesIn(join(cluster.node(2).brickPath, name, 'usr'), 1));
          for (const node of cluster.nodes.slice(1)) {
            const check = 'cd "$1"; git fsck --full --strict 2>&1; git -c core.trustctime=false -c core.checkStat=minimal status --porcelain; git rev-parse HEAD^{tree}';
            const { stdout } = await shell(check, [join(node.mountPoint, name)], { env: { ...IDENTITY, GIT_OPTIONAL_LOCKS: '0' }, boundMs: 300_000 });
            assert.equal(stdout.trim().split('\n').at(-1), tree);
          }
          await cluster.assertHealedAndEqual();
        });
      }
    },
  );
});
