/** Patterns of auth.allow and auth.reject: addresses separated by commas, in which * stands for anything. */

const MAPPED = '::ffff:';

/** Without regular expressions: a pattern with many stars costs no more than its length. */
function matches(pattern: string, address: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  if (rest.length === 0) return first === address;
  const last = rest.pop() as string;
  if (!address.startsWith(first)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = address.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return address.length - last.length >= at && address.endsWith(last);
}

/** True when one of the patterns stands for the address. An IPv4 address that came over an IPv6 socket is the IPv4 address. */
export function matchesAddress(patterns: string, address: string): boolean {
  const plain = address.startsWith(MAPPED) ? address.slice(MAPPED.length) : address;
  return patterns.split(',').some((pattern) => pattern.trim() !== '' && matches(pattern.trim(), plain));
}
