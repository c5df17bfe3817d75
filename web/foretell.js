/**
 * Asks the server what other thresholds would have done to the steps on show, and again as they change; to those of the
 * runs laid over it only while the panel is seen.
 */

import { getReplay, getWhatIf, RETRY_MS } from "./api.js";
import { lastValues } from "./lib/draft.js";
import { reasonOf } from "./lib/format.js";
import { normsSince } from "./lib/normtype.js";
import { alongside, onShow } from "./lib/overlay.js";
import { RECENT_STEPS } from "./lib/recent.js";
import { comparedWith, draftedRule } from "./lib/whatif.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./lib/whatif.js").Question} Question */

const PAUSE_MS = 1000;
const NO_ROWS = { first: 0, last: 0 };

/**
 * @param {Store} store
 * @param {HTMLElement} panel  that shows it
 */
export function foretell(store, panel) {
  /** @type {WeakMap<object, string>} the last question about the run on show, and about each laid over it */
  const asked = new WeakMap();
  let seen = false;
  let busy = false;
  const look = async () => {
    if (busy || store.connection.state !== "live") return;
    busy = true;
    let pause = PAUSE_MS;
    const questions = questionsOf(store, seen && !document.hidden).filter(([about, question]) => asked.get(about) !== JSON.stringify(question));
    for (const [about, question] of questions) {
      asked.set(about, JSON.stringify(question));
      if (await ask(store, question)) continue;
      asked.delete(about);
      pause = RETRY_MS;
    }
    if (questions.length) await new Promise((resolve) => setTimeout(resolve, pause));
    busy = false;
    if (questions.length) look();
  };
  store.watch(["rows", "view", "run", "draft", "overlay", "connection"], look);
  new IntersectionObserver((entries) => {
    seen = entries.some(({ isIntersecting }) => isIntersecting);
    look();
  }).observe(panel);
}

/**
 * @param {Store} store
 * @param {Question} question
 * @returns {Promise<boolean>}  whether it was answered
 */
async function ask(store, question) {
  try {
    const [whatif, effect] = await Promise.all([getWhatIf(question), question.rule && getReplay(question, question.rule)]);
    store.foresee({ question, ...whatif, effect });
    return true;
  } catch (error) {
    store.say(`What other thresholds would do could not be loaded: ${reasonOf(error)}`);
    return false;
  }
}

/**
 * What to ask now, and about what.
 * @param {Store} store
 * @param {boolean} all  not only of the run on show
 * @returns {[about: object, question: Question][]}
 */
function questionsOf(store, all) {
  const own = questionOf(store);
  if (!own) return [];
  const { view, abscissa, range, overlay } = store;
  const [lo, hi] = range.map(abscissa.at);
  const others = (all ? overlay.runs : []).map((other) => {
    const rows = onShow(alongside(view.unit, other.table, abscissa).x, other.table, [lo, hi]);
    return /** @type {[object, Question]} */ ([other, { run: other.info.id, metric: own.metric, rule: null, ...(rows ?? NO_ROWS) }]);
  });
  return [[store, own], ...others];
}

/**
 * What to ask of the run on show; null when no step is there to be asked about.
 * @param {Store} store
 * @returns {Question | null}
 */
function questionOf(store) {
  const { run, table, view, draft, mode, rules, log, rowsOnShow } = store;
  if (!run || !rowsOnShow) return null;
  const own = rules[mode] && { ...rules[mode], properties: store.ownOf(mode) };
  const rule = draftedRule(draft, own, lastValues(store.log, run.control)[mode] ?? {});
  const metric = comparedWith(own) ?? "norm";
  const { last } = rowsOnShow;
  // A moving rule is tried step by step, which takes the server longer than a curve.
  const recent = rule && !view.range ? last - RECENT_STEPS + 1 : 0;
  const comparable = metric === "norm" ? (table.column("seq")[table.rowSince(normsSince(log))] ?? Infinity) : 0;
  const first = Math.max(rowsOnShow.first, recent, comparable);
  return first <= last ? { run: run.id, metric, rule, first, last } : null;
}
