/** What the heatmaps draw, as plain data: the layers over steps, and how large the gradients' elements are. */

import { exponentGrid, FORMATS } from "./exponents.js";
import { frame } from "./figures.js";
import { elide, power, tick } from "./format.js";
import { heatGrid } from "./layers.js";
import { linearTicks, logAxis } from "./scale.js";

/** @typedef {import("./scale.js").Axis} Axis */
/** @typedef {import("./layers.js").Picture} Picture */
/** @typedef {import("./figures.js").Scene} Scene */
/** @typedef {{width: number, height: number}} Size  px */

/**
 * @typedef {object} HeatFigure
 * @property {{lo: number, hi: number, ticks: import("./scale.js").Tick[]}} x
 * @property {Axis} y
 * @property {number[]} columns  their places on the x-axis
 * @property {number[]} rows  their places on the y-axis
 * @property {number[][]} grid  grid[row][column]
 * @property {"bad" | "empty"} nan  what a cell without a number means
 * @property {Axis} colour
 * @property {Band[]} bands
 * @property {import("./figures.js").Mark[]} marks
 */

/** @typedef {{lo: number, hi: number, label: string, labelled: "lo" | "hi"}} Band  of the y-axis, named at one of its edges */

const PIXELS_PER_CELL = 4;
const PIXELS_PER_INDEX = 40;
const PIXELS_PER_LINE = 11;
const PIXELS_PER_CHARACTER = 6;
/** More names than these would be read no faster than the readout. */
const MOST_NAMES = 12;
/** The part of a chart that names may take. */
const NAMES_SHARE = 1 / 3;
const PIXELS_PER_POWER = 24;
const COLOUR_TICKS = 4;
/** An axis of powers of two moves in steps of so many of them. */
const ROUND = 4;

/**
 * What the rows are called: by name where every layer has a row and its name a line, else by number.
 * @param {string[]} names  of the layers shown, from top to bottom
 * @param {Size} size  of the chart, names and all
 * @returns {{names: string[] | null, width: number}}  names that fit into that many px; null for numbers
 */
export function rowNames(names, { width, height }) {
  if (names.length === 0 || names.length > MOST_NAMES || height / names.length < PIXELS_PER_LINE) return { names: null, width: 0 };
  const most = Math.floor((width * NAMES_SHARE) / PIXELS_PER_CHARACTER);
  const fitted = names.map((name) => elide(name, Math.max(3, most)));
  return { names: fitted, width: Math.max(...fitted.map(({ length }) => length)) * PIXELS_PER_CHARACTER };
}

/**
 * All layers, as many in a row as there is no room for.
 * @param {Scene} scene
 * @param {Size} size
 * @param {{pictures: Picture[], measure: import("./layers.js").Measure, layers: number[], names: string[] | null}} shown
 *     layers from top to bottom, and what their rows are called; null for their numbers
 * @returns {HeatFigure & {perRow: number}}
 */
export function layersHeat(scene, { width, height }, { pictures, measure, layers, names }) {
  const most = { columns: width / PIXELS_PER_CELL, rows: Math.max(1, Math.floor(height / PIXELS_PER_CELL)) };
  const { steps, grid, perRow } = heatGrid(pictures, { ...most, measure, layers });
  const rows = [...grid.keys()];
  const stride = names ? 1 : Math.max(1, Math.ceil(rows.length / (height / PIXELS_PER_INDEX)));
  const named = pictures.length ? rows.filter((row) => row % stride === 0) : [];
  const ticks = named.map((row) => ({ value: row, label: names?.[row] ?? tick(layers[row * perRow]) }));
  return {
    ...frame(scene, width),
    y: { type: "linear", lo: rows.length - 0.5, hi: -0.5, ticks },
    columns: steps.map(scene.abscissa.at),
    rows,
    grid,
    perRow,
    nan: "bad",
    colour: measure === "coefs" ? { type: "linear", lo: 0, hi: 1, ticks: linearTicks(0, 1, COLOUR_TICKS) } : colourAxis(grid, measure === "shares" ? percentage : tick),
    bands: [],
  };
}

/**
 * The share of the elements by size, and what narrower formats cannot hold of them.
 * @param {Scene} scene
 * @param {Size} size
 * @param {Picture[]} pictures
 * @returns {HeatFigure}
 */
export function exponentsHeat(scene, { width, height }, pictures) {
  const { steps, lowest, grid } = exponentGrid(pictures, width / PIXELS_PER_CELL);
  const y = powersAxis(lowest, lowest + grid.length, height);
  return {
    ...frame(scene, width),
    y,
    columns: steps.map(scene.abscissa.at),
    rows: grid.map((_, row) => lowest + row + 0.5),
    grid,
    nan: "empty",
    colour: colourAxis(grid, percentage),
    bands: grid.length ? bandsOf(y) : [],
  };
}

/** @param {number} share */
function percentage(share) {
  return `${tick(share * 100)} %`;
}

/**
 * @param {number[][]} grid
 * @param {(value: number) => string} label
 * @returns {Axis}
 */
function colourAxis(grid, label) {
  const axis = logAxis(grid.map((row) => Float64Array.from(row)), COLOUR_TICKS);
  return { ...axis, ticks: axis.ticks.map((each) => ({ ...each, label: each.label === "0" ? "0" : label(each.value) })) };
}

/**
 * @param {number} from  exponent
 * @param {number} to
 * @param {number} height  px
 * @returns {Axis}
 */
function powersAxis(from, to, height) {
  if (from === to) return { type: "linear", lo: 0, hi: 1, ticks: [] };
  const lo = Math.floor(from / ROUND) * ROUND;
  const hi = Math.ceil(to / ROUND) * ROUND;
  const wanted = Math.max(1, Math.floor(height / PIXELS_PER_POWER));
  const stride = ROUND * Math.ceil((hi - lo) / ROUND / wanted);
  const first = Math.ceil(lo / stride);
  const ticks = Array.from({ length: Math.floor(hi / stride) - first + 1 }, (_, i) => (first + i) * stride);
  return { type: "linear", lo, hi, ticks: ticks.map((value) => ({ value, label: power(value) })) };
}

/**
 * What each format would flush to zero, from the axis' lower end, and what is too large for it, up to the upper one.
 * @param {Axis} axis  exponents
 * @returns {Band[]}
 */
function bandsOf({ lo, hi }) {
  const zero = FORMATS.map(({ name, flushed }) => ({ name, edge: Math.log2(flushed) })).filter(({ edge }) => edge > lo);
  const over = FORMATS.map(({ name, largest }) => ({ name, edge: Math.log2(largest) })).filter(({ edge }) => edge < hi);
  return [
    ...zero.map(({ name, edge }) => ({ lo, hi: Math.min(edge, hi), label: `${name}: zero`, labelled: /** @type {const} */ ("hi") })),
    ...over.map(({ name, edge }) => ({ lo: Math.max(edge, lo), hi, label: `${name}: too large`, labelled: /** @type {const} */ ("lo") })),
  ];
}
