/**
 * Fetches the steps of the runs that are laid over the one on show, and their layers while one layer is; follows those
 * that are still training.
 */

import { getLayers, getRun, getSeries } from "./api.js";
import { span } from "./lib/decimate.js";
import { OVER } from "./lib/endings.js";
import { reasonOf } from "./lib/format.js";
import { POINTS } from "./lib/gaps.js";
import { LayerHistory, picturesOf } from "./lib/layers.js";
import { alongside } from "./lib/overlay.js";
import { toColumns } from "./lib/wire.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./lib/overlay.js").Overlaid} Overlaid */
/** @typedef {import("./lib/gaps.js").Range} Range */

/** What the charts show of every run. A loss beside "loss" may come late, or never. */
const METRICS = ["norm", "coef", "clamped", "threshold", "*loss"];
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
        await refreshLayers(store, run);
      } catch (error) {
        store.say(`Run ${run.info.name} could not be loaded: ${reasonOf(error)}`);
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
  try {
    await fetchRows(store, run, range);
  } catch (error) {
    run.gaps.forget(range);
    throw error;
  }
}

/**
 * @param {Store} store
 * @param {Overlaid} run
 * @returns {Range | null}
 */
function missing({ view, abscissa, range }, { table, gaps }) {
  if (table.length === 0) return null;
  const [lo, hi] = range.map(abscissa.at);
  const [from, to] = span(alongside(view.unit, table, abscissa).x, lo, hi);
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

/**
 * While one layer is on show, ask for pictures all over the run, then for the newest; the next time anew, unless the run
 * was over, since nobody followed it in between.
 * @param {Store} store
 * @param {Overlaid} run
 */
async function refreshLayers(store, run) {
  const { layer, subject, frozen } = store.view;
  if (run.layers?.settled) return;
  if (layer === null || subject === "exponents") {
    run.layers = null;
    return;
  }
  if (run.layers && frozen !== null) return;
  const settled = run.info.state in OVER;
  const known = run.layers ?? (await describe(run.info.id));
  const pictures = await getLayers(run.info.id, run.layers ? 1 : picturesOf(known.names.length));
  for (const picture of pictures) known.history.add(picture, known.sizes);
  store.setOverlaidLayers(run, { ...known, settled });
}

/** @param {string} run */
async function describe(run) {
  const { layers, sizes } = await getRun(run);
  return { names: layers, sizes, history: new LayerHistory() };
}
