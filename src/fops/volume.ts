import type { BrickId } from './view.js';

/** Where one brick of a volume is served. */
export interface BrickSpec {
  id: BrickId;
  /** Peer id of the node that holds it. */
  node: string;
  /** As given in `volume create`. */
  host: string;
  path: string;
  /** TCP port of the data protocol; 0 while it is not known (never started). */
  port: number;
  /** Unix socket of the data protocol, only where the reader is on the brick's own node. */
  socket?: string | undefined;
}

/** What a client or a brick must know of a volume. All times in options are as the user set them; see the option table. */
export interface VolumeSpec {
  id: string;
  name: string;
  /** Shared by the volume's bricks and clients, 64 hex digits; proves membership in the handshake, never sent on the data plane. */
  secret: string;
  started: boolean;
  bricks: BrickSpec[];
  options: Record<string, string>;
}
