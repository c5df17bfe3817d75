/** How large the elements of the gradients are, from a histogram of their float32 exponents. */

/**
 * As on the wire; see `Histogram` in server/protocol.py.
 * @typedef {object} Exponents
 * @property {number} first  exponent byte of counts[0]
 * @property {number[]} counts  elements
 * @property {number} zeros
 * @property {number} every  one block of elements in `every` was looked at
 */

const BIAS = 127;
/** The exponent byte of infinities and NaN. */
const NONFINITE = 255;

/**
 * The share of the finite elements that a limit would clamp; within a bin they count as evenly spread by logarithm.
 * @param {Exponents} exponents
 * @param {number} limit
 * @returns {number}  0..1, NaN when there are no elements
 */
export function shareBeyond({ first, counts, zeros }, limit) {
  const finite = counts.slice(0, NONFINITE - first);
  const place = limit > 0 ? Math.log2(limit) + BIAS - first : -Infinity;
  const beyond = finite.reduce((sum, n, bin) => sum + n * Math.min(1, Math.max(0, bin + 1 - place)), 0);
  return beyond / finite.reduce((sum, n) => sum + n, zeros);
}
