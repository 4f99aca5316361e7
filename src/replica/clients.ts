/** What clients hold at the primary: claimed again after a change of role, let go when a session is silent or over. */
import { Errno } from '../base/errno.js';
import type { Channel } from '../env/channel.js';
import type { Message, MessageOf } from '../wire/messages.js';
import type { Primary } from './primary.js';
import type { Session } from './sessions.js';

export class Clients {
  readonly #primary: Primary;

  constructor(primary: Primary) {
    this.#primary = primary;
  }

  reclaim(session: Session, channel: Channel<Message>, message: MessageOf<'reclaim'>): void {
    // A primary that has counted all along knows better than the client, which has not heard every answer yet.
    // The same holds for locks: one that was given up, and whose answer is on the way, must not come back.
    let errno = 0;
    if (session.countedBy !== this.#primary) {
      session.countedBy = this.#primary;
      session.opens.clear();
      for (const gfid of message.opens) session.opened(gfid);
      for (const lock of message.locks) if (!this.#primary.lockRequests.reclaim(session, lock)) errno = Errno.EIO;
    }
    channel.send({ kind: 'reclaimed', id: message.id, errno });
  }

  /** A client let go of leases. */
  recalled(session: Session, id: number): void {
    for (const gfid of this.#primary.leases.recalled(session, id)) this.#primary.orphans.purge(gfid);
  }

  /** The session is silent or over: its locks and opens go, everywhere. */
  release(session: Session): void {
    const { lockRequests, followers, orphans } = this.#primary;
    const freed = lockRequests.dropSession(session);
    followers.tellReady('releaseSession', session.id);
    for (const gfid of freed) lockRequests.wake(gfid);
    const opens = session.closeAll();
    session.countedBy = undefined;
    for (const gfid of opens) orphans.purge(gfid);
  }

  /** Nobody will ask for this session's answers again. */
  end(session: Session): void {
    const { host, followers } = this.#primary;
    this.release(session);
    host.sessions.remove(session.id);
    host.copy.results.drop(session.id);
    followers.tellReady('endSession', session.id);
  }
}
