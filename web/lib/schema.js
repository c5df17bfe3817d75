/** Forms from JSON Schema: what a parameter is called, what may be typed, and what typing means. */

import { exact } from "./format.js";

/** @typedef {import("./wire.js").Json} Json */

/**
 * A parameter as the server describes it.
 * @typedef {object} Property
 * @property {string} [title]
 * @property {string} [description]
 * @property {string} [unit]
 * @property {string} [type]
 * @property {Json} [default]
 * @property {number} [minimum]
 * @property {number} [exclusiveMinimum]
 * @property {number} [maximum]
 * @property {Json[]} [enum]
 */

/**
 * @typedef {object} Rule
 * @property {string} title
 * @property {string} help
 * @property {string} source
 * @property {string | null} bound  the parameter that is the mode's knob
 * @property {"global norm" | "parameter" | "output unit" | "element" | null} bounds  what it bounds
 * @property {boolean} adaptive  the bound follows the norms that were seen
 * @property {{[name: string]: Property}} properties
 */

/** @typedef {{[mode: string]: Rule}} Rules */
/** @typedef {{[name: string]: Property}} Properties */
/** @typedef {{rules: Rules, shared: Properties}} Declared  what the engine can be set to; shared: in every mode */

const INFINITE = /^[+]?(inf|infinity|∞)$/i;

/**
 * What a typed text means for a parameter. Text that means nothing stays text: the server rejects it with the reason.
 * @param {string} text
 * @param {Property} property
 * @returns {Json}
 */
export function read(text, { type }) {
  const trimmed = text.trim();
  if (type === "array") return trimmed === "" ? [] : trimmed.split(/\s*,\s*/);
  if (type === "boolean") return trimmed === "true";
  if (type === "string") return text;
  if (INFINITE.test(trimmed)) return "Infinity";
  const value = trimmed === "" ? NaN : Number(trimmed);
  const vanished = value === 0 && /[1-9]/.test(trimmed.split(/e/i)[0]); // too small for a float is not zero
  return Number.isFinite(value) && !vanished ? value : text;
}

/**
 * A value as it stands in a form's field.
 * @param {Json | undefined} value
 * @returns {string}
 */
export function write(value) {
  if (value === undefined || value === null) return "";
  return Array.isArray(value) ? value.join(", ") : exact(value);
}

/**
 * A parameter's value as a number to calculate with; NaN when it is none.
 * @param {Json | undefined} value
 * @returns {number}
 */
export function numeric(value) {
  if (value === "Infinity") return Infinity;
  return typeof value === "number" ? value : NaN;
}

/**
 * The same, but NaN also for a number that the parameter does not allow.
 * @param {Json} value
 * @param {Property} property
 * @returns {number}
 */
export function allowed(value, { type, minimum = -Infinity, exclusiveMinimum = -Infinity, maximum = Infinity }) {
  const number = numeric(value);
  const fits = number >= minimum && number > exclusiveMinimum && number <= maximum;
  return fits && (type !== "integer" || Number.isInteger(number)) ? number : NaN;
}

/**
 * A multiple of a value, as far as the parameter allows.
 * @param {number} value
 * @param {number} factor
 * @param {Property} property
 * @returns {number}
 */
export function scaled(value, factor, { minimum = -Infinity, maximum = Infinity }) {
  return Math.min(maximum, Math.max(minimum, Number((value * factor).toPrecision(6))));
}

/**
 * Where the values of a slider lie: over the allowed range when that has two ends, else over two decades on either
 * side of the value in force.
 * @param {number} value  in force
 * @param {Property} property
 * @returns {{log: boolean, lo: number, hi: number}}
 */
export function sliderRange(value, { minimum, exclusiveMinimum, maximum }) {
  const least = minimum ?? exclusiveMinimum;
  if (least !== undefined && maximum !== undefined) return { log: false, lo: least, hi: maximum };
  const middle = value > 0 && Number.isFinite(value) ? value : 1;
  return { log: true, lo: middle / 100, hi: middle * 100 };
}
