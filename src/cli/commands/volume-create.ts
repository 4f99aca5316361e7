import type { UsageError } from '../answer.js';
import { Arguments } from '../arguments.js';
import { RefusedError } from '../client.js';
import type { Command } from '../command.js';
import { dashed, printable } from '../printable.js';
import { volumeOperationXml } from '../xml/volumes.js';

const PATTERN = '<NEW-VOLNAME> [replica <COUNT>] [transport tcp] <HOST:/PATH>... [force]';
const USAGE = `volume create ${PATTERN}`;

/** Words of GlusterFS's grammar for kinds of volumes that gluon does not make, and what to do instead. */
const OTHER_KINDS: Record<string, string> = {
  arbiter:
    'an arbiter brick holds no data and cannot serve when the others are gone: use replica 3 with three full bricks',
  'thin-arbiter': 'use replica 3 with three full bricks',
  disperse: 'gluon keeps whole copies, no erasure codes: use replica 3',
  'disperse-data': 'gluon keeps whole copies, no erasure codes: use replica 3',
  redundancy: 'gluon keeps whole copies, no erasure codes: use replica 3',
  stripe: 'use replica 3; a file is not divided among bricks',
};

function refuse(word: string, reason: string): RefusedError {
  return new RefusedError(`'${word}' is not supported by gluon: ${reason}`, 95);
}

interface Shape {
  replicaCount: number | undefined;
  problem: RefusedError | undefined;
}

/** The keywords between the name and the bricks. */
function takeShape(words: Arguments): Shape {
  const shape: Shape = { replicaCount: undefined, problem: undefined };
  for (;;) {
    const word = words.next;
    if (words.takeIf('replica')) {
      shape.replicaCount = words.takeCount('the replica count');
      if (shape.replicaCount === 0) throw words.complaint('the replica count is 0 and must be at least 1');
    } else if (words.takeIf('transport')) {
      const transport = words.take('the transport');
      if (transport !== 'tcp')
        shape.problem = refuse(
          `transport ${printable(transport)}`,
          'the data protocol runs over tcp: leave the words out',
        );
    } else if (word !== undefined && Object.hasOwn(OTHER_KINDS, word)) {
      words.take(word);
      if (/^[0-9]+$/.test(words.next ?? '')) words.take('the count');
      shape.problem = refuse(word, OTHER_KINDS[word] ?? '');
    } else {
      return shape;
    }
  }
}

/** HOST:/PATH; the host ends at the first `:/`, so that IPv6 addresses need no brackets. */
export function parseBrick(word: string): { host: string; path: string } | undefined {
  const at = word.indexOf(':/');
  if (at <= 0) return undefined;
  return { host: word.slice(0, at).replace(/^\[(.*)\]$/, '$1'), path: word.slice(at + 1) };
}

/** The next word, as a brick. */
export function takeBrick(words: Arguments, what: string): { host: string; path: string } {
  const word = words.take(what);
  const brick = parseBrick(word);
  if (brick === undefined) throw notABrick(words, word);
  return brick;
}

function takeBricks(words: Arguments): { host: string; path: string }[] {
  const bricks = words.rest().map((word) => {
    const brick = parseBrick(word);
    if (brick === undefined) throw notABrick(words, word);
    return brick;
  });
  if (bricks.length === 0) throw words.complaint('the bricks are missing');
  return bricks;
}

function notABrick(words: Arguments, word: string): UsageError {
  return words.complaint(`'${printable(word)}' is not a brick: write HOST:/PATH with an absolute path`);
}

export const volumeCreate: Command = {
  words: ['volume', 'create'],
  pattern: PATTERN,
  summary: 'make a volume that keeps COUNT copies, one on each brick',
  prepare(rest) {
    const words = new Arguments(rest, USAGE);
    const name = words.take('the name of the volume');
    const force = words.takeForce();
    const { replicaCount, problem } = takeShape(words);
    const bricks = problem === undefined ? takeBricks(words) : [];
    return {
      operation: `volume create: ${printable(name)}`,
      question: replicaCount === 2 && !force && problem === undefined ? TWO_COPIES : undefined,
      async run({ client, ignoreWarnings }) {
        if (problem !== undefined) throw problem;
        const { id, warnings } = await client.volumeCreate({
          name,
          replicaCount,
          bricks,
          force: force || ignoreWarnings,
        });
        return {
          text: () => [`volume create: ${printable(name)}: success: please start the volume to access data`],
          xml: () => [volumeOperationXml('volCreate', name, id)],
          json: () => ({ name: printable(name), id: dashed(id), warnings: warnings.map(printable) }),
          notes: warnings.map((warning) => `volume create: ${printable(name)}: ${printable(warning)}`),
        };
      },
    };
  },
};

const TWO_COPIES =
  'With two copies the volume waits whenever one of the two bricks is away, because neither may go on alone; with replica 3 one may be away. ' +
  'Create it with replica 2 all the same?';
