/** The layers: a heatmap of all of them over steps, and the curve of one. */

import { nearest } from "../lib/decimate.js";
import { count, number, tick } from "../lib/format.js";
import { frame, layerFigure } from "../lib/figures.js";
import { arrange, heatGrid, within, worstLayer } from "../lib/layers.js";
import { linearTicks, logAxis } from "../lib/scale.js";
import { find, setText } from "./dom.js";
import { sceneOf } from "./plots.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../charts.js").Chart} Chart */
/** @typedef {import("../lib/layers.js").Measure} Measure */

const PIXELS_PER_CELL = 4;
const PIXELS_PER_NAME = 40;
const CLICK_PX = 4;

export class LayersView {
  #store;
  #readout;
  #note;
  #measure;
  #sort;
  #search;
  #back;
  /** From top to bottom. @type {number[]} */
  #layers = [];
  #perRow = 1;
  /** The row under the pointer; -1 when it is elsewhere. */
  #pointed = -1;
  /** That the crosshair is at; NaN for the newest. */
  #step = NaN;
  /** The one layer on show. @type {number | null} */
  #chosen = null;

  /**
   * @param {HTMLElement} figure
   * @param {Store} store
   * @param {(element: HTMLElement, margin: import("../charts.js").Margin) => Chart} makeChart
   * @param {() => void} redraw  called when a person asked for another picture
   */
  constructor(figure, store, makeChart, redraw) {
    this.element = find(figure, ".plot", HTMLElement);
    this.chart = makeChart(this.element, { left: 52, right: 56, top: 6, bottom: 22 });
    this.#store = store;
    this.#readout = find(figure, ".readout", HTMLElement);
    this.#note = find(figure, ".note", HTMLElement);
    this.#measure = find(figure, "#layers-measure", HTMLSelectElement);
    this.#sort = find(figure, "#layers-sort", HTMLButtonElement);
    this.#search = find(figure, "#layers-search", HTMLInputElement);
    this.#back = find(figure, "#layers-back", HTMLButtonElement);
    const choose = (/** @type {number | null} */ layer) => {
      this.#chosen = layer;
      redraw();
    };
    this.#measure.addEventListener("change", redraw);
    this.#search.addEventListener("input", () => choose(null));
    this.#search.addEventListener("keydown", ({ key }) => key === "Enter" && choose(this.#layers[0] ?? null));
    this.#back.addEventListener("click", () => choose(null));
    this.#sort.addEventListener("click", () => {
      this.#sort.setAttribute("aria-pressed", String(!this.#sorted));
      redraw();
    });
    this.element.addEventListener("pointermove", ({ clientY }) => (this.#pointed = this.#rowAt(clientY)));
    this.element.addEventListener("pointerleave", () => (this.#pointed = -1));
    onClick(this.element, ({ clientY }) => this.#chosen === null && choose(this.#worstIn(this.#rowAt(clientY)) ?? null));
  }

  draw() {
    const pictures = within(this.#store.layers.pictures, this.#store.range);
    const names = this.#names;
    if (this.#chosen !== null && this.#chosen >= names.length) this.#chosen = null;
    this.#back.hidden = this.#chosen === null;
    this.#layers = arrange(names, this.#search.value, this.#sorted ? { pictures, measure: this.#by } : null);
    if (this.#chosen === null) this.#drawAll(pictures);
    else this.#drawOne(this.#chosen, pictures);
    this.read(this.#step);
  }

  /**
   * Name a layer, the one on show, else the worst in the row under the pointer, else the worst of all, with its value
   * at a step.
   * @param {number} step  NaN for the newest
   */
  read(step) {
    this.#step = step;
    const { pictures } = this.#store.layers;
    const picture = pictures[nearest(Float64Array.from(pictures, (each) => each.step), Number.isNaN(step) ? Infinity : step)];
    const layer = this.#chosen ?? this.#worstIn(this.#pointed, picture);
    if (!picture || layer === undefined) return setText(this.#readout, "");
    setText(this.#readout, `${number(picture[this.#by][layer])} ${this.#names[layer]}`);
  }

  get #by() {
    return /** @type {Measure} */ (this.#measure.value);
  }

  get #sorted() {
    return this.#sort.getAttribute("aria-pressed") === "true";
  }

  /** The layers' names; numbers before a run has told them. */
  get #names() {
    const { run, layers } = this.#store;
    const known = layers.pictures.at(-1)?.norms.length ?? 0;
    return Array.from({ length: known }, (_, layer) => run?.layers[layer] ?? `layer ${count(layer)}`);
  }

  /** @param {number} clientY */
  #rowAt(clientY) {
    return Math.round(this.chart.valueAt(clientY - this.element.getBoundingClientRect().top));
  }

  /**
   * The worst layer of a row.
   * @param {number} row  -1 for all rows
   * @param {import("../lib/layers.js").Picture} [picture]
   */
  #worstIn(row, picture = this.#store.layers.pictures.at(-1)) {
    const shown = row < 0 ? this.#layers : this.#layers.slice(row * this.#perRow, (row + 1) * this.#perRow);
    return picture && worstLayer(picture, this.#by, shown);
  }

  /** @param {import("../lib/layers.js").Picture[]} pictures */
  #drawAll(pictures) {
    const { chart } = this;
    const rows = Math.max(1, Math.floor(chart.height / PIXELS_PER_CELL));
    const size = { columns: chart.width / PIXELS_PER_CELL, rows, measure: this.#by, layers: this.#layers };
    const { steps, grid, perRow } = heatGrid(pictures, size);
    this.#perRow = perRow;
    const labels = rowTicks(grid.length, chart.height).map((row) => ({ value: row, label: tick(this.#layers[row * perRow]) }));
    chart.drawHeat({ ...frame(sceneOf(this.#store), chart.width), steps, grid, rows: labels, colour: colourAxis(this.#by, grid) });
    setText(this.#note, this.#whyEmpty(steps.length));
  }

  /** @param {number} pictures  on show */
  #whyEmpty(pictures) {
    if (this.#search.value && this.#layers.length === 0) return `No layer's name has "${this.#search.value}"`;
    return pictures ? "" : "No layers were recorded in these steps";
  }

  /**
   * @param {number} layer
   * @param {import("../lib/layers.js").Picture[]} pictures
   */
  #drawOne(layer, pictures) {
    const x = Float64Array.from(pictures, ({ step }) => step);
    const y = Float64Array.from(pictures, (picture) => picture[this.#by][layer]);
    this.chart.draw(layerFigure(sceneOf(this.#store), this.chart.width, this.#by, { name: this.#names[layer], x, y }));
    setText(this.#note, "");
  }
}

/**
 * @param {Measure} measure
 * @param {number[][]} grid
 * @returns {import("../lib/scale.js").Axis}
 */
function colourAxis(measure, grid) {
  if (measure === "coefs") return { type: "linear", lo: 0, hi: 1, ticks: linearTicks(0, 1, 4) };
  return logAxis(grid.map((row) => Float64Array.from(row)), 4);
}

/**
 * The rows that have room for a label.
 * @param {number} rows
 * @param {number} height  px
 */
function rowTicks(rows, height) {
  const stride = Math.max(1, Math.ceil(rows / (height / PIXELS_PER_NAME)));
  return Array.from({ length: Math.ceil(rows / stride) }, (_, i) => i * stride);
}

/**
 * Tell of clicks, which Plotly keeps to itself; a press that moves on is a zoom.
 * @param {HTMLElement} element
 * @param {(event: PointerEvent) => void} tell
 */
function onClick(element, tell) {
  element.addEventListener("pointerdown", (down) => {
    const up = (/** @type {PointerEvent} */ event) => {
      if (Math.hypot(event.clientX - down.clientX, event.clientY - down.clientY) < CLICK_PX) tell(event);
    };
    addEventListener("pointerup", up, { capture: true, once: true });
  }, true);
}
