/** One crosshair through all charts: where the pointer is on one, the others show the same step. */

import { count } from "../lib/format.js";
import { make, setText } from "./dom.js";

/** @typedef {import("../charts.js").Chart} Chart */
/** @typedef {{element: HTMLElement, chart: Chart}} Target */

export class Crosshair {
  /** The step under the pointer; NaN when it is on no chart. */
  step = NaN;
  /** @type {{target: Target, line: HTMLElement, label: HTMLElement}[]} */
  #hairs;
  #onMove;

  /**
   * @param {Target[]} targets  the first one names the step
   * @param {() => void} onMove
   */
  constructor(targets, onMove) {
    this.#onMove = onMove;
    this.#hairs = targets.map((target, i) => {
      const label = make("span");
      const line = make("div", { class: "crosshair", hidden: "", "aria-hidden": "true" }, ...(i === 0 ? [label] : []));
      target.element.parentElement?.append(line);
      target.element.addEventListener("pointermove", (event) => this.#move(target, event));
      target.element.addEventListener("pointerleave", () => this.#set(NaN));
      return { target, line, label };
    });
  }

  /** Put the lines where the step is now: the charts may have moved on under a pointer at rest. */
  draw() {
    for (const { target: { element, chart }, line, label } of this.#hairs) {
      const x = chart.xOf(this.step);
      line.hidden = Number.isNaN(x);
      if (line.hidden) continue;
      line.style.transform = `translateX(${Math.round(element.offsetLeft + x)}px)`;
      line.style.top = `${element.offsetTop + chart.margin.top}px`;
      line.style.height = `${chart.height}px`;
      label.classList.toggle("left", x > chart.margin.left + chart.width / 2);
      setText(label, `step ${count(this.step)}`);
    }
  }

  /**
   * @param {Target} target
   * @param {PointerEvent} event
   */
  #move({ element, chart }, event) {
    this.#set(chart.stepAt(event.clientX - element.getBoundingClientRect().left));
  }

  /** @param {number} step */
  #set(step) {
    this.step = Math.round(step);
    this.#onMove();
  }
}
