/** Which steps the charts show, and on which axis. */

import { find } from "./dom.js";

/**
 * @param {HTMLElement} tools
 * @param {import("../store.js").Store} store
 */
export function rangeView(tools, store) {
  const follow = find(tools, "#follow", HTMLButtonElement);
  const width = find(tools, "#width", HTMLSelectElement);
  const log = find(tools, "#log-axis", HTMLButtonElement);
  const time = find(tools, "#time-axis", HTMLButtonElement);
  const smooth = find(tools, "#smooth", HTMLButtonElement);
  follow.addEventListener("click", () => store.follow());
  width.addEventListener("change", () => store.look({ range: null, width: width.value === "all" ? Infinity : Number(width.value) }));
  log.addEventListener("click", () => store.toggle("log"));
  time.addEventListener("click", () => store.toggleUnit());
  smooth.addEventListener("click", () => store.toggle("smooth"));
  store.watch(["view"], () => {
    follow.hidden = store.view.range === null;
    width.value = store.view.width === Infinity ? "all" : String(store.view.width);
    time.setAttribute("aria-pressed", String(store.view.unit === "time"));
    smooth.setAttribute("aria-pressed", String(store.view.smooth));
    log.setAttribute("aria-pressed", String(store.view.log));
  });
}
