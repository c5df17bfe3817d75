/** The layers: a heatmap of all of them over steps, the curve of one, or how large their elements are. */

import { inside, nearest } from "../lib/decimate.js";
import { lossWords } from "../lib/exponents.js";
import { layerFigure, whyNothingIsClamped } from "../lib/figures.js";
import { count, number, percent } from "../lib/format.js";
import { exponentsHeat, layersHeat, rowNames } from "../lib/heat.js";
import { arrange, curveOf, spacing, SUBJECTS, within, worstLayer } from "../lib/layers.js";
import { ColourScale } from "./colours.js";
import { find, make, onClick, setText } from "./dom.js";
import { compared, runsOn, sceneOf } from "./plots.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../charts.js").Chart} Chart */
/** @typedef {import("../lib/layers.js").Measure} Measure */
/** @typedef {import("../lib/layers.js").Picture} Picture */

const MARGIN = { left: 52, right: 56, top: 6, bottom: 22 };
/** Between a name and the plotting area, px. */
const NAME_GAP = 10;

/** @type {Record<Measure, (value: number) => string>} */
const WORDS = {
  norms: number,
  coefs: number,
  clamped: (elements) => `${count(elements)} elements`,
  shares: (share) => `${percent(share)} of its elements`,
};

export class LayersView {
  #store;
  #colours;
  #readout;
  #name = make("b");
  #value = make("span");
  #words;
  #note;
  #subject;
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

  /**
   * @param {HTMLElement} figure
   * @param {Store} store
   * @param {(element: HTMLElement, margin: import("../charts.js").Margin) => Chart} makeChart
   */
  constructor(figure, store, makeChart) {
    this.element = find(figure, ".plot", HTMLElement);
    this.chart = makeChart(this.element, MARGIN);
    this.#colours = new ColourScale(this.element);
    this.#store = store;
    this.#readout = find(figure, ".readout", HTMLElement);
    this.#words = find(figure, ".words", HTMLElement);
    this.#note = find(figure, ".note", HTMLElement);
    this.#subject = find(figure, "#layers-subject", HTMLSelectElement);
    this.#sort = find(figure, "#layers-sort", HTMLButtonElement);
    this.#search = find(figure, "#layers-search", HTMLInputElement);
    this.#back = find(figure, "#layers-back", HTMLButtonElement);
    this.#listen();
    store.watch(["view", "run"], () => this.#show());
  }

  #listen() {
    const store = this.#store;
    this.#subject.addEventListener("change", () => {
      store.look({ subject: SUBJECTS.find((each) => each === this.#subject.value) });
    });
    this.#sort.addEventListener("click", () => store.look({ worst: !store.view.worst }));
    this.#search.addEventListener("input", () => store.look({ find: this.#search.value, layer: null }));
    this.#search.addEventListener("keydown", ({ key }) => key === "Enter" && this.#choose(this.#layers[0]));
    this.#back.addEventListener("click", () => store.look({ layer: null }));
    this.element.addEventListener("pointermove", ({ clientY }) => (this.#pointed = this.#rowAt(clientY)));
    this.element.addEventListener("pointerleave", () => (this.#pointed = -1));
    onClick(this.element, ({ clientY }) => {
      if (this.#measure && this.#chosen === null) this.#choose(this.#worstIn(this.#rowAt(clientY)));
    });
  }

  /** Let the controls say what is on show. */
  #show() {
    const { subject, worst, find: words } = this.#store.view;
    this.#subject.value = subject;
    this.#sort.setAttribute("aria-pressed", String(worst));
    if (this.#search.value !== words) this.#search.value = words;
    this.#search.hidden = subject === "exponents";
    this.#sort.hidden = this.#chosen !== null || subject === "exponents";
    this.#back.hidden = this.#chosen === null || subject === "exponents";
  }

  draw() {
    const measure = this.#measure;
    this.chart.margin = MARGIN;
    const known = measure !== "shares" || this.#sized;
    const pictures = known ? within(this.#store.layers.pictures, this.#store.range) : [];
    if (measure === null) this.#drawExponents(pictures);
    else if (this.#chosen === null) this.#drawAll(pictures, measure);
    else this.#drawOne(measure, this.#chosen);
    this.read(this.#step);
  }

  /**
   * Name a layer, the one on show, else the worst in the row under the pointer, else the worst of all, with its value
   * at a step; or say what of the elements narrower formats would lose then.
   * @param {number} step  NaN for the newest
   */
  read(step) {
    this.#step = step;
    setText(this.#words, this.#whose());
    const pictures = within(this.#store.layers.pictures, this.#store.range);
    const picture = pictures[nearest(Float64Array.from(pictures, (each) => each.step), Number.isNaN(step) ? Infinity : step)];
    const measure = this.#measure;
    if (measure === null) return this.#readExponents(picture, pictures);
    const layer = this.#chosen ?? this.#worstIn(this.#pointed, picture);
    if (!picture || layer === undefined) return setText(this.#readout, "");
    if (this.#name.parentElement !== this.#readout) this.#readout.replaceChildren(this.#name, this.#value);
    setText(this.#name, this.#names[layer]);
    this.#name.title = this.#names[layer];
    setText(this.#value, `· ${WORDS[measure](picture[measure][layer])} at step ${count(picture.step)}`);
    const every = spacing(pictures);
    const sampled = every > 1 ? `One step in ${count(every)} is looked at. ` : "";
    this.element.title = `${sampled}${this.#chosen === null ? "Click a row for the layer's own curve" : ""}`;
  }

  /** Beside other runs, say whose layers are on show. */
  #whose() {
    const [shown, ...others] = compared(this.#store);
    if (!shown) return "";
    if (this.#measure === null) return `Of ${shown.name}.`;
    if (this.#chosen === null) return `Of ${shown.name}. Click a row to compare that layer.`;
    const name = this.#names[this.#chosen];
    const without = others.filter(({ layers }) => layers && !layers.names.includes(name));
    return without.length ? `No layer of ${without.map((run) => run.name).join(", ")}` : "";
  }

  /** What of each layer is on show; null when it is all elements together. */
  get #measure() {
    const { subject } = this.#store.view;
    return subject === "exponents" ? null : subject;
  }

  /** How many elements each layer has is known. */
  get #sized() {
    return (this.#store.run?.sizes.length ?? 0) > 0;
  }

  /** The one layer on show; null for all. */
  get #chosen() {
    const { layer } = this.#store.view;
    const index = layer === null ? -1 : this.#names.indexOf(layer);
    return index < 0 ? null : index;
  }

  /** The layers' names; numbers before a run has told them. */
  get #names() {
    const { run, layers } = this.#store;
    const known = layers.pictures.at(-1)?.norms.length ?? 0;
    return Array.from({ length: known }, (_, layer) => run?.layers[layer] ?? `layer ${count(layer)}`);
  }

  /** @param {number | undefined} layer */
  #choose(layer) {
    if (layer !== undefined) this.#store.look({ layer: this.#names[layer] });
  }

  /** @param {number} clientY */
  #rowAt(clientY) {
    return Math.round(this.chart.valueAt(clientY - this.element.getBoundingClientRect().top));
  }

  /**
   * The worst layer of a row.
   * @param {number} row  -1 for all rows
   * @param {Picture} [picture]
   */
  #worstIn(row, picture = this.#store.layers.pictures.at(-1)) {
    const shown = row < 0 ? this.#layers : this.#layers.slice(row * this.#perRow, (row + 1) * this.#perRow);
    return picture && this.#measure ? worstLayer(picture, this.#measure, shown) : undefined;
  }

  /**
   * @param {Picture[]} pictures
   * @param {Measure} measure
   */
  #drawAll(pictures, measure) {
    const { worst, find: words } = this.#store.view;
    const unclamped = this.#whyUnclamped(pictures, measure);
    this.#layers = arrange(this.#names, words, worst ? { pictures, measure } : null);
    const { width, height, margin } = this.chart;
    const { names, width: room } = rowNames(this.#layers.map((layer) => this.#names[layer]), { width: width + margin.left, height });
    if (names) this.chart.margin = { ...MARGIN, left: Math.max(MARGIN.left, room + NAME_GAP) };
    const heat = layersHeat(sceneOf(this.#store), this.chart, { pictures: unclamped ? [] : pictures, measure, layers: this.#layers, names });
    this.#perRow = heat.perRow;
    this.#drawHeat(heat);
    setText(this.#note, unclamped || this.#whyEmpty(pictures.length));
  }

  /**
   * Why there are no clamped elements to draw; "" when there are, or may be.
   * @param {Picture[]} pictures
   * @param {Measure} measure
   */
  #whyUnclamped(pictures, measure) {
    const mode = String(this.#store.run?.control.mode ?? "");
    const clamps = mode === "value" || (measure !== "clamped" && measure !== "shares");
    return clamps || pictures.some(({ clamped }) => clamped.some(Boolean)) ? "" : whyNothingIsClamped(mode);
  }

  /** @param {number} pictures  on show */
  #whyEmpty(pictures) {
    const { find: words } = this.#store.view;
    if (words && this.#layers.length === 0) return `No layer's name has "${words}"`;
    if (pictures) return "";
    return this.#measure === "shares" && !this.#sized ? "Layer sizes were not recorded" : "No layers were recorded in these steps";
  }

  /**
   * @param {Measure} measure
   * @param {number} layer
   */
  #drawOne(measure, layer) {
    const store = this.#store;
    const scene = sceneOf(store);
    const [lo, hi] = scene.range.map(scene.abscissa.at);
    const name = this.#names[layer];
    const alone = { id: "", name, at: scene.abscissa.at, layers: { names: this.#names, sizes: store.run?.sizes ?? [], history: store.layers } };
    const runs = scene.runs.length ? runsOn(store) : [alone];
    const curves = layerCurves(runs, name, measure).toReversed().map(({ x, y, ...curve }) => {
      const [from, to] = inside(x, lo, hi);
      return { ...curve, x: x.subarray(from, to), y: y.subarray(from, to) };
    });
    this.#colours.hide();
    this.chart.draw(layerFigure(scene, this.chart.width, measure, curves));
    setText(this.#note, "");
  }

  /** @param {Picture[]} pictures */
  #drawExponents(pictures) {
    const heat = exponentsHeat(sceneOf(this.#store), this.chart, pictures);
    this.#drawHeat(heat);
    setText(this.#note, heat.grid.length ? "" : "No elements were counted in these steps");
  }

  /** @param {import("../lib/heat.js").HeatFigure} heat */
  #drawHeat(heat) {
    this.chart.drawHeat(heat);
    if (heat.columns.length) this.#colours.draw(this.chart, heat.colour);
    else this.#colours.hide();
  }

  /**
   * @param {Picture | undefined} picture
   * @param {Picture[]} pictures  on show; the newest of them speaks where the elements of this one were not counted
   */
  #readExponents(picture, pictures) {
    const counted = [...pictures, picture].findLast((each) => each?.exponents?.counts.length)?.exponents;
    setText(this.#readout, counted ? lossWords(counted) : "");
  }
}

/**
 * One layer of several runs.
 * @param {(Pick<import("./plots.js").Placed, "id" | "name" | "at" | "layers"> & {role?: import("../lib/figures.js").Role})[]} runs
 * @param {string} layer
 * @param {Measure} measure
 * @returns {(import("../lib/figures.js").Curve & {id: string})[]}  of those that have it and whose layers are here
 */
export function layerCurves(runs, layer, measure) {
  return runs.flatMap(({ id, role, name, at, layers }) => {
    const index = layers?.names.indexOf(layer) ?? -1;
    if (!layers || index < 0 || (measure === "shares" && layers.sizes.length === 0)) return [];
    return [{ id, role, name, ...curveOf(layers.history.pictures, measure, index, at) }];
  });
}

/**
 * @param {Measure} measure
 * @param {number} value
 */
export function layerWords(measure, value) {
  return measure === "shares" ? percent(value) : number(value);
}
