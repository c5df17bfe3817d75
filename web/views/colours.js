/** What the colours of a heatmap stand for, beside it: of its own such scale Plotly makes every part anew on each draw. */

import { along } from "../lib/scale.js";
import { make } from "./dom.js";

const GAP_PX = 4;

export class ColourScale {
  #plot;
  #scale = make("div", { class: "colours", "aria-hidden": "true" });
  /** What its labels were made of. */
  #made = "";

  /** @param {HTMLElement} plot */
  constructor(plot) {
    this.#plot = plot;
    plot.after(this.#scale);
    this.hide();
  }

  hide() {
    this.#scale.hidden = true;
  }

  /**
   * @param {import("../charts.js").Chart} chart
   * @param {import("../lib/scale.js").Axis} axis
   */
  draw({ margin, width, height }, axis) {
    this.#scale.hidden = axis.ticks.length === 0;
    this.#scale.style.left = `${this.#plot.offsetLeft + margin.left + width + GAP_PX}px`;
    this.#scale.style.top = `${this.#plot.offsetTop + margin.top}px`;
    this.#scale.style.height = `${height}px`;
    const labels = axis.ticks.map(({ value, label }) => ({ label, bottom: `${(100 * along(axis, value)).toFixed(2)}%` }));
    const made = JSON.stringify(labels);
    if (made === this.#made) return;
    this.#made = made;
    this.#scale.replaceChildren(...labels.map(({ label, bottom }) => make("span", { style: `bottom: ${bottom}` }, label)));
  }
}
