/** What the server or the page has to say beside the charts: one sentence that goes by itself. */

import { setText } from "./dom.js";

const SHOWN_MS = 8000;

/**
 * @param {HTMLElement} output
 * @param {import("../store.js").Store} store
 */
export function noticeView(output, store) {
  let hiding = 0;
  store.watch(["notice"], () => {
    setText(output, store.notice);
    output.hidden = store.notice === "";
    clearTimeout(hiding);
    hiding = window.setTimeout(() => (output.hidden = true), SHOWN_MS);
  });
}
