import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Route } from '../../../src/client/route.js';

/** Falls silent four seconds after it was connected directly, again and again: how long the direct way is avoided each time. */
function detours(route: Route, count: number): number[] {
  let now = 100_000;
  return Array.from({ length: count }, () => {
    route.connected(now);
    now += 4000;
    route.wasSilent(now);
    const from = now;
    route.connected(now, 'b');
    while (!route.looksForDirect(now)) now += 1000;
    return now - from;
  });
}

void describe('the route to the primary', () => {
  void it('asks other bricks after three failures, or after one attempt without an answer', () => {
    const route = new Route();
    assert.deepEqual([route.failed(1), route.failed(1), route.failed(1)], [false, false, true]);
    route.connected(0);
    assert.equal(route.failed(1), false);
    assert.equal(route.failed(1000), true);
  });

  void it('avoids a direct way that is silent again soon, for twice as long each time, up to five minutes', () => {
    assert.deepEqual(detours(new Route(), 8), [5000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]);
  });

  void it('trusts a direct way again that was good for long, or that leads to another primary', () => {
    const route = new Route();
    detours(route, 4);
    route.connected(1_000_000);
    route.wasSilent(1_080_000);
    assert.equal(route.avoidsDirect(1_084_999), true);
    assert.equal(route.avoidsDirect(1_085_000), false);
    detours(route, 4);
    route.reset();
    assert.deepEqual(detours(route, 1), [5000]);
  });

  void it('waits longer for a word after two connections in a row that fell silent soon, until one is good for long or another brick is primary', () => {
    const route = new Route();
    const patience = [];
    for (const lived of [4000, 4000, 4000, 40_000]) {
      route.connected(0);
      route.wasSilent(lived);
      patience.push(route.patient);
    }
    assert.deepEqual(patience, [false, true, true, false]);
    route.connected(0);
    route.wasSilent(4000);
    assert.equal(route.patient, true);
    route.reset();
    assert.equal(route.patient, false);
  });

  void it('asks a brick last through which the primary was silent too', () => {
    const route = new Route();
    const bricks = [{ id: 'b' }, { id: 'c' }];
    route.connected(0);
    route.wasSilent(4000);
    assert.deepEqual(route.ordered(bricks), bricks);
    route.connected(4000, 'b');
    route.wasSilent(8000);
    assert.equal(route.avoidsDirect(8000), true);
    assert.deepEqual(route.ordered(bricks), [{ id: 'c' }, { id: 'b' }]);
  });

  void it('asks the brick on its own node, which shares its paths, after the others, and before one that was silent', () => {
    const route = new Route();
    const [home, b, c] = [{ id: 'a', socket: '/run/a' }, { id: 'b' }, { id: 'c' }];
    assert.deepEqual(route.ordered([home, b, c]), [b, c, home]);
    route.connected(0, 'b');
    route.wasSilent(4000);
    assert.deepEqual(route.ordered([home, b, c]), [c, home, b]);
  });
});
