import { done } from '../answer.js';
import { Arguments } from '../arguments.js';
import type { Command } from '../command.js';
import { peersJson } from '../json.js';
import { printable } from '../printable.js';
import { peerStatusText, poolListText } from '../text/peers.js';
import { generic } from '../xml/document.js';
import { peerStatusXml, poolListXml } from '../xml/peers.js';

const probe: Command = {
  words: ['peer', 'probe'],
  pattern: '{ <HOSTNAME> | <IP-address> }',
  summary: 'add the node to the pool of this one',
  prepare(rest) {
    const words = new Arguments(rest, 'peer probe { <HOSTNAME> | <IP-address> }');
    const host = words.take('the host name');
    words.end();
    return {
      operation: 'peer probe',
      async run({ client, joinToken }) {
        const told = await client.peerProbe(host, joinToken);
        const sentence = `success${told === '' ? '' : `. ${printable(told)}`}`;
        return done(`peer probe: ${sentence}`, generic(undefined, sentence), {
          host: printable(host),
          message: printable(told),
        });
      },
    };
  },
};

const detach: Command = {
  words: ['peer', 'detach'],
  pattern: '{ <HOSTNAME> | <IP-address> } [force]',
  summary: 'take the node out of the pool',
  prepare(rest) {
    const words = new Arguments(rest, 'peer detach { <HOSTNAME> | <IP-address> } [force]');
    const host = words.take('the host name');
    const force = words.takeForce();
    words.end();
    return {
      operation: 'peer detach',
      question:
        `Mounts that were made through ${printable(host)} keep working, but cannot find the volume again through it after a restart. ` +
        'Is no mount configured with only this node, and shall it be detached?',
      async run({ client }) {
        await client.peerDetach(host, force);
        return done('peer detach: success', generic(undefined, 'success'), { host: printable(host) });
      },
    };
  },
};

const status: Command = {
  words: ['peer', 'status'],
  pattern: '',
  summary: 'show the other nodes of the pool',
  prepare(rest) {
    new Arguments(rest, 'peer status').end();
    return {
      operation: 'peer status',
      async run({ client }) {
        const peers = await client.peers();
        return {
          text: () => peerStatusText(peers),
          xml: () => [peerStatusXml(peers)],
          json: () => peersJson(peers.filter((peer) => !peer.local)),
        };
      },
    };
  },
};

const poolList: Command = {
  words: ['pool', 'list'],
  pattern: '',
  summary: 'list all nodes of the pool',
  prepare(rest) {
    new Arguments(rest, 'pool list').end();
    return {
      operation: 'pool list',
      async run({ client }) {
        const peers = await client.peers();
        return { text: () => poolListText(peers), xml: () => [poolListXml(peers)], json: () => peersJson(peers) };
      },
    };
  },
};

export const PEER_COMMANDS: Command[] = [detach, probe, status, poolList];
