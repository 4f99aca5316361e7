/** What a host's kernel drops: iptables rules in the host's own network. */
import { join } from 'node:path';
import { packageRoot } from '../support/package-root.js';
import type { Node } from '../support/cluster.js';
import { run } from '../support/exec.js';
import { onHost } from '../support/network.js';

export type Direction = 'in' | 'out';

async function iptables(host: Node, words: string[]): Promise<void> {
  const [command = '', ...rest] = onHost(host.network, ['iptables', '-w', '20', ...words]);
  await run(command, rest, { boundMs: 30_000 });
}

const CHAIN: Record<Direction, { chain: string; device: string; peer: string }> = {
  in: { chain: 'INPUT', device: '-i', peer: '-s' },
  out: { chain: 'OUTPUT', device: '-o', peer: '-d' },
};

function rule(direction: Direction, match: readonly string[], target: string): string[] {
  const { chain, device } = CHAIN[direction];
  return ['-A', chain, device, 'eth0', ...match, '-j', target];
}

/** Nothing comes in, or goes out, or only what comes from and goes to one other host. */
export async function drop(host: Node, directions: readonly Direction[], peer?: Node): Promise<void> {
  for (const direction of directions) {
    const match = peer === undefined ? [] : [CHAIN[direction].peer, peer.network.address];
    await iptables(host, rule(direction, match, 'DROP'));
  }
}

/** Only these TCP ports, on either side, still work. */
export async function dropAllBut(host: Node, ports: readonly number[]): Promise<void> {
  const list = ports.join(',');
  for (const direction of ['in', 'out'] as const) {
    for (const side of ['--sports', '--dports']) await iptables(host, rule(direction, ['-p', 'tcp', '-m', 'multiport', side, list], 'ACCEPT'));
    await iptables(host, rule(direction, [], 'DROP'));
  }
}

/** This share of what comes in is lost. */
export async function lose(host: Node, share: number): Promise<void> {
  await iptables(host, rule('in', ['-m', 'statistic', '--mode', 'random', '--probability', String(share)], 'DROP'));
}

/** Of what comes in from one other host, packets of more than so many bytes are lost, and nobody is told: the path between them takes less than both believe. */
export async function dropLarge(host: Node, peer: Node, bytesMax: number): Promise<void> {
  const match = [CHAIN.in.peer, peer.network.address, '-m', 'length', '--length', `${bytesMax + 1}:65535`];
  await iptables(host, rule('in', match, 'DROP'));
}

/**
 * The hosts' kernels are set as `deploy/README.md` advises: they look for a packet size that arrives when large ones do not. On a virtual link several packets
 * pass the rules as one, which would be too large for them however small the packets are: here each passes by itself, on connections that are made from now on.
 */
export async function probeMtu(hosts: readonly Node[]): Promise<void> {
  for (const host of hosts) {
    const [link = '', ...options] = onHost(host.network, ['ip', 'link', 'set', 'dev', 'eth0', 'gso_max_segs', '1']);
    await run(link, options, { boundMs: 30_000 });
  }
  for (const host of hosts) await resetConnections(host);
  for (const host of hosts) {
    const [command = '', ...rest] = onHost(host.network, ['sysctl', '-q', '-p', join(packageRoot(), 'deploy', 'sysctl', '60-gluon.conf')]);
    await run(command, rest, { boundMs: 30_000 });
  }
}

/** Every TCP connection of the host ends by a reset, at both ends; resolves with how many did. */
export async function resetConnections(host: Node): Promise<number> {
  const [command = '', ...rest] = onHost(host.network, ['ss', '-K', '-H', '-tn', 'state', 'connected']);
  const { stdout } = await run(command, rest, { boundMs: 30_000 });
  return stdout.split('\n').filter((line) => line !== '').length;
}

export async function passAll(host: Node): Promise<void> {
  await iptables(host, ['-F']);
}

/** TCP ports on which a process of the host listens. */
export async function listeningPorts(host: Node, pid: number): Promise<number[]> {
  const [command = '', ...rest] = onHost(host.network, ['ss', '-H', '-ltnp']);
  const { stdout } = await run(command, rest);
  return stdout
    .split('\n')
    .filter((line) => line.includes(`pid=${pid},`))
    .map((line) => Number(/:(\d+)\s/.exec(line)?.[1] ?? 0))
    .filter((port) => port > 0);
}
