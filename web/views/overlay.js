/** The key of the runs that share the charts: each one's colour, name and numbers at the crosshair, and of which step they are. */

import { nearest } from "../lib/decimate.js";
import { lossSources } from "../lib/figures.js";
import { count } from "../lib/format.js";
import { onShow } from "../lib/overlay.js";
import { make, setText } from "./dom.js";
import { layerCurves, layerWords } from "./layers.js";
import { runsOn, valueWords } from "./plots.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("./plots.js").Placed} Placed */

/** The columns that are told of each run, beside its losses. */
const NUMBERS = ["threshold", "norm", "coef", "clamped", "loss"];

export class OverlayView {
  #key;
  #store;
  /** What the key was made of. */
  #made = "";
  /** @type {HTMLElement[][]} of each run its numbers */
  #values = [];

  /**
   * @param {HTMLElement} key
   * @param {Store} store
   */
  constructor(key, store) {
    this.#key = key;
    this.#store = store;
  }

  /**
   * Show each run's numbers at a step of the one on show.
   * @param {number} step  NaN: each run's newest
   */
  read(step) {
    const runs = runsOn(this.#store);
    const names = namesOf(runs);
    const layer = this.#layer;
    const labels = ["step", ...names, ...(layer ? [layer.name] : [])];
    const made = JSON.stringify([runs.map(({ id, name }) => [id, name]), labels]);
    if (made !== this.#made) this.#make(runs, labels);
    this.#made = made;
    const { abscissa, range } = this.#store;
    const place = abscissa.at(step);
    const [lo, hi] = range.map(abscissa.at);
    const curves = layer ? layerCurves(runs, layer.name, layer.measure) : [];
    runs.forEach(({ id, table, x }, i) => {
      const row = rowAt(x, place);
      const aside = table.length > 0 && onShow(x, table, [lo, hi]) === null;
      const words = [row < 0 ? "–" : count(table.column("step")[row]) + (aside ? ", not on show" : "")];
      words.push(...names.map((name) => (row < 0 ? "–" : valueWords(name, table.lastLogged(name, row)))));
      const curve = curves.find((each) => each.id === id);
      const picture = curve && row >= 0 ? nearest(curve.x, Number.isNaN(place) ? Infinity : place) : -1;
      if (layer) words.push(curve && picture >= 0 ? layerWords(layer.measure, curve.y[picture]) : "–");
      words.forEach((each, j) => setText(this.#values[i][j], each));
    });
  }

  /** The one layer on show; null while all are. */
  get #layer() {
    const { layer, subject } = this.#store.view;
    return layer === null || subject === "exponents" ? null : { name: layer, measure: subject };
  }

  /**
   * @param {Placed[]} runs
   * @param {string[]} labels
   */
  #make(runs, labels) {
    this.#key.hidden = runs.length === 0;
    this.#values = runs.map(() => labels.map(() => make("td")));
    const head = make("tr", {}, make("td"), make("th", { scope: "col" }, "run"), ...labels.map((label) => make("th", { scope: "col", title: label }, label)), make("td"));
    const rows = runs.map((run, i) => {
      const swatch = make("td", {}, make("i", { class: `swatch ${run.role}` }));
      const name = make("th", { scope: "row" }, i === 0 ? run.name : this.#exchange(run));
      return make("tr", {}, swatch, name, ...this.#values[i], make("td", {}, ...(i === 0 ? [] : [this.#remove(run)])));
    });
    this.#key.replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
  }

  /** @param {Placed} run */
  #exchange({ id, name }) {
    const button = make("button", { type: "button", class: "quiet", title: "Show this run, and the one on show beside it" }, name);
    button.addEventListener("click", () => this.#store.exchange(id));
    return button;
  }

  /** @param {Placed} run */
  #remove({ id, name }) {
    const button = make("button", { type: "button", class: "quiet icon", title: "Take it off the charts", "aria-label": `Take ${name} off the charts` }, "×");
    button.addEventListener("click", () => this.#store.compare(this.#store.view.others.filter((other) => other !== id)));
    return button;
  }
}

/**
 * The columns to tell of.
 * @param {Placed[]} runs
 */
function namesOf(runs) {
  return [...new Set([...NUMBERS, ...runs.flatMap(({ table }) => lossSources(table).map(({ name }) => name))])];
}

/**
 * The row at a place of the axis.
 * @param {Float64Array} x
 * @param {number} place  NaN for the newest
 * @returns {number}  -1 where the run has not come to
 */
function rowAt(x, place) {
  if (Number.isNaN(place)) return x.length - 1;
  return place > x[x.length - 1] ? -1 : nearest(x, place);
}
