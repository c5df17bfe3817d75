/** What stands where the charts will be, until the server has said what there is. */

import { ordinal } from "../lib/format.js";
import { find, setText } from "./dom.js";

/**
 * @param {HTMLElement} section
 * @param {import("../store.js").Store} store
 */
export function waitingView(section, store) {
  const [heading, advice] = [find(section, "h2", HTMLElement), find(section, "p", HTMLElement)];
  store.watch(["connection"], () => {
    const [what, next] = words(store.connection);
    setText(heading, what);
    setText(advice, next);
  });
}

/**
 * @param {import("../store.js").Connection} connection
 * @returns {[what: string, next: string]}
 */
function words({ state, attempt }) {
  if (state !== "lost") return ["Loading", "Loading the run's history."];
  return ["The server does not answer", `This page tries again by itself (${ordinal(attempt)} try). Is clipcore serve running?`];
}
