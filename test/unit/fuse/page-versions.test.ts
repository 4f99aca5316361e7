import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Attr } from '../../../src/fops/fields.js';
import { PageVersions } from '../../../src/fuse/page-versions.js';

const A = 'a'.repeat(32);

function attr(time: number, size = 1, mtime = time): Attr {
  return { gfid: A, size, ctime: { sec: time, nsec: 0 }, mtime: { sec: mtime, nsec: 0 } } as Attr;
}

/** A file that was opened under a lease, some time after the kernel was told anything of it. */
function setUp(): { pages: PageVersions; later: (ms: number) => void; leases: { ended: number | undefined } } {
  let now = 10_000;
  const leases: { ended: number | undefined } = { ended: 0 };
  const pages = new PageVersions(() => now, () => leases.ended);
  const later = (ms: number): void => void (now += ms);
  pages.opened(attr(1), true);
  later(2000);
  return { pages, later, leases };
}

void describe('a recall', () => {
  void it('tells the kernel to forget attributes that are valid, and no others', () => {
    const { pages, later } = setUp();
    assert.equal(pages.recalled('b'.repeat(32)), 0, 'a file that was never opened through the page cache');
    assert.equal(pages.recalled(A), undefined, 'nothing is valid');
    pages.told(attr(1), 0);
    assert.equal(pages.recalled(A), undefined, 'told, and not valid');
    pages.told(attr(1), 400);
    later(50);
    assert.equal(pages.recalled(A), 0);
    pages.forgotten(A);
    assert.equal(pages.recalled(A), undefined);
    pages.told(attr(1), 400);
    later(500);
    assert.equal(pages.recalled(A), undefined, 'it is over');
  });

  void it('waits until the kernel has taken a size that was new to it', () => {
    const { pages, later } = setUp();
    pages.told(attr(1), 400);
    later(100);
    pages.told(attr(2), 400);
    assert.equal(pages.recalled(A), 0, 'the size is the one that it had');
    pages.told(attr(3, 2), 400);
    later(15);
    assert.equal(pages.recalled(A), 25);
    later(100);
    const write = pages.begin(A, 1);
    assert.ok(write !== undefined);
    pages.written(write, 2);
    pages.told(attr(4, 2), 400);
    assert.equal(pages.recalled(A), 0, 'a write within the size');
    pages.written(write, 3);
    pages.end(write);
    pages.told(attr(5, 2), 400);
    assert.equal(pages.recalled(A), 40, 'after a write beyond it the kernel may have any size');
  });
});

void describe('the kernel goes on with old pages', () => {
  void it('when a change left size and mtime as they were', () => {
    const { pages } = setUp();
    assert.equal(pages.deceives(attr(2, 1, 1)), true);
    assert.equal(pages.deceives(attr(2, 5, 1)), false);
  });

  void it('when the answer that tells of the change may be ignored, which matters where the size is the same', () => {
    const { pages } = setUp();
    assert.equal(pages.deceives(attr(2)), false, 'the kernel may have another size, and must take this one');
    pages.told(attr(1), 400);
    assert.equal(pages.deceives(attr(2)), true);
    assert.equal(pages.deceives(attr(1)), false);
    assert.equal(pages.deceives(attr(2, 5)), false, 'a recall waits until it is taken');
    pages.endedAt(A, 1);
    assert.equal(pages.deceives(attr(2)), true, 'a read that ended at the size');
    pages.endedAt(A, 0);
    assert.equal(pages.deceives(attr(2)), false, 'the kernel believes that the file is empty');
  });

  void it('after SETATTR, so it is told a time of which the next one differs', () => {
    const { pages } = setUp();
    pages.told(attr(1), 400);
    const instead = pages.disbelieved(attr(2));
    assert.deepEqual(instead?.mtime, { sec: 2, nsec: 1 });
    assert.equal(pages.deceives({ ...attr(3), mtime: { sec: 2, nsec: 1 } }), true, 'also where somebody sets just that time');
    assert.equal(new PageVersions(() => 0, () => 0).disbelieved(attr(2)), undefined, 'a file without pages');
  });

  void it('where another request ended while it asked, and no lease guards them', () => {
    const { pages, later } = setUp();
    const [one, other] = [7, 8];
    const during = (body: () => void): boolean => {
      later(100);
      const asking = pages.begin(A, one);
      assert.ok(asking !== undefined);
      body();
      const ignored = pages.mayBeIgnored(asking);
      pages.end(asking);
      return ignored;
    };
    const request = (thread: number): void => {
      const write = pages.begin(A, thread);
      assert.ok(write !== undefined);
      pages.end(write);
    };
    pages.told(attr(1), 400);
    assert.equal(during(() => request(other)), false, 'a lease guards them');
    pages.recalled(A);
    assert.equal(during(() => undefined), false, 'nobody else');
    assert.equal(during(() => request(other)), true);
    const soonAfter = (thread: number): boolean => {
      request(thread);
      const asking = pages.begin(A, one);
      assert.ok(asking !== undefined);
      const ignored = pages.mayBeIgnored(asking);
      pages.end(asking);
      return ignored;
    };
    later(100);
    assert.equal(soonAfter(other), true, 'its thread may not have run yet');
    later(100);
    assert.equal(soonAfter(one), false, 'the same thread');
  });

  /** An answer that may be ignored, since another thread was answered right before. */
  function ignored(pages: PageVersions): boolean {
    pages.answered(A, 8);
    const asking = pages.begin(A, 7);
    assert.ok(asking !== undefined);
    pages.end(asking);
    return pages.mayBeIgnored(asking);
  }

  void it('where another answer named the inode, and no lease guards them', () => {
    const { pages, later } = setUp();
    pages.told(attr(1), 400);
    assert.equal(ignored(pages), false);
    pages.recalled(A);
    later(100);
    assert.equal(ignored(pages), true);
  });

  void it('where the lease that guarded them is over, with a recall or without', () => {
    const { pages, leases } = setUp();
    pages.told(attr(1), 400);
    leases.ended = undefined;
    assert.equal(ignored(pages), true, 'no lease holds');
    leases.ended = 1;
    assert.equal(ignored(pages), true, 'other leases');
    pages.told(attr(1), 400);
    assert.equal(ignored(pages), false);
  });

  void it('until all pages were dropped under a lease that still holds', () => {
    const { pages, leases } = setUp();
    const drop = (during: () => void): boolean => {
      pages.recalled(A);
      const guard = pages.guard(A);
      during();
      pages.told(attr(1), 0);
      if (guard !== undefined) pages.guarded(A, guard);
      return ignored(pages);
    };
    assert.equal(drop(() => undefined), false);
    assert.equal(drop(() => void pages.recalled(A)), true);
    assert.equal(drop(() => (leases.ended = 1)), true);
    leases.ended = undefined;
    assert.equal(drop(() => (leases.ended = 1)), true);
  });

  void it('after a worker that nobody knows anything of, until they are dropped or the file is opened', () => {
    const { pages } = setUp();
    pages.openedBefore(A);
    assert.equal(pages.deceives(attr(0, 0)), true);
    assert.equal(pages.opened(attr(0, 0), true), false, 'the kernel drops its pages');
    assert.equal(pages.deceives(attr(0, 0)), false);
    pages.openedBefore(A);
    pages.told(attr(5), 400);
    assert.equal(pages.deceives(attr(5)), false);
  });
});
