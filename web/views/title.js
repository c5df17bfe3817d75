/** The tab's title: it tells of failure, NaN and silence when the page is not looked at. */

import { recent } from "../lib/recent.js";

/** @param {import("../store.js").Store} store */
export function titleView(store) {
  return () => {
    const title = [alarm(store), store.run?.name, "clipcore"].filter(Boolean).join(" · ");
    if (document.title !== title) document.title = title;
  };
}

/** @param {import("../store.js").Store} store */
function alarm({ run, table, connection }) {
  if (run?.state === "failed") return "failed";
  if (recent(table).nonfinite > 0) return "NaN";
  if (connection.state === "lost") return "reconnecting";
  return run?.state === "disconnected" ? "trainer silent" : "";
}
