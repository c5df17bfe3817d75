/** What another threshold would do, read off the norms that were recorded. */

import { NOT_LOGGED } from "./wire.js";

/**
 * What a mode's knob is compared with. A mode with a bound of its own for every layer, or with one that moves by
 * itself, has no share to foretell from the global norm.
 * @type {{[mode: string]: string}}
 */
const COMPARED = { norm: "norm", value: "max_abs" };

const BINS_PER_DECADE = [100, 50, 20, 10, 5, 2, 1];

/**
 * The metric that decides what a mode's knob clips; null when no single one does.
 * @param {string} mode
 * @returns {string | null}
 */
export function comparedWith(mode) {
  return COMPARED[mode] ?? null;
}

/**
 * The finite values of a column, in rising order. A non-finite norm enters no statistic.
 * @param {Float64Array} values
 * @returns {Float64Array}
 */
export function sortFinite(values) {
  return values.filter((value) => Number.isFinite(value) && value !== NOT_LOGGED).sort();
}

/**
 * A quantile by linear interpolation.
 * @param {Float64Array} sorted
 * @param {number} q  0..1
 * @returns {number}  NaN when there are no values
 */
export function quantile(sorted, q) {
  if (sorted.length === 0) return NaN;
  const place = q * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
}

/**
 * The share of values beyond a limit: with norms and a threshold, the share of steps that would be clipped.
 * @param {Float64Array} sorted
 * @param {number} limit
 * @returns {number}  0..1, NaN when there are no values
 */
export function shareAbove(sorted, limit) {
  let lo = 0;
  let hi = sorted.length;
  while (lo < hi) {
    const middle = (lo + hi) >> 1;
    if (sorted[middle] > limit) hi = middle;
    else lo = middle + 1;
  }
  return (sorted.length - lo) / sorted.length;
}

/**
 * @typedef {object} Histogram
 * @property {Float64Array} edges  bins + 1 of them, evenly spaced in the logarithm
 * @property {Uint32Array} counts
 * @property {number} zeros
 */

/**
 * Values >= 0 counted in bins of equal ratio. Bins lie on round exponents, so they hold still while data streams.
 * @param {Float64Array} sorted
 * @param {number} [most]  bins wanted at most; a decade is never split into less than one
 * @returns {Histogram | null}  null when no value is positive
 */
export function logHistogram(sorted, most = 60) {
  const zeros = sorted.findLastIndex((value) => value <= 0) + 1;
  if (zeros === sorted.length) return null;
  const lo = Math.log10(sorted[zeros]);
  const hi = Math.log10(sorted[sorted.length - 1]);
  const perDecade = BINS_PER_DECADE.find((bins) => (hi - lo) * bins <= most) ?? 1;
  const first = Math.floor(lo * perDecade);
  const counts = new Uint32Array(Math.floor(hi * perDecade) - first + 1);
  for (let i = zeros; i < sorted.length; i++) counts[Math.floor(Math.log10(sorted[i]) * perDecade) - first]++;
  const edges = Float64Array.from({ length: counts.length + 1 }, (_, k) => 10 ** ((first + k) / perDecade));
  return { edges, counts, zeros };
}
