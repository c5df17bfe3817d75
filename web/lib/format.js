/** Numbers and times as people read them: 3 significant digits, thousands separators, units by the caller. */

import { isolated } from "./names.js";

const LOCALE = "en-US";
const COUNT = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 });
const TICK = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 6 });
const CLOCK = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

/**
 * @param {number} value
 * @returns {string} "4,790"
 */
export function count(value) {
  return COUNT.format(value);
}

/**
 * @param {number} value
 * @returns {string} "0.760", "1.32", "12.4", "1,320", "1.32e-5", "1.32e5"; "NaN", "inf" and "-inf" are values too
 */
export function number(value) {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 0.0009995 || size >= 99_999.5) return value.toExponential(2).replace("e+", "e");
  if (size >= 999.5) return COUNT.format(value);
  return value.toPrecision(3);
}

/**
 * A tick's label: as short as the value allows.
 * @param {number} value
 * @returns {string} "0.5", "20", "1,000", "1e-5"
 */
export function tick(value) {
  const round = Number(value.toPrecision(12));
  const size = Math.abs(round);
  if (size !== 0 && (size < 0.001 || size >= 1e6)) return round.toExponential().replace("e+", "e");
  return TICK.format(round);
}

/**
 * A power of two.
 * @param {number} exponent
 * @returns {string} "2⁻²⁴"
 */
export function power(exponent) {
  return `2${[...String(exponent)].map((digit) => (digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)])).join("")}`;
}

/**
 * A name shortened in the middle: what tells names apart is at their ends.
 * @param {string} text
 * @param {number} most  characters, at least 3
 * @returns {string} "recurre…_hh_l0"
 */
export function elide(text, most) {
  const kept = [...text];
  if (kept.length <= most) return text;
  const tail = Math.floor((most - 1) / 2);
  return `${kept.slice(0, most - 1 - tail).join("")}…${kept.slice(kept.length - tail).join("")}`;
}

/**
 * A parameter's value, exact, as one would type it.
 * @param {unknown} value
 * @returns {string} "1", "0.5", "1e-7", "inf"
 */
export function exact(value) {
  if (value === "Infinity" || value === Infinity) return "inf";
  if (typeof value === "number" || typeof value === "string") return String(value);
  return JSON.stringify(value) ?? "";
}

/**
 * A share in words that never round it to none or to all.
 * @param {number} fraction
 * @returns {string} "12.4 %"
 */
export function percent(fraction) {
  if (Number.isNaN(fraction)) return "NaN";
  const value = fraction * 100;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  if (value < 100 && value > 99.9) return "> 99.9 %";
  return `${value.toFixed(value === 0 || value === 100 ? 0 : 1)} %`;
}

/**
 * @param {number} unixSeconds
 * @returns {string} "14:03:59", local time
 */
export function clock(unixSeconds) {
  return CLOCK.format(unixSeconds * 1000);
}

/**
 * @param {number} seconds
 * @returns {string} "0:05", "12:30", "1:02:03", "0:00.25"
 */
export function elapsed(seconds) {
  const milliseconds = Math.round(Math.abs(seconds) * 1000);
  const [hours, minutes] = [Math.floor(milliseconds / 3_600_000), Math.floor(milliseconds / 60_000) % 60];
  const [whole, fraction] = String((milliseconds % 60_000) / 1000).split(".");
  const clock = [hours ? `${hours}:${String(minutes).padStart(2, "0")}` : minutes, whole.padStart(2, "0")].join(":");
  return `${seconds < 0 ? "-" : ""}${clock}${fraction ? `.${fraction}` : ""}`;
}

/**
 * A run as lists call it: of one name there may be many.
 * @param {{id: string, name: string}} run
 */
export function runTitle({ id, name }) {
  return `${isolated(name)} ${id.slice(0, 4)}`;
}

/**
 * @param {number} n
 * @returns {string} "1st", "2nd", "3rd", "4th"
 */
export function ordinal(n) {
  const teen = n % 100 >= 11 && n % 100 <= 13;
  return `${count(n)}${teen ? "th" : (["th", "st", "nd", "rd"][n % 10] ?? "th")}`;
}

/**
 * Why something failed.
 * @param {unknown} error  as caught
 * @returns {string}
 */
export function reasonOf(error) {
  return error instanceof Error ? error.message : String(error);
}
