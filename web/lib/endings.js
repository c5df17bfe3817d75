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
 * @returns {{tone: "" | "warning" | "failed", words: string, step: number | null} | null}  and the step they name; null while there is
 *     nothing to say
 */
export function endingOf({ state, reason, cut_short, step, updated }, now) {
  if (state === "disconnected") {
    const since = `No contact with the trainer since ${when(updated, now)}`;
    return { tone: "warning", words: `${since}. If it is still running, it will reconnect and send the missing steps; otherwise start it again.`, step: null };
  }
  if (!(state in OVER)) return null;
  const why = lastLine(reason);
  const words = `Run ${state} at step ${count(step)}${why ? `: ${why}` : ""}`;
  return { tone: state === "failed" ? "failed" : cut_short ? "warning" : "", words, step };
}

/**
 * The line of a traceback that says what happened.
 * @param {string} text
 */
export function lastLine(text) {
  return text.trimEnd().split("\n").at(-1) ?? "";
}
