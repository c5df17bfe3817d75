/** Steps in words as buttons: each takes the charts to its step. */

import { count } from "../lib/format.js";
import { make } from "./dom.js";

/** @typedef {import("../store.js").Store} Store */

const STEP = /\b(step [\d,]+)/;

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
 * A sentence whose steps can be pressed.
 * @param {Store} store
 * @param {string} sentence
 * @returns {(Node | string)[]}
 */
export function withSteps(store, sentence) {
  return sentence.split(STEP).map((part) => {
    return STEP.test(part) ? stepButton(store, Number(part.replace(/\D/g, "")), part) : part;
  });
}
