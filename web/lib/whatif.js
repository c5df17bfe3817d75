/** What another threshold would do, read off the curve that the server makes of the recorded norms. */

import { allowed, read } from "./schema.js";
import { NOT_LOGGED } from "./wire.js";

/**
 * Effect by threshold, thresholds rising. Between two of them the share stays and the coefficient is linear, as it is
 * between the norms of two steps.
 * @typedef {object} Curve
 * @property {number[]} threshold
 * @property {number[]} clipped  share of steps, 0..1
 * @property {number[] | null} coef  mean clip coefficient; null for a clamp, which has none to foretell
 */

/** @typedef {{name: string, threshold: number, clipped: number, sentence: string}} Suggestion */

/**
 * @typedef {object} WhatIf
 * @property {number} steps  with a finite value; no others enter
 * @property {Curve} curve
 * @property {{edges: number[], counts: number[], zeros: number, below: number, beyond: number} | null} histogram  below, beyond: its edges
 * @property {Suggestion[]} suggestions
 */

/**
 * What the server is asked: of which steps, and what the threshold is compared with.
 * @typedef {object} Question
 * @property {string} run
 * @property {Metric} metric
 * @property {number} first  seq
 * @property {number} last  seq
 * @property {MovingRule | null} rule  to be tried on these steps, too
 */

/** @typedef {import("./schema.js").Rule} Rule */
/** @typedef {{mode: string, parameters: {[name: string]: number}}} MovingRule  one whose bound moves by itself */

/**
 * What a moving rule would have done.
 * @typedef {object} Effect
 * @property {number} steps
 * @property {number | null} clipped  share of them
 * @property {number | null} coef  mean
 * @property {number | null} lowest  of its bounds
 * @property {number | null} highest
 */

/** @typedef {"norm" | "max_abs"} Metric */
/** @typedef {WhatIf & {question: Question, effect: Effect | null}} Foresight */

/**
 * The metric that a mode's fixed bound is compared with; null where no single one decides: each parameter has a bound of
 * its own, or the bound moves by itself.
 * @param {Rule | undefined} rule
 * @returns {Metric | null}
 */
export function comparedWith(rule) {
  if (!rule || rule.adaptive) return null;
  if (rule.bounds === "element") return "max_abs";
  return rule.bounds === "global norm" ? "norm" : null;
}

/**
 * The mode whose fixed bound the curve is about: the one on show, or norm beside a mode that goes by the global norm
 * but has no fixed bound; null beside one that goes by something else.
 * @param {string} mode
 * @param {Rule | undefined} rule  of that mode
 * @returns {string | null}
 */
export function fixedBeside(mode, rule) {
  if (!rule || comparedWith(rule)) return rule ? mode : null;
  return rule.bounds === null || rule.bounds === "global norm" ? "norm" : null;
}

/**
 * The rule that is being drafted when its bound moves with the global norm, so that recorded norms tell what it would
 * have done; null when none is, or one that cannot be.
 * @param {import("./draft.js").Draft | null} draft
 * @param {Rule | undefined} rule  of the draft's mode, with that mode's own parameters
 * @param {import("./wire.js").Patch} remembered  the mode's last values
 * @returns {MovingRule | null}
 */
export function draftedRule(draft, rule, remembered) {
  if (!draft || !rule?.adaptive || rule.bounds !== "global norm") return null;
  const { properties } = rule;
  const values = Object.keys(properties).map((name) => {
    const typed = draft.texts[name];
    return /** @type {const} */ ([name, typed === undefined ? remembered[name] : allowed(read(typed, properties[name]), properties[name])]);
  });
  if (values.some(([, value]) => Number.isNaN(value))) return null;
  return { mode: draft.mode, parameters: Object.fromEntries(values.filter(isNumber)) };
}

/**
 * @param {readonly [string, import("./wire.js").Json | undefined]} entry
 * @returns {entry is readonly [string, number]}
 */
function isNumber(entry) {
  return Number.isFinite(entry[1]);
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
 * The share of steps that a threshold would have clipped.
 * @param {WhatIf} whatif
 * @param {number} limit
 * @returns {number}  0..1, NaN when there are no steps to go by
 */
export function clippedAt({ steps, curve: { threshold, clipped }, histogram }, limit) {
  if (threshold.length === 0) return steps > 0 && !Number.isNaN(limit) ? 0 : NaN; // all norms are zero
  if (limit < threshold[0]) return 1 - (histogram?.zeros ?? 0) / steps;
  return clipped[threshold.findLastIndex((each) => each <= limit)] ?? NaN;
}

/**
 * The share of steps clipped, by threshold, from one end of an axis to the other.
 * @param {WhatIf} whatif
 * @param {[lo: number, hi: number]} ends
 * @returns {{x: number[], y: number[]}}
 */
export function shareCurve(whatif, [lo, hi]) {
  const { threshold, clipped } = whatif.curve;
  const within = [...threshold.keys()].filter((i) => threshold[i] > lo && threshold[i] < hi);
  const [first, last] = [lo, hi].map((end) => clippedAt(whatif, end));
  return { x: [lo, ...within.map((i) => threshold[i]), hi], y: [first, ...within.map((i) => clipped[i]), last] };
}

/**
 * The mean coefficient that a threshold would have given.
 * @param {WhatIf} whatif
 * @param {number} limit
 * @returns {number}  0..1, NaN when there are no steps to go by, or none is foretold
 */
export function coefAt({ steps, curve: { threshold, coef }, histogram }, limit) {
  if (coef === null) return NaN;
  if (threshold.length === 0) return steps > 0 && !Number.isNaN(limit) ? 1 : NaN;
  if (!(limit < threshold[0])) return interpolate(threshold, coef, limit);
  // Below the least norm every step is scaled, in proportion to the threshold; but a zero gradient never is.
  const zeros = (histogram?.zeros ?? 0) / steps;
  return zeros + ((coef[0] - zeros) * Math.max(0, limit)) / threshold[0];
}

/**
 * @param {number[]} xs  rising
 * @param {number[]} ys
 * @param {number} x
 * @returns {number}  on the line between x's neighbours, at either end the end's; NaN without any
 */
function interpolate(xs, ys, x) {
  if (xs.length === 0 || Number.isNaN(x)) return NaN;
  const above = xs.findIndex((each) => each >= x);
  if (above === -1) return ys[ys.length - 1];
  if (above === 0) return ys[0];
  const place = (x - xs[above - 1]) / (xs[above] - xs[above - 1]);
  return ys[above - 1] + place * (ys[above] - ys[above - 1]);
}
