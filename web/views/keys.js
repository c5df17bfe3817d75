/** Keys for everything, listed in the help, and never in the way of typing. */

import { make } from "./dom.js";

/**
 * @typedef {object} Key
 * @property {string} shown  as the help lists it
 * @property {string} does
 * @property {(key: string) => (() => void) | null} action  for a KeyboardEvent's key; null when it is another's
 */

/**
 * A key that does one thing.
 * @param {string} key
 * @param {string} does
 * @param {() => void} run
 * @param {string} [shown]
 * @returns {Key}
 */
export function bind(key, does, run, shown = key) {
  return { shown, does, action: (pressed) => (pressed === key ? run : null) };
}

/**
 * @param {HTMLElement} list
 * @param {Key[]} keys
 */
export function keysView(list, keys) {
  list.replaceChildren(...keys.flatMap(({ shown, does }) => [make("dt", {}, make("kbd", {}, shown)), make("dd", {}, does)]));
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTaken(event)) return;
    const run = keys.map(({ action }) => action(event.key)).find((action) => action !== null);
    if (!run) return;
    event.preventDefault();
    run();
  });
}

/**
 * The key belongs to what has the focus: text to a field, space and Enter to a button, everything to a dialog.
 * @param {KeyboardEvent} event
 */
function isTaken({ key, target }) {
  if (!(target instanceof Element)) return false;
  if (target.closest("dialog")) return true;
  if (target.closest("input:not([type=range]), select, textarea")) return key !== "Escape";
  return (key === " " || key === "Enter") && target.closest("button, summary, a") !== null;
}
