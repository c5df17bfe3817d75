/** Applied changes in words, and the patch that takes one back. */

import { exact } from "./format.js";

/** @typedef {import("./wire.js").Json} Json */
/** @typedef {import("./wire.js").LogEntry} LogEntry */
/** @typedef {{[parameter: string]: [before: Json, after: Json]}} Changes */

/**
 * What an entry of the change log changed in the clipper's configuration; null when it changed nothing there.
 * @param {LogEntry} entry
 * @returns {Changes | null}
 */
export function changesOf({ kind, data }) {
  if (kind !== "applied" || data.command || !data.changes) return null;
  const changes = /** @type {Changes} */ (data.changes);
  return Object.keys(changes).length ? changes : null;
}

/**
 * A change in words; the parameters that a mode took away with it go without saying.
 * @param {Changes} changes
 * @returns {string} "max_norm 2 → 1", "mode norm → value, clip_value 0.1"
 */
export function describe(changes) {
  const kept = Object.entries(changes).filter(([, [, after]]) => after !== null);
  return kept.map(([name, [before, after]]) => `${name} ${before === null ? "" : `${exact(before)} → `}${exact(after)}`).join(", ");
}

/**
 * The label of a mark on a chart, where room is short: the mode when it changed, else the first parameter.
 * @param {Changes} changes
 * @returns {string} "norm → value", "max_norm 2 → 1"
 */
export function shortLabel(changes) {
  if (changes.mode) return changes.mode.map(exact).join(" → ");
  return describe(Object.fromEntries(Object.entries(changes).slice(0, 1)));
}

/**
 * The patch that restores what was before. A mode brings back its own last parameters by itself.
 * @param {Changes} changes
 * @returns {{[parameter: string]: Json}}
 */
export function undo(changes) {
  if (changes.mode) return { mode: changes.mode[0] };
  return Object.fromEntries(Object.entries(changes).map(([name, [before]]) => [name, before]));
}
