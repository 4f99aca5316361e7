import type { Answer } from '../answer.js';
import { Arguments } from '../arguments.js';
import { RefusedError, type ManagementClient } from '../client.js';
import type { Command } from '../command.js';
import { statusJson } from '../json.js';
import type { BrickStatus, VolumeStatus } from '../model.js';
import { printable } from '../printable.js';
import { taskBlock, volumeStatusClientsText, volumeStatusDetailText, volumeStatusText } from '../text/status.js';
import { volumeStatusXml } from '../xml/status.js';
import { parseBrick } from './volume-create.js';

const PATTERN = '[all | <VOLNAME> [<BRICK>]] [detail|clients|tasks]';
const USAGE = `volume status ${PATTERN}`;

const KINDS = ['detail', 'clients', 'client-list', 'tasks', 'mem', 'inode', 'fd', 'callpool'] as const;
type Kind = (typeof KINDS)[number] | '';

/** What GlusterFS shows of its internals and gluon has not. */
const NOT_SUPPORTED: Partial<Record<Kind, string>> = {
  mem: "bricks keep no memory pools: see the process in 'ps'",
  inode: "bricks keep no inode table of their own: use 'volume status NAME clients'",
  fd: "use 'volume status NAME clients', which counts open files",
  callpool: 'there is no call pool',
};
const OTHER_DAEMONS: Record<string, string> = {
  nfs: 'there is no NFS server in gluon: mount the volume and export it',
  shd: "bricks heal by themselves: see 'volume heal NAME info'",
  quotad: 'there is no quota daemon',
};

interface Wanted {
  volume: string;
  brick: string | undefined;
  kind: Kind;
}

function parse(rest: string[]): Wanted {
  const words = new Arguments(rest, USAGE);
  const volume = words.empty ? 'all' : words.take('the name of the volume');
  const brick =
    volume !== 'all' && words.next !== undefined && parseBrick(words.next) !== undefined
      ? words.take('the brick')
      : undefined;
  const daemon = words.next;
  if (brick === undefined && daemon !== undefined && Object.hasOwn(OTHER_DAEMONS, daemon)) {
    throw new RefusedError(`'volume status NAME ${daemon}' is not supported by gluon: ${OTHER_DAEMONS[daemon]}`, 95);
  }
  const kind: Kind = words.empty ? '' : words.takeKeyword('a kind of status', KINDS);
  words.end();
  const problem = NOT_SUPPORTED[kind];
  if (problem !== undefined)
    throw new RefusedError(`'volume status NAME ${kind}' is not supported by gluon: ${problem}`, 95);
  return { volume, brick, kind: kind === 'client-list' ? 'clients' : kind };
}

function onlyBrick(status: VolumeStatus, brick: string): VolumeStatus {
  const wanted = parseBrick(brick);
  const fits = (candidate: BrickStatus): boolean => candidate.host === wanted?.host && candidate.path === wanted.path;
  const bricks = status.bricks.filter(fits);
  if (bricks.length === 0)
    throw new RefusedError(`${printable(brick)} is no brick of volume ${printable(status.name)}`, 2);
  return { ...status, bricks };
}

/** `all`: every volume, also those that are not started; otherwise the one, which must be started. */
async function collect(client: ManagementClient, { volume, brick, kind }: Wanted): Promise<VolumeStatus[]> {
  const parts = { disk: kind === 'detail', clients: kind === 'clients' };
  if (volume === 'all') {
    const names = await client.volumeNames();
    return Promise.all(names.map((name) => client.volumeStatus(name, parts)));
  }
  const status = await client.volumeStatus(volume, parts);
  if (!status.started) {
    throw new RefusedError(
      `volume ${printable(volume)} is not started; start it with 'gluon volume start ${printable(volume)}'`,
      22,
    );
  }
  return [brick === undefined ? status : onlyBrick(status, brick)];
}

function lines(status: VolumeStatus, kind: Kind): string[] {
  if (!status.started) return [`Volume ${printable(status.name)} is not started`, ' '];
  if (kind === 'detail') return volumeStatusDetailText(status);
  if (kind === 'clients') return volumeStatusClientsText(status);
  if (kind === 'tasks') return taskBlock(status);
  return volumeStatusText(status);
}

function answer(statuses: VolumeStatus[], kind: Kind): Answer {
  const xmlParts = {
    bricks: kind !== 'tasks',
    tasks: kind === '' || kind === 'tasks',
    disk: kind === 'detail',
    clients: kind === 'clients',
  };
  const started = statuses.filter((status) => status.started);
  return {
    text: () => statuses.flatMap((status) => lines(status, kind)),
    xml: () => [volumeStatusXml(started, xmlParts)],
    json: () => statusJson(statuses, kind === 'clients'),
    notes: statuses.length === 0 ? ['No volumes present in this pool.'] : [],
  };
}

export const volumeStatus: Command = {
  words: ['volume', 'status'],
  pattern: PATTERN,
  summary: 'show the bricks of volumes: where they listen, whether they run and hold a whole copy',
  prepare(rest) {
    const wanted = parse(rest);
    return {
      operation: 'volume status',
      run: async ({ client }) => answer(await collect(client, wanted), wanted.kind),
    };
  },
};
