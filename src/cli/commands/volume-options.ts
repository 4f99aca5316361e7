import { done } from '../answer.js';
import { Arguments } from '../arguments.js';
import type { Command, Prepared } from '../command.js';
import { optionsHelpJson, optionsJson } from '../json.js';
import type { OptionValue } from '../model.js';
import { printable } from '../printable.js';
import { optionsHelpText, optionsText } from '../text/options.js';
import { generic } from '../xml/document.js';
import { optionsHelpXml, optionsXml } from '../xml/volumes.js';

const SET_PATTERN = '<VOLNAME> { <KEY> <VALUE>... | group <GROUP> }';

function setHelp(): Prepared {
  return {
    operation: 'volume set help',
    async run({ client }) {
      const options = await client.optionsHelp();
      return {
        text: () => optionsHelpText(options),
        xml: () => [optionsHelpXml(options)],
        json: () => optionsHelpJson(options),
      };
    },
  };
}

function setGroup(name: string, group: string): Prepared {
  return {
    operation: 'volume set',
    async run({ client }) {
      const { warnings } = await client.optionsSetGroup(name, group);
      const json = { name: printable(name), group: printable(group) };
      return done('volume set: success', generic('volSet', 'volume set: success'), json, warnings.map(printable));
    },
  };
}

function takePairs(words: Arguments): OptionValue[] {
  const options: OptionValue[] = [];
  while (!words.empty) {
    const key = words.take('the option');
    const value = words.next;
    if (value === undefined) throw words.complaint(`option '${printable(key)}' has no value`);
    // An empty value is one: `volume set NAME key ''`.
    words.takeIf(value);
    options.push({ key, value });
  }
  return options;
}

const set: Command = {
  words: ['volume', 'set'],
  pattern: SET_PATTERN,
  summary: "set options of the volume; 'volume set help' lists them",
  prepare(rest) {
    const words = new Arguments(rest, `volume set ${SET_PATTERN}`);
    const name = words.take('the name of the volume');
    if (name === 'help' && words.empty) return setHelp();
    if (words.takeIf('group')) {
      const group = words.take('the group');
      words.end();
      return setGroup(name, group);
    }
    if (words.empty) throw words.complaint('the option is missing');
    const options = takePairs(words);
    return {
      operation: 'volume set',
      async run({ client }) {
        const { warnings } = await client.optionsSet(name, options);
        const json = {
          name: printable(name),
          options: Object.fromEntries(options.map(({ key, value }) => [printable(key), printable(value)])),
        };
        return done('volume set: success', generic('volSet', 'volume set: success'), json, warnings.map(printable));
      },
    };
  },
};

const get: Command = {
  words: ['volume', 'get'],
  pattern: '<VOLNAME|all> <key|all>',
  summary: 'show the value of one option, or of all',
  prepare(rest) {
    const words = new Arguments(rest, 'volume get <VOLNAME|all> <key|all>');
    const name = words.take('the name of the volume');
    const key = words.take('the option');
    words.end();
    return {
      operation: 'volume get',
      async run({ client }) {
        const options = await client.optionsGet(name, key === 'all' ? undefined : key);
        return { text: () => optionsText(options), xml: () => [optionsXml(options)], json: () => optionsJson(options) };
      },
    };
  },
};

const reset: Command = {
  words: ['volume', 'reset'],
  pattern: '<VOLNAME> [option] [force]',
  summary: 'give one option, or all, back its default',
  prepare(rest) {
    const words = new Arguments(rest, 'volume reset <VOLNAME> [option] [force]');
    const name = words.take('the name of the volume');
    const force = words.takeForce();
    const given = words.empty ? 'all' : words.take('the option');
    words.end();
    const key = given === 'all' ? undefined : given;
    const what = key === undefined ? 'all options have' : `${printable(key)} has`;
    return {
      operation: 'volume reset',
      // GlusterFS does not ask here, so a script that feeds no answer must go on; a person who typed too little may want to know.
      question:
        key === undefined
          ? `This gives all options of ${printable(name)} their defaults. Do you want to continue?`
          : undefined,
      asksPeopleOnly: true,
      async run({ client }) {
        const { warnings } = await client.optionsReset(name, key, force);
        const sentence = `volume reset: success: ${what} the default again`;
        const json = { name: printable(name), option: key === undefined ? null : printable(key) };
        return done(sentence, generic('volReset', sentence), json, warnings.map(printable));
      },
    };
  },
};

export const OPTION_COMMANDS: Command[] = [get, reset, set];
