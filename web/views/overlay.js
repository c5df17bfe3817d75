/** The key of the runs that share the charts: each one's colour, name and numbers at the crosshair. */

import { nearest } from "../lib/decimate.js";
import { make, setText } from "./dom.js";
import { runsOn, valueWords } from "./plots.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../lib/figures.js").Run} Run */

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
    const runs = runsOn(this.#store);
    const made = runs.map(({ id, name }) => `${id} ${name}`).join();
    if (made !== this.#made) this.#make(runs);
    this.#made = made;
    const place = this.#store.abscissa.at(step);
    runs.forEach(({ table, x }, i) => {
      const row = Number.isNaN(step) ? table.length - 1 : nearest(x, place);
      const there = row >= 0 && !(place > x[x.length - 1]);
      NUMBERS.forEach((name, j) => setText(this.#values[i][j], there ? valueWords(name, table.lastLogged(name, row)) : "–"));
    });
  }

  /** @param {Run[]} runs */
  #make(runs) {
    this.#list.hidden = runs.length === 0;
    this.#values = runs.map(() => NUMBERS.map(() => make("b")));
    this.#list.replaceChildren(...runs.map((run, i) => {
      const numbers = NUMBERS.flatMap((label, j) => [`${label} `, this.#values[i][j]]);
      const swatch = make("i", { class: `swatch ${run.role}` });
      if (i === 0) return make("li", {}, swatch, make("strong", {}, run.name), ...numbers);
      return make("li", {}, swatch, this.#exchange(run), ...numbers, this.#remove(run));
    }));
  }

  /** @param {Run} run */
  #exchange({ id, name }) {
    const button = make("button", { type: "button", class: "quiet", title: "Show this run, and the one on show beside it" }, name);
    button.addEventListener("click", () => this.#store.exchange(id));
    return button;
  }

  /** @param {Run} run */
  #remove({ id, name }) {
    const button = make("button", { type: "button", class: "quiet icon", title: "Take it off the charts", "aria-label": `Take ${name} off the charts` }, "×");
    button.addEventListener("click", () => this.#store.compare(this.#store.view.others.filter((other) => other !== id)));
    return button;
  }
}
