import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FsError } from '../../../src/base/errno.js';
import { RealClock, RealRandom } from '../../../src/platform/clock.js';
import { isLogLevel, JsonLog } from '../../../src/platform/log.js';

function lines(write: (log: JsonLog) => void): string[] {
  const out: string[] = [];
  write(new JsonLog((line) => out.push(line), 'info', { brick: 'b1' }));
  return out;
}

describe('log', () => {
  it('is one JSON object a line, with the fields of its parents', () => {
    const [line = ''] = lines((log) => log.child({ peer: 2 }).warn('lost', { size: 10n, data: Buffer.from('abc') }));
    const { time, ...rest } = JSON.parse(line) as Record<string, unknown>;
    assert.match(String(time), /^\d{4}-.*Z$/);
    assert.deepEqual(rest, { level: 'warn', message: 'lost', brick: 'b1', peer: 2, size: 10, data: 'bytes' });
    assert.ok(line.endsWith('}\n'));
  });

  it('a name in a field cannot forge a line or drive a terminal', () => {
    const [line = ''] = lines((log) => log.info('x', { name: 'a\n{"b":1}\u001b[2J\u009b\u007f\u2028\u202e' }));
    // eslint-disable-next-line no-control-regex
    assert.match(line, /^[\u0020-\u007e]*\n$/);
    assert.equal((JSON.parse(line) as { name: string }).name, 'a\n{"b":1}\u001b[2J\u009b\u007f\u2028\u202e');
  });

  it('says what an error was, and says less than the level nowhere', () => {
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    const out = lines((log) => {
      log.debug('quiet');
      log.error('failed', { error: new FsError(28, 'write') });
      log.error('odd', { circle });
      log.error('long', { text: 'x'.repeat(100_000) });
    });
    assert.equal(out.length, 3);
    assert.deepEqual((JSON.parse(out[0] ?? '') as { error: unknown }).error, {
      error: 'FsError',
      message: 'write: ENOSPC',
      errno: 28,
    });
    assert.match(out[1] ?? '', /odd/);
    assert.ok((out[2] ?? '').length < 40_000);
    assert.ok(isLogLevel('debug') && !isLogLevel('toString'));
  });
});

describe('real clock and randomness', () => {
  it('a timer fires after its time and not when it was cancelled', async () => {
    const clock = new RealClock();
    const start = clock.now();
    clock.after(1, () => assert.fail('cancelled'))();
    const elapsed = await new Promise<number>((resolve) => {
      clock.after(20, () => resolve(clock.now() - start));
    });
    assert.ok(elapsed >= 20);
  });

  it('the wall clock follows the system and does not run backwards within a millisecond', () => {
    const clock = new RealClock();
    let last = 0n;
    for (let i = 0; i < 1000; i++) {
      const { sec, nsec } = clock.wall();
      const now = BigInt(sec) * 1_000_000_000n + BigInt(nsec);
      assert.ok(now >= last && nsec >= 0 && nsec <= 999_999_999);
      last = now;
    }
    assert.ok(Math.abs(Number(last / 1_000_000n) - Date.now()) < 50);
  });

  it('randomness stays below its bound', () => {
    const random = new RealRandom();
    assert.equal(random.bytes(16).byteLength, 16);
    for (let i = 0; i < 100; i++) assert.ok(random.below(3) < 3);
  });
});
