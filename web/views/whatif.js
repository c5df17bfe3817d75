/** What another threshold would do to the last steps, read off their norms; and thresholds worth trying. */

import { boundOf } from "../lib/draft.js";
import { count, number, percent } from "../lib/format.js";
import { firstRecent } from "../lib/recent.js";
import { logTicks } from "../lib/scale.js";
import { comparedWith, logHistogram, quantile, shareAbove, sortFinite } from "../lib/whatif.js";
import { find, make, setText } from "./dom.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../charts.js").Chart} Chart */

const QUANTILES = [0.5, 0.9, 0.99];
const PIXELS_PER_TICK = 56;
const PIXELS_PER_BAR = 6;

export class WhatIfView {
  #store;
  #headline;
  #note;
  #buttons;

  /**
   * @param {HTMLElement} panel
   * @param {Store} store
   * @param {(element: HTMLElement, margin: import("../charts.js").Margin) => Chart} makeChart
   */
  constructor(panel, store, makeChart) {
    this.#store = store;
    this.element = find(panel, ".plot", HTMLElement);
    this.chart = makeChart(this.element, { left: 12, right: 12, top: 4, bottom: 20 });
    this.#headline = find(panel, "#would-clip", HTMLElement);
    this.#note = find(panel, ".note", HTMLElement);
    this.#buttons = QUANTILES.map((q) => {
      const value = make("b", {}, "–");
      const button = make("button", { type: "button" }, `p${q * 100} `, value);
      button.addEventListener("click", () => this.#use(q));
      return { q, button, value };
    });
    find(panel, "#suggestions", HTMLElement).replaceChildren(...this.#buttons.map(({ button }) => button));
  }

  draw() {
    const { draft, run, rules, locked } = this.#store;
    const bound = boundOf(draft, run?.control ?? {}, rules);
    const sorted = this.#sorted();
    setText(this.#headline, this.#words(sorted, bound));
    this.#drawHistogram(sorted, bound);
    for (const { q, button, value } of this.#buttons) {
      const suggested = quantile(sorted, q);
      setText(value, Number.isNaN(suggested) ? "–" : number(suggested));
      button.title = `Apply it: clip the largest ${percent(1 - q)} of the last steps`;
      button.disabled = locked !== "" || !this.#compared || !(suggested > 0);
    }
  }

  get #mode() {
    return this.#store.draft?.mode ?? String(this.#store.run?.control.mode ?? "");
  }

  get #compared() {
    return comparedWith(this.#mode);
  }

  /** The last steps' values that the knob is compared with, in rising order. */
  #sorted() {
    const { table } = this.#store;
    return sortFinite(table.column(this.#compared ?? "norm").subarray(firstRecent(table)));
  }

  /**
   * @param {Float64Array} sorted
   * @param {number} bound
   */
  #words(sorted, bound) {
    if (sorted.length === 0) return "No steps yet";
    const steps = `the last ${count(sorted.length)} steps`;
    if (!this.#compared || Number.isNaN(bound)) return `Norms of ${steps}`;
    return `Would clip ${percent(shareAbove(sorted, bound))} of ${steps}`;
  }

  /**
   * @param {Float64Array} sorted
   * @param {number} bound
   */
  #drawHistogram(sorted, bound) {
    const histogram = logHistogram(sorted, Math.floor(this.chart.width / PIXELS_PER_BAR));
    setText(this.#note, histogram || sorted.length === 0 ? "" : "All norms are zero");
    if (!histogram) return;
    const [lo, hi] = [histogram.edges[0], histogram.edges[histogram.counts.length]];
    const ticks = logTicks(lo, hi, Math.floor(this.chart.width / PIXELS_PER_TICK));
    this.chart.drawBars({ ...histogram, ticks, threshold: this.#compared ? bound : NaN });
  }

  /**
   * Apply a quantile as the threshold.
   * @param {number} q
   */
  #use(q) {
    const bound = this.#store.rules[this.#mode]?.bound;
    if (!bound) return;
    const mode = this.#mode;
    const value = Number(quantile(this.#sorted(), q).toPrecision(3));
    const switched = mode !== this.#store.run?.control.mode;
    this.#store.edit(null);
    this.#store.control(switched ? { mode, [bound]: value } : { [bound]: value });
  }
}
