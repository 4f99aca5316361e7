/**
 * What a gluond keeps in its state directory besides the cluster's own state.
 *
 *   node.json           identity of the node, and where the cluster store is
 *   tls/                ca.pem, node.pem, node.key: this node's certificate in its pool
 *   store/              cluster store of a pool of one
 *   etcd/               the etcd member
 *   run/                pid files and sockets of bricks
 *   log/                output of bricks and of etcd
 *   gluond.sock         the command line and the bricks of this node
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { writeDurably } from './durable-file.js';
import { makeDirectories } from './make-directories.js';
import { Errno, FsError } from '../base/errno.js';
import type { KeyPair } from './pki.js';

export interface NodeFile {
  id: string;
  /** Where the cluster store is: in this directory, or in etcd. */
  store: 'embedded' | 'etcd';
  /** Client addresses of etcd members as last known. */
  storeAddresses: string[];
  pool: string;
}

/** Unix socket paths must be shorter than this. */
export const SOCKET_PATH_BYTES_MAX = 107;

export class StateDirectory {
  constructor(readonly path: string) {
    if (Buffer.byteLength(this.socket) > SOCKET_PATH_BYTES_MAX) {
      throw new FsError(
        Errno.ENAMETOOLONG,
        'gluond',
        `${this.socket} is too long for a unix socket (${SOCKET_PATH_BYTES_MAX} bytes): choose a shorter --state-dir`,
      );
    }
  }

  get socket(): string {
    return join(this.path, 'gluond.sock');
  }

  in(...parts: string[]): string {
    return join(this.path, ...parts);
  }

  create(): void {
    for (const part of ['', 'tls', 'run', 'log']) makeDirectories(join(this.path, part), 0o700);
  }

  /** Undefined in a new directory. */
  readNode(): NodeFile | undefined {
    return this.#read<NodeFile>('node.json');
  }

  writeNode(node: NodeFile): void {
    this.write('node.json', JSON.stringify(node, undefined, 2));
  }

  readTls(): { authority: string; certificate: string; key: string } | undefined {
    try {
      const read = (name: string): string => readFileSync(join(this.path, 'tls', name), 'utf8');
      return { authority: read('ca.pem'), certificate: read('node.pem'), key: read('node.key') };
    } catch {
      return undefined;
    }
  }

  writeTls(authority: string, pair: KeyPair): void {
    this.write('tls/node.key', pair.key);
    this.write('tls/node.pem', pair.certificate);
    this.write('tls/ca.pem', authority);
  }

  /** Whole or not at all, and on stable storage on return; readable by root alone. */
  write(name: string, text: string): void {
    const path = join(this.path, name);
    makeDirectories(dirname(path), 0o700);
    writeDurably(path, text);
  }

  #read<T>(name: string): T | undefined {
    let text: string;
    try {
      text = readFileSync(join(this.path, name), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    try {
      return JSON.parse(text) as T;
    } catch (error) {
      throw new FsError(
        Errno.EIO,
        'gluond',
        `${join(this.path, name)} is damaged: restore it, or begin with an empty state directory`,
        { cause: error },
      );
    }
  }
}
