/** `volume replace-brick` and `volume reset-brick`. */
import { done } from '../answer.js';
import { Arguments } from '../arguments.js';
import type { Command } from '../command.js';
import { dashed, printable } from '../printable.js';
import { volumeOperationXml } from '../xml/volumes.js';
import { takeBrick } from './volume-create.js';

const REPLACE_PATTERN = '<VOLNAME> <SOURCE-BRICK> <NEW-BRICK> {commit force}';
const RESET_PATTERN = '<VOLNAME> <SOURCE-BRICK> {{start} | {<NEW-BRICK> commit [force]}}';

const replaceBrick: Command = {
  words: ['volume', 'replace-brick'],
  pattern: REPLACE_PATTERN,
  summary: "put another brick in a brick's place, and fill it, while the volume is in use",
  prepare(rest) {
    const words = new Arguments(rest, `volume replace-brick ${REPLACE_PATTERN}`);
    const name = words.take('the name of the volume');
    const source = takeBrick(words, 'the brick to replace');
    const target = takeBrick(words, 'the new brick');
    if (!words.takeIf('commit') || !words.takeIf('force')) throw words.complaint("the words 'commit force' are missing");
    words.end();
    return {
      operation: 'volume replace-brick',
      async run({ client }) {
        const { id, warnings } = await client.replaceBrick(name, source, target);
        const json = { name: printable(name), id: dashed(id), operation: 'commit force', warnings: warnings.map(printable) };
        return done(
          'volume replace-brick: success: replace-brick commit force operation successful',
          [volumeOperationXml('volReplaceBrick', name, id)],
          json,
          [...warnings.map(printable), filling(name)],
        );
      },
    };
  },
};

const resetBrick: Command = {
  words: ['volume', 'reset-brick'],
  pattern: RESET_PATTERN,
  summary: 'take a brick out to replace its disk (start), and put it back, empty or as it was (commit)',
  prepare(rest) {
    const words = new Arguments(rest, `volume reset-brick ${RESET_PATTERN}`);
    const name = words.take('the name of the volume');
    const source = takeBrick(words, 'the brick to reset');
    const starts = words.takeIf('start');
    const target = starts ? undefined : takeBrick(words, "the word 'start', or the new brick,");
    if (target !== undefined && !words.takeIf('commit')) throw words.complaint("the word 'commit' is missing");
    const force = target !== undefined && words.takeIf('force');
    words.end();
    const operation = target === undefined ? 'start' : force ? 'commit force' : 'commit';
    return {
      operation: 'volume reset-brick',
      async run({ client }) {
        const { id, warnings } = await client.resetBrick(name, source, target === undefined ? undefined : { target, force });
        const json = { name: printable(name), id: dashed(id), operation, warnings: warnings.map(printable) };
        return done(
          `volume reset-brick: success: reset-brick ${operation} operation successful`,
          [volumeOperationXml('volResetBrick', name, id)],
          json,
          [...warnings.map(printable), ...(target === undefined ? [] : [filling(name)])],
        );
      },
    };
  },
};

function filling(name: string): string {
  return `The brick is being filled: 'gluon volume heal ${printable(name)} info summary' shows how far it is.`;
}

export const BRICK_COMMANDS: Command[] = [replaceBrick, resetBrick];
