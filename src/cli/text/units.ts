const STEPS: [number, string][] = [
  [2 ** 50, 'PB'],
  [2 ** 40, 'TB'],
  [2 ** 30, 'GB'],
  [2 ** 20, 'MB'],
  [2 ** 10, 'KB'],
];

/** A size as `volume status detail` shows it: powers of 1,024 under the short names that operators know. */
export function diskSize(bytes: number): string {
  for (const [step, unit] of STEPS) if (bytes >= step) return `${(bytes / step).toFixed(1)}${unit}`;
  return `${bytes}Bytes`;
}

/** A size in a sentence: `12.0 MiB`. */
export function size(bytes: number): string {
  for (const [step, unit] of STEPS) if (bytes >= step) return `${(bytes / step).toFixed(1)} ${unit.charAt(0)}iB`;
  return `${bytes} bytes`;
}

/** A time to come: `2 h 05 min`, `3 min 20 s`, `4 s`. */
export function duration(seconds: number): string {
  const whole = Math.max(1, Math.round(seconds));
  if (whole >= 3600)
    return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, '0')} min`;
  if (whole >= 60) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
  return `${whole} s`;
}

/** `count` things, with the plural. */
export function counted(count: number, thing: string): string {
  return `${count} ${thing}${count === 1 ? '' : 's'}`;
}
