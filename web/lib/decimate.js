/**
 * Series fitted to pixels: what is left draws the same picture, so that a one-step spike is always visible.
 *
 * Rows are given by index into columns that lie in the order of recording; x need not rise (a run that was rolled
 * back repeats steps), so a window is the span from the first to the last row inside it.
 */

import { NOT_LOGGED } from "./wire.js";

/** @typedef {{lo: number, hi: number, bins: number}} Window  x range and its resolution */

/**
 * The rows [from, to) from the first to the last whose x lies within lo..hi.
 * @param {Float64Array} x
 * @param {number} lo
 * @param {number} hi
 * @returns {[from: number, to: number]}  the same when there are none
 */
export function inside(x, lo, hi) {
  let from = 0;
  while (from < x.length && x[from] < lo) from++;
  let to = x.length;
  while (to > from && x[to - 1] > hi) to--;
  return [from, to];
}

/**
 * The same, and one more row on either side, so that lines run on to the edge.
 * @param {Float64Array} x
 * @param {number} lo
 * @param {number} hi
 * @returns {[from: number, to: number]}
 */
export function span(x, lo, hi) {
  const [from, to] = inside(x, lo, hi);
  return [Math.max(0, from - 1), Math.min(x.length, to + 1)];
}

/**
 * Each bin's lowest and highest finite row, in the order of recording.
 * @param {Float64Array} x
 * @param {Float64Array} y
 * @param {Window} window
 * @param {[from: number, to: number]} rows
 * @returns {number[]} row indexes
 */
export function extremes(x, y, window, [from, to]) {
  /** @type {number[]} */
  const kept = [];
  const perUnit = window.bins / (window.hi - window.lo);
  let bin = NaN;
  let lowest = -1;
  let highest = -1;
  const flush = () => {
    if (lowest < 0) return;
    kept.push(Math.min(lowest, highest));
    if (lowest !== highest) kept.push(Math.max(lowest, highest));
  };
  for (let i = from; i < to; i++) {
    if (!Number.isFinite(y[i]) || y[i] === NOT_LOGGED) continue;
    const here = Math.floor((x[i] - window.lo) * perUnit);
    if (here !== bin) {
      flush();
      bin = here;
      lowest = highest = i;
    }
    if (y[i] < y[lowest]) lowest = i;
    if (y[i] > y[highest]) highest = i;
  }
  flush();
  return kept;
}

/**
 * One row of each bin that holds a NaN or an infinity.
 * @param {Float64Array} x
 * @param {Float64Array} y
 * @param {Window} window
 * @param {[from: number, to: number]} rows
 * @returns {number[]} row indexes
 */
export function nonfinite(x, y, window, [from, to]) {
  /** @type {number[]} */
  const kept = [];
  const perUnit = window.bins / (window.hi - window.lo);
  let bin = NaN;
  for (let i = from; i < to; i++) {
    if (Number.isFinite(y[i])) continue;
    const here = Math.floor((x[i] - window.lo) * perUnit);
    if (here !== bin) kept.push(i);
    bin = here;
  }
  return kept;
}

/**
 * @param {Float64Array} column
 * @param {number[]} rows
 * @returns {Float64Array}
 */
export function gather(column, rows) {
  return Float64Array.from(rows, (row) => column[row]);
}

/**
 * The row whose x is nearest to a value, the newest of equals.
 * @param {Float64Array} x
 * @param {number} value
 * @returns {number}  -1 when there are no rows
 */
export function nearest(x, value) {
  let best = -1;
  for (let i = 0; i < x.length; i++) {
    if (best < 0 || Math.abs(x[i] - value) <= Math.abs(x[best] - value)) best = i;
  }
  return best;
}
