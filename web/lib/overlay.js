/** Other runs laid over the one on show: their steps, as fine as the charts have asked for them so far, and what else is on show. */

import { abscissa } from "./abscissa.js";
import { inside } from "./decimate.js";
import { OVER } from "./endings.js";
import { Gaps } from "./gaps.js";
import { StepTable } from "./table.js";

/** @typedef {import("./abscissa.js").Abscissa} Abscissa */
/** @typedef {import("./table.js").Columns} Columns */
/** @typedef {import("./wire.js").RunInfo} RunInfo */

/** Runs on the charts at a time, the one on show included: as many as there are colours to tell apart. */
export const MOST_RUNS = 8;

/**
 * One of them.
 * @typedef {object} Overlaid
 * @property {RunInfo} info  as the list of runs has it
 * @property {StepTable} table
 * @property {Gaps} gaps  what of it came thinned
 * @property {boolean} settled  it is over and whole: nothing more will come
 * @property {OverlaidLayers | null} layers  null: not asked for
 * @property {import("./whatif.js").Foresight | null} whatif  of its steps on show
 */

/** @typedef {{names: string[], sizes: number[], history: import("./layers.js").LayerHistory}} KnownLayers */
/** @typedef {KnownLayers & {settled: boolean}} OverlaidLayers */

export class Overlay {
  /** @type {Overlaid[]} in the order of their colours */
  runs = [];

  /**
   * Lay these runs over, and no others; those that are there keep their steps.
   * @param {RunInfo[]} infos
   */
  choose(infos) {
    this.runs = infos.map((info) => {
      const known = this.runs.find((run) => run.info.id === info.id);
      if (known && !(info.state in OVER)) goOn(known);
      return known ? Object.assign(known, { info }) : { info, table: new StepTable(), gaps: new Gaps(), settled: false, layers: null, whatif: null };
    });
  }
}

/**
 * A run that was over may be trained again.
 * @param {Overlaid} run
 */
function goOn(run) {
  run.settled = false;
  if (run.layers) run.layers.settled = false;
}

/**
 * Take in what a run answered to a question for a range: all of its rows, or those that matter.
 * @param {Overlaid} run
 * @param {Columns} rows  at least one
 */
export function takeIn({ table, gaps }, rows) {
  const seqs = rows.get("seq") ?? new Float64Array(0);
  const last = seqs[seqs.length - 1];
  const lost = table.add(rows);
  if (lost) gaps.thinned(lost);
  if (last - seqs[0] + 1 > seqs.length) gaps.thinned(last);
}

/**
 * Where a run's steps lie on the axis of the run on show: at their number, or as long after its first as they were made.
 * @param {import("./abscissa.js").Unit} unit
 * @param {StepTable} table
 * @param {Abscissa} shown  of the run on show
 * @returns {{x: Float64Array, at: (step: number) => number}}  of the table's rows, and of any step
 */
export function alongside(unit, table, shown) {
  if (unit === "step" || shown.column.length === 0) return { x: table.column("step"), at: Number };
  const { column, at } = abscissa("time", table, table.length);
  const later = shown.column[0] - column[0];
  return { x: column.map((time) => time + later), at: (step) => at(step) + later };
}

/**
 * Which of a run's steps are on show.
 * @param {Float64Array} x  where they lie
 * @param {StepTable} table
 * @param {[lo: number, hi: number]} window  of the axis
 * @returns {import("./gaps.js").Range | null}  null for none
 */
export function onShow(x, table, [lo, hi]) {
  const [from, to] = inside(x, lo, hi);
  const seqs = table.column("seq");
  return from < to ? { first: seqs[from], last: seqs[to - 1] } : null;
}

