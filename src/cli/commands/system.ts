import { done } from '../answer.js';
import { Arguments } from '../arguments.js';
import { NoAnswerError, RefusedError } from '../client.js';
import type { Command } from '../command.js';
import { dashed, printable } from '../printable.js';
import { stateReport } from '../state-report.js';
import { counted } from '../text/units.js';
import { generic } from '../xml/document.js';
import { element } from '../xml/tree.js';

const uuidGet: Command = {
  words: ['system::', 'uuid', 'get'],
  pattern: '',
  summary: 'show the identity of this node',
  prepare(rest) {
    new Arguments(rest, 'system:: uuid get').end();
    return {
      operation: 'system uuid get',
      async run({ client }) {
        const { id } = await client.daemon();
        return done(`UUID: ${dashed(id)}`, [element('uuidGenerate', element('uuid', dashed(id)))], {
          uuid: dashed(id),
        });
      },
    };
  },
};

const getwd: Command = {
  words: ['system::', 'getwd'],
  pattern: '',
  summary: 'show the state directory of gluond',
  prepare(rest) {
    new Arguments(rest, 'system:: getwd').end();
    return {
      operation: 'system getwd',
      async run({ client }) {
        const { stateDirectory } = await client.daemon();
        return done(printable(stateDirectory), generic(undefined, printable(stateDirectory)), {
          stateDirectory: printable(stateDirectory),
        });
      },
    };
  },
};

const stop: Command = {
  words: ['system::', 'stop'],
  pattern: '[daemon]',
  summary: 'stop the bricks of this node, and with daemon gluond too',
  prepare(rest) {
    const words = new Arguments(rest, 'system:: stop [daemon]');
    const daemon = words.takeIf('daemon');
    words.end();
    return {
      operation: 'system stop',
      question:
        'Volumes wait while fewer than a majority of their bricks run. Do you want to stop the bricks of this node?',
      async run({ client }) {
        const bricks = await client.systemStop(daemon);
        const sentence = `system stop: success: ${counted(bricks, 'brick')} stopped${daemon ? ', gluond too' : ''}`;
        return done(sentence, generic(undefined, sentence), { bricksStopped: bricks, daemon });
      },
    };
  },
};

const STATE_PATTERN = '[gluond] [odir </path/>] [file <filename>] [detail|volumeoptions]';
const STATE_DIRECTORY = '/run/gluon';

const getState: Command = {
  words: ['get-state'],
  pattern: STATE_PATTERN,
  summary: 'write what this node knows of the pool into a file',
  prepare(rest) {
    const words = new Arguments(rest, `get-state ${STATE_PATTERN}`);
    if (!words.takeIf('gluond')) words.takeIf('glusterd');
    const directory = words.takeIf('odir') ? words.take('the directory') : STATE_DIRECTORY;
    const file = words.takeIf('file') ? words.take('the file name') : undefined;
    if (!words.empty) words.takeKeyword('a part of the state', ['detail', 'volumeoptions'] as const);
    words.end();
    if (!directory.startsWith('/')) throw words.complaint(`'${printable(directory)}' must be an absolute path`);
    if (file !== undefined && file.includes('/'))
      throw words.complaint(`'${printable(file)}' must be a name without '/'; the directory goes after 'odir'`);
    return {
      operation: 'get-state',
      async run({ client, files, now }) {
        const report = stateReport(await client.state());
        const path = await files.write(directory, file ?? `gluond_state_${now()}`, report);
        const sentence = `gluond state dumped to ${printable(path)}`;
        return done(sentence, generic(undefined, sentence), { file: printable(path) });
      },
    };
  },
};

const version: Command = {
  words: ['version'],
  pattern: '',
  summary: 'show the version of this command and of gluond',
  // `gluon v i` is `volume info`, as in GlusterFS, which has no such command.
  secondary: true,
  prepare(rest) {
    new Arguments(rest, 'version').end();
    return {
      operation: 'version',
      async run({ client, version: own }) {
        let daemon = 'does not answer';
        try {
          daemon = printable((await client.daemon()).version);
        } catch (error) {
          if (!(error instanceof RefusedError || error instanceof NoAnswerError)) throw error;
        }
        return {
          text: () => [`gluon ${own}`, `gluond ${daemon}`],
          xml: () => generic(undefined, `gluon ${own}, gluond ${daemon}`),
          json: () => ({ gluon: own, gluond: daemon === 'does not answer' ? null : daemon }),
        };
      },
    };
  },
};

export const SYSTEM_COMMANDS: Command[] = [getState, uuidGet, getwd, stop, version];
