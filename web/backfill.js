/**
 * Fetches what the page has not seen: the rows that the charts show but a thinned history lacks, on zooming and for the
 * last thousand steps; and the layers of steps that passed while it was not connected.
 */

import { getLayers, getSeries, RETRY_MS } from "./api.js";
import { span } from "./lib/decimate.js";
import { reasonOf } from "./lib/format.js";
import { POINTS } from "./lib/gaps.js";
import { picturesOf } from "./lib/layers.js";
import { RECENT_STEPS } from "./lib/recent.js";
import { toColumns } from "./lib/wire.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./lib/gaps.js").Range} Range */

const NOT_METRICS = ["seq", "step", "time"];

/** @param {Store} store */
export function backFill(store) {
  let busy = false;
  const look = async () => {
    const range = busy || store.connection.state !== "live" ? null : wanted(store);
    if (!range || !store.run) return;
    busy = true;
    store.gaps.ask(range);
    try {
      await fetchRows(store, store.run.id, range);
    } catch (error) {
      store.say(`Older steps could not be loaded: ${reasonOf(error)}`);
      setTimeout(() => {
        store.gaps.forget(range);
        look();
      }, RETRY_MS);
    }
    busy = false;
    look();
  };
  store.watch(["rows", "view", "connection"], look);
}

/**
 * The rows to ask for next; null when none are missing.
 * @param {Store} store
 * @returns {Range | null}
 */
function wanted({ table, range: [lo, hi], gaps }) {
  if (table.length === 0) return null;
  const seqs = table.column("seq");
  const [from, to] = span(table.column("step"), lo, hi);
  const last = table.lastSeq;
  return gaps.missing({ first: Math.max(1, last - RECENT_STEPS + 1), last }) ?? gaps.missing({ first: seqs[from], last: seqs[to - 1] });
}

/**
 * @param {Store} store
 * @param {string} run
 * @param {Range} range
 */
async function fetchRows(store, run, range) {
  const metrics = store.table.names.filter((name) => !NOT_METRICS.includes(name));
  const rows = await getSeries(run, { metrics, ...range, points: POINTS });
  if (store.run?.id === run) store.addRows(toColumns(rows));
}

/** @param {Store} store */
export function backFillLayers(store) {
  /** @type {string | null} the run whose layers were asked for on this connection */
  let asked = null;
  store.watch(["run", "connection"], async () => {
    if (store.connection.state !== "live") asked = null;
    else if (store.run && store.run.id !== asked) {
      asked = store.run.id;
      await fetchLayers(store, asked, store.run.layers.length);
    }
  });
}

/**
 * @param {Store} store
 * @param {string} run
 * @param {number} layers  of its model
 */
async function fetchLayers(store, run, layers) {
  try {
    store.fillLayers(run, await getLayers(run, picturesOf(layers)));
  } catch (error) {
    store.say(`Older layers could not be loaded: ${reasonOf(error)}`);
  }
}
