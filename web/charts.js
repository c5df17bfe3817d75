/** Figures drawn with Plotly; nothing else knows it but traces.js, which this module alone uses. */

import { along } from "./lib/scale.js";
import { barTraces, COLOURS, cutShapes, heatTraces, imageTraces, lineTraces, markTraces, plain, shareTraces, stepAxis, valueAxis, veils } from "./traces.js";

/** @typedef {import("./lib/figures.js").Figure} Figure */
/** @typedef {import("./lib/scale.js").Axis} Axis */
/** @typedef {import("./traces.js").Options} Options */
/** @typedef {import("./traces.js").Palette} Palette */
/** @typedef {import("./lib/heat.js").HeatFigure} HeatFigure */
/** @typedef {import("./traces.js").BarFigure} BarFigure */
/** @typedef {{left: number, right: number, top: number, bottom: number}} Margin  px around the plotting area */

/**
 * The part of Plotly's interface used here.
 * @typedef {object} Plotly
 * @property {(element: HTMLElement, data: Options[], layout: Options, config?: Options) => Promise<unknown>} react
 * @property {(figure: Picture, options: Options) => Promise<unknown>} downloadImage
 */

/**
 * @typedef {HTMLElement & {on(event: string, handler: (detail: {[key: string]: unknown}) => void): void}} PlotlyElement
 */

/** @typedef {{data: Options[], layout: Options}} Picture */

/** Fingers scroll where a mouse zooms. */
const COARSE = matchMedia("(pointer: coarse)");
/** Given once: with it Plotly compares all of its settings again, and lays the page out to do so. */
const CONFIG = { displayModeBar: false, doubleClick: false, responsive: false, showTips: false };
/** Room for an image's title and legend, px. */
const TITLE_PX = 64;

/**
 * Plotly, which the page loads before its modules; undefined when that failed.
 * @type {Plotly | undefined}
 */
export const plotly = /** @type {{Plotly?: Plotly}} */ (globalThis).Plotly;

/**
 * The theme's colours, resolved from the style sheet.
 * @returns {Palette}
 */
export function readPalette() {
  const probe = document.createElement("span");
  document.body.append(probe);
  const palette = Object.fromEntries(COLOURS.map((name) => {
    probe.style.color = `var(--${name})`;
    return [name, getComputedStyle(probe).color];
  }));
  probe.remove();
  return palette;
}

/** One chart: an element, what was drawn into it, and where its pixels lie in data. */
export class Chart {
  /** @type {{x: {lo: number, hi: number}, y: Axis} | null} */
  #drawn = null;
  #plotly;
  #element;
  #margin;
  #palette;
  /** Known without asking for it, which would lay the page out on every draw. */
  #size;
  #font;
  #listening = false;
  /** @type {Picture} */
  #picture = { data: [], layout: {} };
  /** A drag is under way; drawing now would drop it. */
  #held = false;
  /** @type {(range: [lo: number, hi: number]) => void} */
  onZoom = () => {};
  /** Double click. */
  onReset = () => {};

  /**
   * @param {Plotly} plotly
   * @param {HTMLElement} element
   * @param {() => Palette} palette
   * @param {Margin} margin
   */
  constructor(plotly, element, palette, margin) {
    this.#plotly = plotly;
    this.#element = /** @type {PlotlyElement} */ (element);
    this.#palette = palette;
    this.#margin = margin;
    this.#font = getComputedStyle(element).fontFamily;
    const measure = () => ({ width: element.clientWidth, height: element.clientHeight });
    this.#size = measure();
    new ResizeObserver(() => (this.#size = measure())).observe(element);
    element.addEventListener("pointerdown", ({ button }) => (this.#held = button === 0), true);
    for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => (this.#held = false), true);
  }

  /** Width of the plotting area, px. */
  get width() {
    return Math.max(1, this.#size.width - this.#margin.left - this.#margin.right);
  }

  /** Height of the plotting area, px. */
  get height() {
    return Math.max(1, this.#size.height - this.#margin.top - this.#margin.bottom);
  }

  get margin() {
    return this.#margin;
  }

  set margin(margin) {
    this.#margin = margin;
  }

  /**
   * What lies on the x-axis under a pixel of the element; NaN outside the plotting area.
   * @param {number} px
   * @returns {number}
   */
  xAt(px) {
    const inside = px - this.#margin.left;
    if (!this.#drawn || inside < 0 || inside > this.width) return NaN;
    const { lo, hi } = this.#drawn.x;
    return lo + (inside / this.width) * (hi - lo);
  }

  /**
   * @param {number} x
   * @returns {number}  px from the element's left edge; NaN when it is not on show
   */
  xOf(x) {
    if (!this.#drawn) return NaN;
    const { lo, hi } = this.#drawn.x;
    if (x < lo || x > hi) return NaN;
    return this.#margin.left + ((x - lo) / (hi - lo)) * this.width;
  }

  /**
   * @param {number} value
   * @returns {number}  px from the element's top edge, at the edge for values beyond it
   */
  yOf(value) {
    if (!this.#drawn) return NaN;
    return this.#margin.top + (1 - Math.min(1, Math.max(0, along(this.#drawn.y, value)))) * this.height;
  }

  /**
   * The value at a pixel, at most that of the edge.
   * @param {number} px  from the element's top edge
   * @returns {number}
   */
  valueAt(px) {
    if (!this.#drawn) return NaN;
    const { type, lo, hi } = this.#drawn.y;
    const share = Math.min(1, Math.max(0, 1 - (px - this.#margin.top) / this.height));
    return type === "log" ? lo * (hi / lo) ** share : lo + share * (hi - lo);
  }

  /** @param {Figure} figure */
  draw(figure) {
    if (this.#held) return;
    this.#drawn = figure;
    const palette = this.#palette();
    const traces = [...markTraces(figure, palette, this.height), ...lineTraces(figure, palette)];
    this.#react(traces, {
      xaxis: stepAxis(figure.x, palette),
      yaxis: valueAxis(figure.y, palette),
      shapes: cutShapes(figure, palette, this.width),
    });
  }

  /** @param {HeatFigure} figure */
  drawHeat(figure) {
    if (this.#held) return;
    this.#drawn = figure;
    const palette = this.#palette();
    this.#react(heatTraces(figure, palette), {
      xaxis: { ...stepAxis(figure.x, palette), showgrid: false },
      yaxis: { ...valueAxis(figure.y, palette), showgrid: false, ticks: "" },
      ...veils(figure.bands, palette),
    });
  }

  /** @param {BarFigure} figure */
  drawBars(figure) {
    if (this.#held) return;
    const { edges, counts, ticks } = figure;
    const [lo, hi] = [Math.log10(edges[0]), Math.log10(edges[counts.length])];
    const palette = this.#palette();
    this.#drawn = { x: { lo, hi }, y: { type: "linear", lo: 0, hi: 1, ticks: [] } };
    const axis = valueAxis({ type: "linear", lo, hi, ticks: [] }, palette);
    this.#react([...barTraces(figure, palette), ...shareTraces(figure.curves, palette)], {
      bargap: 0.1,
      xaxis: { ...axis, showgrid: false, tickvals: ticks.map(({ value }) => Math.log10(value)), ticktext: ticks.map(({ label }) => label) },
      yaxis: { range: [0, 1.02], visible: false, fixedrange: true },
    });
  }

  /** Draw nothing. */
  clear() {
    this.#drawn = null;
    this.#react([], { xaxis: { visible: false }, yaxis: { visible: false } });
  }

  /**
   * Save what was drawn as an image, with a title and a legend.
   * @param {"png" | "svg"} format
   * @param {string} title
   */
  async save(format, title) {
    const { ink, ground } = this.#palette();
    const { data, layout } = this.#picture;
    const { left, right, top, bottom } = this.#margin;
    const [width, height] = [Number(layout.width), Number(layout.height) + TITLE_PX];
    const looks = {
      width,
      height,
      margin: { l: left, r: right, t: top + TITLE_PX, b: bottom, pad: 0 },
      title: { text: plain(title), x: left / width, y: 1 - 16 / height, yanchor: "top", font: { size: 14, color: ink } },
      showlegend: true,
      legend: { orientation: "h", x: 0, xanchor: "left", y: 1, yanchor: "bottom" },
      paper_bgcolor: ground,
    };
    const filename = title.replaceAll(/[^\p{L}\p{N}]+/gu, "-");
    const traces = imageTraces(data, /** @type {Options[]} */ (layout.shapes ?? []));
    await this.#plotly.downloadImage({ data: traces, layout: { ...layout, ...looks } }, { format, width, height, scale: 2, filename });
  }

  /**
   * @param {Options[]} traces
   * @param {Options} axes
   */
  #react(traces, axes) {
    const { left, right, top, bottom } = this.#margin;
    const data = traces.filter(({ x }) => /** @type {ArrayLike<unknown>} */ (x).length > 0); // an empty one costs a draw nearly as much
    const layout = {
      ...this.#size,
      margin: { l: left, r: right, t: top, b: bottom, pad: 0 },
      paper_bgcolor: "transparent",
      plot_bgcolor: "transparent",
      font: { family: this.#font, size: 11, color: this.#palette().muted },
      showlegend: false,
      hovermode: false,
      dragmode: COARSE.matches ? false : "zoom",
      ...axes,
    };
    this.#picture = { data, layout };
    this.#plotly.react(this.#element, data, layout, this.#listening ? undefined : CONFIG);
    if (!this.#listening) this.#listen();
  }

  #listen() {
    this.#listening = true;
    this.#element.on("plotly_relayout", (change) => {
      const [lo, hi] = [change["xaxis.range[0]"], change["xaxis.range[1]"]];
      if (typeof lo === "number" && typeof hi === "number") this.onZoom([lo, hi]);
    });
    this.#element.on("plotly_doubleclick", () => this.onReset());
  }
}
