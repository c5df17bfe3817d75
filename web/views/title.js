/** The tab's title: it tells of failure and NaN when the page is not looked at. */

import { recent } from "../lib/recent.js";

/** @param {import("../store.js").Store} store */
export function titleView(store) {
  return () => {
    const { run, table, connection } = store;
    const state = run?.state === "failed" ? "failed" : recent(table).nonfinite > 0 ? "NaN" : connection.state === "lost" ? "reconnecting" : "";
    const title = [state, run?.name, "clipcore"].filter(Boolean).join(" · ");
    if (document.title !== title) document.title = title;
  };
}
