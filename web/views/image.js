/** Save a chart as an image that says what it shows. */

import { count } from "../lib/format.js";
import { make } from "./dom.js";

/** @typedef {import("../store.js").Store} Store */

/**
 * Put a menu into a chart's heading.
 * @param {{element: HTMLElement, chart: import("../charts.js").Chart}} view
 * @param {Store} store
 * @param {string} heading  what the chart shows
 */
export function imageMenu({ element, chart }, store, heading) {
  const formats = /** @type {const} */ (["png", "svg"]).map((format) => {
    const button = make("button", { type: "button" }, format.toUpperCase());
    button.addEventListener("click", async () => {
      menu.open = false;
      await chart.save(format, imageTitle(store, heading));
    });
    return button;
  });
  const icon = make("summary", { title: "Save as an image", "aria-label": `Save as an image: ${heading}` }, "↓");
  const menu = make("details", { class: "save" }, icon, make("div", {}, ...formats));
  menu.addEventListener("focusout", ({ relatedTarget }) => {
    if (!(relatedTarget instanceof Node && menu.contains(relatedTarget))) menu.open = false;
  });
  const caption = element.closest("figure")?.querySelector("figcaption");
  (caption?.querySelector(".tools") ?? caption)?.append(menu);
}

/**
 * @param {Store} store
 * @param {string} heading
 */
function imageTitle({ run, range: [first, last] }, heading) {
  return `${run?.name} ${run?.id.slice(0, 4)}: ${heading}, steps ${count(first)} to ${count(last)}`;
}
