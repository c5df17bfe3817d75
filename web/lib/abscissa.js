/**
 * Where steps lie on the x-axis: at their number, or at the time they were made, where pauses show.
 *
 * Of a thinned history only some times are known; steps between them count as evenly spaced, and so do those beyond.
 */

import { count, elapsed } from "./format.js";
import { linearTicks, roundUp } from "./scale.js";

/** @typedef {import("./scale.js").Tick} Tick */
/** @typedef {"step" | "time"} Unit */

/**
 * @typedef {object} Abscissa
 * @property {Float64Array} column  of each row on show
 * @property {(step: number) => number} at
 * @property {(x: number) => number} stepAt
 * @property {(lo: number, hi: number, wanted: number) => Tick[]} ticks
 */

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Round distances between ticks, s; below them decimal ones do, above them decimal ones of days. */
const STRIDES = [1, 2, 5, 10, 15, 30, ...[1, 2, 5, 10, 15, 30].map((n) => n * MINUTE), ...[1, 2, 3, 6, 12].map((n) => n * HOUR), DAY];

/**
 * @param {Unit} unit
 * @param {import("./table.js").StepTable} table
 * @param {number} shown  rows
 * @returns {Abscissa}
 */
export function abscissa(unit, table, shown) {
  const steps = table.column("step").subarray(0, shown);
  if (unit === "step" || shown === 0) return { column: steps, at: Number, stepAt: Number, ticks: stepTicks };
  const times = table.column("time").subarray(0, shown);
  return {
    column: times,
    at: (step) => follow(steps, times, step),
    stepAt: (time) => follow(times, steps, time),
    ticks: (lo, hi, wanted) => timeTicks(times[0], lo, hi, wanted),
  };
}

/**
 * Round steps, in full.
 * @param {number} lo
 * @param {number} hi
 * @param {number} wanted
 * @returns {Tick[]}
 */
function stepTicks(lo, hi, wanted) {
  return linearTicks(lo, hi, wanted, 1).map(({ value }) => ({ value, label: count(value) }));
}

/**
 * On the line through points whose x rise.
 * @param {Float64Array} xs
 * @param {Float64Array} ys
 * @param {number} x
 */
function follow(xs, ys, x) {
  const last = xs.length - 1;
  const outside = x < xs[0] || x > xs[last];
  const above = outside ? last : Math.max(1, firstFrom(xs, x));
  const below = outside ? 0 : above - 1;
  const slope = (ys[above] - ys[below]) / (xs[above] - xs[below]);
  const base = x > xs[last] ? last : below;
  return Number.isFinite(slope) ? ys[base] + slope * (x - xs[base]) : ys[base];
}

/**
 * The first index whose value is at least x. Where steps repeat after a roll-back, one of them is found.
 * @param {Float64Array} rising
 * @param {number} x  at most the last value
 */
function firstFrom(rising, x) {
  let [from, to] = [0, rising.length - 1];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (rising[middle] < x) from = middle + 1;
    else to = middle;
  }
  return from;
}

/**
 * Round times since the run's first step.
 * @param {number} start  unix s
 * @param {number} lo  unix s
 * @param {number} hi
 * @param {number} wanted
 * @returns {Tick[]}
 */
function timeTicks(start, lo, hi, wanted) {
  const least = (hi - lo) / wanted;
  const stride = least < 1 ? roundUp(least) : (STRIDES.find((seconds) => seconds >= least) ?? DAY * roundUp(least / DAY));
  const first = Math.ceil((lo - start) / stride);
  return Array.from({ length: Math.floor((hi - start) / stride) - first + 1 }, (_, i) => {
    const seconds = (first + i) * stride;
    return { value: start + seconds, label: elapsed(seconds) };
  });
}
