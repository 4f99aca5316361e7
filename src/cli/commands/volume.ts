import { done } from '../answer.js';
import { Arguments } from '../arguments.js';
import type { Changed, ManagementClient } from '../client.js';
import type { Command } from '../command.js';
import { volumesJson } from '../json.js';
import { dashed, printable } from '../printable.js';
import { volumeInfoText } from '../text/volumes.js';
import { volumeInfoXml, volumeListXml, volumeOperationXml } from '../xml/volumes.js';
import { volumeCreate } from './volume-create.js';

interface StateChange {
  verb: 'start' | 'stop' | 'delete';
  summary: string;
  tag: 'volStart' | 'volStop' | 'volDelete';
  force: boolean;
  question?: string;
  change: (client: ManagementClient, name: string, force: boolean) => Promise<Changed>;
}

/** `volume start`, `stop` and `delete` differ in little more than their words. */
function stateChange({ verb, summary, tag, force: forceAllowed, question, change }: StateChange): Command {
  const pattern = forceAllowed ? '<VOLNAME> [force]' : '<VOLNAME>';
  return {
    words: ['volume', verb],
    pattern,
    summary,
    prepare(rest) {
      const words = new Arguments(rest, `volume ${verb} ${pattern}`);
      const name = words.take('the name of the volume');
      const force = forceAllowed && words.takeForce();
      words.end();
      return {
        operation: `volume ${verb}: ${printable(name)}`,
        question,
        async run({ client }) {
          const { id, warnings } = await change(client, name, force);
          const json = { name: printable(name), id: dashed(id), warnings: warnings.map(printable) };
          return done(
            `volume ${verb}: ${printable(name)}: success`,
            [volumeOperationXml(tag, name, id)],
            json,
            warnings.map(printable),
          );
        },
      };
    },
  };
}

const start = stateChange({
  verb: 'start',
  summary: 'start the bricks of the volume',
  tag: 'volStart',
  force: true,
  change: (client, name, force) => client.volumeStart(name, force),
});

const stop = stateChange({
  verb: 'stop',
  summary: 'stop the bricks of the volume',
  tag: 'volStop',
  force: true,
  question: 'Stopping the volume makes its data inaccessible. Do you want to continue?',
  change: (client, name, force) => client.volumeStop(name, force),
});

const remove = stateChange({
  verb: 'delete',
  summary: 'forget the volume; the files stay in its brick directories',
  tag: 'volDelete',
  force: false,
  question:
    'Deleting the volume erases all that the pool knows about it; the files stay in the brick directories. Do you want to continue?',
  change: (client, name) => client.volumeDelete(name),
});

const info: Command = {
  words: ['volume', 'info'],
  pattern: '[all|<VOLNAME>]',
  summary: 'show what volumes are made of',
  prepare(rest) {
    const words = new Arguments(rest, 'volume info [all|<VOLNAME>]');
    const given = words.empty ? 'all' : words.take('the name of the volume');
    words.end();
    return {
      operation: 'volume info',
      async run({ client }) {
        const volumes = await client.volumes(given === 'all' ? undefined : given);
        return {
          text: () => volumeInfoText(volumes),
          xml: () => [volumeInfoXml(volumes)],
          json: () => volumesJson(volumes),
          notes: volumes.length === 0 ? [NO_VOLUMES] : [],
        };
      },
    };
  },
};

const list: Command = {
  words: ['volume', 'list'],
  pattern: '',
  summary: 'list the names of all volumes',
  prepare(rest) {
    new Arguments(rest, 'volume list').end();
    return {
      operation: 'volume list',
      async run({ client }) {
        const names = await client.volumeNames();
        return {
          text: () => names.map(printable),
          xml: () => [volumeListXml(names)],
          json: () => ({ volumes: names.map(printable) }),
          notes: names.length === 0 ? [NO_VOLUMES] : [],
        };
      },
    };
  },
};

const NO_VOLUMES = "No volumes present in this pool; 'gluon volume create' makes one.";

export const VOLUME_COMMANDS: Command[] = [volumeCreate, remove, info, list, start, stop];
