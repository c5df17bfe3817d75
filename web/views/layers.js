/** The layers heatmap: the norm of each layer over steps. */

import { nearest } from "../lib/decimate.js";
import { count, number, tick } from "../lib/format.js";
import { frame } from "../lib/figures.js";
import { heatGrid } from "../lib/layers.js";
import { logAxis } from "../lib/scale.js";
import { find, setText } from "./dom.js";
import { sceneOf } from "./plots.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../charts.js").Chart} Chart */

const PIXELS_PER_CELL = 4;
const PIXELS_PER_NAME = 40;

export class LayersView {
  #store;
  #readout;
  #note;
  #perRow = 1;
  /** The row under the pointer; -1 when it is elsewhere. */
  #pointed = -1;

  /**
   * @param {HTMLElement} figure
   * @param {Store} store
   * @param {(element: HTMLElement, margin: import("../charts.js").Margin) => Chart} makeChart
   */
  constructor(figure, store, makeChart) {
    this.element = find(figure, ".plot", HTMLElement);
    this.chart = makeChart(this.element, { left: 52, right: 56, top: 6, bottom: 22 });
    this.#store = store;
    this.#readout = find(figure, ".readout", HTMLElement);
    this.#note = find(figure, ".note", HTMLElement);
    this.element.addEventListener("pointermove", ({ clientY }) => {
      this.#pointed = Math.round(this.chart.valueAt(clientY - this.element.getBoundingClientRect().top));
    });
    this.element.addEventListener("pointerleave", () => (this.#pointed = -1));
  }

  draw() {
    const { chart } = this;
    const scene = sceneOf(this.#store);
    const [lo, hi] = scene.range;
    const size = { lo, hi, columns: chart.width / PIXELS_PER_CELL, rows: Math.max(1, Math.floor(chart.height / PIXELS_PER_CELL)) };
    const { steps, grid, perRow } = heatGrid(this.#store.layers.pictures, size);
    const colour = logAxis(grid.map((row) => Float64Array.from(row)), 4);
    chart.drawHeat({ ...frame(scene, chart.width), steps, grid, rows: rowTicks(grid.length, perRow, chart.height), colour });
    setText(this.#note, steps.length > 1 ? "" : "Layers are recorded here while the page is open");
    this.#perRow = perRow;
  }

  /**
   * Name the layer under the pointer, else the one with the largest norm, with its norm at a step.
   * @param {number} step  NaN for the newest
   */
  read(step) {
    const { pictures } = this.#store.layers;
    const place = nearest(Float64Array.from(pictures, (picture) => picture.step), Number.isNaN(step) ? Infinity : step);
    const norms = pictures[place]?.norms;
    if (!norms?.length) return setText(this.#readout, "");
    const first = Math.max(0, this.#pointed * this.#perRow);
    const shown = this.#pointed < 0 ? norms : norms.subarray(first, first + this.#perRow);
    if (shown.length === 0) return;
    const layer = first + largestOf(shown);
    const name = this.#store.run?.layers[layer] ?? `layer ${count(layer)}`;
    setText(this.#readout, `${this.#pointed < 0 ? "largest " : ""}${name} ${number(norms[layer])}`);
  }
}

/**
 * Where the largest norm is; one that is not finite counts as larger than all.
 * @param {Float64Array} norms
 */
function largestOf(norms) {
  const bad = norms.findIndex((norm) => !Number.isFinite(norm));
  return bad >= 0 ? bad : norms.reduce((best, norm, i) => (norm > norms[best] ? i : best), 0);
}

/**
 * Layer numbers beside the rows, as many as fit.
 * @param {number} rows
 * @param {number} perRow
 * @param {number} height  px
 */
function rowTicks(rows, perRow, height) {
  const stride = Math.max(1, Math.ceil(rows / (height / PIXELS_PER_NAME)));
  const shown = Array.from({ length: Math.ceil(rows / stride) }, (_, i) => i * stride);
  return shown.map((row) => ({ value: row, label: tick(row * perRow) }));
}
