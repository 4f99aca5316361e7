/**
 * A small network of its own for the nodes of a test cluster: one network namespace for each node, joined by a bridge that lives
 * in a namespace too, so that nothing of the host's network is touched and ports never collide.
 *
 *   n1 10.77.0.1 ─┐
 *   n2 10.77.0.2 ─┼─ bridge in namespace "hub"
 *   n3 10.77.0.3 ─┘
 */
import { existsSync, readdirSync } from 'node:fs';
import { run, shell } from './exec.js';

export interface NodeNetwork {
  /** Name of the namespace. */
  namespace: string;
  address: string;
  /** Process whose mounts the host sees; undefined: those of the tests. */
  mountsOf?: number;
}

export class TestNetwork {
  private constructor(
    readonly prefix: string,
    readonly nodes: NodeNetwork[],
  ) {}

  static async make(prefix: string, count: number): Promise<TestNetwork> {
    const nodes = Array.from({ length: count }, (_, i) => ({ namespace: `${prefix}-n${i + 1}`, address: `10.77.0.${i + 1}` }));
    const network = new TestNetwork(prefix, nodes);
    const hub = `${prefix}-hub`;
    await shell('ip netns add "$1"; ip -n "$1" link set lo up; ip -n "$1" link add br0 type bridge; ip -n "$1" link set br0 up', [hub]);
    for (const [i, node] of nodes.entries()) {
      const script =
        'ip netns add "$2"; ip -n "$2" link set lo up; ip -n "$1" link add "p$3" type veth peer name eth0 netns "$2"; ' +
        'ip -n "$1" link set "p$3" master br0 up; ip -n "$2" addr add "$4/24" dev eth0; ip -n "$2" link set eth0 up';
      await shell(script, [hub, node.namespace, String(i + 1), node.address]);
    }
    return network;
  }

  /** Cuts a node's link, or joins it again. */
  async setLink(index: number, up: boolean): Promise<void> {
    await run('ip', ['-n', `${this.prefix}-hub`, 'link', 'set', `p${index + 1}`, up ? 'up' : 'down']);
  }

  async remove(): Promise<void> {
    for (const name of TestNetwork.namespaces(this.prefix)) await run('ip', ['netns', 'delete', name], { accept: 'any' });
  }

  static namespaces(prefix: string): string[] {
    return existsSync('/run/netns') ? readdirSync('/run/netns').filter((name) => name.startsWith(`${prefix}-`)) : [];
  }
}

/** A command that runs on the host: in its network, and with its mounts or the caller's (`ip netns exec` would give it others). */
export function onHost(host: NodeNetwork, command: string[]): string[] {
  const mounts = host.mountsOf === undefined ? [] : [`--mount=/proc/${host.mountsOf}/ns/mnt`];
  return ['nsenter', `--net=/run/netns/${host.namespace}`, ...mounts, '--', ...command];
}

/** A command that runs in the network namespace, with the mounts of the caller. */
export function inNamespace(namespace: string, command: string[]): string[] {
  return onHost({ namespace, address: '' }, command);
}
