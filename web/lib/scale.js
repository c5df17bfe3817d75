/**
 * Axis ranges and ticks that hold still while data streams: bounds snap to round numbers, so a range moves in steps.
 *
 * A log axis shows zeros too: they lie on a line of their own, half a decade below the least positive value.
 */

/** @typedef {{value: number, label: string}} Tick */

/**
 * @typedef {object} Axis
 * @property {"log" | "linear"} type
 * @property {number} lo  in data units; of a log axis, where zeros are drawn
 * @property {number} hi
 * @property {Tick[]} ticks
 */

import { tick } from "./format.js";

const STEPS = [1, 2, 5, 10];
/** A log axis ends at one of these times a power of ten: nearly evenly spaced by logarithm. */
const ENDS = [1, 1.5, 2, 3, 5, 7, 10];
/** A log axis spans at least so much, or noise would fill it. */
const LEAST_RATIO = 2;
/** A linear axis moves in steps of about so large a part of its values' range. */
const PARTS = 8;
/** Two decades. */
const NEAR = 100;
/** Half a decade. */
const ZERO_GAP = Math.sqrt(10);

/**
 * How far along an axis a value lies.
 * @param {{type: "log" | "linear", lo: number, hi: number}} axis
 * @param {number} value  of a log axis, one below its lower end, such as zero, lies at that end
 * @returns {number}  0 at its lower end, 1 at its upper one
 */
export function along({ type, lo, hi }, value) {
  return type === "log" ? Math.log(Math.max(value, lo) / lo) / Math.log(hi / lo) : (value - lo) / (hi - lo);
}

/**
 * The power of ten at or below a positive number.
 * @param {number} value
 */
function magnitude(value) {
  return 10 ** Math.floor(Math.log10(value) + 1e-9);
}

/**
 * The largest of these factors x 10^k that is at most `value`.
 * @param {number} value  > 0
 * @param {number[]} [factors]  rising, from 1 to 10
 * @returns {number}
 */
export function roundDown(value, factors = STEPS) {
  const unit = magnitude(value);
  const ratio = (value / unit) * (1 + 1e-9);
  return (factors.findLast((factor) => factor <= ratio) ?? 1) * unit;
}

/**
 * The smallest of these factors x 10^k that is at least `value`.
 * @param {number} value  > 0
 * @param {number[]} [factors]  rising, from 1 to 10
 * @returns {number}
 */
export function roundUp(value, factors = STEPS) {
  const unit = magnitude(value);
  const ratio = (value / unit) * (1 - 1e-9);
  return (factors.find((factor) => factor >= ratio) ?? 10) * unit;
}

/**
 * Round values within lo..hi, about `wanted` of them.
 * @param {number} lo
 * @param {number} hi
 * @param {number} wanted
 * @param {number} [least]  distance between two of them
 * @returns {Tick[]}
 */
export function linearTicks(lo, hi, wanted, least = 0) {
  const step = Math.max(least, roundUp((hi - lo) / wanted));
  /** @type {Tick[]} */
  const ticks = [];
  for (let k = Math.ceil(lo / step - 1e-9); k * step <= hi * (1 + 1e-9) + step * 1e-9; k++) {
    const value = k === 0 ? 0 : k * step;
    ticks.push({ value, label: tick(value) });
  }
  return ticks;
}

/**
 * @param {number} lo  > 0
 * @param {number} hi
 * @param {number} wanted
 * @returns {Tick[]}  1, 2, 5 in every decade while they fit, else decades, else every second, third, ... decade;
 *     within a decade that has too few of them, evenly spaced ones
 */
export function logTicks(lo, hi, wanted) {
  const decades = Math.log10(hi / lo);
  const within = decades * 3 <= wanted ? [1, 2, 5] : [1];
  const stride = Math.max(1, Math.ceil(decades / wanted));
  const first = Math.ceil(Math.floor(Math.log10(lo)) / stride) * stride - stride;
  /** @type {Tick[]} */
  const ticks = [];
  for (let exponent = first; exponent <= Math.ceil(Math.log10(hi)); exponent += stride) {
    for (const factor of within) {
      const value = Number(`${factor}e${exponent}`);
      if (value >= lo * (1 - 1e-9) && value <= hi * (1 + 1e-9)) ticks.push({ value, label: tick(value) });
    }
  }
  return ticks.length >= 3 || decades > 1 ? ticks : linearTicks(lo, hi, wanted);
}

/**
 * A log axis over finite values >= 0.
 * @param {Iterable<Float64Array>} columns
 * @param {number} [wanted]  ticks
 * @returns {Axis}
 */
export function logAxis(columns, wanted = 6) {
  const { least, most, zero } = extent(columns);
  if (!(most > 0)) return { type: "log", lo: 0.1, hi: 1, ticks: [{ value: 0.1, label: "0" }, ...logTicks(0.2, 1, wanted)] };
  const bottom = roundDown(least / 1.05, ENDS);
  const hi = roundUp(Math.max(most * 1.05, bottom * LEAST_RATIO), ENDS);
  const ticks = logTicks(bottom, hi, wanted);
  if (!zero) return { type: "log", lo: bottom, hi, ticks };
  const lo = bottom / ZERO_GAP;
  return { type: "log", lo, hi, ticks: [{ value: lo, label: "0" }, ...ticks] };
}

/**
 * A linear axis over finite values; below zero only where some are.
 * @param {Iterable<Float64Array>} columns
 * @param {{fromZero?: boolean, whole?: boolean, wanted?: number}} [options]  whole: the values are counts
 * @returns {Axis}
 */
export function linearAxis(columns, { fromZero = false, whole = false, wanted = 4 } = {}) {
  let { lowest, most } = extent(columns);
  if (lowest > most) [lowest, most] = [0, 1];
  if (fromZero) lowest = Math.min(0, lowest);
  const margin = (most - lowest || Math.abs(most) || 1) * 0.04;
  const least = whole ? 1 : 0;
  const step = Math.max(least, roundUp((most - lowest + margin) / PARTS));
  const lo = Math.max(lowest >= 0 ? 0 : -Infinity, Math.floor((lowest - margin) / step) * step);
  const hi = Math.ceil((most + margin) / step) * step;
  return { type: "linear", lo, hi, ticks: linearTicks(lo, hi, wanted + 1, least) };
}

/**
 * The values of a bound that lie near what it bounds: an axis has room for these, and a stray one must not flatten it.
 * @param {Float64Array} bound
 * @param {Iterable<Float64Array>} columns  what it bounds
 * @returns {Float64Array}
 */
export function near(bound, columns) {
  const { least, most } = extent(columns);
  return most > 0 ? bound.filter((value) => value >= least / NEAR && value <= most * NEAR) : bound;
}

/**
 * @param {Iterable<Float64Array>} columns
 */
function extent(columns) {
  let least = Infinity; // of the positive ones
  let lowest = Infinity;
  let most = -Infinity;
  let zero = false;
  for (const column of columns) {
    for (const value of column) {
      if (!Number.isFinite(value)) continue;
      if (value > 0 && value < least) least = value;
      if (value < lowest) lowest = value;
      if (value > most) most = value;
      if (value === 0) zero = true;
    }
  }
  return { least, lowest, most, zero };
}

/**
 * The x range that shows the newest `width` steps; it moves on in steps of about a fortieth of itself.
 * @param {number} first  oldest step
 * @param {number} last  newest step
 * @param {number} width  steps; Infinity for all
 * @returns {[lo: number, hi: number]}
 */
export function followRange(first, last, width) {
  const span = Math.max(100, Math.min(width, last - first));
  const stride = roundUp(span / 40);
  const hi = Math.max(Math.ceil(last / stride) * stride, first + span);
  return [width >= last - first ? first : hi - span, hi];
}

/**
 * Where a value lies on a log slider, 0..1.
 * @param {number} value
 * @param {number} lo  > 0
 * @param {number} hi
 * @returns {number}
 */
export function toSlider(value, lo, hi) {
  if (!(value > lo)) return 0;
  return Math.min(1, Math.log(value / lo) / Math.log(hi / lo));
}

/**
 * The value at a log slider's position, in 3 digits.
 * @param {number} position  0..1
 * @param {number} lo  > 0
 * @param {number} hi
 * @returns {number}
 */
export function fromSlider(position, lo, hi) {
  return Number((lo * (hi / lo) ** position).toPrecision(3));
}
