/** A compile on the volume: many small reads and writes, parallel make, archives, timestamps that make relies on. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Cluster, withCluster } from '../../support/cluster.js';
import { run, shell } from '../../support/exec.js';
import { entriesIn, victims, victimText, withVictim } from '../../support/faults.js';
import { amount } from '../../support/size.js';

const UNITS = amount(24, 300);

/** A C program of UNITS files that depend on shared headers; it prints a number that depends on all of them. */
function makeSource(directory: string): void {
  mkdirSync(join(directory, 'include'), { recursive: true });
  mkdirSync(join(directory, 'src'));
  const calls: string[] = [];
  const declarations: string[] = [];
  for (let n = 0; n < UNITS; n++) {
    declarations.push(`unsigned unit${n}(unsigned x);`);
    calls.push(`x = unit${n}(x);`);
    const table = Array.from({ length: 200 }, (_, i) => (i * 7919 + n * 104_729) % 65_521).join(',');
    const code = `#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include "all.h"
static const unsigned table[] = {${table}};
unsigned unit${n}(unsigned x) { for (unsigned i = 0; i < 200; i++) x = x * 31 + table[(x + i) % 200]; return x ^ ${n}u; }\n`;
    writeFileSync(join(directory, 'src', `unit${n}.c`), code);
  }
  writeFileSync(join(directory, 'include', 'all.h'), `#ifndef ALL_H\n#define ALL_H\n${declarations.join('\n')}\n#endif\n`);
  const main = `#include <stdio.h>\n#include "all.h"\nint main(void) { unsigned x = 1; ${calls.join(' ')} printf("%u\\n", x); return 0; }\n`;
  writeFileSync(join(directory, 'src', 'main.c'), main);
  const makefile = `CFLAGS = -O1 -Iinclude -MMD
UNITS = $(patsubst src/%.c,build/%.o,$(wildcard src/unit*.c))
build/program: build/main.o build/libunits.a
\tgcc -o $@ build/main.o -Lbuild -lunits
build/libunits.a: $(UNITS)
\trm -f $@
\tar rcsD $@ $(sort $(UNITS))
build/%.o: src/%.c
\t@mkdir -p build
\tgcc $(CFLAGS) -c -o $@ $<
-include build/*.d
`;
  writeFileSync(join(directory, 'Makefile'), makefile);
}

let scratch: string;
let expected: string;
const BUILD = 'cd "$1"; make -s -j2 build/program; ./build/program; (cd build; sha256sum *.o libunits.a | sort)';

before(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'gluon-compile-'));
  makeSource(join(scratch, 'source'));
  await run('cp', ['-a', join(scratch, 'source'), join(scratch, 'plain')]);
  expected = (await shell(BUILD, [join(scratch, 'plain')], { boundMs: 300_000 })).stdout;
});
after(() => rmSync(scratch, { recursive: true, force: true }));

test('a C program is compiled on the volume', async (t) => {
  await withCluster(
    () => Cluster.mounted(),
    async (cluster) => {
      for (const victim of victims('primary')) {
        await t.test(`to the same objects as on ext4, and make has nothing left to do on another node${victimText(victim)}`, async () => {
          const directory = (index: number): string => join(cluster.node(index).mountPoint, `compile-${victim}`);
          await run('cp', ['-a', join(scratch, 'source'), directory(0)]);
          let output = '';
          const work = async (): Promise<void> => {
            output = (await shell(BUILD, [directory(0)], { boundMs: 600_000 })).stdout;
          };
          await withVictim(cluster, victim, work, entriesIn(join(cluster.node(2).brickPath, `compile-${victim}`, 'build'), 4));
          assert.equal(output, expected);
          const again = await shell('cd "$1"; make -q build/program; ./build/program', [directory(1)]);
          assert.equal(again.stdout.trim(), expected.split('\n')[0]);
          await cluster.assertHealedAndEqual();
        });
      }
    },
  );
});
