/** Packets that do not arrive. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Node } from '../support/cluster.js';
import { nameOf } from './bed.js';
import { FENCED, type Fault, type Scene } from './fault.js';
import { drop, dropAllBut, dropLarge, listeningPorts, lose, passAll, probeMtu, resetConnections, type Direction } from './packet-rules.js';
import { bricksAreBack } from './process-faults.js';

const HOLD = { short: 7, full: [1, 30] } as const;
const LOSS_SHARE = 0.05;
const FLAP_MS = { least: 200, most: 2500 };
const RESET_MS = { least: 50, most: 500 };
/** Longer than any pause that is allowed: it must not take the repair to end one. */
const HOLD_LONG = { short: 8, full: [32, 45] } as const;
/** A member that did not answer in time several times in a row stays away for longer each time (src/replica/slowness.ts): up to 40 s after such a hold. */
const HEAL_AFTER_LONG_S = 120;
/** Handshakes, pings and requests without data pass; blocks of data do not. */
const PASSING_BYTES_MAX = 1200;

/** Rules that hold until the repair, or until the round ends. */
function rules(
  name: string,
  what: string,
  make: (scene: Scene) => Promise<string>,
  rest: Pick<Fault, 'short' | 'victim'> & Partial<Fault>,
): Fault {
  const clear = async ({ bed }: Scene): Promise<void> => {
    for (const host of bed.hosts) await passAll(host);
  };
  return {
    name,
    what,
    inject: async (scene) => {
      scene.atEnd(() => clear(scene));
      scene.note(await make(scene));
    },
    repair: async (scene) => {
      await clear(scene);
      if (!scene.victims.includes(scene.bed.client)) await bricksAreBack(scene);
    },
    holdS: HOLD,
    stallMs: ({ pingTimeoutMs }) => pingTimeoutMs,
    ...rest,
  };
}

function cutNode(name: string, what: string, directions: readonly Direction[], short: boolean): Fault {
  const make = async ({ victim }: Scene): Promise<string> => {
    await drop(victim, directions);
    return `${nameOf(victim)}: no packet ${directions.join(' nor ')}`;
  };
  return rules(name, what, make, { short, victim: 'any node', onVictim: 'waits', errorsOnVictim: FENCED, guest: true });
}

/** Between two hosts, both ways. */
async function cutPair(one: Node, other: Node): Promise<string> {
  await drop(one, ['in', 'out'], other);
  return `no packet between ${nameOf(one)} and ${nameOf(other)}`;
}

/** Between two hosts large packets vanish, both ways. */
async function blackHole(one: Node, other: Node): Promise<string> {
  await dropLarge(one, other, PASSING_BYTES_MAX);
  await dropLarge(other, one, PASSING_BYTES_MAX);
  return `no packet of more than ${PASSING_BYTES_MAX} bytes between ${nameOf(one)} and ${nameOf(other)}`;
}

/** Strikes, lets all packets pass, and so on until it is told to end; resolves with how much it struck in all. */
async function strikeUntil(over: () => boolean, strike: () => Promise<number>, pass: () => Promise<void>, pause: () => Promise<void>): Promise<number> {
  let struck = 0;
  while (!over()) {
    struck += await strike();
    await pause();
    await pass();
    await pause();
  }
  return struck;
}

/** Again and again until the repair, or until the round ends. `strike` tells how many things it struck; the dice say how long it stays so, and how long all is well. */
function again(name: string, what: string, pauseMs: { least: number; most: number }, strike: (victim: Node) => Promise<number>, rest: Pick<Fault, 'short' | 'victim'> & Partial<Fault>): Fault {
  let end = (): Promise<number> => Promise.resolve(0);
  const make = ({ victim, dice, atEnd }: Scene): Promise<string> => {
    let over = false;
    const pause = (): Promise<void> => sleep(dice.between(pauseMs.least, pauseMs.most));
    const striking = strikeUntil(() => over, () => strike(victim), () => passAll(victim), pause);
    end = (): Promise<number> => {
      over = true;
      return striking;
    };
    // A strike that failed is told at the repair.
    striking.catch(() => undefined);
    atEnd(async () => void (await end().catch(() => 0)));
    return Promise.resolve(`${nameOf(victim)}: ${what}`);
  };
  const repair = async (scene: Scene): Promise<void> => {
    const struck = await end();
    if (struck === 0) throw new Error(`${name} struck nothing: the round proves nothing`);
    scene.note(`${nameOf(scene.victim)}: struck ${struck}`);
    await bricksAreBack(scene);
  };
  return rules(name, what, make, { holdS: { short: 8, full: [8, 40] }, repair, ...rest });
}

async function cutOff(victim: Node): Promise<number> {
  await drop(victim, ['in', 'out']);
  return 1;
}

async function cutManagement(scene: Scene): Promise<string> {
  const { bed, victims } = scene;
  const ports: number[] = [];
  for (const node of bed.cluster.nodes) ports.push(...(await listeningPorts(node, bed.brickPid(node))));
  for (const node of victims) await dropAllBut(node, ports);
  return `${victims.map(nameOf).join(', ')}: only the bricks' ports ${ports.join(', ')} pass`;
}

function mtuBlackHole(name: string, what: string, victim: 'any node' | 'primary'): Fault {
  return rules(name, what, async ({ bed, victim: node }) => {
    for (const other of bed.hosts) if (other !== node) await blackHole(node, other);
    return `${nameOf(node)}: no packet of more than ${PASSING_BYTES_MAX} bytes in nor out`;
  }, { short: false, victim, prepare: ({ bed }) => probeMtu(bed.hosts), holdS: HOLD_LONG, healS: HEAL_AFTER_LONG_S, onVictim: 'waits', errorsOnVictim: FENCED });
}

export const NETWORK_FAULTS: readonly Fault[] = [
  cutNode('cut-node', 'a node is cut off', ['in', 'out'], true),
  cutNode('cut-node-in', 'a node hears nothing, but is heard', ['in'], false),
  cutNode('cut-node-out', 'a node hears everything, but is not heard', ['out'], false),
  rules('cut-client', 'a client host is cut off from all nodes', async ({ victim }) => {
    await drop(victim, ['in', 'out']);
    return `${nameOf(victim)}: no packet`;
  }, { short: false, victim: 'client host', onVictim: 'waits', errorsOnVictim: FENCED }),
  rules('cut-client-primary', 'a client host is cut off from the primary only', async ({ bed, victim }) => cutPair(bed.client, victim), { short: false, victim: 'primary' }),
  rules('cut-pair', 'the primary and a member do not reach each other, everybody else does', async ({ bed, victim, dice }) => cutPair(victim, dice.pick(bed.cluster.nodes.filter((node) => node !== victim))), {
    short: false,
    victim: 'primary',
  }),
  rules('mtu-black-hole', 'between a client host and the primary small packets pass and large ones vanish', async ({ bed, victim }) => blackHole(bed.client, victim), { short: false, victim: 'primary', holdS: HOLD_LONG }),
  rules('mtu-black-hole-pair', 'between the primary and a member small packets pass and large ones vanish', async ({ bed, victim, dice }) => blackHole(victim, dice.pick(bed.cluster.nodes.filter((node) => node !== victim))), {
    short: false,
    victim: 'primary',
    holdS: HOLD_LONG,
    healS: HEAL_AFTER_LONG_S,
  }),
  mtuBlackHole('mtu-black-hole-node', 'to and from a node small packets pass and large ones vanish', 'any node'),
  mtuBlackHole('mtu-black-hole-primary', 'the same on the node of the brick that orders all changes', 'primary'),
  rules('cut-crosswise', 'each of two clients is cut off from another brick', async ({ bed, hosts, dice }) => {
    const [one, other] = hosts as [Node, Node];
    const first = dice.pick(bed.cluster.nodes.filter((node) => node !== other));
    const second = dice.pick(bed.cluster.nodes.filter((node) => node !== other && node !== first));
    return `${await cutPair(one, first)}, ${await cutPair(other, second)}`;
  }, { short: false, victim: 'any node' }),
  rules('cut-management', 'gluond and etcd of a node are cut off, its brick is not', cutManagement, { short: false, victim: 'any node' }),
  rules('cut-management-all', 'no gluond and no etcd reaches another: nothing may serve when the leases are over', cutManagement, { short: false, victim: 'all nodes', waits: true, onVictim: 'goes on' }),
  again('flap', 'the network of a node comes and goes', FLAP_MS, cutOff, { short: false, victim: 'any node', onVictim: 'waits', errorsOnVictim: FENCED }),
  again('reset-storm', 'all TCP connections of a node are reset, again and again', RESET_MS, resetConnections, { short: false, victim: 'any node' }),
  rules('loss', 'one packet in twenty is lost everywhere', async ({ bed }) => {
    for (const host of bed.hosts) await lose(host, LOSS_SHARE);
    return 'every host loses 5 % of what comes in';
  }, { short: false, victim: 'any node' }),
];
