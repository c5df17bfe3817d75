/**
 * The wire as the page sees it, version 1: the messages of /ws/view and how their numbers are read.
 *
 * JSON has no NaN and no infinities, so they travel as strings; `null` in a column means "not logged at this step".
 */

/** @typedef {number | "NaN" | "Infinity" | "-Infinity" | null} Cell */
/** @typedef {null | boolean | number | string | Json[] | {[key: string]: Json}} Json */
/** @typedef {{[name: string]: Json}} Patch  a clipper's configuration, or the part of it that changes */
/** @typedef {"starting" | "running" | "paused" | "disconnected" | "finished" | "stopped" | "failed"} RunState */
/** @typedef {"pause" | "resume" | "step" | "stop"} Command */
/** @typedef {{[column: string]: (Cell | string)[]}} WireRows  has seq, step, time, mode and the metrics */

/**
 * @typedef {object} RunInfo
 * @property {string} id
 * @property {string} name
 * @property {string} note  what a person wrote about it
 * @property {RunState} state
 * @property {string} reason  why it failed or stopped
 * @property {boolean} cut_short  nobody meant it to stop: its server ended
 * @property {number} created  unix s
 * @property {number} updated  unix s
 * @property {number} seq
 * @property {number} step
 * @property {boolean} attached  a trainer is connected right now
 * @property {boolean} commands  its loop obeys pause, resume, step and stop
 * @property {string | null} workload
 * @property {Patch} config
 * @property {Patch} control  the clipper's effective configuration
 * @property {{[name: string]: import("./schema.js").Property}} knobs  numbers of the training in `control`
 * @property {string[]} layers
 * @property {number[]} sizes  elements of each layer
 * @property {{id: string, patch: Patch}[]} waiting  what was asked for and is not answered yet, oldest first
 */

/**
 * @typedef {object} LogEntry
 * @property {number} n
 * @property {number} step
 * @property {number} time
 * @property {"applied" | "rejected" | "state" | "note" | "warning" | "finish"} kind
 * @property {string} text
 * @property {{[key: string]: Json}} data
 */

/** @typedef {{step: number, norm: Cell[], coef: Cell[], clamped: Cell[], histogram: import("./exponents.js").Exponents | null}} Layers */

/**
 * @typedef {object} Snapshot
 * @property {"snapshot"} type
 * @property {RunInfo | null} run
 * @property {WireRows | null} rows
 * @property {boolean} exact
 * @property {boolean} resumed
 * @property {LogEntry[]} log
 * @property {Layers | null} layers
 * @property {RunInfo[]} runs
 * @property {boolean} read_only
 */

/**
 * @typedef {Snapshot
 *   | {type: "steps", run: string, rows: WireRows, exact: boolean}
 *   | {type: "layers", run: string, layers: Layers}
 *   | {type: "status", run: RunInfo}
 *   | {type: "event", run: string, entry: LogEntry}
 *   | {type: "applied", run: string, id: string, step: number, config: Patch}
 *   | {type: "rejected", run: string | null, id: string, reason: string}
 *   | {type: "runs", runs: RunInfo[]}
 *   | {type: "pong"}
 *   | {type: "error", reason: string}} ServerMessage
 */

/**
 * @typedef {{type: "subscribe", run: string | null, since: number | null}
 *   | {type: "control", id: string, run: string, patch: Patch}
 *   | {type: "command", id: string, run: string, command: Command}
 *   | {type: "ping"}} BrowserMessage
 */

/** Stands for `null` in a numeric column: a float64 no metric takes, where NaN and the infinities are real values. */
export const NOT_LOGGED = -Number.MAX_VALUE;

/**
 * The number a cell stands for.
 * @param {Json} cell
 * @returns {number}
 */
export function toNumber(cell) {
  if (typeof cell === "number") return cell;
  if (cell === null) return NOT_LOGGED;
  if (cell === "NaN" || cell === "Infinity" || cell === "-Infinity") return Number(cell);
  throw new TypeError(`a number, "NaN", "Infinity", "-Infinity" or null was expected, got ${JSON.stringify(cell)}`);
}

/**
 * Rows as typed columns; `mode`, the only one that is no number, is left out.
 * @param {WireRows} rows
 * @returns {Map<string, Float64Array>}
 */
export function toColumns(rows) {
  /** @type {Map<string, Float64Array>} */
  const columns = new Map();
  for (const [name, cells] of Object.entries(rows)) {
    if (name !== "mode") columns.set(name, Float64Array.from(cells, toNumber));
  }
  return columns;
}

const TYPES = ["snapshot", "steps", "layers", "status", "event", "applied", "rejected", "runs", "pong", "error"];

/**
 * A frame of /ws/view.
 * @param {string} frame
 * @returns {ServerMessage}
 */
export function parse(frame) {
  const message = JSON.parse(frame);
  if (!TYPES.includes(message.type)) throw new TypeError(`unknown message type ${JSON.stringify(message.type)}`);
  return message;
}
