import { NOT_LOGGED } from "./wire.js";

/**
 * The exponential moving average of a column's finite values; every other row is NOT_LOGGED.
 *
 * A value counts by how many steps it is away, so a thinned history smooths as the whole one does.
 * @param {Float64Array} steps
 * @param {Float64Array} values
 * @param {number} memory  steps after which a value counts 1/e
 * @returns {Float64Array}
 */
export function smooth(steps, values, memory) {
  const averaged = new Float64Array(values.length).fill(NOT_LOGGED);
  let average = NaN;
  let last = NaN;
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i]) || values[i] === NOT_LOGGED) continue;
    const kept = Math.exp(-Math.max(1, steps[i] - last) / memory);
    average = Number.isNaN(average) ? values[i] : kept * average + (1 - kept) * values[i];
    averaged[i] = average;
    last = steps[i];
  }
  return averaged;
}
