/** How a run ended, and the one thing to do next. */

import { count } from "../lib/format.js";
import { find, setText } from "./dom.js";
import { lastLine } from "./log.js";

/** @typedef {import("../store.js").Store} Store */

/**
 * @param {HTMLElement} banner
 * @param {Store} store
 * @param {() => void} startAnother
 */
export function bannerView(banner, store, startAnother) {
  const text = find(banner, "#banner-text", HTMLElement);
  const details = find(banner, "#banner-details", HTMLDetailsElement);
  const trace = find(banner, "#banner-trace", HTMLElement);
  const start = find(banner, "#banner-start", HTMLButtonElement);
  start.addEventListener("click", startAnother);
  store.watch(["run"], () => {
    const { run } = store;
    banner.hidden = !store.over;
    if (!run || !store.over) return;
    banner.dataset.state = run.state;
    setText(text, endWords(run));
    details.hidden = !run.reason.trimEnd().includes("\n");
    setText(trace, run.reason);
    start.hidden = store.readOnly;
  });
}

/** @param {import("../lib/wire.js").RunInfo} run */
function endWords({ state, reason, step }) {
  const why = lastLine(reason);
  return `Run ${state} at step ${count(step)}${why ? `: ${why}` : ""}`;
}
