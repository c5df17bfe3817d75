/** The layers heatmap: the norm of each layer over steps. */

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
    this.#showLargest();
  }

  /** Name the layer that has the largest norm now. */
  #showLargest() {
    const norms = this.#store.layers.pictures.at(-1)?.norms;
    if (!norms?.length) return setText(this.#readout, "");
    const largest = norms.reduce((best, norm, i) => (norm > norms[best] || Number.isNaN(norm) ? i : best), 0);
    const name = this.#store.run?.layers[largest] ?? `layer ${count(largest)}`;
    setText(this.#readout, `largest ${name} ${number(norms[largest])}`);
  }
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
