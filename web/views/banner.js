/** What became of the run, and the one thing to do next. */

import { endingOf } from "../lib/endings.js";
import { find, setText } from "./dom.js";
import { withStep } from "./step.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../lib/wire.js").RunInfo} RunInfo */

/**
 * @param {HTMLElement} banner
 * @param {Store} store
 * @param {{another: () => void, again: (run: RunInfo) => void}} start  ask what to start, or for the same once more
 */
export function bannerView(banner, store, { another, again }) {
  const text = find(banner, "#banner-text", HTMLElement);
  const details = find(banner, "#banner-details", HTMLDetailsElement);
  const trace = find(banner, "#banner-trace", HTMLElement);
  const anotherButton = find(banner, "#banner-start", HTMLButtonElement);
  const againButton = find(banner, "#banner-again", HTMLButtonElement);
  anotherButton.addEventListener("click", another);
  againButton.addEventListener("click", () => store.run && again(store.run));
  store.watch(["run"], () => {
    const { run } = store;
    const ending = run && endingOf(run);
    banner.hidden = !ending;
    if (!ending) return;
    banner.dataset.tone = ending.tone;
    if (text.textContent !== ending.words) text.replaceChildren(...withStep(store, ending.words, ending.step));
    details.hidden = !run.reason.trimEnd().includes("\n");
    setText(trace, run.reason);
    anotherButton.hidden = store.readOnly || !store.over;
    againButton.hidden = anotherButton.hidden || run.workload === null;
  });
}
