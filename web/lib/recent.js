/** The last steps in a few numbers. */

import { sortFinite } from "./whatif.js";
import { NOT_LOGGED } from "./wire.js";

/** @typedef {import("./table.js").StepTable} StepTable */

/** How many steps "recent" means. */
export const RECENT_STEPS = 1000;
const RATE_SECONDS = 5;

/**
 * The first row that belongs to the last `steps` steps.
 * @param {StepTable} table
 * @param {number} [steps]
 * @returns {number}
 */
export function firstRecent(table, steps = RECENT_STEPS) {
  return table.column("seq").findLastIndex((seq) => seq <= table.lastSeq - steps) + 1;
}

/**
 * @typedef {object} Recent
 * @property {number} steps  how many there are
 * @property {number} clipped  share that was clipped of those with a finite norm, 0..1
 * @property {number} meanCoef  of the finite ones
 * @property {number} nonfinite  steps with a NaN or infinite norm
 */

/**
 * What clipping did to the last steps.
 * @param {StepTable} table
 * @returns {Recent}
 */
export function recent(table) {
  const first = firstRecent(table);
  const steps = table.length - first;
  const coefs = sortFinite(table.column("coef").subarray(first));
  const norms = table.column("norm").subarray(first);
  return {
    steps,
    clipped: shareClipped(table, first),
    meanCoef: coefs.reduce((sum, coef) => sum + coef, 0) / coefs.length,
    nonfinite: norms.filter((norm) => !Number.isFinite(norm)).length,
  };
}

/**
 * The share of steps that were clipped. A step with a non-finite norm, which no scaling mends, is none of them.
 * @param {StepTable} table
 * @param {number} first  row
 * @returns {number}  0..1, NaN when no norm is finite
 */
export function shareClipped(table, first) {
  const norms = table.column("norm").subarray(first);
  const clipped = table.column("clipped_tensors").subarray(first).filter((tensors, row) => tensors > 0 && Number.isFinite(norms[row])).length;
  return clipped / norms.filter(Number.isFinite).length;
}

/**
 * Training speed over the last few seconds in which steps were made, since the training last went back to an earlier one.
 * @param {StepTable} table
 * @returns {number}  steps/s, NaN when there is too little to tell
 */
export function stepRate(table) {
  const times = table.column("time");
  const steps = table.column("step");
  const last = table.length - 1;
  const timely = times.findLastIndex((time) => time !== NOT_LOGGED && time < times[last] - RATE_SECONDS) + 1;
  const first = timely + Math.max(0, steps.subarray(timely).findLastIndex((step, i, part) => step < part[i - 1]));
  return last > first ? (steps[last] - steps[first]) / (times[last] - times[first]) : NaN;
}
