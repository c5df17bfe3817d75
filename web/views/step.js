/** A step as a button that takes the charts to it. */

import { count } from "../lib/format.js";
import { make } from "./dom.js";

/** @typedef {import("../store.js").Store} Store */

/**
 * @param {Store} store
 * @param {number} step
 * @param {string} [words]
 */
export function stepButton(store, step, words = count(step)) {
  const button = make("button", { type: "button", class: "step", title: "Show this step on the charts" }, words);
  button.addEventListener("click", () => store.showStep(step));
  return button;
}

/**
 * A sentence in which a step can be pressed where it is named first.
 * @param {Store} store
 * @param {string} sentence
 * @param {number | null} step
 * @returns {(Node | string)[]}
 */
export function withStep(store, sentence, step) {
  if (step === null) return [sentence];
  const words = `step ${count(step)}`;
  const [before, ...after] = sentence.split(words);
  return [before, stepButton(store, step, words), after.join(words)];
}
