/** What became of a run that is not being trained, in words; and whether anybody meant it to. */

import { count } from "./format.js";
import { when } from "./when.js";

/** @typedef {import("./wire.js").RunInfo} RunInfo */

/**
 * The states of a run that is over.
 * @type {{[state: string]: string}}
 */
export const OVER = { finished: "the run has finished", stopped: "the run was stopped", failed: "the run has failed" };

/**
 * @param {RunInfo} run
 * @param {number} [now]  unix s
 * @returns {{tone: "" | "warning" | "failed", words: string} | null}  null while there is nothing to say
 */
export function endingOf({ state, reason, cut_short, step, updated }, now) {
  if (state === "disconnected") {
    const since = `The trainer has been silent since ${when(updated, now)}`;
    return { tone: "warning", words: `${since}: if it still runs, it comes back by itself with its steps; if it has died, start it again.` };
  }
  if (!(state in OVER)) return null;
  const why = lastLine(reason);
  return { tone: state === "failed" ? "failed" : cut_short ? "warning" : "", words: `Run ${state} at step ${count(step)}${why ? `: ${why}` : ""}` };
}

/**
 * The line of a traceback that says what happened.
 * @param {string} text
 */
export function lastLine(text) {
  return text.trimEnd().split("\n").at(-1) ?? "";
}
