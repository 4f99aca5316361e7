import type { BrickStatus, Client, VolumeStatus } from '../model.js';
import { dashed, printable } from '../printable.js';
import { element, type XmlNode } from './tree.js';

export interface StatusParts {
  bricks: boolean;
  tasks: boolean;
  disk: boolean;
  clients: boolean;
}

function diskNodes(brick: BrickStatus): XmlNode[] {
  const { disk } = brick;
  if (disk === undefined) return [];
  return [
    element('sizeTotal', disk.bytesTotal),
    element('sizeFree', disk.bytesFree),
    element('device', printable(disk.device)),
    element('blockSize', disk.blockBytes),
    element('mntOptions', printable(disk.mountOptions)),
    element('fsName', printable(disk.fileSystem)),
    element('inodeSize', disk.inodeSize > 0 ? disk.inodeSize : 'N/A'),
    element('inodesTotal', disk.inodesTotal),
    element('inodesFree', disk.inodesFree),
  ];
}

function clientNode(client: Client): XmlNode {
  return element(
    'client',
    element('hostname', printable(client.remote)),
    element('bytesRead', client.bytesRead),
    element('bytesWrite', client.bytesWritten),
    element('opens', client.opens),
    element('locks', client.locks),
  );
}

function brickNode(brick: BrickStatus, parts: StatusParts): XmlNode {
  const port = brick.online ? String(brick.port) : 'N/A';
  return element(
    'node',
    element('hostname', printable(brick.host)),
    element('path', printable(brick.path)),
    element('peerid', dashed(brick.node)),
    element('status', brick.online ? 1 : 0),
    element('port', port),
    element('ports', element('tcp', port), element('rdma', brick.online ? '0' : 'N/A')),
    element('pid', brick.online ? brick.pid : -1),
    ...(parts.disk ? diskNodes(brick) : []),
    ...(parts.clients
      ? [element('clientsStatus', element('clientCount', brick.clients.length), ...brick.clients.map(clientNode))]
      : [element('copy', element('state', brick.role), element('detail', printable(brick.detail)))]),
  );
}

function volumeNode(status: VolumeStatus, parts: StatusParts): XmlNode {
  return element(
    'volume',
    element('volName', printable(status.name)),
    ...(parts.bricks
      ? [element('nodeCount', status.bricks.length), ...status.bricks.map((brick) => brickNode(brick, parts))]
      : []),
    ...(parts.tasks ? [element('tasks')] : []),
  );
}

/** Only started volumes have a status; `parts` says which elements stand in it. */
export function volumeStatusXml(statuses: VolumeStatus[], parts: StatusParts): XmlNode {
  return element('volStatus', element('volumes', ...statuses.map((status) => volumeNode(status, parts))));
}
