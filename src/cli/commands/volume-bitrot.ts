import { done, type Answer } from '../answer.js';
import { Arguments } from '../arguments.js';
import { RefusedError } from '../client.js';
import type { Command, Prepared } from '../command.js';
import { scrubJson } from '../json.js';
import { printable } from '../printable.js';
import { scrubText } from '../text/scrub.js';
import { generic } from '../xml/document.js';
import { scrubXml } from '../xml/scrub.js';

const PATTERN =
  '<VOLNAME> {enable|disable} | scrub-throttle {lazy|normal|aggressive} | scrub-frequency {hourly|daily|weekly|biweekly|monthly} | scrub {pause|resume|status|ondemand}';
const USAGE = `volume bitrot ${PATTERN}`;

const ACTIONS = ['enable', 'disable', 'scrub-throttle', 'scrub-frequency', 'scrub', 'signing-time', 'signer-threads'] as const;
const THROTTLES = ['lazy', 'normal', 'aggressive'] as const;
const FREQUENCIES = ['hourly', 'daily', 'weekly', 'biweekly', 'monthly'] as const;
const SCRUBS = ['pause', 'resume', 'status', 'ondemand'] as const;

function operation(name: string): string {
  return `volume bitrot: ${printable(name)}`;
}

function answer(name: string, what: string, warnings: string[]): Answer {
  const sentence = `volume bitrot: ${printable(name)}: success: ${what}`;
  return done(sentence, generic('volBitrot', sentence), { name: printable(name) }, warnings.map(printable));
}

/** Everything but asking and looking is an option of the volume. */
function setting(name: string, key: string, value: string, what: string): Prepared {
  return {
    operation: operation(name),
    async run({ client }) {
      const { warnings } = await client.optionsSet(name, [{ key, value }]);
      return answer(name, what, warnings);
    },
  };
}

function scrubStatus(name: string): Prepared {
  return {
    operation: operation(name),
    async run({ client }) {
      const scrub = await client.scrubStatus(name);
      return { text: () => scrubText(scrub), xml: () => [scrubXml(scrub)], json: () => scrubJson(scrub) };
    },
  };
}

function scrubNow(name: string): Prepared {
  return {
    operation: operation(name),
    async run({ client }) {
      const { warnings } = await client.scrub(name);
      return answer(name, `every brick looks at its files; watch it with 'gluon volume bitrot ${printable(name)} scrub status'`, warnings);
    },
  };
}

function scrubbing(words: Arguments, name: string): Prepared {
  const action = words.takeKeyword('something to do with the scrubber', SCRUBS);
  words.end();
  if (action === 'status') return scrubStatus(name);
  if (action === 'ondemand') return scrubNow(name);
  const pauses = action === 'pause';
  return setting(name, 'features.scrub', pauses ? 'pause' : 'Active', `the scrubber ${pauses ? 'pauses' : 'goes on'}`);
}

/** gluon has no signer: checksums are written with the bytes. */
function refused(name: string): Prepared {
  const reason = 'not supported by gluon: checksums are written together with the bytes, nothing is signed later';
  return { operation: operation(name), run: () => Promise.reject(new RefusedError(reason, 95)) };
}

export const volumeBitrot: Command = {
  words: ['volume', 'bitrot'],
  pattern: PATTERN,
  summary: 'keep checksums of the files of every brick, look for damage and repair it',
  prepare(rest) {
    const words = new Arguments(rest, USAGE);
    const name = words.take('the name of the volume');
    const action = words.takeKeyword('something to do with bitrot', ACTIONS);
    switch (action) {
      case 'scrub':
        return scrubbing(words, name);
      case 'scrub-throttle': {
        const throttle = words.takeKeyword('a speed', THROTTLES);
        words.end();
        return setting(name, 'features.scrub-throttle', throttle, `the scrubber is ${throttle}`);
      }
      case 'scrub-frequency': {
        const frequency = words.takeKeyword('a frequency', FREQUENCIES);
        words.end();
        return setting(name, 'features.scrub-freq', frequency, `every file is looked at ${frequency}`);
      }
      case 'signing-time':
      case 'signer-threads':
        words.takeCount('the number');
        words.end();
        return refused(name);
      default: {
        words.end();
        const on = action === 'enable';
        const what = on ? 'checksums are kept from now on, and made for the files that are there' : 'no checksums are kept any more';
        return setting(name, 'features.bitrot', on ? 'on' : 'off', what);
      }
    }
  },
};
