import type { OptionHelp, OptionValue } from '../model.js';
import { printable } from '../printable.js';

function columns(key: string, value: string): string {
  return `${key.padEnd(40)} ${value.padEnd(39)}`;
}

/** `volume get`. */
export function optionsText(options: OptionValue[]): string[] {
  return [
    columns('Option', 'Value'),
    columns('------', '-----'),
    ...options.map((option) => columns(printable(option.key), printable(option.value))),
  ];
}

/** `volume set help`. */
export function optionsHelpText(options: OptionHelp[]): string[] {
  return options.flatMap((option) => [
    `Option: ${printable(option.key)}`,
    `Default Value: ${printable(option.defaultValue)}`,
    ...(option.values.length > 0
      ? [`Values: ${option.values.map(printable).join(', ')}`]
      : [`Type: ${printable(option.type)}`]),
    `Description: ${printable(option.description)}`,
    '',
  ]);
}
