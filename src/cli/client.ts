import type { OptionHelp, OptionValue, Peer, PoolState, Volume, VolumeHeal, VolumeScrub, VolumeStatus } from './model.js';

/** The request was understood and refused; nothing changed. `message` says what was wrong and what to do. */
export class RefusedError extends Error {
  readonly errno: number;

  constructor(message: string, errno = 22) {
    super(message);
    this.name = 'RefusedError';
    this.errno = errno;
  }
}

/** No answer came: nobody listens, the connection broke, or the time was over. What was asked for may have happened. */
export class NoAnswerError extends Error {
  readonly errno: number;

  constructor(message: string, errno: number) {
    super(message);
    this.name = 'NoAnswerError';
    this.errno = errno;
  }
}

export interface BrickPlace {
  host: string;
  path: string;
}

export interface CreateRequest {
  name: string;
  replicaCount: number | undefined;
  bricks: { host: string; path: string }[];
  force: boolean;
}

export interface Changed {
  /** Of the volume. */
  id: string;
  /** What the user should know although it worked. */
  warnings: string[];
}

export interface Daemon {
  id: string;
  version: string;
  stateDirectory: string;
}

/**
 * gluond's management service as the commands need it. Every call ends within the time given with --timeout.
 * Rejects with RefusedError or NoAnswerError; anything else is a bug.
 */
export interface ManagementClient {
  /** Resolves with what is to be told besides success, '' for nothing ("already in the pool"). */
  peerProbe(host: string, joinToken: string): Promise<string>;
  peerDetach(host: string, force: boolean): Promise<void>;
  /** All nodes of the pool, the one that answers among them. */
  peers(): Promise<Peer[]>;

  volumeCreate(request: CreateRequest): Promise<Changed>;
  volumeStart(name: string, force: boolean): Promise<Changed>;
  volumeStop(name: string, force: boolean): Promise<Changed>;
  volumeDelete(name: string): Promise<Changed>;
  /** The new brick takes the place at once and is filled afterwards. */
  replaceBrick(name: string, source: BrickPlace, target: BrickPlace): Promise<Changed>;
  /** `commit` undefined: the brick is taken out of the set. */
  resetBrick(name: string, source: BrickPlace, commit?: { target: BrickPlace; force: boolean }): Promise<Changed>;
  /** All of them, or the one with this name (RefusedError if there is none), by name. */
  volumes(name?: string): Promise<Volume[]>;
  volumeNames(): Promise<string[]>;
  volumeStatus(name: string, parts: { disk: boolean; clients: boolean }): Promise<VolumeStatus>;

  optionsSet(name: string, options: OptionValue[]): Promise<Changed>;
  optionsSetGroup(name: string, group: string): Promise<Changed>;
  /** `key` undefined: all options with the values in force. */
  optionsGet(name: string, key: string | undefined): Promise<OptionValue[]>;
  /** `key` undefined: all. */
  optionsReset(name: string, key: string | undefined, force: boolean): Promise<Changed>;
  optionsHelp(): Promise<OptionHelp[]>;

  heal(name: string, full: boolean): Promise<Changed>;
  healInfo(name: string): Promise<VolumeHeal>;

  /** Has every brick look for damage now. */
  scrub(name: string): Promise<Changed>;
  scrubStatus(name: string): Promise<VolumeScrub>;

  daemon(): Promise<Daemon>;
  state(): Promise<PoolState>;
  /** Stops the bricks of the node, and with `daemon` gluond too; resolves with the number of bricks. */
  systemStop(daemon: boolean): Promise<number>;
  close(): void;
}
