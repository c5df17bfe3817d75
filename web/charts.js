/** Figures drawn with Plotly, the one place that knows it. */

/** @typedef {import("./lib/figures.js").Figure} Figure */
/** @typedef {import("./lib/figures.js").Role} Role */
/** @typedef {import("./lib/scale.js").Axis} Axis */
/** @typedef {{[key: string]: unknown}} Options */
/** @typedef {{left: number, right: number, top: number, bottom: number}} Margin  px around the plotting area */

/**
 * The part of Plotly's interface used here.
 * @typedef {object} Plotly
 * @property {(element: HTMLElement, data: Options[], layout: Options, config: Options) => Promise<unknown>} react
 */

/**
 * @typedef {HTMLElement & {on(event: string, handler: (detail: {[key: string]: unknown}) => void): void}} PlotlyElement
 */

/**
 * @typedef {object} HeatFigure
 * @property {{lo: number, hi: number, ticks: import("./lib/scale.js").Tick[]}} x
 * @property {number[]} steps
 * @property {number[][]} grid  NaN where not finite
 * @property {import("./lib/scale.js").Tick[]} rows
 * @property {Axis} colour
 * @property {import("./lib/figures.js").Mark[]} marks
 */

/** @typedef {{role: Role, name: string, x: number[], y: number[]}} ShareCurve  y of 0..1, over the same axis as the bars */

/**
 * @typedef {object} BarFigure
 * @property {number[]} edges
 * @property {number[]} counts
 * @property {ShareCurve[]} curves
 * @property {number} threshold  NaN for none; bars beyond it are in its colour
 * @property {import("./lib/scale.js").Tick[]} ticks
 */

/**
 * How a line looks beyond its colour, which is never the only difference.
 * @type {Record<Role, Options>}
 */
const LINES = {
  before: { width: 1 },
  after: { width: 2 },
  threshold: { width: 1.5, dash: "6px,4px", shape: "hv" },
  largest: { width: 1, dash: "1px,3px" },
  coef: { width: 1.25 },
  clamped: { width: 1.25 },
  loss: { width: 1.25 },
  other: { width: 1.25, dash: "2px,2px" },
  trend: { width: 1.75 },
};

/** Lines that go faint behind a trend. */
const RAW = ["before", "after", "loss"];

const COLOURS = ["muted", "hairline", "bad", ...Object.keys(LINES)];
/** @typedef {Record<string, string>} Palette */

/** Height of a mark's label. */
const MARK_LABEL_PX = 14;

/**
 * Plotly, loaded once.
 * @param {string} src
 * @returns {Promise<Plotly>}
 */
export async function loadPlotly(src) {
  const script = document.createElement("script");
  script.src = src;
  await new Promise((resolve, reject) => {
    script.onload = resolve;
    script.onerror = () => reject(new Error(`Plotly could not be loaded from ${src}`));
    document.head.append(script);
  });
  return /** @type {{Plotly: Plotly}} */ (/** @type {unknown} */ (globalThis)).Plotly;
}

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
  #listening = false;
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
    element.addEventListener("pointerdown", () => (this.#held = true), true);
    for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => (this.#held = false), true);
  }

  /** Width of the plotting area, px. */
  get width() {
    return Math.max(1, this.#element.clientWidth - this.#margin.left - this.#margin.right);
  }

  /** Height of the plotting area, px. */
  get height() {
    return Math.max(1, this.#element.clientHeight - this.#margin.top - this.#margin.bottom);
  }

  get margin() {
    return this.#margin;
  }

  /**
   * The step under a pixel of the element; NaN outside the plotting area.
   * @param {number} px
   * @returns {number}
   */
  stepAt(px) {
    const inside = px - this.#margin.left;
    if (!this.#drawn || inside < 0 || inside > this.width) return NaN;
    const { lo, hi } = this.#drawn.x;
    return lo + (inside / this.width) * (hi - lo);
  }

  /**
   * @param {number} step
   * @returns {number}  px from the element's left edge; NaN when it is not on show
   */
  xOf(step) {
    if (!this.#drawn) return NaN;
    const { lo, hi } = this.#drawn.x;
    if (step < lo || step > hi) return NaN;
    return this.#margin.left + ((step - lo) / (hi - lo)) * this.width;
  }

  /**
   * @param {number} value
   * @returns {number}  px from the element's top edge, at the edge for values beyond it
   */
  yOf(value) {
    if (!this.#drawn) return NaN;
    const { type, lo, hi } = this.#drawn.y;
    const share = type === "log" ? Math.log(Math.max(value, lo) / lo) / Math.log(hi / lo) : (value - lo) / (hi - lo);
    return this.#margin.top + (1 - Math.min(1, Math.max(0, share))) * this.height;
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
    });
  }

  /** @param {HeatFigure} figure */
  drawHeat(figure) {
    if (this.#held) return;
    const rows = figure.grid.length;
    const y = /** @type {Axis} */ ({ type: "linear", lo: rows - 0.5, hi: -0.5, ticks: figure.rows });
    this.#drawn = { x: figure.x, y };
    const palette = this.#palette();
    this.#react(heatTraces(figure, palette), {
      xaxis: { ...stepAxis(figure.x, palette), showgrid: false },
      yaxis: { ...valueAxis(y, palette), showgrid: false, ticks: "" },
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

  /**
   * @param {Options[]} traces
   * @param {Options} layout
   */
  #react(traces, layout) {
    const { left, right, top, bottom } = this.#margin;
    const element = this.#element;
    this.#plotly.react(element, traces, {
      width: element.clientWidth,
      height: element.clientHeight,
      margin: { l: left, r: right, t: top, b: bottom, pad: 0 },
      paper_bgcolor: "transparent",
      plot_bgcolor: "transparent",
      font: { family: getComputedStyle(document.body).fontFamily, size: 11, color: this.#palette().muted },
      showlegend: false,
      hovermode: false,
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      ...layout,
    }, { displayModeBar: false, doubleClick: false, responsive: false, showTips: false });
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

/**
 * @param {Figure} figure
 * @param {Palette} palette
 * @returns {Options[]}
 */
function lineTraces({ lines, crosses, y, faint }, palette) {
  const traces = lines.map(({ role, name, x, y: values }) => ({
    type: "scatter",
    mode: role === "other" ? "lines+markers" : "lines",
    name,
    x,
    y: y.type === "log" ? values.map((value) => (value === 0 ? y.lo : value)) : values,
    opacity: faint && RAW.includes(role) ? 0.35 : 1,
    line: { ...LINES[role], color: palette[role], simplify: false },
    marker: { size: 4, color: palette[role] },
  }));
  const top = new Float64Array(crosses.length).fill(y.hi);
  const marker = { symbol: "x-thin", size: 7, line: { width: 1.75, color: palette.bad } };
  return [...traces, { type: "scatter", mode: "markers", name: "non-finite", x: crosses, y: top, marker, cliponaxis: false }];
}

/**
 * Applied changes as vertical lines, labelled at the top.
 * @param {Figure} figure
 * @param {Palette} palette
 * @param {number} height  px
 * @returns {Options[]}
 */
function markTraces({ marks, y }, palette, height) {
  const share = 1 - MARK_LABEL_PX / 2 / height;
  const labelY = y.type === "log" ? y.lo * (y.hi / y.lo) ** share : y.lo + share * (y.hi - y.lo);
  const labelled = marks.filter(({ label }) => label);
  const texts = labelled.map(({ label }) => label.replaceAll("<", "&lt;"));
  return [
    {
      type: "scatter", mode: "lines", name: "changes", line: { width: 1, color: palette.threshold }, opacity: 0.6,
      x: marks.flatMap(({ step }) => [step, step, null]),
      y: marks.flatMap(() => [y.lo, y.hi, null]),
    },
    {
      type: "scatter", mode: "text", name: "change labels",
      textposition: labelled.map(({ side }) => `middle ${side}`),
      x: labelled.map(({ step }) => step),
      y: labelled.map(() => labelY),
      text: texts.map((text) => ` ${text} `),
      textfont: { size: 11, color: palette.threshold },
    },
  ];
}

/**
 * @param {HeatFigure} figure
 * @param {Palette} palette
 * @returns {Options[]}
 */
function heatTraces({ steps, grid, colour, marks }, palette) {
  const bottom = grid.length - 0.5;
  const place = colour.type === "log" ? Math.log10 : Number;
  const line = { width: 1, color: palette.threshold };
  return [
    {
      type: "heatmap", x: steps, z: grid.map((row) => row.map((value) => place(Math.max(value, colour.lo)))),
      zmin: place(colour.lo), zmax: place(colour.hi), colorscale: "Viridis", hoverinfo: "skip",
      colorbar: {
        thickness: 8, outlinewidth: 0, xpad: 4, ypad: 0, ticklen: 0,
        tickvals: colour.ticks.map(({ value }) => place(value)), ticktext: colour.ticks.map(({ label }) => label),
      },
    },
    {
      type: "heatmap", x: steps, z: grid.map((row) => row.map((value) => (Number.isNaN(value) ? 1 : null))),
      colorscale: [[0, palette.bad], [1, palette.bad]], showscale: false, hoverinfo: "skip",
    },
    {
      type: "scatter", mode: "lines", line, opacity: 0.8,
      x: marks.flatMap(({ step }) => [step, step, null]),
      y: marks.flatMap(() => [-0.5, bottom, null]),
    },
  ];
}

/**
 * Bars as high as the chart, those beyond the threshold in its colour.
 * @param {BarFigure} figure
 * @param {Palette} palette
 * @returns {Options[]}
 */
function barTraces({ edges, counts, threshold }, palette) {
  const most = Math.max(...counts);
  const lefts = edges.slice(0, counts.length);
  const inside = threshold >= edges[0] && threshold <= edges[counts.length] ? Math.log10(threshold) : null;
  return [
    {
      type: "bar", x: lefts.map(Math.log10), y: counts.map((n) => n / most), offset: 0, width: Math.log10(edges[1] / edges[0]),
      marker: { color: lefts.map((left) => (left >= threshold ? palette.threshold : palette.before)), opacity: 0.55 },
    },
    { type: "scatter", mode: "lines", x: [inside, inside], y: [0, 1], line: { ...LINES.threshold, color: palette.threshold } },
  ];
}

/**
 * @param {ShareCurve[]} curves
 * @param {Palette} palette
 * @returns {Options[]}
 */
function shareTraces(curves, palette) {
  return curves.map(({ role, name, x, y }) => ({
    type: "scatter", mode: "lines", name, x: x.map(Math.log10), y, line: { width: 1.75, color: palette[role], simplify: false },
  }));
}

/**
 * @param {{lo: number, hi: number, ticks: import("./lib/scale.js").Tick[]}} x
 * @param {Palette} palette
 * @returns {Options}
 */
function stepAxis({ lo, hi, ticks }, palette) {
  return { ...axisLooks(ticks, palette), range: [lo, hi], showgrid: false, ticks: "outside", ticklen: 4, tickcolor: palette.hairline };
}

/**
 * @param {Axis} axis
 * @param {Palette} palette
 * @returns {Options}
 */
function valueAxis({ type, lo, hi, ticks }, palette) {
  const range = type === "log" ? [Math.log10(lo), Math.log10(hi)] : [lo, hi];
  return { ...axisLooks(ticks, palette), type, range, fixedrange: true };
}

/**
 * @param {import("./lib/scale.js").Tick[]} ticks
 * @param {Palette} palette
 * @returns {Options}
 */
function axisLooks(ticks, palette) {
  return {
    tickmode: "array",
    tickvals: ticks.map(({ value }) => value),
    ticktext: ticks.map(({ label }) => label),
    gridcolor: palette.hairline,
    gridwidth: 1,
    zeroline: false,
    automargin: false,
    // The labels are ours and fit: without these two Plotly measures each one again on every draw.
    tickangle: 0,
    ticklabeloverflow: "allow",
  };
}
