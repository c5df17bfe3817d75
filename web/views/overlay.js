/** The key of the runs that share the charts: each one's colour, name and numbers at the crosshair. */

import { nearest } from "../lib/decimate.js";
import { runTitle } from "../lib/format.js";
import { alongside } from "../lib/overlay.js";
import { make, setText } from "./dom.js";
import { valueWords } from "./plots.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../lib/table.js").StepTable} StepTable */
/** @typedef {import("../lib/wire.js").RunInfo} RunInfo */
/** @typedef {{info: RunInfo, table: StepTable, x: Float64Array}} Shown */

/** The columns that are told of each run. */
const NUMBERS = ["threshold", "norm", "loss"];

export class OverlayView {
  #list;
  #store;
  /** What the key was made of. */
  #made = "";
  /** @type {HTMLElement[][]} of each run its numbers */
  #values = [];

  /**
   * @param {HTMLElement} list
   * @param {Store} store
   */
  constructor(list, store) {
    this.#list = list;
    this.#store = store;
  }

  /**
   * Show each run's numbers at a step of the one on show.
   * @param {number} step  NaN: each run's newest
   */
  read(step) {
    const runs = this.#runs();
    const made = runs.map(({ info }) => runTitle(info)).join();
    if (made !== this.#made) this.#make(runs);
    this.#made = made;
    const place = this.#store.abscissa.at(step);
    runs.forEach(({ table, x }, i) => {
      const row = Number.isNaN(step) ? table.length - 1 : nearest(x, place);
      const there = row >= 0 && !(place > x[x.length - 1]);
      NUMBERS.forEach((name, j) => setText(this.#values[i][j], there ? valueWords(name, table.lastLogged(name, row)) : "–"));
    });
  }

  /** @returns {Shown[]} the one on show first; none when it is alone */
  #runs() {
    const { run, table, overlay, abscissa, view } = this.#store;
    if (!run || overlay.runs.length === 0) return [];
    return [{ info: run, table, x: abscissa.column }, ...overlay.runs.map((other) => ({ ...other, x: alongside(view.unit, other.table, abscissa) }))];
  }

  /** @param {Shown[]} runs */
  #make(runs) {
    this.#list.hidden = runs.length === 0;
    this.#values = runs.map(() => NUMBERS.map(() => make("b")));
    this.#list.replaceChildren(...runs.map(({ info }, i) => {
      const numbers = NUMBERS.flatMap((label, j) => [`${label} `, this.#values[i][j]]);
      const swatch = make("i", { class: `swatch run${i}` });
      if (i === 0) return make("li", {}, swatch, make("strong", {}, runTitle(info)), ...numbers);
      return make("li", {}, swatch, this.#exchange(info), ...numbers, this.#remove(info));
    }));
  }

  /** @param {RunInfo} info */
  #exchange(info) {
    const button = make("button", { type: "button", class: "quiet", title: "Show this run, and the one on show beside it" }, runTitle(info));
    button.addEventListener("click", () => this.#store.exchange(info.id));
    return button;
  }

  /** @param {RunInfo} info */
  #remove({ id, name }) {
    const button = make("button", { type: "button", class: "quiet icon", title: "Take it off the charts", "aria-label": `Take ${name} off the charts` }, "×");
    button.addEventListener("click", () => this.#store.compare(this.#store.view.others.filter((other) => other !== id)));
    return button;
  }
}
