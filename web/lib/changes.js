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
 * The entries that tell something: a patch that changed nothing does not, nor does a command that was obeyed, which
 * shows as the state it led to, unless it was in that state before.
 * @param {LogEntry[]} log
 * @returns {LogEntry[]}
 */
export function newsOf(log) {
  let state = "";
  return log.filter((entry) => {
    if (entry.kind === "applied") return changesOf(entry) !== null;
    const before = state;
    if (entry.kind === "state") state = entry.text;
    return entry.kind !== "state" || state !== before;
  });
}

/**
 * Who asked for a change: somebody through the server, or the training itself; "" where nobody had to.
 * @param {LogEntry} entry
 * @returns {"page or API" | "script" | ""}
 */
export function whoOf({ kind, data }) {
  if (kind !== "applied" && kind !== "rejected") return "";
  return typeof data.id === "string" ? "page or API" : "script";
}

/** Parameters that several modes have, each its own: not what changed when the mode did. */
export const SHARED = ["max_norm", "warmup"];
/** What says more about the clipping than a bound does. */
const FOREMOST = ["mode", "norm_type", "nonfinite"];

/**
 * Before and after of what changed; of what a mode brought, how it is; nothing of what it took away.
 * @param {Changes} changes
 * @returns {[name: string, values: string[]][]}
 */
function wordsOf(changes) {
  return Object.entries(changes).flatMap(([name, [before, after]]) => {
    if (after === null) return [];
    const brought = before === null || ("mode" in changes && SHARED.includes(name));
    return [[name, brought ? [exact(after)] : [exact(before), exact(after)]]];
  });
}

/**
 * A change in words; the parameters that a mode took away with it go without saying.
 * @param {Changes} changes
 * @returns {string} "max_norm 2 → 1", "mode norm → value, clip_value 0.1"
 */
export function describe(changes) {
  return wordsOf(changes).map(([name, values]) => `${name} ${values.join(" → ")}`).join(", ");
}

/**
 * The label of a mark on a chart, where room is short: what matters most of a change, and how much more there is.
 * @param {Changes} changes
 * @returns {string} "norm → value", "norm_type 2 → inf +1"
 */
export function shortLabel(changes) {
  const all = wordsOf(changes);
  const pairs = all.filter(([, values]) => values.length === 2);
  const words = new Map(pairs.length ? pairs : all);
  const foremost = [...FOREMOST, ...words.keys()].find((name) => words.has(name));
  if (!foremost) return "";
  const name = foremost === "mode" ? "" : `${foremost} `;
  return `${name}${words.get(foremost)?.join(" → ")}${words.size > 1 ? ` +${words.size - 1}` : ""}`;
}

/**
 * The patch that restores what was before.
 * @param {Changes} changes
 * @returns {{[parameter: string]: Json}}
 */
export function undo(changes) {
  return Object.fromEntries(Object.entries(changes).flatMap(([name, [before]]) => (before === null ? [] : [[name, before]])));
}

/**
 * The changes that nobody has taken back: of one and the next that restores what was before it, neither remains.
 * @param {LogEntry[]} log
 * @returns {LogEntry[]}
 */
export function standing(log) {
  /** @type {LogEntry[]} */
  const remaining = [];
  for (const entry of log) {
    const changes = changesOf(entry);
    const last = remaining.at(-1);
    if (changes && last && takesBack(changes, changesOf(last) ?? {})) remaining.pop();
    else if (changes) remaining.push(entry);
  }
  return remaining;
}

/**
 * @param {Changes} changes
 * @param {Changes} earlier
 */
function takesBack(changes, earlier) {
  const names = Object.keys(changes);
  const same = (/** @type {Json} */ one, /** @type {Json | undefined} */ other) => JSON.stringify(one) === JSON.stringify(other);
  return names.length === Object.keys(earlier).length
    && names.every((name) => same(changes[name][0], earlier[name]?.[1]) && same(changes[name][1], earlier[name]?.[0]));
}
