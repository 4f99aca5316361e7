/** Short forms of the tests (default in CI): smaller amounts, the same subjects. */
export const SHORT = process.env['GLUON_TEST_SHORT'] !== '0';

/** The amount for the short or for the full form. */
export function amount(short: number, full: number): number {
  return SHORT ? short : full;
}
