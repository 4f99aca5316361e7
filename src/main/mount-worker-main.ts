/** A mount's worker over a volume: its spec and views come from the servers' gluonds, its data from the bricks. */
import { errnoName, FsError } from '../base/errno.js';
import type { Gfid } from '../base/ids.js';
import { LargeBuffers } from '../base/large-buffers.js';
import { LocalFiles } from '../brick/local-files.js';
import { VolumeClient } from '../client/client.js';
import type { GivenLocks } from '../client/local-locks.js';
import type { View } from '../fops/view.js';
import type { VolumeSpec } from '../fops/volume.js';
import { leaseCaching } from '../fuse/caching.js';
import { bootId } from '../platform/boot-id.js';
import { RealRandom } from '../platform/clock.js';
import { LibcDisk } from '../platform/libc.js';
import { formatHostPort, GLUOND_PORT } from '../platform/target.js';
import { TcpNetwork } from '../platform/tcp.js';
import { watchVolume } from '../platform/volume-watch.js';
import { serveMount, type OpenVolume, type VolumeRequest } from './mount-worker.js';

/** Requests of a worker that died come again at once; this leaves room for a machine that swaps. */
const HOLD_ACKNOWLEDGED_MS = 60_000;
/** For the last message to leave before the process does. */
const BYE_MS = 100;
const KERNEL_MARGIN_MS = 30;

interface Known {
  spec: VolumeSpec;
  view: View;
}

class MountedVolume implements OpenVolume {
  readonly policy = leaseCaching(() => this.#client?.cache, KERNEL_MARGIN_MS);
  readonly #buffers = new LargeBuffers();
  readonly #disk = new LibcDisk(this.#buffers);
  readonly giveBack = (data: Uint8Array): void => this.#buffers.give(data);
  readonly #request: VolumeRequest;
  readonly #watch = new AbortController();
  #client: VolumeClient | undefined;
  #invalidate: (gfids: readonly Gfid[]) => Promise<void> = () => Promise.resolve();

  constructor(request: VolumeRequest) {
    this.#request = request;
  }

  /** A successor goes on at once with what its predecessor knew, and asks the servers meanwhile: they may be down. */
  async open(): Promise<this> {
    const { takeover, noted, log } = this.#request;
    const watching = this.#follow();
    if (takeover && noted !== '') {
      const known = JSON.parse(noted) as Known;
      this.#update(known.spec, known.view);
      watching.catch((error: unknown) =>
        log.warn('no server tells about the volume; going on with what is known', { error }),
      );
    } else await watching;
    return this;
  }

  #follow(): Promise<void> {
    const { config, log } = this.#request;
    const { servers, volume } = config.source;
    return watchVolume({
      servers: servers.map(({ host, port }) => formatHostPort({ host, port: port === 0 ? GLUOND_PORT : port })),
      volume,
      onUpdate: (spec, view) => this.#update(spec, view),
      signal: this.#watch.signal,
      log,
    }).catch((error: unknown) => {
      throw error instanceof FsError
        ? new Error(`${error.message.replace(/^\w+: E\w+: /, '')} (${errnoName(error.errno)})`, { cause: error })
        : error;
    });
  }

  #update(spec: VolumeSpec, view: View): void {
    const { session, begun, opens, given, takeover, log, clock } = this.#request;
    this.#client ??= new VolumeClient(
      { clock, random: new RealRandom(), network: new TcpNetwork(this.#buffers), log },
      {
        session,
        begun,
        onBegun: () => this.#request.onBegun(),
        onRevoked: (successor) => this.#request.onRevoked(successor),
        onLoss: (gfids) => this.#request.onLoss(gfids),
        opens,
        given: given === '' ? [] : (JSON.parse(given) as GivenLocks[]),
        ownNumber: () => this.#request.lateNumber(),
        onGiven: (locks) => this.#request.onGiven(locks.length === 0 ? '' : JSON.stringify(locks)),
        holdAcknowledgedMs: takeover ? HOLD_ACKNOWLEDGED_MS : 0,
        invalidate: (gfids) => this.#invalidate(gfids),
        copyOf: (data) => this.#buffers.copy(data),
        openLocalCopy: (volume, { id, path, socket }) =>
          socket === undefined
            ? undefined
            : LocalFiles.open(this.#disk, path, volume.id, id, bootId(), (reason) =>
                log.info('the brick of this node cannot be read directly', { reason }),
              ),
      },
    );
    const first = this.#client.view.epoch === 0;
    this.#client.update(spec, view);
    // So that `df` has something to show when the volume does not answer.
    if (first) this.#client.fops.statfs({}).catch(() => undefined);
    this.#request.note(JSON.stringify({ spec, view } satisfies Known));
  }

  get fops(): OpenVolume['fops'] {
    return (this.#client as VolumeClient).fops;
  }

  onInvalidate(invalidate: (gfids: readonly Gfid[]) => Promise<void>): void {
    this.#invalidate = invalidate;
  }

  withdraw(requestNumber: number): void {
    this.#client?.withdraw(requestNumber);
  }

  async close(): Promise<void> {
    this.#watch.abort();
    this.#client?.close();
    await new Promise<void>((resolve) => void this.#request.clock.after(BYE_MS, resolve));
  }
}

await serveMount((request) => new MountedVolume(request).open());
