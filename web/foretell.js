/** Asks the server what other thresholds would have done to the steps on show, and again as they change. */

import { getReplay, getWhatIf } from "./api.js";
import { span } from "./lib/decimate.js";
import { lastValues } from "./lib/draft.js";
import { RECENT_STEPS } from "./lib/recent.js";
import { write } from "./lib/schema.js";
import { comparedWith, draftedRule } from "./lib/whatif.js";

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
      const [whatif, effect] = await Promise.all([getWhatIf(question), question.rule && getReplay(question, question.rule)]);
      store.foresee({ question, ...whatif, effect });
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
function questionOf(store) {
  const { run, table, view, draft, range: [lo, hi], shownRows } = store;
  if (!run || shownRows === 0) return null;
  const mode = draft?.mode ?? write(run.control.mode);
  const rule = draftedRule(draft, lastValues(store.log, run.control)[mode] ?? {}, store.ownOf(mode));
  const question = { run: run.id, metric: comparedWith(mode) ?? "norm", rule };
  const seqs = table.column("seq");
  const last = seqs[shownRows - 1];
  // A moving rule is tried step by step, which takes the server longer than a curve.
  const width = rule ? Math.min(view.width, RECENT_STEPS) : view.width;
  if (!view.range) return { ...question, first: Math.max(1, last - width + 1), last };
  const [from, to] = span(table.column("step"), lo, hi);
  return from < to ? { ...question, first: seqs[from], last: seqs[to - 1] } : null;
}
