/** The view in the page's address, so that a link shows the same picture. */

import { SUBJECTS } from "./layers.js";
import { MOST_RUNS } from "./overlay.js";

/**
 * @typedef {object} Place
 * @property {string | null} run  null for the newest
 * @property {string[]} others  runs laid over it
 * @property {[lo: number, hi: number] | null} range  steps; null follows the newest
 * @property {number} width  steps shown while following; Infinity for all
 * @property {boolean} log
 * @property {boolean} smooth
 * @property {import("./abscissa.js").Unit} unit  of the x-axis
 * @property {import("./layers.js").Subject} subject  of the layers' chart
 * @property {boolean} worst  the worst layers first
 * @property {string} find  words of the layers' names
 * @property {string | null} layer  the one on show; null for all
 */

/** @type {Place} */
export const HOME = {
  run: null, others: [], range: null, width: 1000, log: true, smooth: false, unit: "step", subject: "norms", worst: false, find: "", layer: null,
};

/**
 * The query of a place; what is as on a fresh page is left out.
 * @param {Place} place
 * @returns {string} "" or "?run=a1b2&steps=1200-1800"
 */
export function toQuery({ run, others, range, width, log, smooth, unit, subject, worst, find, layer }) {
  const query = new URLSearchParams();
  if (run !== null) query.set("run", run);
  if (others.length) query.set("with", others.join());
  if (range) query.set("steps", range.map((step) => Math.round(step)).join("-"));
  if (width !== HOME.width) query.set("last", width === Infinity ? "all" : String(width));
  if (!log) query.set("axis", "linear");
  if (smooth) query.set("smooth", "on");
  if (unit !== HOME.unit) query.set("x", unit);
  if (subject !== HOME.subject) query.set("layers", subject);
  if (worst) query.set("sort", "worst");
  if (find) query.set("find", find);
  if (layer !== null) query.set("layer", layer);
  return query.size ? `?${query}`.replaceAll("%2C", ",") : "";
}

/**
 * The place that a query names; what cannot be read is as on a fresh page.
 * @param {string} search
 * @returns {Place}
 */
export function fromQuery(search) {
  const query = new URLSearchParams(search);
  const steps = /^(\d+)-(\d+)$/.exec(query.get("steps") ?? "");
  const last = query.get("last");
  const width = last === "all" ? Infinity : Number(last);
  return {
    run: query.get("run"),
    others: [...new Set(query.get("with")?.match(/[\w-]+/g))].slice(0, MOST_RUNS - 1),
    range: steps && Number(steps[1]) < Number(steps[2]) ? [Number(steps[1]), Number(steps[2])] : null,
    width: width >= 1 ? width : HOME.width,
    log: query.get("axis") !== "linear",
    smooth: query.get("smooth") === "on",
    unit: query.get("x") === "time" ? "time" : HOME.unit,
    subject: SUBJECTS.find((each) => each === query.get("layers")) ?? HOME.subject,
    worst: query.get("sort") === "worst",
    find: query.get("find") ?? HOME.find,
    layer: query.get("layer"),
  };
}
