/** Fetches the steps of the runs that are laid over the one on show, and follows those that are still training. */

import { getSeries } from "./api.js";
import { span } from "./lib/decimate.js";
import { POINTS } from "./lib/gaps.js";
import { alongside } from "./lib/overlay.js";
import { toColumns } from "./lib/wire.js";
import { OVER } from "./store.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./lib/overlay.js").Overlaid} Overlaid */
/** @typedef {import("./lib/gaps.js").Range} Range */

const METRICS = ["norm", "coef", "clamped", "loss", "threshold"];
const REFRESH_MS = 500;

/** @param {Store} store */
export function followOverlay(store) {
  let busy = false;
  const look = async () => {
    if (busy || document.hidden || store.connection.state !== "live") return;
    busy = true;
    for (const run of store.overlay.runs) {
      try {
        await refresh(store, run);
      } catch (error) {
        store.say(`Steps of run ${run.info.name} could not be loaded: ${error instanceof Error ? error.message : error}`);
      }
    }
    busy = false;
  };
  store.watch(["view", "runs", "connection"], look);
  setInterval(look, REFRESH_MS);
}

/**
 * Ask for what is new, unless the charts are frozen, then for what is missing on show.
 * @param {Store} store
 * @param {Overlaid} run
 */
async function refresh(store, run) {
  const following = store.view.frozen === null || run.table.length === 0;
  if (following && !run.settled) {
    const over = run.info.state in OVER;
    await fetchRows(store, run, { first: run.table.lastSeq + 1, last: Number.MAX_SAFE_INTEGER });
    run.settled = over;
  }
  const range = missing(store, run);
  if (!range) return;
  run.gaps.ask(range);
  await fetchRows(store, run, range);
}

/**
 * @param {Store} store
 * @param {Overlaid} run
 * @returns {Range | null}
 */
function missing({ view, abscissa, range }, { table, gaps }) {
  if (table.length === 0) return null;
  const [lo, hi] = range.map(abscissa.at);
  const [from, to] = span(alongside(view.unit, table, abscissa), lo, hi);
  const seqs = table.column("seq");
  return gaps.missing({ first: seqs[from], last: seqs[to - 1] });
}

/**
 * @param {Store} store
 * @param {Overlaid} run
 * @param {Range} range
 */
async function fetchRows(store, run, range) {
  const rows = toColumns(await getSeries(run.info.id, { metrics: METRICS, ...range, points: POINTS }));
  if (rows.get("seq")?.length && store.overlay.runs.includes(run)) store.addOverlaid(run, rows);
}
