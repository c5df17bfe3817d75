/**
 * The threshold's handle on the norm chart: drag it to see what another threshold would have done, release to apply,
 * Escape to let go. The slider beside the knob is the same for the keyboard.
 */

import { patchOf } from "../lib/draft.js";
import { number, percent } from "../lib/format.js";
import { clippedAt, comparedWith } from "../lib/whatif.js";
import { write } from "../lib/schema.js";
import { CLICK_PX, make, setText } from "./dom.js";

/** @typedef {import("../store.js").Store} Store */

const GRIP_PX = 24;
/** Only a bound in these units lies on the norm's axis; a percentile does not. */
const UNITS = ["gradient norm", "gradient"];

export class HandleView {
  #store;
  #chart;
  #plot;
  #grip = make("div", { class: "grip", "aria-hidden": "true" });
  #line = make("div", { class: "grip-line", "aria-hidden": "true", hidden: "" });
  #value = make("b");
  #preview = make("small");
  /** @type {{from: number, above: number, moved: boolean} | null} the drag under way: where it began, and how far above the line */
  #drag = null;

  /**
   * @param {HTMLElement} plot  the norm chart's element
   * @param {import("../charts.js").Chart} chart
   * @param {Store} store
   */
  constructor(plot, chart, store) {
    this.#plot = plot;
    this.#chart = chart;
    this.#store = store;
    this.#grip.append(this.#value, this.#preview);
    plot.after(this.#line, this.#grip);
    this.#grip.addEventListener("pointerdown", (event) => this.#take(event));
    this.#grip.addEventListener("pointermove", (event) => this.#move(event));
    this.#grip.addEventListener("pointerup", () => this.#release());
    this.#grip.addEventListener("pointercancel", () => this.#letGo());
    addEventListener("keydown", ({ key }) => key === "Escape" && this.#letGo());
  }

  draw() {
    const { draft, locked, table, bound: value } = this.#store;
    const shown = table.length > 0 && UNITS.includes(this.#property?.unit ?? "") && Number.isFinite(value);
    this.#grip.hidden = !shown;
    this.#line.hidden = !shown || draft === null;
    if (!shown) return;
    this.#grip.classList.toggle("edited", draft !== null);
    this.#grip.classList.toggle("locked", locked !== "");
    const beyond = this.#beyond(value);
    this.#grip.classList.toggle("beyond", beyond !== "");
    const y = this.#plot.offsetTop + this.#chart.yOf(value) + (beyond === "↑" ? GRIP_PX / 2 : 0);
    const left = this.#plot.offsetLeft + this.#chart.margin.left;
    this.#grip.style.transform = `translate(${left + this.#chart.width}px, ${y}px) translateY(-50%)`;
    this.#line.style.transform = `translate(${left}px, ${y}px)`;
    this.#line.style.width = `${this.#chart.width}px`;
    setText(this.#value, `${beyond}${number(value)}`);
    setText(this.#preview, this.#drag?.moved ? this.#foretold(value) : "");
  }

  /**
   * An arrow to where a value lies that the axis does not reach.
   * @param {number} value
   */
  #beyond(value) {
    const [hi, lo] = [0, Infinity].map((px) => this.#chart.valueAt(px));
    if (value > hi) return "↑";
    return value > 0 && value < lo ? "↓" : "";
  }

  get #rule() {
    return this.#store.rules[this.#store.mode];
  }

  /** The mode's knob. */
  get #property() {
    return this.#rule?.bound ? this.#rule.properties[this.#rule.bound] : undefined;
  }

  /** @param {number} value */
  #foretold(value) {
    const { whatif } = this.#store;
    return whatif?.steps && whatif.question.metric === comparedWith(this.#rule) ? `clips ${percent(clippedAt(whatif, value))}` : "";
  }

  /** @param {PointerEvent} event */
  #take(event) {
    if (this.#store.locked || event.button !== 0) return;
    event.preventDefault();
    this.#grip.setPointerCapture(event.pointerId);
    this.#drag = { from: event.clientY, above: this.#chart.yOf(this.#store.bound) - this.#inPlot(event), moved: false };
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const bound = this.#rule?.bound;
    if (!this.#drag || !bound) return;
    this.#drag.moved ||= Math.abs(event.clientY - this.#drag.from) >= CLICK_PX;
    if (!this.#drag.moved) return;
    const value = this.#chart.valueAt(this.#inPlot(event) + this.#drag.above);
    const texts = { ...this.#store.draft?.texts, [bound]: write(Number(value.toPrecision(3))) };
    this.#store.edit({ mode: this.#store.mode, texts });
  }

  /** @param {PointerEvent} event */
  #inPlot({ clientY }) {
    return clientY - this.#plot.getBoundingClientRect().top;
  }

  #release() {
    const { draft, run, rules } = this.#store;
    const moved = this.#drag?.moved;
    this.#drag = null;
    if (moved && draft && run) this.#store.control(patchOf(draft, run.control, rules));
  }

  #letGo() {
    if (this.#drag?.moved) this.#store.edit(null);
    this.#drag = null;
  }
}
