/** Per-layer numbers over time, as pictures of some steps: what the layers heatmap is drawn from. */

import { toNumber } from "./wire.js";

/**
 * The layers of one step, in the order of the run's names.
 * @typedef {object} Picture
 * @property {number} step
 * @property {Float64Array} norms
 * @property {Float64Array} coefs
 * @property {Float64Array} clamped  elements
 * @property {Float64Array} shares  of the layer's elements that were clamped, 0..1
 * @property {import("./exponents.js").Exponents | null} exponents  of all layers together
 */

/** @typedef {"norms" | "coefs" | "clamped" | "shares"} Measure */
/** @typedef {Measure | "exponents"} Subject  exponents are counted over all layers together */

/** @type {Subject[]} */
export const SUBJECTS = ["norms", "coefs", "clamped", "shares", "exponents"];

/**
 * In which direction a measure gets worse: a small coefficient cuts more than a large one.
 * @type {Record<Measure, -1 | 1>}
 */
const WORSE = { norms: 1, coefs: -1, clamped: 1, shares: 1 };

/** Steps of which pictures are asked for, and numbers of each measure in them. */
const WANTED_PICTURES = 300;
const LEAST_PICTURES = 20;
const WANTED_NUMBERS = 100_000;

const MOST_PICTURES = 600;
const MOST_NUMBERS = 3_000_000;

export class LayerHistory {
  /** @type {Picture[]} in the order of their steps */
  pictures = [];

  /** The newest picture whose elements were counted. */
  get counted() {
    return this.pictures.findLast(({ exponents }) => exponents) ?? null;
  }

  /**
   * Take a picture in; one from a step already passed means the run was rolled back, so later ones go.
   * @param {import("./wire.js").Layers} layers
   * @param {number[]} sizes  elements of each layer
   */
  add(layers, sizes) {
    while (this.pictures.length && this.pictures[this.pictures.length - 1].step >= layers.step) this.pictures.pop();
    this.pictures.push(pictureOf(layers, sizes));
    this.#thin();
  }

  /**
   * Take in pictures of steps that were missed.
   * @param {import("./wire.js").Layers[]} missed
   * @param {number[]} sizes
   */
  fill(missed, sizes) {
    const known = new Set(this.pictures.map(({ step }) => step));
    const added = missed.filter(({ step }) => !known.has(step)).map((layers) => pictureOf(layers, sizes));
    this.pictures = [...this.pictures, ...added].sort((a, b) => a.step - b.step);
    this.#thin();
  }

  clear() {
    this.pictures = [];
  }

  /** When there are too many, keep half of them, as evenly spaced as there are any. */
  #thin() {
    const layers = this.pictures.at(-1)?.norms.length ?? 0;
    const most = Math.max(2, Math.min(MOST_PICTURES, Math.floor(MOST_NUMBERS / 4 / Math.max(1, layers))));
    if (this.pictures.length <= most) return;
    const [first, last] = [this.pictures[0].step, this.pictures[this.pictures.length - 1].step];
    const parts = Math.floor(most / 2);
    const part = (/** @type {Picture} */ { step }) => Math.floor(((step - first) * parts) / (last - first + 1));
    this.pictures = this.pictures.filter((picture, i, all) => i === 0 || i === all.length - 1 || part(picture) !== part(all[i - 1]));
  }
}

/**
 * @param {import("./wire.js").Layers} layers
 * @param {number[]} sizes
 * @returns {Picture}
 */
function pictureOf({ step, norm, coef, clamped, histogram }, sizes) {
  const [norms, coefs, counts] = [norm, coef, clamped].map((cells) => Float64Array.from(cells, toNumber));
  const shares = counts.map((elements, layer) => (sizes[layer] ? elements / sizes[layer] : 0));
  return { step, norms, coefs, clamped: counts, shares, exponents: histogram };
}

/**
 * How many pictures to ask for all over a run.
 * @param {number} layers  of its model
 */
export function picturesOf(layers) {
  return Math.max(LEAST_PICTURES, Math.min(WANTED_PICTURES, Math.floor(WANTED_NUMBERS / Math.max(1, layers))));
}

/**
 * The pictures within a range of steps, both ends included.
 * @param {Picture[]} pictures
 * @param {[lo: number, hi: number]} range
 */
export function within(pictures, [lo, hi]) {
  return pictures.filter(({ step }) => step >= lo && step <= hi);
}

/**
 * How many steps lie from one picture to the next, on average.
 * @param {Picture[]} pictures
 * @returns {number}  1 for fewer than two of them
 */
export function spacing(pictures) {
  if (pictures.length < 2) return 1;
  return Math.round((pictures[pictures.length - 1].step - pictures[0].step) / (pictures.length - 1));
}

/**
 * The largest norm of any layer, over the steps at which one is known.
 * @param {Picture[]} pictures
 * @returns {{steps: number[], norms: number[]}}
 */
export function largestNorms(pictures) {
  const known = pictures.map(({ step, norms }) => ({ step, norm: norms.reduce((most, norm) => Math.max(most, norm), -Infinity) }));
  const finite = known.filter(({ norm }) => Number.isFinite(norm));
  return { steps: finite.map(({ step }) => step), norms: finite.map(({ norm }) => norm) };
}

/**
 * Layers whose name has all the words, in the model's order or the worst first.
 * @param {string[]} names
 * @param {string} words
 * @param {{pictures: Picture[], measure: Measure} | null} worst  over which pictures, and by what; null: in order
 * @returns {number[]}
 */
export function arrange(names, words, worst) {
  const wanted = words.toLowerCase().split(/\s+/);
  const found = [...names.keys()].filter((layer) => wanted.every((word) => names[layer].toLowerCase().includes(word)));
  if (!worst) return found;
  const badness = found.map((layer) => WORSE[worst.measure] * worstOf(worst.pictures, worst.measure, [layer]));
  const rank = badness.map((value) => (Number.isNaN(value) ? Infinity : value));
  return [...found.keys()].sort((a, b) => (rank[a] === rank[b] ? a - b : rank[b] - rank[a])).map((i) => found[i]);
}

/**
 * One layer over steps.
 * @param {Picture[]} pictures
 * @param {Measure} measure
 * @param {number} layer
 * @param {(step: number) => number} at  where a step lies on the x-axis
 * @returns {{x: Float64Array, y: Float64Array}}
 */
export function curveOf(pictures, measure, layer, at) {
  return { x: Float64Array.from(pictures, ({ step }) => at(step)), y: Float64Array.from(pictures, (picture) => picture[measure][layer]) };
}

/**
 * Pictures as a grid no finer than the screen: each cell the worst value that falls into it, NaN where one is not
 * finite.
 * @param {Picture[]} pictures
 * @param {{columns: number, rows: number, measure: Measure, layers: number[]}} size  the layers from top to bottom
 * @returns {{steps: number[], grid: number[][], perRow: number}}  grid[row][column]; perRow layers share a row
 */
export function heatGrid(pictures, { columns, rows, measure, layers }) {
  const perRow = Math.max(1, Math.ceil(layers.length / rows));
  const groups = grouped(pictures, columns);
  const shared = Array.from({ length: Math.ceil(layers.length / perRow) }, (_, row) => layers.slice(row * perRow, (row + 1) * perRow));
  const grid = shared.map((some) => groups.map((group) => worstOf(group, measure, some)));
  return { steps: groups.map(([{ step }]) => step), grid, perRow };
}

/**
 * What shares a column of the screen.
 * @template T
 * @param {T[]} pictures
 * @param {number} columns
 * @returns {T[][]}  at most so many groups, as large as each other but the last
 */
export function grouped(pictures, columns) {
  const stride = Math.max(1, Math.ceil(pictures.length / columns));
  return Array.from({ length: Math.ceil(pictures.length / stride) }, (_, i) => pictures.slice(i * stride, (i + 1) * stride));
}

/**
 * The worst of these layers in a picture.
 * @param {Picture} picture
 * @param {Measure} measure
 * @param {number[]} layers
 * @returns {number | undefined}  one that is not finite before all others
 */
export function worstLayer(picture, measure, layers) {
  const worst = worstOf([picture], measure, layers);
  return layers.find((layer) => (Number.isNaN(worst) ? !Number.isFinite(picture[measure][layer]) : picture[measure][layer] === worst));
}

/**
 * @param {Picture[]} pictures
 * @param {Measure} measure
 * @param {number[]} layers
 * @returns {number}  NaN when one is not finite
 */
function worstOf(pictures, measure, layers) {
  let worst = -Infinity;
  for (const picture of pictures) {
    for (const layer of layers) {
      const value = picture[measure][layer];
      if (!Number.isFinite(value)) return NaN;
      worst = Math.max(worst, WORSE[measure] * value);
    }
  }
  return WORSE[measure] * worst;
}
