/**
 * Changes whose answer is written after them (see intents.ts) and whose primary ended in between: its copy has the change and not the answer, so a request that
 * comes again would make it again, over what somebody else changed since. Where its copy is to be the truth all the same, because nobody's stands better, a
 * member that was sent the change may have the answer. It is taken over where both copies hold the same in the bytes that the change is about: the member's
 * show the change and what came after it, and equal to that, this copy is one that the change was made in, whatever brought it there. Copies that may have lost
 * data, or were being made equal to others, prove nothing.
 *
 * Changes of attributes are not looked for: their times may be in the memory of a process still when it ends, so equal copies prove nothing either.
 */
import { REGION_BYTES } from '../fops/ops.js';
import type { Follower } from './followers.js';
import type { Primary } from './primary.js';
import { compareRegion, copyAt } from './region-difference.js';
import { parseResult, type Answer } from './results.js';
import { DamagedError } from './soundness.js';
import { Standing } from './standing.js';

/** Before anybody is made equal. LostError when a member is lost meanwhile, FsError when a disk refuses. */
export async function findLostAnswers(primary: Primary, members: readonly Follower[]): Promise<void> {
  const { host, log } = primary;
  if (host.standing() !== Standing.Intact) return;
  for (const member of members) {
    if (member.seal?.standing !== Standing.Intact) continue;
    let from = 0;
    do {
      const page = await primary.call(member, 'answers', { from });
      for (const record of page.records) {
        const given = lacking(primary, record);
        if (given === undefined || !(await holdSame(primary, member, given.answer).catch(unlessDamaged))) continue;
        host.copy.adopt(given.session, given.requestNumber, given.answer);
        log.info('an answer was found at a member', { brick: member.brick, session: given.session, request: given.requestNumber });
      }
      from = page.next;
    } while (from !== 0);
  }
  host.copy.journal.flushAnswers();
}

/** An answer that this copy has not and whose request may come again. */
function lacking(primary: Primary, record: string): ReturnType<typeof parseResult> {
  const { results, sessions } = primary.host.copy;
  const given = parseResult(record);
  if (given === undefined || !sessions.has(given.session) || results.isAcknowledged(given.session, given.requestNumber)) return undefined;
  return results.find(given.session, given.requestNumber) === undefined ? given : undefined;
}

/** True when both copies hold the same bytes where the change was. */
async function holdSame(primary: Primary, member: Follower, { gfid, range }: Answer): Promise<boolean> {
  if (gfid === '' || range === undefined) return false;
  const { store } = primary.host.copy;
  const [offset, length] = range;
  const ours = store.describe(gfid);
  const { state: theirs } = await primary.call(member, 'describe', { gfid });
  if (ours === undefined || theirs === undefined) return false;
  const end = Math.min(offset + length, ours.attr.size);
  if (end !== Math.min(offset + length, theirs.attr.size)) return false;
  for (let region = Math.floor(offset / REGION_BYTES); region * REGION_BYTES < end; region++) {
    const { holes, pieces } = await compareRegion(store, gfid, region, Math.min(end, (region + 1) * REGION_BYTES), copyAt(primary.followers.caller(member), gfid));
    if ([...holes, ...pieces].some(([at, bytes]) => at < end && at + bytes > offset)) return false;
  }
  return true;
}

/** Bytes of this copy that do not match their checksums are no proof. */
function unlessDamaged(error: unknown): false {
  if (error instanceof DamagedError) return false;
  throw error;
}
