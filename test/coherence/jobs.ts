/** What the programs of the suite are told to do, each in a process of its own on a mount, and what they tell. */
import type { Operation } from '../support/linearizability.js';

/** Through the page cache, around it, or now one and now the other by separate opens of one process. */
export type Access = 'buffered' | 'direct' | 'both';
export type LockWay = 'fcntl' | 'OFD' | 'flock';

export type Work =
  /**
   * Reads and writes whole blocks of 4 KiB of files f0, f1 and so on. One file is fought for all the time, and gets no leases; of many files, each is used by all
   * under leases, which are recalled now and then. `bursts`: a program writes one file many times before it turns to another, so that it becomes its only user.
   */
  | { kind: 'blocks'; files: number; blocks: number; access: Access; bursts: boolean }
  /** Appends records, reads the whole file, asks for its size, truncates it. */
  | { kind: 'records'; file: string; truncates: boolean; access: Access }
  /** Exclusive creation, removal, renames, stat of what is there and what is not, listings; of files, or of directories. */
  | { kind: 'names'; directory: string; names: number; directories: boolean }
  /** Modification time, owner and an xattr of files f0, f1 and so on. */
  | { kind: 'attributes'; files: number }
  /** Increments a number in a file under a lock of the whole file, `count` times. */
  | { kind: 'counter'; file: string; way: LockWay; count: number; access: Access }
  /** Writes one block or reads it, or asks for the attributes, as fast as it can. */
  | { kind: 'storm'; file: string; what: 'write' | 'read' | 'stat' | 'write and stat'; access: Access; append: boolean }
  /** Tries to lock one file, and unlocks it. */
  | { kind: 'locks'; file: string; way: LockWay }
  /** Takes so many locks on one file, or opens it so many times, until it is refused: `count` tells how many it got, `refused` the errno. */
  | { kind: 'greedy'; file: string; what: 'locks' | 'opens'; count: number }
  /** Claims names that others claim at the same time: which of them this process got. Client A of 'fill' removes directories in which the others create. */
  | { kind: 'claims'; directory: string; count: number; how: 'create' | 'mkdir' | 'rename' | 'take' | 'rmdir' | 'link' | 'fill' };

export interface Job {
  /** Unique among the programs that work together. */
  client: string;
  /** The directory on the mount. */
  directory: string;
  seed: number;
  seconds: number;
  /** On a machine that is busy with other things it goes on until it has so many, for a few times as long. */
  operationsMin: number;
  operationsMax: number;
  work: Work;
}

export interface Outcome {
  operations: Operation<unknown, unknown>[];
  /** Of a storm or a counter: how many times, and how long each took. */
  count: number;
  latencies_us: number[];
  /** Of claims: the numbers that were won. */
  won: number[];
  /** Of a greedy program. */
  refused: string;
}
