/** A column of numbers as a line the size of a word. */

/**
 * An SVG path on a logarithmic axis over the values' range. What is not finite or not positive is passed over.
 * @param {Float64Array} values
 * @param {{width: number, height: number}} size  px; each column of pixels shows its least and its largest value
 * @returns {string} "" when there is nothing to draw
 */
export function sparkline(values, { width, height }) {
  const logs = values.filter((value) => value > 0 && value < Infinity).map(Math.log);
  if (logs.length === 0) return "";
  const lo = logs.reduce((least, log) => Math.min(least, log));
  const hi = logs.reduce((most, log) => Math.max(most, log));
  const y = (/** @type {number} */ log) => Math.round(hi === lo ? height / 2 : (height * (hi - log)) / (hi - lo));
  const columns = Math.min(width, logs.length);
  return Array.from({ length: columns }, (_, x) => {
    const bin = logs.subarray((x * logs.length) / columns, ((x + 1) * logs.length) / columns);
    return `${x ? "L" : "M"}${x} ${y(Math.min(...bin))}V${y(Math.max(...bin))}`;
  }).join("");
}
