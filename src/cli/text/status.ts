/**
 * `volume status`. Scripts parse it by columns: the name is 43 wide and wraps, then TCP Port, RDMA Port, Online, Pid at fixed places.
 * What gluon adds stands in a block of its own after the tasks, in lines that begin with a space.
 */
import type { BrickStatus, VolumeStatus } from '../model.js';
import { brickName, printable } from '../printable.js';
import { diskSize } from './units.js';

const NAME_WIDTH = 43;
const RULE = '-'.repeat(78);
const CLIENT_RULE = '-'.repeat(46);

/** One row; a name wider than its column goes on in the next line, and the other columns stand behind its end. */
function row(name: string, tcpPort: string, rdmaPort: string, online: string, pid: string): string[] {
  const lines: string[] = [];
  let rest = [...name];
  while (rest.length > NAME_WIDTH) {
    lines.push(rest.slice(0, NAME_WIDTH).join(''));
    rest = rest.slice(NAME_WIDTH);
  }
  lines.push(
    `${rest.join('').padEnd(NAME_WIDTH)} ${tcpPort.padEnd(10)}${rdmaPort.padEnd(11)}${online.padEnd(8)}${pid}`,
  );
  return lines;
}

function brickRow(brick: BrickStatus): string[] {
  const name = `Brick ${brickName(brick)}`;
  return brick.online
    ? row(name, String(brick.port), '0', 'Y', String(brick.pid))
    : row(name, 'N/A', 'N/A', 'N', 'N/A');
}

export function taskBlock(status: VolumeStatus): string[] {
  return [`Task Status of Volume ${printable(status.name)}`, RULE, 'There are no active volume tasks', ' '];
}

function copiesBlock(status: VolumeStatus): string[] {
  const lines = [
    `Copies of Volume ${printable(status.name)}${status.epoch > 0 ? ` (view ${status.epoch})` : ''}`,
    RULE,
  ];
  for (const brick of status.bricks) {
    const detail = brick.detail === '' ? '' : ` (${printable(brick.detail)})`;
    lines.push(`  ${brickName(brick)}: ${brick.role}${detail}`);
  }
  return [...lines, ' '];
}

export function volumeStatusText(status: VolumeStatus): string[] {
  return [
    `Status of volume: ${printable(status.name)}`,
    'Gluster process                             TCP Port  RDMA Port  Online  Pid',
    RULE,
    ...status.bricks.flatMap(brickRow),
    ' ',
    ...taskBlock(status),
    ...copiesBlock(status),
  ];
}

function detailRow(label: string, value: string): string {
  return `${label.padEnd(20)} : ${value.padEnd(20)}`;
}

function detailRows(brick: BrickStatus): string[] {
  const { disk } = brick;
  const port = brick.online ? [String(brick.port), '0', 'Y', String(brick.pid)] : ['N/A', 'N/A', 'N', 'N/A'];
  const known = (value: (known: NonNullable<typeof disk>) => string): string =>
    disk === undefined ? 'N/A' : value(disk);
  const rows: [string, string][] = [
    ['Brick', `Brick ${brickName(brick)}`],
    ['TCP Port', port[0] ?? ''],
    ['RDMA Port', port[1] ?? ''],
    ['Online', port[2] ?? ''],
    ['Pid', port[3] ?? ''],
    ['File System', known((d) => printable(d.fileSystem))],
    ['Device', known((d) => printable(d.device))],
    ['Mount Options', known((d) => printable(d.mountOptions))],
    ['Inode Size', known((d) => (d.inodeSize > 0 ? String(d.inodeSize) : 'N/A'))],
    ['Disk Space Free', known((d) => diskSize(d.bytesFree))],
    ['Total Disk Space', known((d) => diskSize(d.bytesTotal))],
    ['Inode Count', known((d) => String(d.inodesTotal))],
    ['Free Inodes', known((d) => String(d.inodesFree))],
  ];
  return [RULE, ...rows.map(([label, value]) => detailRow(label, value))];
}

export function volumeStatusDetailText(status: VolumeStatus): string[] {
  return [`Status of volume: ${printable(status.name)}`, ...status.bricks.flatMap(detailRows), ' '];
}

function clientRows(brick: BrickStatus): string[] {
  const lines = [`Brick : ${brickName(brick)}`];
  if (!brick.online) return [...lines, 'Clients connected : N/A (the brick does not answer)', CLIENT_RULE];
  lines.push(`Clients connected : ${brick.clients.length}`);
  if (brick.clients.length === 0) return [...lines, CLIENT_RULE];
  const columns = (host: string, ...rest: (number | string)[]): string =>
    host.padEnd(48) + rest.map((value) => ` ${String(value).padStart(15)}`).join('');
  lines.push(
    columns('Hostname', 'BytesRead', 'BytesWritten', 'Opens', 'Locks'),
    columns('--------', '---------', '------------', '-----', '-----'),
  );
  for (const client of brick.clients) {
    lines.push(columns(printable(client.remote), client.bytesRead, client.bytesWritten, client.opens, client.locks));
  }
  return [...lines, CLIENT_RULE];
}

export function volumeStatusClientsText(status: VolumeStatus): string[] {
  return [`Client connections for volume ${printable(status.name)}`, CLIENT_RULE, ...status.bricks.flatMap(clientRows)];
}
