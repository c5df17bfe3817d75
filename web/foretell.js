/** Asks the server what other thresholds would have done to the steps on show, and again as they change. */

import { getWhatIf } from "./api.js";
import { span } from "./lib/decimate.js";
import { write } from "./lib/schema.js";
import { comparedWith } from "./lib/whatif.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./lib/whatif.js").Question} Question */

const PAUSE_MS = 1000;

/** @param {Store} store */
export function foretell(store) {
  let busy = false;
  let asked = "";
  const look = async () => {
    const question = busy ? null : questionOf(store);
    if (!question || JSON.stringify(question) === asked) return;
    busy = true;
    asked = JSON.stringify(question);
    try {
      store.foresee({ question, ...(await getWhatIf(question)) });
    } catch (error) {
      store.say(`What other thresholds would do could not be loaded: ${error instanceof Error ? error.message : error}`);
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    busy = false;
    look();
  };
  store.watch(["rows", "view", "run", "draft"], look);
}

/**
 * What to ask now; null when there are no steps.
 * @param {Store} store
 * @returns {Question | null}
 */
function questionOf({ run, table, view, draft, range: [lo, hi], shownRows }) {
  if (!run || shownRows === 0) return null;
  const metric = comparedWith(draft?.mode ?? write(run.control.mode)) ?? "norm";
  const seqs = table.column("seq");
  const last = seqs[shownRows - 1];
  if (!view.range) return { run: run.id, metric, first: Math.max(1, last - view.width + 1), last };
  const [from, to] = span(table.column("step"), lo, hi);
  return from < to ? { run: run.id, metric, first: seqs[from], last: seqs[to - 1] } : null;
}
