/** Fills a buffer with bytes that depend on the absolute offset and a seed. */
export function contentPattern(into: Buffer, offset: number, seed: number): void {
  for (let i = 0; i < into.length; i++) {
    const at = offset + i;
    into[i] = (Math.imul(at ^ (at >>> 9) ^ seed, 2_654_435_761) >>> 24) & 0xff;
  }
}
