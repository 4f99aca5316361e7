/** sqlite on the volume: writers on two nodes at once, each transaction there, the database whole. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { Cluster, withCluster } from '../../support/cluster.js';
import { run } from '../../support/exec.js';
import { changes, victims, victimText, withVictim } from '../../support/faults.js';
import { amount } from '../../support/size.js';

const TRANSACTIONS = amount(25, 1000);
const JOURNALS = ['delete', 'truncate'].slice(0, amount(1, 2));

/** Transactions that move money between accounts and write a line each: the sum never changes. */
const WRITER = `
import random, sqlite3, sys
path, node, count, journal = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
db = sqlite3.connect(path, timeout=120, isolation_level=None)
db.execute('pragma journal_mode=' + journal)
db.execute('pragma synchronous=full')
r = random.Random(node)
for n in range(count):
    db.execute('begin immediate')
    a, b, amount = r.randrange(100), r.randrange(100), r.randrange(1000)
    db.execute('update account set balance = balance - ? where id = ?', (amount, a))
    db.execute('update account set balance = balance + ? where id = ?', (amount, b))
    db.execute('insert into line(node, n, text) values (?, ?, ?)', (node, n, 'x' * r.randrange(3000)))
    db.execute('commit')
`;

const CREATE = `
create table account(id integer primary key, balance integer not null);
with recursive n(i) as (select 0 union all select i + 1 from n where i < 99) insert into account select i, 1000 from n;
create table line(node integer, n integer, text text, primary key(node, n));
`;

async function ask(path: string, sql: string): Promise<string> {
  return (await run('sqlite3', ['-cmd', '.timeout 60000', path, sql])).stdout.trim();
}

test('sqlite writers on two nodes', async (t) => {
  await withCluster(
    () => Cluster.mounted(),
    async (cluster) => {
      for (const victim of victims('primary')) {
        for (const journal of JOURNALS) {
          await t.test(`keep every transaction with journal mode ${journal}${victimText(victim)}`, async () => {
            const name = `${journal}-${victim}.db`;
            const path = (index: number): string => join(cluster.node(index).mountPoint, name);
            await run('sqlite3', [path(0), CREATE]);
            const work = async (): Promise<void> => {
              const writer = (index: number): Promise<unknown> =>
                run('python3', ['-c', WRITER, path(index), String(index), String(TRANSACTIONS), journal], { boundMs: 600_000 });
              await Promise.all([writer(0), writer(1)]);
            };
            await withVictim(cluster, victim, work, changes(join(cluster.node(2).brickPath, name)));
            assert.equal(await ask(path(2), 'pragma integrity_check'), 'ok');
            assert.equal(await ask(path(2), 'select sum(balance) from account'), '100000');
            assert.equal(await ask(path(2), 'select count(*), count(distinct node) from line'), `${2 * TRANSACTIONS}|2`);
            await cluster.assertHealedAndEqual();
          });
        }
      }
    },
  );
});
