import type { OptionHelp, OptionValue, Volume } from '../model.js';
import { brickName, dashed, printable } from '../printable.js';
import { setCount, typeText } from '../text/volumes.js';
import { element, elementWith, type XmlNode } from './tree.js';

/** The numbers that GlusterFS gives to states and types. */
const STATE_NUMBER = { Created: 0, Started: 1, Stopped: 2 };
const TYPE_NUMBER: Record<string, number> = { Distribute: 0, Replicate: 2, 'Distributed-Replicate': 7 };

/** `<volStart><volume><name/><id/></volume></volStart>` and its likes. */
export function volumeOperationXml(
  tag: 'volCreate' | 'volStart' | 'volStop' | 'volDelete' | 'volReplaceBrick' | 'volResetBrick',
  name: string,
  id: string,
): XmlNode {
  return element(tag, element('volume', element('name', printable(name)), element('id', dashed(id))));
}

function volumeNode(volume: Volume): XmlNode {
  const type = typeText(volume);
  return element(
    'volume',
    element('name', printable(volume.name)),
    element('id', dashed(volume.id)),
    element('status', STATE_NUMBER[volume.state]),
    element('statusStr', volume.state),
    element('snapshotCount', 0),
    element('brickCount', volume.bricks.length),
    element('distCount', setCount(volume)),
    element('replicaCount', volume.replicaCount),
    element('arbiterCount', 0),
    element('disperseCount', 0),
    element('redundancyCount', 0),
    element('type', TYPE_NUMBER[type] ?? 0),
    element('typeStr', type),
    element('transport', 0),
    element(
      'bricks',
      ...volume.bricks.map((brick) =>
        elementWith(
          'brick',
          { uuid: dashed(brick.node) },
          brickName(brick),
          element('name', brickName(brick)),
          element('hostUuid', dashed(brick.node)),
          element('isArbiter', 0),
        ),
      ),
    ),
    element('optCount', volume.options.length),
    element(
      'options',
      ...volume.options.map((option) =>
        element('option', element('name', printable(option.key)), element('value', printable(option.value))),
      ),
    ),
  );
}

export function volumeInfoXml(volumes: Volume[]): XmlNode {
  return element('volInfo', element('volumes', ...volumes.map(volumeNode), element('count', volumes.length)));
}

export function volumeListXml(names: string[]): XmlNode {
  return element('volList', element('count', names.length), ...names.map((name) => element('volume', printable(name))));
}

export function optionsXml(options: OptionValue[]): XmlNode {
  const rows = options.map((option) =>
    element('Opt', element('Option', printable(option.key)), element('Value', printable(option.value))),
  );
  return element('volGetopts', element('count', options.length), ...rows);
}

export function optionsHelpXml(options: OptionHelp[]): XmlNode {
  const rows = options.map((option) =>
    element(
      'option',
      element('defaultValue', printable(option.defaultValue)),
      element('description', printable(option.description)),
      element('name', printable(option.key)),
    ),
  );
  return element('options', ...rows);
}
