/**
 * Bugs that are planted to prove the simulator: each is an exact replacement in the compiled code of `src`, in a copy, and must be caught within SEEDS_MAX seeds
 * from its first seed. The source itself has no hooks for this.
 *
 * Where a change of the source moves an anchor, the test says so: find what the plant breaks in its new form and move the anchor there. Where the generator
 * has changed so much that a bug is not met any more from its first seed, look for another one with
 * `npm run sim -- --planted NAME --seeds 2000 --failures 1`.
 */
export interface PlantedBug {
  name: string;
  /** File below src, `.js`; exact text that occurs once; what stands there instead. */
  patches: [file: string, anchor: string, replacement: string][];
  /** Kinds of faults that lead to it, separated by commas: it is met sooner. All by chance where absent. */
  faults?: string;
  /** Chance meets it too seldom: the scenarios of this test, a compiled file of this folder, catch it. */
  directed?: string;
  /** Of these only those whose name has this. */
  scenario?: string;
  /** Where the search begins: a seed that catches it with the generator of now. */
  from: number;
}

export const SEEDS_MAX = 150;

export const PLANTED_BUGS: PlantedBug[] = [
  {
    name: 'acknowledges before a secondary has applied',
    faults: 'partition,kill',
    patches: [
      ['replica/stream.js', "follower?.state === 'ready' ? follower.acknowledged : this.#committed", "follower?.state === 'ready' ? this.#sequence : this.#committed"],
      ['replica/stream.js', 'upTo = Math.min(upTo, follower.acknowledged);', ''],
      ['replica/stream.js', 'if (!waits)', 'if (true)'],
    ],
    from: 395,
  },
  {
    name: 'serves before every member is sealed',
    patches: [['replica/recovery.js', 'if (sealed.length === members.length && (await this.#settleAll(sealed)))', 'if (await this.#settleAll(sealed))']],
    from: 16,
  },
  {
    name: 'serves after the lease ran out',
    directed: 'directed.test.js',
    scenario: 'is not answered for by a primary that was cut off',
    patches: [['replica/replica.js', 'leaseLive: () => env.clock.now() < this.#leaseUntil', 'leaseLive: () => true']],
    from: 1,
  },
  {
    name: 'a rename does not note its new name in the journal',
    faults: 'kill,partition',
    patches: [['replica/plan.js', 'const keys = [nameKey(args.parent, args.name), nameKey(args.newParent, args.newName), ', 'const keys = [nameKey(args.parent, args.name), ']],
    from: 18,
  },
  {
    name: 'the answers are dropped when another primary takes over',
    faults: 'crash at a message',
    patches: [['replica/primary.js', 'copy.clearDoubt();', 'copy.clearDoubt(); copy.results.import([]);']],
    from: 29,
  },
  {
    name: 'the worse copy is the source of a resync',
    faults: 'kill,loss of power',
    patches: [['replica/recovery.js', 'if (best > host.standing()) {', 'if (false) {']],
    from: 21,
  },
  {
    name: 'a copy that lost unsynced data counts as intact',
    faults: 'loss of power,kill',
    patches: [['replica/replica.js', "const sameBoot = journal.meta.bootId === env.bootId || journal.meta.bootId === '';", 'const sameBoot = true;']],
    from: 37,
  },
  {
    name: 'read leases are not recalled',
    patches: [['replica/leases.js', 'if (waits === undefined)', 'if (true)']],
    from: 3,
  },
  {
    name: 'a request that comes again is carried out again',
    faults: 'connection reset,request repeated',
    patches: [['replica/mutations.js', 'const answered = known !== undefined && !doubtful && (known.countedBy === this.#primary || !unlocks(op, message.args));', 'const answered = false;']],
    from: 1,
  },
  {
    name: 'a synchronous write that comes again is answered without a sync',
    patches: [['replica/mutations.js', "const synced = answered && known.errno === 0 && known.op === 'write' && op === 'write' && message.args.sync;", 'const synced = false;']],
    directed: 'takeover.test.js',
    scenario: 'syncs what a synchronous write left',
    from: 1,
  },
  {
    name: 'an answer is written after a change that must not be made twice',
    faults: 'several killed,crash at a disk call',
    patches: [['replica/copy.js', 'const intent = requestNumber === 0 ? undefined : intentOf(this.store, change);', 'const intent = undefined;']],
    from: 55,
  },
  {
    name: 'the answer to a truncation is written after it',
    directed: 'takeover.test.js',
    scenario: 'makes no truncation again',
    patches: [['replica/intents.js', "if (op === 'setattr') {\n        const", "if (false) {\n        const"]],
    from: 1,
  },
  {
    name: 'a checkpoint drops generations while a brick is absent',
    faults: 'kill,checkpoint',
    patches: [
      ['replica/durability.js', 'if (!whole || this.#primary.stopped || ', 'if (this.#primary.stopped || '],
      ['replica/journal.js', 'this.updateMeta({ base: number, torn: false });', ''],
    ],
    from: 4,
  },
  {
    name: 'a read does not wait for the change under way',
    faults: 'partition,crash at a message',
    patches: [['replica/reads.js', 'if (!primary.locks.free(...locks)) {', 'if (false) {']],
    from: 106,
  },
  {
    name: 'changes that arrive during a resync are forgotten',
    faults: 'kill',
    patches: [['replica/lacking.js', 'this.missed(change);\n            return false;', 'return false;']],
    from: 133,
  },
  {
    name: 'fsync does not reach the members',
    faults: 'loss of all power,kill',
    patches: [['replica/durability.js', ', ...ready.map((follower) => this.#syncAt(follower, gfid, dataOnly, wait))];', '];']],
    from: 81,
  },
  {
    name: 'fsync does not reach the disk of the primary',
    faults: 'loss of all power,kill',
    patches: [['replica/durability.js', 'await this.#primary.host.copy.store.fsync(gfid, dataOnly);', '']],
    from: 3,
  },
  {
    name: 'locks that were lost with all bricks are given before their holders claimed them',
    directed: 'takeover.test.js',
    scenario: 'gives no lock after a loss of all power',
    patches: [['replica/clients.js', 'if (this.#primary.host.copy.locksKnown)\n            return false;', 'return false;']],
    from: 1,
  },
  {
    name: 'a disk error of the primary is the answer',
    faults: 'disk error',
    patches: [['replica/refusals.js', 'return DISK_ERRORS.has(errno) && ', 'return false && ']],
    from: 2,
  },
  {
    name: 'a new primary does not wait for the leases of the old one',
    directed: 'takeover.test.js',
    scenario: 'changes nothing while a client may believe',
    patches: [['replica/primary.js', 'if (this.#view.epoch > 1) {', 'if (false) {']],
    from: 1,
  },
  {
    name: 'a new primary takes it that no client trusts an old lease',
    directed: 'takeover.test.js',
    scenario: 'changes nothing while a client may believe',
    patches: [['replica/clients.js', 'return session !== undefined && session.unleasedEpoch >= this.#primary.firstEpoch;', 'return true;']],
    from: 1,
  },
  {
    name: 'a member is sealed for a view that is over',
    directed: 'takeover.test.js',
    scenario: 'is not obeyed by a brick that has promised',
    patches: [
      ['replica/replica.js', ' || view.epoch < journal.meta.sealedEpoch', ''],
      ['replica/member.js', ' || view.epoch < this.#copy.journal.meta.sealedEpoch', ''],
    ],
    from: 1,
  },
  {
    name: 'a member that was lost while another was made equal counts as equal',
    directed: 'takeover.test.js',
    scenario: 'makes a member equal again that was lost',
    patches: [['replica/recovery.js', ' || member.link !== links.get(member)', '']],
    from: 1,
  },
  {
    name: 'the answer that only a member could write down is not looked for',
    directed: 'takeover.test.js',
    scenario: 'makes no write again',
    patches: [['replica/recovery.js', 'await findLostAnswers(primary, members);', '']],
    from: 1,
  },
  {
    name: 'a brick that was being made equal, and has to serve, knows no answers of the primary that did it',
    directed: 'made-equal.test.js',
    patches: [['replica/recovery.js', 'copy.supposed.adopt(copy)', '0']],
    from: 1,
  },
  {
    name: 'a change goes by the recall of another change to the same file',
    patches: [['replica/leases.js', 'if (this.#recalls.size === 0)', 'if (true)']],
    from: 23_001_512,
  },
  {
    name: 'an fsync after a loss of all power says that all is there',
    directed: 'power-loss.test.js',
    scenario: 'is an error of the fsync',
    patches: [['client/unsynced.js', 'return losses === (this.#losses ?? 0);', 'return true;']],
    from: 1,
  },
  {
    name: 'a write is answered again though the power that went since may have taken it',
    directed: 'power-loss.test.js',
    scenario: 'undoes no write that is answered after it',
    patches: [['replica/copy.js', 'known.doubtful = true;', ';']],
    from: 1,
  },
  {
    name: 'a name counts as made though the power that went since took it',
    directed: 'power-loss.test.js',
    scenario: 'undoes no name that is answered after it',
    patches: [['replica/copy.js', ': !wasMade(this.store, { op, gfid, trace }))', ': false)']],
    from: 1,
  },
  {
    name: 'a half-settled copy is taken for intact',
    directed: 'takeover.test.js',
    scenario: 'does not believe a copy that the one before was changing',
    patches: [['replica/replica.js', 'if (unsettled)', 'if (false)']],
    from: 1,
  },
  {
    name: 'a write at a revoked session takes effect',
    faults: 'client stopped,cut',
    patches: [
      ['replica/mutations.js', 'return !this.#primary.host.copy.sessions.has(mutation.sessionId);', 'return false;'],
      ['replica/clients.js', 'if (!message.begins || this.#revoking.has(session.id)) {', 'if (false) {'],
    ],
    from: 276,
  },
  {
    name: 'a direct write counts as done when one brick has it',
    patches: [['client/direct-writes.js', 'if (flight.waits.size === 0)', 'if (true)']],
    from: 109,
  },
  {
    name: 'a direct write that only the primary has is answered when it comes again',
    directed: 'exclusive.test.js',
    scenario: 'answers no write that a brick refused',
    patches: [['replica/exclusives.js', "return exclusive?.state === 'ending' && exclusive.session.id === session;", 'return false;']],
    from: 1,
  },
  {
    name: 'what is in doubt when an exclusive lease ends is left as it is',
    patches: [['replica/exclusives.js', 'for (const replay of replays)', 'for (const replay of [])']],
    from: 1,
  },
  {
    name: 'a brick takes direct writes under a lease that is over',
    directed: 'exclusive.test.js',
    scenario: 'is ended by the bricks when its client is silent',
    patches: [
      ['replica/direct-leases.js', 'found.over = true;', ''],
      ['replica/direct-leases.js', 'this.#leases.delete(lease);', ''],
    ],
    from: 1,
  },
  {
    name: 'a client gives locks when its lease time is over',
    directed: 'lock-leases.test.js',
    scenario: 'gives nothing when its time is over',
    patches: [['client/client.js', 'this.#readyEpoch > 0 && this.cache.live && !this.#closed', 'this.#readyEpoch > 0 && !this.#closed']],
    from: 1,
  },
  {
    name: 'a lock that a client gave itself is not claimed from a new primary',
    directed: 'lock-leases.test.js',
    scenario: 'keeps what it gave when the primary dies',
    patches: [['client/local-locks.js', 'this.#host.held().gave(lock);\n        this.#keep', 'this.#keep']],
    from: 1,
  },
  {
    name: 'a lock that is being given up is claimed from a new primary',
    directed: 'lock-leases.test.js',
    scenario: 'does not bring back a lock whose end',
    patches: [['client/client.js', 'this.#held.asked(op, args);', ';']],
    from: 1,
  },
  {
    name: 'a lock lease tells nothing of the locks of others',
    directed: 'lock-leases.test.js',
    scenario: 'lets its client give and take locks without asking',
    patches: [['client/local-locks.js', 'for (const lock of others)', 'for (const lock of [])']],
    from: 1,
  },
  {
    name: 'locks of one client stand against each other at the bricks, though it has decided',
    directed: 'lock-leases.test.js',
    scenario: 'goes over from one program to another',
    patches: [['replica/lock-requests.js', 'host.copy.fileLocks.conflictElsewhere({', 'host.copy.fileLocks.conflict({']],
    from: 1,
  },
  {
    name: 'a lock lease is over by what was said of the one before it',
    directed: 'lock-leases.test.js',
    scenario: 'is not taken away by what was said',
    patches: [['replica/lock-leases.js', 'lease?.lease === number && ', 'lease !== undefined && ']],
    from: 1,
  },
  {
    name: 'what a client gave is overtaken by what it asks for later, after a restart of all bricks',
    directed: 'lock-leases.test.js',
    scenario: 'is not overtaken by what its client asks for',
    patches: [
      ['replica/given-order.js', 'if (queue !== undefined) {', 'if (false) {'],
      ['replica/lock-requests.js', 'const { clients, mutations, host } = this.#primary;', 'const { clients, mutations, host } = this.#primary; if (mutation.requestNumber > 0 && given.some(({ type }) => type !== LOCK_NONE) && clients.graceHolds(() => mutations.plan(mutation))) return "waits";'],
    ],
    from: 1,
  },
  {
    name: 'a new primary knows no lock leases',
    directed: 'lock-leases.test.js',
    scenario: 'of a client that is late after a takeover',
    patches: [['replica/primary.js', 'this.lockLeases.adopt();', '']],
    from: 1,
  },
  {
    name: 'a lease that was offered is known to the primary only',
    directed: 'lock-leases.test.js',
    scenario: 'that is offered is known to the next primary',
    patches: [['replica/lock-leases.js', "followers.everywhere('lockLeaseGiven', () => ({ gfid, lease, session: to.id }))", 'Promise.resolve(followers !== undefined)']],
    from: 1,
  },
  {
    name: 'a lock whose program was interrupted begins to wait',
    directed: 'lock-leases.test.js',
    scenario: 'keeps nobody waiting whose program was interrupted',
    patches: [['replica/lock-requests.js', 'if (args.wait && mutation.cancelled === true)', 'if (false)']],
    from: 1,
  },
  {
    name: 'a lock is refused because of one that was given up',
    directed: 'lock-leases.test.js',
    scenario: 'is not needed to give a lock up',
    patches: [['replica/lock-requests.js', "if (!args.wait)\n                    return this.#asksHolder(mutation, request) ? 'waits' : Errno.EAGAIN;", 'if (!args.wait) return Errno.EAGAIN;']],
    from: 1,
  },
  {
    name: 'a process that takes a session over tells nobody of the locks that the one before it gave last',
    directed: 'lock-leases.test.js',
    scenario: 'tells a process that took the session over',
    patches: [['client/client.js', 'this.#localLocks.resume(options.given ?? []);', '']],
    from: 1,
  },
  {
    name: 'an exclusive lease is no obstacle to others',
    patches: [['replica/inode-locks.js', 'a.of !== undefined && a.of === b.of', 'true']],
    from: 255,
  },
  {
    name: 'a brick of this node is read while a write of this client to the same bytes is under way',
    directed: 'exclusive.test.js',
    scenario: 'is not answered here while a write of its own',
    patches: [
      ['client/local-reads.js', 'if (this.#isChanging(gfid, offset, offset + wanted))', 'if (false)'],
      ['client/local-reads.js', ' && !this.#isChanging(attr.gfid, start, end)', ''],
    ],
    from: 1,
  },
  {
    name: 'an inode without names goes though a silent client may have it open',
    directed: 'orphans.test.js',
    scenario: 'stays for a client that was silent',
    patches: [['replica/orphans.js', '(clients.allOpensAreKnown || (now >= this.#silentUntil && clients.opensAreKnown))', 'true']],
    from: 1,
  },
  {
    name: 'that an inode without names went is not in doubt',
    directed: 'orphans.test.js',
    scenario: 'is on all bricks or on none',
    patches: [['replica/orphans.js', 'host.copy.noteDoubt(stream.sequence + 1, keys);', '']],
    from: 1,
  },
  {
    name: 'a primary without a serving lease removes an inode without names',
    directed: 'orphans.test.js',
    scenario: 'is not removed by a primary whose serving lease is over',
    patches: [['replica/orphans.js', 'host.leaseLive() && ', '']],
    from: 1,
  },
  {
    name: 'what was read for a brick before its connection was lost is sent to it over the next one',
    directed: 'heal.test.js',
    patches: [
      ['replica/followers.js', 'caller({ link, brick }) {', 'caller(follower) { const { brick } = follower;'],
      ['replica/followers.js', "if (link === undefined)", 'const { link } = follower; if (link === undefined)'],
      ['replica/followers.js', 'if (before !== undefined && ', 'if (false && '],
    ],
    from: 1,
  },
  {
    name: 'an admission that was asked for and not answered is no admission',
    directed: 'heal.test.js',
    scenario: 'has every change that is acknowledged once it may be in sync',
    patches: [['replica/primary.js', 'this.#admitting.set(brick, this.#view.epoch);', '']],
    from: 1,
  },
  {
    name: 'a copy that could not write takes what memory shows for what its disk holds',
    directed: 'faulty-bricks.test.js',
    scenario: 'whose fsync fails where it cannot be left out',
    patches: [['replica/copy.js', 'return this.#allSuspect || this.#suspects.has(gfid);', 'return false;']],
    from: 1,
  },
  {
    name: 'a member that could not write has written all the same',
    patches: [['replica/member.js', 'this.#copy.suspectUnsynced(gfids);', '']],
    faults: 'pages lost,loss of power,checkpoint',
    from: 32_000_520,
  },
  {
    name: 'a failed sync leaves nothing to suspect',
    patches: [['replica/copy.js', 'return this.#allSuspect || this.#suspects.has(gfid);', 'return false;']],
    faults: 'pages lost,loss of power,checkpoint',
    from: 50,
  },
  {
    name: 'to be sent away by a primary is taken for its sign of life',
    directed: 'relay.test.js',
    scenario: 'hears it also where its own requests are answered all the time',
    patches: [['client/client.js', "if (message.kind !== 'redirect' && message.kind !== 'reclaimed')", 'if (true)']],
    from: 1,
  },
];
