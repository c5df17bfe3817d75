/** Figures as Plotly's traces and axes: the other half of charts.js, which alone uses it. */

import { along } from "./lib/scale.js";

/** @typedef {import("./lib/figures.js").Figure} Figure */
/** @typedef {import("./lib/figures.js").Role} Role */
/** @typedef {import("./lib/heat.js").HeatFigure} HeatFigure */
/** @typedef {import("./lib/scale.js").Axis} Axis */
/** @typedef {import("./lib/scale.js").Tick} Tick */
/** @typedef {{[key: string]: unknown}} Options */
/** @typedef {Record<string, string>} Palette */

/** @typedef {{lo: number, hi: number, ticks: Tick[]}} Steps */

/** @typedef {{role: Role, name: string, x: number[], y: number[]}} ShareCurve  y of 0..1, over the same axis as the bars */

/**
 * @typedef {object} BarFigure
 * @property {number[]} edges
 * @property {number[]} counts
 * @property {ShareCurve[]} curves
 * @property {number} threshold  NaN for none; bars beyond it are in its colour
 * @property {Tick[]} ticks
 */

/**
 * How a line looks beyond its colour, which is never the only difference.
 * @type {{[role in Role]: Options}}
 */
const LINES = {
  before: { width: 1 },
  after: { width: 2 },
  cut: {},
  threshold: { width: 1.5, dash: "6px,4px", shape: "hv" },
  share: { width: 1.75 },
  largest: { width: 1, dash: "1px,3px" },
  coef: { width: 1.25 },
  clamped: { width: 1.25 },
  loss: { width: 1.25 },
  other: { width: 1.25 },
  trend: { width: 1.75 },
  run0: { width: 1.75 },
  run1: { width: 1.5 },
  run2: { width: 1.5 },
  run3: { width: 1.5 },
  run4: { width: 1.5, dash: "6px,2px" },
  run5: { width: 1.5, dash: "6px,2px" },
  run6: { width: 1.5, dash: "2px,2px" },
  run7: { width: 1.5, dash: "2px,2px" },
};

/** The style sheet's colours in use. */
export const COLOURS = ["ground", "ink", "muted", "hairline", "bad", ...Object.keys(LINES)];

const DASHED = { width: 1.25, dash: "2px,2px" };

const CUT_PX = { least: 4, most: 16 };

/** Values of a dashed line that are few enough to be rings on it. */
const MOST_RINGS = 60;

const FAINT = 0.35;
/** What was cut lies behind the line that it was cut from. */
const VEIL = 0.65;
/** Lines that go faint behind a trend. */
const RAW = ["before", "after", "loss"];

/**
 * What the page calls a column.
 * @type {{[column: string]: string}}
 */
const WORDS = { norm: "before", clipped_norm: "after", max_abs: "max |g|" };

/** Height of a mark's label. */
const MARK_LABEL_PX = 14;

/**
 * A text as it is: Plotly takes texts for markup.
 * @param {string} text
 */
export function plain(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

/**
 * @param {Figure} figure
 * @param {Palette} palette
 * @returns {Options[]}
 */
export function lineTraces({ lines, crosses, y, faint }, palette) {
  const traces = lines.filter(({ role }) => role !== "cut").map(({ role, name, dashed, ...line }) => ({
    type: "scatter",
    mode: line.x.length === 1 || (dashed && line.x.length <= MOST_RINGS) ? "lines+markers" : "lines",
    name: plain(name),
    ...unwound(line.x, drawable(line.y, y)),
    opacity: faint && RAW.includes(role) ? FAINT : 1,
    line: { ...LINES[role], ...(dashed ? DASHED : {}), color: palette[role], simplify: false },
    marker: { size: 6, color: palette.ground, line: { width: 1.5, color: palette[role] } },
  }));
  const top = new Float64Array(crosses.length).fill(y.hi);
  const marker = { symbol: "x-thin", size: 7, line: { width: 1.75, color: palette.bad } };
  return [...traces, { type: "scatter", mode: "markers", name: "non-finite", x: crosses, y: top, marker, cliponaxis: false, showlegend: crosses.length > 0 }];
}

/**
 * A line that is broken where a training went back to an earlier step.
 * @param {Float64Array} x
 * @param {Float64Array} y
 * @returns {{x: Float64Array, y: Float64Array}}
 */
function unwound(x, y) {
  const falls = [...x.keys()].filter((i) => x[i] < x[i - 1]);
  if (falls.length === 0) return { x, y };
  const broken = (/** @type {Float64Array} */ values) => {
    return Float64Array.from([...values].flatMap((value, i) => (falls.includes(i) ? [NaN, value] : [value])));
  };
  return { x: broken(x), y: broken(y) };
}

/**
 * Zeros lie on the lower edge of a logarithmic axis.
 * @param {Float64Array} values
 * @param {Axis} axis
 */
function drawable(values, { type, lo }) {
  return type === "log" ? values.map((value) => (value === 0 ? lo : value)) : values;
}

/**
 * What was cut off: a shape behind the lines, since of a trace with so many gaps Plotly makes as many elements; placed
 * in shares of the plotting area, since of one in data units it looks for the extremes.
 * @param {Figure} figure
 * @param {Palette} palette
 * @param {number} width  px
 * @returns {Options[]}
 */
export function cutShapes({ x, y, lines, faint }, palette, width) {
  const place = (/** @type {number} */ at) => along({ type: "linear", ...x }, at).toFixed(4);
  const height = (/** @type {number} */ value) => Math.min(1, along(y, value)).toFixed(4);
  return lines.filter((line) => line.role === "cut" && line.x.length > 0).map(({ role, name, ...line }) => ({
    type: "path",
    xref: "paper",
    yref: "paper",
    name: plain(name),
    path: pathOf(line.x, (i) => `${place(line.x[i])},${height(line.y[i])}`),
    opacity: faint ? FAINT : VEIL,
    line: { width: spacing(lines, width / (x.hi - x.lo)), color: palette[role] },
  }));
}

/**
 * As wide as steps lie apart, so that those clipped in a row leave no gaps.
 * @param {import("./lib/figures.js").Line[]} lines
 * @param {number} perUnit  px
 * @returns {number}  px
 */
function spacing(lines, perUnit) {
  const { x } = lines.find(({ role }) => role === "before") ?? lines[0];
  const apart = ((x[x.length - 1] - x[0]) * perUnit) / (x.length - 1);
  return Math.min(CUT_PX.most, Math.max(CUT_PX.least, apart || 0));
}

/**
 * A picture's traces as an image shows them: under the page's words, with a sample of what is drawn as a shape, and the
 * scale of colours that the page has beside it.
 * @param {Options[]} traces
 * @param {Options[]} shapes  some with a name
 * @returns {Options[]}
 */
export function imageTraces(traces, shapes) {
  const samples = shapes.filter(({ name }) => name).map(({ name, opacity, line }) => ({
    type: "scatter", mode: "markers", name, x: [null], y: [null], opacity,
    marker: { symbol: "square", size: 10, color: /** @type {Options} */ (line).color },
  }));
  const named = traces.map((trace) => ({ ...trace, name: WORDS[String(trace.name)] ?? trace.name, showscale: "colorbar" in trace }));
  return [...named, ...samples];
}

/**
 * An SVG path, broken at every NaN.
 * @param {Float64Array} x
 * @param {(i: number) => string} point  where the i-th lies
 */
function pathOf(x, point) {
  return Array.from(x, (at, i) => (Number.isNaN(at) ? "" : `${i === 0 || Number.isNaN(x[i - 1]) ? "M" : "L"}${point(i)}`)).join("");
}

/**
 * Applied changes as vertical lines, labelled at the top.
 * @param {Figure} figure
 * @param {Palette} palette
 * @param {number} height  px
 * @returns {Options[]}
 */
export function markTraces({ marks, y }, palette, height) {
  const share = 1 - MARK_LABEL_PX / 2 / height;
  const labelY = y.type === "log" ? y.lo * (y.hi / y.lo) ** share : y.lo + share * (y.hi - y.lo);
  const labelled = marks.filter(({ label }) => label);
  const texts = labelled.map(({ label }) => plain(label));
  return [
    {
      type: "scatter", mode: "lines", name: "changes", line: { width: 1, color: palette.threshold }, opacity: 0.6, showlegend: false,
      x: marks.flatMap(({ x }) => [x, x, null]),
      y: marks.flatMap(() => [y.lo, y.hi, null]),
    },
    {
      type: "scatter", mode: "text", name: "change labels", showlegend: false,
      textposition: labelled.map(({ side }) => `middle ${side}`),
      x: labelled.map(({ x }) => x),
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
export function heatTraces({ y, columns, rows, grid, nan, colour, marks }, palette) {
  const place = colour.type === "log" ? Math.log10 : Number;
  const looks = { type: "heatmap", x: columns, y: rows, hoverinfo: "skip" };
  const bad = nan === "bad" && grid.some((row) => row.some(Number.isNaN));
  return [
    {
      ...looks, z: grid.map((row) => row.map((value) => place(Math.max(value, colour.lo)))),
      zmin: place(colour.lo), zmax: place(colour.hi), colorscale: "Viridis", showscale: false,
      colorbar: {
        thickness: 8, outlinewidth: 0, xpad: 4, ypad: 0, ticklen: 0,
        tickvals: colour.ticks.map(({ value }) => place(value)), ticktext: colour.ticks.map(({ label }) => label),
      },
    },
    {
      ...looks, x: bad ? columns : [], z: grid.map((row) => row.map((value) => (Number.isNaN(value) ? 1 : null))),
      colorscale: [[0, palette.bad], [1, palette.bad]], showscale: false,
    },
    {
      type: "scatter", mode: "lines", line: { width: 1, color: palette.threshold }, opacity: 0.8, showlegend: false,
      x: marks.flatMap(({ x }) => [x, x, null]),
      y: marks.flatMap(() => [y.lo, y.hi, null]),
    },
  ];
}

/**
 * Bands of a heatmap that pale, one over the other, their names side by side.
 * @param {import("./lib/heat.js").Band[]} bands
 * @param {Palette} palette
 * @returns {Options}  parts of a layout
 */
export function veils(bands, palette) {
  return {
    shapes: bands.map(({ lo, hi }) => ({
      type: "rect", xref: "paper", x0: 0, x1: 1, y0: lo, y1: hi, fillcolor: palette.ground, opacity: 0.4, line: { width: 1, color: palette.ink },
    })),
    annotations: bands.map((band, i) => ({
      text: band.label, showarrow: false, xref: "paper", x: 0.01 + i / 4, xanchor: "left", y: band[band.labelled],
      yanchor: band.labelled === "hi" ? "top" : "bottom", font: { size: 11, color: palette.ink }, bgcolor: palette.ground, borderpad: 1,
    })),
  };
}

/**
 * Bars as high as the chart, those beyond the threshold in its colour.
 * @param {BarFigure} figure
 * @param {Palette} palette
 * @returns {Options[]}
 */
export function barTraces({ edges, counts, threshold }, palette) {
  const most = Math.max(...counts);
  const lefts = edges.slice(0, counts.length);
  const inside = threshold >= edges[0] && threshold <= edges[counts.length] ? Math.log10(threshold) : null;
  return [
    {
      type: "bar", showlegend: false, x: lefts.map(Math.log10), y: counts.map((n) => n / most), offset: 0, width: Math.log10(edges[1] / edges[0]),
      marker: { color: lefts.map((left) => (left >= threshold ? palette.threshold : palette.before)), opacity: 0.55 },
    },
    { type: "scatter", mode: "lines", showlegend: false, x: [inside, inside], y: [0, 1], line: { ...LINES.threshold, color: palette.threshold } },
  ];
}

/**
 * @param {ShareCurve[]} curves
 * @param {Palette} palette
 * @returns {Options[]}
 */
export function shareTraces(curves, palette) {
  return curves.map(({ role, name, x, y }) => ({
    type: "scatter", mode: "lines", name: plain(name), x: x.map(Math.log10), y, line: { ...LINES[role], color: palette[role], simplify: false },
  }));
}

/**
 * @param {Steps} x
 * @param {Palette} palette
 * @returns {Options}
 */
export function stepAxis({ lo, hi, ticks }, palette) {
  return { ...axisLooks(ticks, palette), type: "linear", range: [lo, hi], showgrid: false, ticks: "outside", ticklen: 4, tickcolor: palette.hairline };
}

/**
 * @param {Axis} axis
 * @param {Palette} palette
 * @returns {Options}
 */
export function valueAxis({ type, lo, hi, ticks }, palette) {
  const range = type === "log" ? [Math.log10(lo), Math.log10(hi)] : [lo, hi];
  return { ...axisLooks(ticks, palette), type, range, fixedrange: true };
}

/**
 * @param {Tick[]} ticks
 * @param {Palette} palette
 * @returns {Options}
 */
function axisLooks(ticks, palette) {
  return {
    tickmode: "array",
    tickvals: ticks.map(({ value }) => value),
    ticktext: ticks.map(({ label }) => plain(label)),
    gridcolor: palette.hairline,
    gridwidth: 1,
    zeroline: false,
    automargin: false,
    // The labels are ours and fit: without these two Plotly measures each one again on every draw.
    tickangle: 0,
    ticklabeloverflow: "allow",
  };
}
