import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LoneReads } from '../../../src/platform/lone-reads.js';

const nextTurn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

describe('reads that wait for the disk on the thread that serves', () => {
  it('are one in a turn of the event loop: several at once go to the pool', async () => {
    const lone = new LoneReads();
    assert.equal(lone.allows(4096), true);
    assert.equal(lone.allows(4096), false);
    await nextTurn();
    await nextTurn();
    assert.equal(lone.allows(4096), true);
  });

  it('are none while the pool reads', () => {
    const lone = new LoneReads();
    lone.poolBegan();
    assert.equal(lone.allows(4096), false);
  });

  it('begin again when the pool is done', async () => {
    const lone = new LoneReads();
    lone.poolBegan();
    lone.poolEnded();
    await nextTurn();
    assert.equal(lone.allows(4096), true);
  });

  it('are small', () => {
    assert.equal(new LoneReads().allows(1 << 20), false);
  });

  it('are none for a while where the disk is slow', () => {
    const lone = new LoneReads();
    for (let i = 0; i < 3; i++) lone.took(8);
    assert.equal(lone.allows(4096), false);
  });

  it('go on after one slow read among fast ones', () => {
    const lone = new LoneReads();
    lone.took(12);
    for (let i = 0; i < 20; i++) lone.took(0.1);
    assert.equal(lone.allows(4096), true);
  });
});
