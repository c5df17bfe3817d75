/** The charts over steps: norm, coefficient, clamped elements, loss; their readouts and the crosshair through all. */

import { Chart } from "../charts.js";
import { clampedFigure, coefFigure, lossFigure, lossSources, normFigure } from "../lib/figures.js";
import { count, number, percent, runTitle } from "../lib/format.js";
import { alongside } from "../lib/overlay.js";
import { NOT_LOGGED } from "../lib/wire.js";
import { find, make, setText } from "./dom.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../lib/figures.js").Figure} Figure */
/** @typedef {import("../lib/figures.js").Source} Source */
/** @typedef {import("../lib/figures.js").Scene} Scene */

/**
 * One of several runs on the charts, with what is known of it.
 * @typedef {object} Compared
 * @property {string} id
 * @property {import("../lib/figures.js").Role} role
 * @property {string} name
 * @property {import("../lib/table.js").StepTable} table
 * @property {import("../lib/overlay.js").KnownLayers | null} layers
 * @property {import("../lib/whatif.js").Foresight | null} whatif
 */

/** @typedef {Compared & {x: Float64Array, at: (step: number) => number}} Placed  where its rows lie, and any of its steps */

/**
 * @typedef {object} Plot
 * @property {string} id  of its figure element
 * @property {import("../charts.js").Margin} margin
 * @property {(scene: Scene, width: number, store: Store) => Figure} figure
 * @property {(store: Store) => (Source & {label: string})[]} readout  the columns whose values its heading shows
 * @property {(store: Store) => {role: string, label: string}[]} [computed]  lines that no column holds
 */

const MARGIN = { left: 52, right: 28, top: 6, bottom: 22 };

/** @type {Plot[]} */
const PLOTS = [
  {
    id: "norm",
    margin: { ...MARGIN, right: 92 },
    computed: (store) => [...(store.run?.control.mode === "layer" ? [{ role: "largest", label: "max layer" }] : []), ...averages(store)],
    figure: (scene, width, store) => normFigure(scene, width, store.view.log, store.layers.pictures),
    readout: (store) => [
      { role: "before", name: "norm", label: "before" },
      { role: "after", name: "clipped_norm", label: "after" },
      ...(store.run?.control.mode === "value" ? [{ role: /** @type {const} */ ("largest"), name: "max_abs", label: "max |g|" }] : []),
      { role: "threshold", name: "threshold", label: store.run?.control.mode === "layer" ? "layer threshold" : "threshold" },
    ],
  },
  { id: "coef", margin: MARGIN, figure: coefFigure, readout: () => [{ role: "coef", name: "coef", label: "" }] },
  {
    id: "clamped",
    margin: MARGIN,
    figure: clampedFigure,
    readout: () => [{ role: "clamped", name: "clamped", label: "" }, { role: "clamped", name: "clamped_fraction", label: "" }],
  },
  {
    id: "loss",
    margin: MARGIN,
    figure: lossFigure,
    computed: averages,
    readout: ({ table }) => lossSources(table).map((source) => ({ ...source, label: source.name === "loss" ? "" : source.name })),
  },
];

/** @param {Store} store */
function averages({ view }) {
  return view.smooth ? [{ role: "trend", label: "average" }] : [];
}

/**
 * What the charts show now.
 * @param {Store} store
 * @returns {Scene}
 */
export function sceneOf(store) {
  const { table, abscissa, range, log, run, view } = store;
  return { table, abscissa, range, mode: String(run?.control.mode ?? ""), log, smooth: view.smooth, runs: runsOn(store) };
}

/**
 * The runs that share the charts, the one on show first; none when it is alone.
 * @param {Store} store
 * @returns {Compared[]}
 */
export function compared({ run, table, layers, whatif, overlay }) {
  if (!run || overlay.runs.length === 0) return [];
  const shown = { info: run, table, layers: { names: run.layers, sizes: run.sizes, history: layers }, whatif };
  return [shown, ...overlay.runs].map(
    ({ info, ...known }, i) => ({ ...known, id: info.id, role: /** @type {const} */ (`run${i}`), name: runTitle(info) }),
  );
}

/**
 * The same, each in its place on the charts' x-axis.
 * @param {Store} store
 * @returns {Placed[]}
 */
export function runsOn(store) {
  const { abscissa, view } = store;
  const shown = { x: abscissa.column, at: abscissa.at };
  return compared(store).map((run, i) => ({ ...run, ...(i === 0 ? shown : alongside(view.unit, run.table, abscissa)) }));
}

/**
 * @param {HTMLElement} board
 * @param {Store} store
 * @param {(element: HTMLElement, margin: import("../charts.js").Margin) => Chart} makeChart
 */
export function plotViews(board, store, makeChart) {
  return PLOTS.map((plot) => new PlotView(find(board, `#${plot.id}`, HTMLElement), plot, store, makeChart));
}

/** One chart with its heading. */
export class PlotView {
  #plot;
  #store;
  #readout;
  #note;
  /** @type {Map<string, HTMLElement>} value elements by column */
  #values = new Map();
  #shown = "";
  /** What lies over the chart moves with it. */
  afterDraw = () => {};

  /**
   * @param {HTMLElement} figure
   * @param {Plot} plot
   * @param {Store} store
   * @param {(element: HTMLElement, margin: import("../charts.js").Margin) => Chart} makeChart
   */
  constructor(figure, plot, store, makeChart) {
    this.element = find(figure, ".plot", HTMLElement);
    this.chart = makeChart(this.element, plot.margin);
    this.#plot = plot;
    this.#store = store;
    this.#readout = find(figure, ".readout", HTMLElement);
    this.#note = find(figure, ".note", HTMLElement);
  }

  draw() {
    const figure = this.#plot.figure(sceneOf(this.#store), this.chart.width, this.#store);
    this.chart.draw(figure);
    setText(this.#note, this.#store.table.length ? figure.note : emptyWords(this.#store.run));
    this.afterDraw();
  }

  /**
   * Show the values of one row in the heading.
   * @param {number} row  -1 for none
   */
  read(row) {
    const sources = drawn(this.#plot.readout(this.#store), this.#store);
    const computed = this.#store.overlay.runs.length ? [] : (this.#plot.computed?.(this.#store) ?? []);
    const shown = [...sources, ...computed].map(({ role, label }) => `${role} ${label}`).join();
    if (shown !== this.#shown) this.#makeReadout(sources, computed);
    this.#shown = shown;
    for (const [name, element] of this.#values) {
      setText(element, valueWords(name, row < 0 ? NOT_LOGGED : this.#store.table.lastLogged(name, row)));
    }
  }

  /**
   * @param {(Source & {label: string})[]} sources
   * @param {{role: string, label: string}[]} computed
   */
  #makeReadout(sources, computed) {
    this.#values.clear();
    const entries = sources.map(({ role, name, dashed, label }, i) => {
      const value = make("b");
      this.#values.set(name, value);
      const swatch = sources[i - 1]?.role === role && !dashed ? [] : [make("i", { class: `swatch ${role}${dashed ? " dashed" : ""}` })];
      return make("span", {}, ...swatch, label && `${label} `, value);
    });
    const further = computed.map(({ role, label }) => make("span", {}, make("i", { class: `swatch ${role}` }), label));
    this.#readout.replaceChildren(...entries, ...further);
  }
}

/**
 * Beside other runs a chart shows one line of this one, in its colour, what is dashed there, and the threshold.
 * @param {(Source & {label: string})[]} sources
 * @param {Store} store
 */
function drawn(sources, { overlay }) {
  if (overlay.runs.length === 0) return sources;
  const role = /** @type {const} */ ("run0");
  return sources.flatMap((source, i) => {
    if (source.role === "threshold") return [source];
    if (source.dashed) return [{ ...source, role }];
    return i === 0 ? [{ ...source, role, label: "" }] : [];
  });
}

/**
 * Why there is nothing to draw, and what it waits for.
 * @param {import("../lib/wire.js").RunInfo | null} run
 */
function emptyWords(run) {
  if (!run) return "";
  if (run.state === "starting") return `${run.name} is starting: loading torch and the data`;
  return run.attached ? "Waiting for the first step" : "No step was recorded";
}

/**
 * @param {string} name
 * @param {number} value
 */
export function valueWords(name, value) {
  if (value === NOT_LOGGED || (name === "threshold" && Number.isNaN(value))) return "–";
  if (name === "clamped_fraction") return percent(value);
  return name === "clamped" ? count(value) : number(value);
}
