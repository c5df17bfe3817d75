/**
 * What each chart draws, as plain data: lines, crosses, marks and axes in data units, fitted to the pixels.
 *
 * No colours and no Plotly here; a line's role decides its looks.
 */

import { changesOf, shortLabel } from "./changes.js";
import { extremes, gather, inside, nonfinite, span } from "./decimate.js";
import { count } from "./format.js";
import { largestNorms, within } from "./layers.js";
import { linearAxis, linearTicks, logAxis, near } from "./scale.js";
import { smooth } from "./smooth.js";
import { NOT_LOGGED } from "./wire.js";

/** @typedef {import("./scale.js").Axis} Axis */
/** @typedef {import("./table.js").StepTable} StepTable */
/** @typedef {"cut" | "before" | "after" | "threshold" | "share" | "largest" | "coef" | "clamped" | "loss" | "other" | "trend" | `run${number}`} Role */
/** @typedef {{role: Role, name: string, dashed?: boolean, x: Float64Array, y: Float64Array}} Line  dashed: not the chart's main metric */
/** @typedef {{x: number, label: string, side: "left" | "right"}} Mark  an applied change; "" where a label has no room */

/**
 * @typedef {object} Figure
 * @property {{lo: number, hi: number, ticks: import("./scale.js").Tick[]}} x
 * @property {Axis} y
 * @property {Line[]} lines  first drawn first
 * @property {Float64Array} crosses  x of steps with a non-finite value
 * @property {Mark[]} marks
 * @property {string} note  a sentence where there is nothing to draw
 * @property {boolean} faint  the raw lines only back a trend
 */

/**
 * What the charts look at.
 * @typedef {object} Scene
 * @property {StepTable} table
 * @property {import("./abscissa.js").Abscissa} abscissa  where the steps lie that are shown; the rest came after the charts were paused
 * @property {[lo: number, hi: number]} range  steps
 * @property {string} mode  the clipper's, now
 * @property {import("./wire.js").LogEntry[]} log
 * @property {boolean} smooth  draw averages over the raw lines
 * @property {Run[]} runs  where there are several, the one on show first: a chart then shows one line of each, in its colour
 */

/** @typedef {{id: string, role: Role, name: string, table: StepTable, x: Float64Array}} Run  x: where its steps lie */

/** @typedef {{role?: Role, name: string, x: Float64Array, y: Float64Array}} Curve  of a layer; without a role, of the run on show alone */

/** @typedef {{role: Role, name: string, dashed?: boolean}} Source  a column and how it is drawn */

const PIXELS_PER_BIN = 2;
const PIXELS_PER_CHARACTER = 6;
/** On both sides of a label. */
const LABEL_GAP = 12;
const PIXELS_PER_TICK = 72;
/** One alone gives no scale. */
const LEAST_TICKS = 2;
const MOST_TRIES = 10;
/** What an average goes back to, about. */
const MEMORY_STEPS = 50;
const LOSS = /(^|[_./-])loss$/;

/** Rows of one scene, found once and read by column. */
class Rows {
  /** @type {[from: number, to: number]} */
  #rows;
  #table;
  #x;
  #window;

  /**
   * @param {Scene} scene
   * @param {number} width  px
   */
  constructor({ table, abscissa, range }, width) {
    const [lo, hi] = range.map(abscissa.at);
    this.#table = table;
    this.#x = abscissa.column;
    this.#rows = span(this.#x, lo, hi);
    this.#window = { lo, hi, bins: Math.max(50, Math.round(width / PIXELS_PER_BIN)) };
  }

  /**
   * @param {Source} source
   * @param {boolean} [gaps]  break the line where the value is NaN
   * @returns {Line}
   */
  line(source, gaps = false) {
    const { name } = source;
    const column = this.#table.column(name);
    const rows = extremes(this.#x, column, this.#window, this.#rows);
    if (gaps) rows.push(...this.#nonfinite(name));
    if (gaps) rows.sort((a, b) => a - b);
    return { ...source, x: gather(this.#x, rows), y: gather(column, rows) };
  }

  /**
   * The norm before clipping, and what clipping took off it: of each step that it touched, a line from the norm after
   * to the norm before.
   * @returns {{before: Line, cut: Line}}
   */
  norms() {
    const [norm, after] = ["norm", "clipped_norm"].map((name) => this.#table.column(name));
    const rows = extremes(this.#x, norm, this.#window, this.#rows);
    const clipped = rows.filter((row) => after[row] !== NOT_LOGGED && after[row] < norm[row]);
    const x = Float64Array.from(clipped.flatMap((row) => [this.#x[row], this.#x[row], NaN]));
    const y = Float64Array.from(clipped.flatMap((row) => [after[row], norm[row], NaN]));
    return {
      before: { role: "before", name: "norm", x: gather(this.#x, rows), y: gather(norm, rows) },
      cut: { role: "cut", name: "clipped", x, y },
    };
  }

  /**
   * The average over about the last fifty steps.
   * @param {string} name
   * @param {boolean} [geometric]  of norms, or one spike would hold the line up for hundreds of steps
   * @param {Role} [role]
   * @returns {Line}
   */
  trend(name, geometric = false, role = "trend") {
    const from = Math.max(0, this.#rows[0] - 5 * MEMORY_STEPS);
    const [steps, values] = ["step", name].map((each) => this.#table.column(each).subarray(from, this.#rows[1]));
    const x = this.#x.subarray(from, this.#rows[1]);
    const averaged = geometric ? smooth(steps, values.map(Math.log), MEMORY_STEPS).map(Math.exp) : smooth(steps, values, MEMORY_STEPS);
    const rows = extremes(x, averaged, this.#window, [this.#rows[0] - from, x.length]);
    return { role, name: `${name} (average)`, x: gather(x, rows), y: gather(averaged, rows) };
  }

  /** @param {string} name */
  crosses(name) {
    return gather(this.#x, this.#nonfinite(name));
  }

  /** @param {string} name */
  #nonfinite(name) {
    return nonfinite(this.#x, this.#table.column(name), this.#window, this.#rows);
  }
}

/**
 * @param {Scene} scene
 * @param {Run} run  one of its runs
 * @param {number} width  px
 */
function rowsOf(scene, { table, x }, width) {
  return new Rows({ ...scene, table, abscissa: { ...scene.abscissa, column: x } }, width);
}

/**
 * One metric of every run, the one on show on top.
 * @param {Scene} scene
 * @param {number} width  px
 * @param {string} metric
 * @param {boolean} [geometric]  its averages
 * @returns {Line[]}
 */
function runLines(scene, width, metric, geometric = false) {
  return scene.runs.toReversed().map((run) => {
    const rows = rowsOf(scene, run, width);
    const line = scene.smooth ? rows.trend(metric, geometric, run.role) : rows.line({ role: run.role, name: metric });
    return { ...line, name: run.name };
  });
}

/**
 * What every run logs beside its loss, as it is: an average over fifty steps has nothing to go by.
 * @param {Scene} scene
 * @param {number} width  px
 * @returns {Line[]}
 */
function otherLosses(scene, width) {
  return scene.runs.toReversed().flatMap((run) => {
    const rows = rowsOf(scene, run, width);
    const others = lossSources(run.table).filter(({ dashed }) => dashed);
    return others.map((source) => ({ ...rows.line(source), role: run.role, name: `${run.name} ${source.name}` }));
  });
}

/**
 * Where a metric is non-finite, in any of the runs.
 * @param {Scene} scene
 * @param {number} width  px
 * @param {string} metric
 */
function crossesOf(scene, width, metric) {
  if (scene.runs.length === 0) return new Rows(scene, width).crosses(metric);
  return Float64Array.from(scene.runs.flatMap((run) => [...rowsOf(scene, run, width).crosses(metric)]));
}

/**
 * The global norm before and after clipping, with the threshold.
 * @param {Scene} scene
 * @param {number} width  px
 * @param {boolean} log
 * @param {import("./layers.js").Picture[]} [pictures]  of the layers, which in mode layer are what is bounded
 * @returns {Figure}
 */
export function normFigure(scene, width, log, pictures = []) {
  const rows = new Rows(scene, width);
  const threshold = rows.line({ role: "threshold", name: "threshold" }, true);
  const several = scene.runs.length > 0;
  const lines = [...(several ? runLines(scene, width, "norm", true) : ownNorms(rows, scene.mode)), threshold];
  if (scene.mode === "layer" && !several) lines.splice(-1, 0, largestLayer(scene, pictures));
  const norms = valuesOf(scene, lines.filter(({ role }) => role !== "threshold" && role !== "cut"));
  const values = [...norms, near(threshold.y, norms)];
  const y = log ? logAxis(values) : linearAxis(values, { fromZero: true, wanted: 6 });
  if (scene.smooth && !several) lines.push(rows.trend("norm", true)); // what it remembers from before the range widens no axis
  return { ...frame(scene, width), y, lines, crosses: crossesOf(scene, width, "norm"), note: whyNothingIsShown(scene), faint: scene.smooth && !several };
}

/** @param {Scene} scene */
function whyNothingIsShown({ table, abscissa, range, runs }) {
  const [lo, hi] = range.map(abscissa.at);
  const [from, to] = inside(abscissa.column, lo, hi);
  if (from < to || runs.length > 0 || abscissa.column.length === 0) return "";
  return `No step lies here: the run has steps ${count(table.at("step", 0))} to ${count(table.at("step", abscissa.column.length - 1))}`;
}

/**
 * The norms of a run that is shown alone.
 * @param {Rows} rows
 * @param {string} mode
 * @returns {Line[]}
 */
function ownNorms(rows, mode) {
  const { before, cut } = rows.norms();
  const lines = [cut, rows.line({ role: "after", name: "clipped_norm" }), before];
  // clip_value bounds elements, not the norm: it is the largest element that it has to be compared with.
  return mode === "value" ? [...lines, rows.line({ role: "largest", name: "max_abs" })] : lines;
}

/**
 * The largest layer's norm.
 * @param {Scene} scene
 * @param {import("./layers.js").Picture[]} pictures
 * @returns {Line}
 */
function largestLayer({ abscissa, range }, pictures) {
  const { steps, norms } = largestNorms(within(pictures, range));
  return { role: "largest", name: "largest layer", x: Float64Array.from(steps, abscissa.at), y: Float64Array.from(norms) };
}

/**
 * The clip coefficient.
 * @param {Scene} scene
 * @param {number} width  px
 * @returns {Figure}
 */
export function coefFigure(scene, width) {
  const rows = new Rows(scene, width);
  const lines = scene.runs.length ? runLines(scene, width, "coef") : [rows.line({ role: "coef", name: "coef" })];
  const y = { type: /** @type {const} */ ("linear"), lo: 0, hi: 1.2, ticks: linearTicks(0, 1, 4) };
  return { ...frame(scene, width), y, lines, crosses: crossesOf(scene, width, "coef"), note: "", faint: false };
}

/**
 * The number of clamped elements.
 * @param {Scene} scene
 * @param {number} width  px
 * @returns {Figure}
 */
export function clampedFigure(scene, width) {
  const rows = new Rows(scene, width);
  const lines = scene.runs.length ? runLines(scene, width, "clamped") : [rows.line({ role: "clamped", name: "clamped" })];
  const none = scene.mode !== "value" && lines.every(({ y }) => y.every((value) => value === 0));
  const axis = linearAxis(valuesOf(scene, lines), { fromZero: true, whole: true });
  const y = none ? { ...axis, ticks: [] } : axis;
  const note = none ? whyNothingIsClamped(scene.mode) : "";
  return { ...frame(scene, width), y, lines: none ? [] : lines, crosses: new Float64Array(0), note, faint: false };
}

/** @param {string} mode */
export function whyNothingIsClamped(mode) {
  if (!mode) return "";
  if (mode === "off") return "Nothing is clamped while clipping is off";
  return `Nothing is clamped in ${mode} mode: gradients are scaled, not cut`;
}

/**
 * The loss, and every other metric whose name ends in it.
 * @param {Scene} scene
 * @param {number} width  px
 * @returns {Figure}
 */
export function lossFigure(scene, width) {
  const rows = new Rows(scene, width);
  const several = scene.runs.length > 0;
  const lines = several
    ? [...runLines(scene, width, "loss"), ...otherLosses(scene, width)]
    : lossSources(scene.table).map((source) => rows.line(source));
  const axis = linearAxis(valuesOf(scene, lines));
  const y = lines.length ? axis : { ...axis, ticks: [] };
  if (scene.smooth && lines.length && !several) lines.push(rows.trend("loss"));
  const note = lines.length ? "" : "No loss is logged: run.log(stats, loss=loss)";
  return { ...frame(scene, width), y, lines, crosses: crossesOf(scene, width, "loss"), note, faint: scene.smooth && !several };
}

/**
 * One layer over steps: of the run on show, or of every run that has it.
 * @param {Scene} scene
 * @param {number} width  px
 * @param {import("./layers.js").Measure} measure
 * @param {Curve[]} curves  first drawn first
 * @returns {Figure}
 */
export function layerFigure(scene, width, measure, curves) {
  const alone = /** @type {const} */ ({ norms: "before", coefs: "coef", clamped: "clamped", shares: "clamped" })[measure];
  const lines = curves.map(({ role = alone, name, x, y }) => ({ role, name, x, y }));
  const crosses = Float64Array.from(lines.flatMap(({ x, y }) => [...x.filter((_, i) => !Number.isFinite(y[i]))]));
  const values = lines.map(({ y }) => y);
  const y = measure === "norms" ? logAxis(values) : linearAxis(values, { fromZero: true, whole: measure === "clamped" });
  return { ...frame(scene, width), y, lines, crosses, note: "", faint: false };
}

/**
 * @param {StepTable} table
 * @returns {Source[]}
 */
export function lossSources(table) {
  const others = table.names.filter((name) => name !== "loss" && LOSS.test(name));
  const loss = table.names.includes("loss") ? [{ role: /** @type {Role} */ ("loss"), name: "loss" }] : [];
  return [...loss, ...others.map((name) => ({ role: /** @type {Role} */ ("other"), name, dashed: true }))];
}

/**
 * The values that an axis has to hold: those on show. The one on either side that a line runs on to is not.
 * @param {Scene} scene
 * @param {Line[]} lines
 * @returns {Float64Array[]}
 */
function valuesOf({ abscissa, range }, lines) {
  const [lo, hi] = range.map(abscissa.at);
  return lines.map(({ x, y }) => {
    const shown = y.filter((_, i) => x[i] >= lo && x[i] <= hi);
    return shown.length ? shown : y; // between two steps, or beside all
  });
}

/**
 * What all charts share: the steps on show and the marks of applied changes.
 * @param {Scene} scene
 * @param {number} width  px
 */
export function frame({ abscissa, range, log }, width) {
  const [lo, hi] = range.map(abscissa.at);
  const longest = Math.max(...abscissa.ticks(lo, hi, 1).map(({ label }) => label.length), 0);
  let wanted = Math.max(1, Math.floor(width / Math.max(PIXELS_PER_TICK, longest * PIXELS_PER_CHARACTER + LABEL_GAP)));
  let ticks = abscissa.ticks(lo, hi, wanted);
  while (ticks.length < LEAST_TICKS && wanted < MOST_TRIES) ticks = abscissa.ticks(lo, hi, ++wanted);
  const changes = log.filter((entry) => changesOf(entry) !== null && entry.step >= range[0] && entry.step <= range[1]);
  return { x: { lo, hi, ticks }, marks: marksOf(changes, abscissa, { hi, perPixel: (hi - lo) / width }) };
}

/**
 * Marks at the first step that obeyed. The newest is labelled on whichever side has room, the others where they run
 * neither into a later mark nor into its label.
 * @param {import("./wire.js").LogEntry[]} entries
 * @param {import("./abscissa.js").Abscissa} abscissa
 * @param {{hi: number, perPixel: number}} axis
 * @returns {Mark[]}
 */
function marksOf(entries, abscissa, { hi, perPixel }) {
  /** @type {Mark[]} */
  const marks = [];
  let free = hi; // an earlier mark's label ends before this
  for (const entry of entries.reverse()) {
    const x = abscissa.at(entry.step);
    const text = shortLabel(changesOf(entry) ?? {});
    const room = perPixel * (text.length * PIXELS_PER_CHARACTER + LABEL_GAP);
    const fits = x + room <= free;
    const label = fits || marks.length === 0 ? text : "";
    marks.push({ x, label, side: fits ? "right" : "left" });
    free = Math.min(free, label && !fits ? x - room : x);
  }
  return marks.reverse();
}
