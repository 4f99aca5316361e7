import { printableName } from '../base/ids.js';

/** Bytes of a path as text that cannot drive a terminal. */
export { printableName as printablePath } from '../base/ids.js';

/** Ordinary text from elsewhere (host names, option values, error messages), so that it cannot drive a terminal. */
export function printable(text: string): string {
  if (PLAIN.test(text)) return text;
  return printableName(Buffer.from(text, 'utf8').toString('latin1'));
}

const PLAIN = /^[\x20-\x7e]*$/;

/** The identity as users know it: 8-4-4-4-12. Anything that is no identity is only made printable. */
export function dashed(id: string): string {
  if (!/^[0-9a-f]{32}$/.test(id)) return printable(id);
  return `${id.slice(0, 8)}-${id.slice(8, 12)}-${id.slice(12, 16)}-${id.slice(16, 20)}-${id.slice(20)}`;
}

export function brickName(brick: { host: string; path: string }): string {
  return `${printable(brick.host)}:${printable(brick.path)}`;
}
