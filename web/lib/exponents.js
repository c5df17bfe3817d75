/** How large the elements of the gradients are, from a histogram of their float32 exponents. */

import { count, percent } from "./format.js";
import { grouped } from "./layers.js";

/**
 * As on the wire; see `Histogram` in server/protocol.py.
 * @typedef {object} Exponents
 * @property {number} first  exponent byte of counts[0]
 * @property {number[]} counts  elements
 * @property {number} zeros
 * @property {number} every  one block of elements in `every` was looked at
 */

const BIAS = 127;
/** The exponent byte of infinities and NaN. */
const NONFINITE = 255;

/**
 * A number format that gradients are stored or sent in.
 * @typedef {object} Format
 * @property {string} name
 * @property {number} flushed  what is smaller becomes zero: half the least number, which is subnormal
 * @property {number} largest
 */

/** @type {Format[]}  IEEE 754 binary16, bfloat16, and the two of https://arxiv.org/abs/2209.05433 */
export const FORMATS = [
  { name: "fp16", flushed: 2 ** -25, largest: 65504 },
  { name: "bf16", flushed: 2 ** -134, largest: (2 - 2 ** -7) * 2 ** 127 },
  { name: "fp8 e5m2", flushed: 2 ** -17, largest: 57344 },
  { name: "fp8 e4m3", flushed: 2 ** -10, largest: 448 },
];

/**
 * The share of the finite elements that a limit would clamp. At powers of two it is counted; between them its logarithm
 * follows a cubic through its neighbours, since towards the largest elements it falls by orders of magnitude.
 * @param {Exponents} exponents
 * @param {number} limit
 * @returns {number}  0..1, NaN when there are no elements
 */
export function shareBeyond({ first, counts, zeros }, limit) {
  const bins = finite(first, counts);
  const place = Math.max(0, Math.log2(limit) + BIAS - first);
  const total = bins.reduce((sum, n) => sum + n, zeros);
  const beyond = (/** @type {number} */ bin) => bins.slice(Math.max(0, bin)).reduce((sum, n) => sum + n, 0) / total;
  const bin = Math.floor(place);
  const [before, here, next, after] = [-1, 0, 1, 2].map((k) => beyond(bin + k));
  if (!(next > 0)) return here > 0 ? here * (1 - (place - bin)) : here;
  const [a, b, c] = [before, here, next].map(Math.log);
  const d = after > 0 ? Math.log(after) : a - 3 * b + 3 * c; // it bends on as it did
  return Math.min(here, Math.max(next, Math.exp(catmullRom(a, b, c, d, place - bin))));
}

/**
 * Between b and c, the neighbours' slopes kept.
 * @param {number} a
 * @param {number} b
 * @param {number} c
 * @param {number} d
 * @param {number} t  0..1
 */
function catmullRom(a, b, c, d, t) {
  return b + (t / 2) * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
}

/**
 * What a format cannot hold of the finite elements.
 * @param {Exponents} exponents
 * @param {Format} format
 * @returns {{zero: number, over: number}}  shares, 0..1: those that would become zero, and those beyond its largest number
 */
export function lostIn(exponents, { flushed, largest }) {
  return { zero: shareBelow(exponents, flushed), over: shareBeyond(exponents, largest) };
}

/**
 * The share of the finite elements that are smaller than a power of two, but not zero.
 * @param {Exponents} exponents
 * @param {number} power
 */
function shareBelow({ first, counts, zeros }, power) {
  const bins = finite(first, counts);
  const below = bins.slice(0, Math.max(0, Math.log2(power) + BIAS - first)).reduce((sum, n) => sum + n, 0);
  return below / bins.reduce((sum, n) => sum + n, zeros);
}

/**
 * Without infinities and NaN.
 * @param {number} first
 * @param {number[]} counts
 */
function finite(first, counts) {
  return counts.slice(0, NONFINITE - first);
}

/**
 * Histograms over time as a grid no wider than the screen: each cell the mean share of the elements in it, NaN for none.
 * @param {import("./layers.js").Picture[]} pictures
 * @param {number} columns
 * @returns {{steps: number[], lowest: number, grid: number[][]}}  grid[row][column]; row 0 are sizes from 2 ** lowest
 */
export function exponentGrid(pictures, columns) {
  const looks = pictures.flatMap(({ step, exponents }) => (exponents?.counts.length ? [{ step, exponents }] : []));
  if (looks.length === 0) return { steps: [], lowest: 0, grid: [] };
  const lowest = Math.min(...looks.map(({ exponents: { first } }) => first));
  const end = Math.max(...looks.map(({ exponents: { first, counts } }) => first + counts.length));
  const rows = Math.min(NONFINITE, end) - lowest;
  const shared = grouped(looks, columns);
  const means = shared.map((group) => meanShares(group.map(({ exponents }) => exponents), lowest, rows));
  const grid = Array.from({ length: rows }, (_, row) => means.map((column) => column[row] || NaN));
  return { steps: shared.map(([{ step }]) => step), lowest: lowest - BIAS, grid };
}

/**
 * @param {Exponents[]} some
 * @param {number} lowest  exponent byte of the first of so many rows
 * @param {number} rows
 */
function meanShares(some, lowest, rows) {
  const means = new Float64Array(rows);
  for (const { first, counts, zeros } of some) {
    const all = finite(first, counts).reduce((sum, n) => sum + n, zeros);
    counts.forEach((n, bin) => (means[first + bin - lowest] += n / all / some.length));
  }
  return means;
}

/** @typedef {{name: string, zero: number, over: number}} Loss  of a format */

/**
 * What the formats would lose, in a sentence.
 * @param {Exponents} exponents
 * @returns {string}
 */
export function lossWords(exponents) {
  const losses = FORMATS.map((format) => ({ name: format.name, ...lostIn(exponents, format) }));
  const whole = losses.filter(({ zero, over }) => zero + over === 0).map(({ name }) => name);
  return [
    shareList(losses, "zero", ({ name, zero }) => `${name} would flush ${percent(zero)} of the elements to zero`),
    shareList(losses, "over", ({ name, over }) => `${percent(over)} are too large for ${name}`),
    whole.length ? `${whole.join(", ")} can hold all` : "",
    exponents.every > 1 ? `sampled: 1 block in ${count(exponents.every)}` : "",
  ].filter(Boolean).join("; ");
}

/**
 * @param {Loss[]} losses
 * @param {"zero" | "over"} kind
 * @param {(loss: Loss) => string} clause  for the first one; the others follow it with their numbers alone
 */
function shareList(losses, kind, clause) {
  const some = losses.filter((loss) => loss[kind] > 0);
  return some.map((loss, i) => (i ? `${loss.name} ${percent(loss[kind])}` : clause(loss))).join(", ");
}
