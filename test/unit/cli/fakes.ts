/** A pool of three nodes with one volume, as the management service would tell of it; and a terminal that records. */
import { RefusedError, type ManagementClient } from '../../../src/cli/client.js';
import type { Context, Form, Terminal } from '../../../src/cli/command.js';
import { COMMANDS } from '../../../src/cli/commands/table.js';
import type { BrickStatus, HealBrick, Peer, Volume, VolumeHeal, VolumeScrub, VolumeStatus } from '../../../src/cli/model.js';
import { runWords } from '../../../src/cli/run.js';

export const IDS = ['a1', 'b2', 'c3'].map((pair) => pair.repeat(16));

export function peer(index: number, changes: Partial<Peer> = {}): Peer {
  return {
    id: IDS[index] ?? '',
    hostname: `server${index + 1}`,
    otherNames: [],
    connected: true,
    local: index === 0,
    stateText: '',
    address: `server${index + 1}:24007`,
    storeRole: 'voter',
    ...changes,
  };
}

export function volume(changes: Partial<Volume> = {}): Volume {
  return {
    id: 'b7f4a3a17d0e4b868f3c1f6f0d6c1b3a',
    name: 'vms',
    state: 'Started',
    replicaCount: 3,
    bricks: [0, 1, 2].map((index) => brick(index)),
    options: [{ key: 'cluster.granular-entry-heal', value: 'on' }],
    ...changes,
  };
}

export function brick(index: number): { id: string; host: string; path: string; node: string } {
  return {
    id: `${index}`.repeat(32),
    host: `server${index + 1}`,
    path: '/bricks/b1/brick',
    node: IDS[index] ?? '',
  };
}

export function brickStatus(index: number, changes: Partial<BrickStatus> = {}): BrickStatus {
  return {
    ...brick(index),
    online: true,
    port: 49152,
    pid: 13439 + index,
    role: index === 0 ? 'primary' : 'in sync',
    disk: undefined,
    clients: [],
    detail: '',
    ...changes,
  };
}

export function status(changes: Partial<VolumeStatus> = {}): VolumeStatus {
  const bricks = [
    brickStatus(0),
    brickStatus(1),
    brickStatus(2, { online: false, port: 0, pid: 0, role: 'absent', detail: 'its node does not answer' }),
  ];
  return { id: volume().id, name: 'vms', started: true, epoch: 7, bricks, ...changes };
}

export function healBrick(index: number, changes: Partial<HealBrick> = {}): HealBrick {
  return {
    ...brick(index),
    connected: true,
    role: index === 0 ? 'primary' : 'in sync',
    entries: [],
    entryCount: 0,
    bytesLeft: 0,
    bytesDone: 0,
    secondsLeft: undefined,
    detail: '',
    ...changes,
  };
}

export function heal(changes: Partial<VolumeHeal> = {}): VolumeHeal {
  const entries = [
    { path: '/disk.img', gfid: 'd4'.repeat(16) },
    { path: '/log\x1b[2J', gfid: '' },
    { path: '', gfid: 'e5'.repeat(16) },
  ];
  return {
    name: 'vms',
    bricks: [
      healBrick(0, { entries, entryCount: 3 }),
      healBrick(1, {
        role: 'catching up',
        bytesLeft: 3 << 20,
        bytesDone: 1 << 20,
        secondsLeft: 200,
      }),
      healBrick(2, {
        connected: false,
        role: 'absent',
        entryCount: undefined,
        bytesLeft: 512,
      }),
    ],
    ...changes,
  };
}

export function scrub(changes: Partial<VolumeScrub> = {}): VolumeScrub {
  const report = {
    state: 'waiting', endedSec: 1_700_000_000, durationSec: 93_784, files: 1200, bytes: 5 << 30, filesNow: 0, bytesNow: 0,
    corrupted: 3, torn: 1, repaired: 2, damaged: 1, lost: 1, unchecked: 0, unreadable: 0, damagedFiles: ['d4'.repeat(16)],
  };
  const bricks = [
    { ...brick(0), report, detail: '' },
    { ...brick(1), report: { ...report, state: 'running', filesNow: 7, bytesNow: 3 << 20, endedSec: 0, durationSec: 0, files: 0, corrupted: 0, damaged: 0, repaired: 0, lost: 0, unchecked: 4, damagedFiles: [] }, detail: '' },
    { ...brick(2), report: undefined, detail: 'its node does not answer' },
  ];
  return { name: 'vms', scrub: 'Active', throttle: 'lazy', frequency: 'biweekly', bricks, ...changes };
}

const CHANGED = { id: volume().id, warnings: [] };

/** Answers every method; what was called is in `calls`. */
export function fakeClient(changes: Partial<ManagementClient> = {}, calls: string[] = []): ManagementClient {
  const changed =
    (name: string) =>
    (volumeName: string, ...rest: unknown[]) => {
      calls.push([name, volumeName, ...rest.map((value) => JSON.stringify(value) ?? 'undefined')].join(' '));
      return Promise.resolve(CHANGED);
    };
  return {
    peerProbe: (host, token) => {
      calls.push(`peerProbe ${host} ${token}`);
      return Promise.resolve('');
    },
    peerDetach: (host, force) => {
      calls.push(`peerDetach ${host} ${force}`);
      return Promise.resolve();
    },
    peers: () => Promise.resolve([peer(0), peer(1), peer(2, { connected: false, otherNames: ['10.0.0.3'] })]),
    volumeCreate: (request) => {
      calls.push(`volumeCreate ${JSON.stringify(request)}`);
      return Promise.resolve(CHANGED);
    },
    volumeStart: changed('volumeStart'),
    volumeStop: changed('volumeStop'),
    volumeDelete: changed('volumeDelete'),
    replaceBrick: changed('replaceBrick'),
    resetBrick: changed('resetBrick'),
    volumes: (name) =>
      name === undefined || name === 'vms' ? Promise.resolve([volume()]) : Promise.reject(noVolume(name)),
    volumeNames: () => Promise.resolve(['vms']),
    volumeStatus: (name) => (name === 'vms' ? Promise.resolve(status()) : Promise.reject(noVolume(name))),
    optionsSet: changed('optionsSet'),
    optionsSetGroup: changed('optionsSetGroup'),
    optionsGet: () => Promise.resolve([{ key: 'network.ping-timeout', value: '10' }]),
    optionsReset: changed('optionsReset'),
    optionsHelp: () =>
      Promise.resolve([
        {
          key: 'network.ping-timeout',
          defaultValue: '10',
          description: 'Silence after which a node counts as gone.',
          type: 'seconds',
          values: [],
        },
        {
          key: 'cluster.quorum-type',
          defaultValue: 'auto',
          description: 'Kept for scripts.',
          type: 'enum',
          values: ['auto', 'none'],
        },
      ]),
    heal: changed('heal'),
    healInfo: () => Promise.resolve(heal()),
    scrub: changed('scrub'),
    scrubStatus: () => Promise.resolve(scrub()),
    daemon: () => Promise.resolve({ id: IDS[0] ?? '', version: '9.9.9', stateDirectory: '/var/lib/gluon' }),
    state: () =>
      Promise.resolve({
        id: IDS[0] ?? '',
        version: '9.9.9',
        peers: [peer(0), peer(1)],
        volumes: [volume()],
        statuses: [status()],
      }),
    systemStop: () => Promise.resolve(2),
    close: () => undefined,
    ...changes,
  };
}

function noVolume(name: string): RefusedError {
  return new RefusedError(`there is no volume '${name}'; 'gluon volume list' shows those of this pool`, 2);
}

export interface Ran {
  status: number;
  out: string;
  err: string;
  /** Questions that were asked. */
  asked: string[];
  calls: string[];
  /** What get-state wrote. */
  files: Map<string, string>;
}

export interface RunOptions {
  client?: Partial<ManagementClient>;
  form?: Form;
  script?: boolean;
  /** What stdin holds; its end follows. */
  answers?: string[];
  tty?: boolean;
  ignoreWarnings?: boolean;
}

/** A terminal over strings. */
export function recordingTerminal(
  answers: string[],
  tty: boolean,
): { terminal: Terminal; ran: Pick<Ran, 'out' | 'err' | 'asked'> } {
  const ran = { out: '', err: '', asked: [] as string[] };
  const terminal: Terminal = {
    outputIsTerminal: tty,
    inputIsTerminal: tty,
    question: (text) => {
      ran.asked.push(text);
      return Promise.resolve(answers.shift());
    },
    out: (lines) => (ran.out += `${lines.join('\n')}\n`),
    err: (lines) => (ran.err += `${lines.join('\n')}\n`),
  };
  return { terminal, ran };
}

export function context(
  options: RunOptions,
  calls: string[],
  files: Map<string, string>,
): { context: Context; ran: Pick<Ran, 'out' | 'err' | 'asked'> } {
  const { terminal, ran } = recordingTerminal([...(options.answers ?? [])], options.tty ?? false);
  return {
    ran,
    context: {
      client: fakeClient(options.client, calls),
      terminal,
      files: {
        write: (directory, name, text) => {
          files.set(`${directory}/${name}`, text);
          return Promise.resolve(`${directory}/${name}`);
        },
      },
      form: options.form ?? 'text',
      script: options.script ?? false,
      ignoreWarnings: options.ignoreWarnings ?? false,
      joinToken: '',
      now: () => 1_700_000_000,
      version: '1.2.3',
    },
  };
}

/** Runs one command; `line` is split at spaces. */
export async function gluon(line: string | string[], options: RunOptions = {}): Promise<Ran> {
  const calls: string[] = [];
  const files = new Map<string, string>();
  const made = context(options, calls, files);
  const words = typeof line === 'string' ? line.split(' ').filter((word) => word !== '') : line;
  const exit = await runWords(COMMANDS, words, made.context);
  return { status: exit, calls, files, ...made.ran };
}
