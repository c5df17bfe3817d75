/** Per-layer norms over time, as pictures of the moment arrive: what the layers heatmap is drawn from. */

import { toNumber } from "./wire.js";

/** @typedef {{step: number, norms: Float64Array}} Picture */

const MOST_PICTURES = 600;
const MOST_NUMBERS = 1_000_000;

export class LayerHistory {
  /** @type {Picture[]} in the order of their steps */
  pictures = [];

  /**
   * Take a picture in; one from a step already passed means the run was rolled back, so later ones go.
   * @param {import("./wire.js").Layers} layers
   */
  add({ step, norm }) {
    while (this.pictures.length && this.pictures[this.pictures.length - 1].step >= step) this.pictures.pop();
    this.pictures.push({ step, norms: Float64Array.from(norm, toNumber) });
    const most = Math.min(MOST_PICTURES, Math.floor(MOST_NUMBERS / Math.max(1, norm.length)));
    if (this.pictures.length > most) this.pictures = this.pictures.filter((_, i) => i % 2 === 1);
  }

  clear() {
    this.pictures = [];
  }
}

/**
 * The pictures within a range as a grid no finer than the screen: each cell the largest norm that falls into it,
 * NaN where one is not finite.
 * @param {Picture[]} pictures
 * @param {{lo: number, hi: number, columns: number, rows: number}} size
 * @returns {{steps: number[], grid: number[][], perRow: number}}  grid[row][column]; perRow layers share a row
 */
export function heatGrid(pictures, { lo, hi, columns, rows }) {
  const shown = pictures.filter(({ step }) => step >= lo && step <= hi);
  const layers = shown.at(-1)?.norms.length ?? 0;
  const perRow = Math.max(1, Math.ceil(layers / rows));
  const stride = Math.max(1, Math.ceil(shown.length / columns));
  /** @type {number[]} */
  const steps = [];
  /** @type {number[][]} */
  const grid = Array.from({ length: Math.ceil(layers / perRow) }, () => []);
  for (let first = 0; first < shown.length; first += stride) {
    const group = shown.slice(first, first + stride);
    steps.push(group[0].step);
    grid.forEach((cells, row) => cells.push(largest(group, row * perRow, (row + 1) * perRow)));
  }
  return { steps, grid, perRow };
}

/**
 * @param {Picture[]} group
 * @param {number} from
 * @param {number} to
 */
function largest(group, from, to) {
  let most = 0;
  for (const { norms } of group) {
    for (let layer = from; layer < Math.min(to, norms.length); layer++) {
      if (!Number.isFinite(norms[layer])) return NaN;
      most = Math.max(most, norms[layer]);
    }
  }
  return most;
}
