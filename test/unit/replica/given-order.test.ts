import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { GivenOrder } from '../../../src/replica/given-order.js';

const [A, B] = ['a'.repeat(32), 'b'.repeat(32)];

void describe('locks that a client gave', () => {
  void it('are set one after the other, and what it asks for after them', () => {
    const order = new GivenOrder();
    const ran: string[] = [];
    const begin = (what: string, given: boolean, session = 's', gfid = A): void => order.begin(session, gfid, given, () => ran.push(what));
    begin('asked first', false);
    begin('given 1', true);
    begin('given 2', true);
    begin('asked', false);
    begin('given 3', true);
    begin('elsewhere', true, 's', B);
    begin('somebody else', true, 't');
    assert.deepEqual(ran, ['asked first', 'given 1', 'elsewhere', 'somebody else']);
    // The disk takes the record of the first one at last.
    order.ended('s', A);
    assert.deepEqual(ran.slice(4), ['given 2']);
    order.ended('s', A);
    assert.deepEqual(ran.slice(5), ['asked', 'given 3']);
    order.ended('s', A);
    begin('later', false);
    assert.deepEqual(ran.slice(7), ['later']);
  });

  void it('are dropped with their session', () => {
    const order = new GivenOrder();
    const ran: string[] = [];
    order.begin('s', A, true, () => ran.push('given'));
    order.begin('s', A, true, () => ran.push('never'));
    order.drop('s');
    order.ended('s', A);
    assert.deepEqual(ran, ['given']);
  });
});
