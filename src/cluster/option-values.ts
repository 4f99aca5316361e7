/** Checking what `volume set` is given against the table. Errors are Refused with a sentence for the operator. */
import { Refused } from './refused.js';
import { Errno } from '../base/errno.js';
import { nearest } from '../base/nearest.js';
import { GROUPS, OPTIONS, type OptionSpec } from './options.js';

const BY_KEY = new Map(OPTIONS.map((option) => [option.key, option]));

const TRUE = new Set(['on', 'yes', 'true', 'enable', '1']);
const FALSE = new Set(['off', 'no', 'false', 'disable', '0']);
const SIZE_UNITS: Record<string, number> = {
  '': 1,
  B: 1,
  K: 2 ** 10,
  KB: 2 ** 10,
  M: 2 ** 20,
  MB: 2 ** 20,
  G: 2 ** 30,
  GB: 2 ** 30,
  T: 2 ** 40,
  TB: 2 ** 40,
};
const SECOND_UNITS: Record<string, number> = { '': 1, S: 1, SEC: 1, M: 60, MIN: 60, H: 3600 };
const VALUE_CHARS_MAX = 4096;
const USER_KEY = /^user\.[A-Za-z0-9._-]{1,250}$/;

function invalid(detail: string): Refused {
  return new Refused(detail);
}

/** The option, also by its name without the part before the dot where that is unique. ENOENT with the nearest name otherwise. */
export function findOption(key: string): OptionSpec | { key: string; user: true } {
  const exact = BY_KEY.get(key);
  if (exact !== undefined) return exact;
  if (USER_KEY.test(key)) return { key, user: true };
  const short = key.includes('.') ? [] : OPTIONS.filter((option) => option.key.endsWith(`.${key}`));
  if (short.length === 1) return short[0] as OptionSpec;
  if (short.length > 1)
    throw invalid(`option '${key}' could be ${short.map((option) => option.key).join(' or ')}: give the whole name`);
  const near = nearest(key, [...BY_KEY.keys()]);
  const meant = near === undefined ? ':' : `; did you mean ${near}?`;
  throw new Refused(`there is no option '${key}'${meant} see 'gluon volume set help'`, Errno.ENOENT);
}

function inUnits(text: string, units: Record<string, number>): number {
  const match = /^(-?\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(text);
  const unit = units[(match?.[2] ?? '').toUpperCase()];
  return match === null || unit === undefined ? Number.NaN : Number(match[1]) * unit;
}

/** A value of an option of type size, as it is kept; 0 for what is none. */
export function sizeInBytes(text: string): number {
  const bytes = inUnits(text, SIZE_UNITS);
  return Number.isFinite(bytes) ? bytes : 0;
}

function range(option: OptionSpec): string {
  if (option.min === undefined || option.max === undefined) return '';
  return ` from ${option.min} to ${option.max}`;
}

function checkRange(option: OptionSpec, value: number, text: string, what: string): void {
  const low = option.min ?? Number.NEGATIVE_INFINITY;
  const high = option.max ?? Number.POSITIVE_INFINITY;
  if (Number.isFinite(value) && value >= low && value <= high) return;
  throw invalid(`'${text}' is not a valid value of ${option.key}: give ${what}${range(option)}`);
}

/** The value as it is kept. */
function normalise(option: OptionSpec, text: string): string {
  switch (option.type) {
    case 'boolean': {
      const word = text.toLowerCase();
      if (!TRUE.has(word) && !FALSE.has(word))
        throw invalid(`'${text}' is not a valid value of ${option.key}: give on or off`);
      return TRUE.has(word) ? 'on' : 'off';
    }
    case 'integer': {
      if (!/^-?\d+$/.test(text))
        throw invalid(`'${text}' is not a valid value of ${option.key}: give a whole number${range(option)}`);
      checkRange(option, Number(text), text, 'a whole number');
      return String(Number(text));
    }
    case 'seconds': {
      const seconds = inUnits(text, SECOND_UNITS);
      checkRange(option, seconds, text, 'seconds');
      return String(seconds);
    }
    case 'percent': {
      const percent = Number(text.replace(/%$/, ''));
      checkRange(option, text === '' ? Number.NaN : percent, text, 'per cent');
      return String(percent);
    }
    case 'size': {
      const bytes = inUnits(text, SIZE_UNITS);
      checkRange(option, bytes, text, 'a size (64MB, 1GB) in bytes');
      return text;
    }
    case 'enum': {
      const value = option.values?.find((candidate) => candidate.toLowerCase() === text.toLowerCase());
      if (value === undefined)
        throw invalid(`'${text}' is not a valid value of ${option.key}: give ${option.values?.join(', ') ?? ''}`);
      return value;
    }
    case 'addresses': {
      for (const part of text.split(',')) {
        if (!/^[A-Za-z0-9.:*_-]+$/.test(part.trim()))
          throw invalid(
            `'${part}' in ${option.key} is not an address or host name: separate them with commas, * stands for anything`,
          );
      }
      return text
        .split(',')
        .map((part) => part.trim())
        .join(',');
    }
    case 'string':
      return text;
  }
}

export interface CheckedOption {
  key: string;
  value: string;
  /** What the operator should know, '' for nothing. */
  note: string;
}

/** One pair of `volume set`. */
export function checkOption(key: string, text: string): CheckedOption {
  if (text.length > VALUE_CHARS_MAX) throw invalid(`the value of ${key} is longer than ${VALUE_CHARS_MAX} characters`);
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(text)) throw invalid(`the value of ${key} has control characters`);
  const option = findOption(key);
  if ('user' in option) return { key: option.key, value: text, note: '' };
  if (option.effect.kind === 'refused') throw invalid(`${option.key} is not supported: ${option.effect.why}`);
  const value = normalise(option, text);
  if (option.effect.kind === 'constant' && value !== option.effect.value) {
    throw invalid(`${option.key} is always ${option.effect.value}: ${option.effect.why}`);
  }
  const note =
    option.effect.kind === 'accepted' ? `${option.key} is kept but changes nothing: ${option.effect.why}` : '';
  return { key: option.key, value, note };
}

/** The pairs of a group; ENOENT for an unknown one. */
export function groupOptions(name: string): readonly [string, string][] {
  const group = Object.hasOwn(GROUPS, name) ? GROUPS[name] : undefined;
  if (group === undefined)
    throw new Refused(`there is no option group '${name}': there is ${Object.keys(GROUPS).join(', ')}`, Errno.ENOENT);
  return group;
}

/** For `volume set help`. */
export function optionHelp(option: OptionSpec): string {
  switch (option.effect.kind) {
    case 'acts':
      return option.doc;
    case 'constant':
      return `${option.doc} Always ${option.effect.value}: ${option.effect.why}.`;
    case 'accepted':
      return `${option.doc} Kept, but changes nothing: ${option.effect.why}.`;
    case 'refused':
      return `${option.doc} Not supported: ${option.effect.why}.`;
  }
}
