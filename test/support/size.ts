/** Short forms of the tests (`npm test`, CI): smaller amounts, the same subjects. `npm run test:full` runs the full forms. */
export const SHORT = process.env['GLUON_TEST_SHORT'] !== undefined;

/** The amount for the short or for the full form. */
export function amount(short: number, full: number): number {
  return SHORT ? short : full;
}
