/** The newest step, and what clipping did to the last thousand, in a few numbers. */

import { count, number, percent } from "../lib/format.js";
import { recent } from "../lib/recent.js";
import { NOT_LOGGED } from "../lib/wire.js";
import { make, setText } from "./dom.js";

/** @typedef {import("../store.js").Store} Store */

/**
 * @param {HTMLElement} list
 * @param {Store} store
 * @returns {() => void}  draws the numbers
 */
export function nowView(list, store) {
  const [norm, coef, clipped, nonfinite] = ["norm", "coefficient", "steps clipped", "non-finite steps"].map((title) => {
    const value = make("b", {}, "–");
    const remark = make("small");
    list.append(make("div", {}, make("dt", {}, title), make("dd", {}, value, remark)));
    return { value, remark };
  });
  return () => {
    const { table } = store;
    const last = table.length - 1;
    const show = (/** @type {string} */ name) => (last < 0 || table.at(name, last) === NOT_LOGGED ? "–" : number(table.at(name, last)));
    const { steps, clipped: share, meanCoef, nonfinite: bad } = recent(table);
    setText(norm.value, `${show("norm")} → ${show("clipped_norm")}`);
    setText(coef.value, show("coef"));
    setText(coef.remark, Number.isNaN(meanCoef) ? "" : `mean ${number(meanCoef)}`);
    setText(clipped.value, Number.isNaN(share) ? "–" : percent(share));
    setText(clipped.remark, Number.isNaN(share) ? "" : `of the last ${count(steps - bad)}${bad ? " finite" : ""}`);
    setText(nonfinite.value, count(bad));
    nonfinite.value.classList.toggle("bad", bad > 0);
    setText(nonfinite.remark, steps ? `of the last ${count(steps)}` : "");
  };
}
