/**
 * One program of the suite, in a process of its own. Usage: actor.js JOB (see jobs.ts). Says `ready` on stdout, begins when a line comes on stdin, so that all
 * begin at once, and ends with one line: its outcome, or what went wrong.
 */
import { once } from 'node:events';
import { errnoName } from '../../src/base/errno.js';
import { CallError } from '../conformance/posix/calls.js';
import type { Job } from './jobs.js';
import { Recorder } from './recorder.js';
import { blocks, records, storm } from './work-data.js';
import { counter, greedy, locks } from './work-locks.js';
import { attributes, claims, names } from './work-names.js';

function carryOut(recorder: Recorder, { work }: Job): void {
  switch (work.kind) {
    case 'blocks':
      return blocks(recorder, work);
    case 'records':
      return records(recorder, work);
    case 'names':
      return names(recorder, work);
    case 'attributes':
      return attributes(recorder, work);
    case 'counter':
      return counter(recorder, work);
    case 'locks':
      return locks(recorder, work);
    case 'greedy':
      return greedy(recorder, work);
    case 'storm':
      return storm(recorder, work);
    case 'claims':
      return claims(recorder, work);
  }
}

function answer(job: Job): object {
  try {
    const recorder = new Recorder(job);
    carryOut(recorder, job);
    return recorder.outcome;
  } catch (error) {
    const errno = error instanceof CallError ? ` ${errnoName(error.errno)}` : '';
    return { broken: `${(error as Error).stack}${errno}` };
  }
}

const job = JSON.parse(process.argv[2] ?? '') as Job;
process.umask(0);
process.chdir(job.directory);
process.stdout.write('ready\n');
await once(process.stdin, 'data');
process.stdout.write(`${JSON.stringify(answer(job))}\n`, () => process.exit(0));
