/** A mount's worker over a volume in its own memory: the kernel's side alone. What it holds is gone with the worker. */
import { serveMount } from '../../src/main/mount-worker.js';
import { MemoryVolume } from './memory-fops.js';

await serveMount(() => Promise.resolve({ fops: new MemoryVolume().fops(), close: () => Promise.resolve() }));
