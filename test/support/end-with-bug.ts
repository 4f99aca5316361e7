/** A process that installs the handler of the daemons and then has a bug: `end-with-bug KIND [LOG]`. */
import { open } from 'node:fs';
import { assert } from '../../src/base/assert.js';
import { endOnBug } from '../../src/platform/end-on-bug.js';
import { descriptorSink, fileSink, JsonLog } from '../../src/platform/log.js';

const [kind = '', logFile, fifo] = process.argv.slice(2);
const sink = logFile === undefined || logFile === '' ? descriptorSink(2) : fileSink(logFile).sink;
const log = new JsonLog(sink, 'info', { pid: process.pid });
endOnBug('a test', log, { logIsFile: logFile !== undefined && logFile !== '' });
log.info('begins');

// Never opened by anybody else: a thread of the pool waits for ever.
if (fifo !== undefined) open(fifo, 'r', () => undefined);

const KINDS: Record<string, () => void> = {
  assertion: () => assert(kind === '', 'what never is'),
  rejection: () => void Promise.reject(new TypeError('nobody caught this')),
  // Somebody's library may throw what is no error.
  'no error': () => void process.emit('uncaughtException', 'a text' as unknown as Error),
};
setTimeout(() => KINDS[kind]?.(), 50);
setInterval(() => undefined, 1000);
