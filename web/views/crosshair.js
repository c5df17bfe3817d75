/**
 * One crosshair through all charts: where the pointer is on one, the others show the same step. A tap puts it there to
 * stay, until one beside the charts takes it away.
 */

import { count, elapsed } from "../lib/format.js";
import { make, onClick, setText } from "./dom.js";

/** @typedef {import("../charts.js").Chart} Chart */
/** @typedef {{element: HTMLElement, chart: Chart}} Target */

export class Crosshair {
  /** The step under the pointer; NaN when it is on no chart. */
  step = NaN;
  /** @type {{target: Target, line: HTMLElement, label: HTMLElement}[]} */
  #hairs;
  #store;
  #onMove;

  /**
   * @param {Target[]} targets  the first one names the step
   * @param {import("../store.js").Store} store
   * @param {() => void} onMove
   */
  constructor(targets, store, onMove) {
    this.#store = store;
    this.#onMove = onMove;
    this.#hairs = targets.map((target, i) => {
      const label = make("span");
      const line = make("div", { class: "crosshair", hidden: "", "aria-hidden": "true" }, ...(i === 0 ? [label] : []));
      target.element.parentElement?.append(line);
      target.element.addEventListener("pointermove", (event) => event.pointerType !== "touch" && this.#move(target, event));
      target.element.addEventListener("pointerleave", ({ pointerType }) => pointerType !== "touch" && this.#set(NaN));
      return { target, line, label };
    });
    onClick(document.documentElement, (event) => {
      if (event.pointerType !== "touch") return;
      const tapped = targets.find(({ element }) => event.target instanceof Node && element.contains(event.target));
      if (tapped) this.#move(tapped, event);
      else this.#set(NaN);
    });
    store.watch(["pointed"], () => this.#set(store.pointed));
  }

  /** Put the lines where the step is now: the charts may have moved on under a pointer at rest. */
  draw() {
    const { abscissa, view, range } = this.#store;
    if (this.step < range[0]) this.step = NaN; // the charts have moved on
    const place = abscissa.at(this.step);
    const words = `step ${count(this.step)}${view.unit === "time" ? `, ${elapsed(Math.round(place - abscissa.column[0]))}` : ""}`;
    for (const { target: { element, chart }, line, label } of this.#hairs) {
      const x = chart.xOf(place);
      line.hidden = Number.isNaN(x);
      if (line.hidden) continue;
      line.style.transform = `translateX(${Math.round(element.offsetLeft + x)}px)`;
      line.style.top = `${element.offsetTop + chart.margin.top}px`;
      line.style.height = `${chart.height}px`;
      label.classList.toggle("left", x > chart.margin.left + chart.width / 2);
      setText(label, words);
    }
  }

  /**
   * @param {Target} target
   * @param {PointerEvent} event
   */
  #move({ element, chart }, event) {
    this.#set(this.#store.abscissa.stepAt(chart.xAt(event.clientX - element.getBoundingClientRect().left)));
  }

  /** @param {number} step */
  #set(step) {
    this.step = Math.round(step);
    this.#onMove();
  }
}
