/**
 * What the last steps call for: each piece of advice says what was seen, what people do about it, and who says so.
 *
 * All checks read the rows as they are in the table. Where these are a thinned history, extremes and non-finite rows are
 * still among them, so "none" and "the largest" hold; shares are only told when every row is there.
 */

import { count, number, percent } from "./format.js";
import { RECENT_STEPS, firstRecent, shareClipped } from "./recent.js";
import { comparedWith, quantile, sortFinite } from "./whatif.js";

/**
 * @typedef {object} Advice
 * @property {string} kind
 * @property {string} seen  one sentence with numbers
 * @property {number | null} step  to look at
 * @property {string} advised
 * @property {{title: string, url: string}} source
 */

/** @typedef {Pick<import("./layers.js").Picture, "step" | "norms">} Look */

/**
 * @typedef {object} Evidence
 * @property {import("./table.js").StepTable} table
 * @property {import("./wire.js").Patch} control  the clipper's configuration
 * @property {import("./schema.js").Rule | undefined} rule  of its mode
 * @property {number} since  the first step under that configuration
 * @property {number} comparable  the first step whose norm is of the type that is measured now
 * @property {Look[]} pictures
 * @property {string[]} layers  their names
 * @property {Pick<import("./wire.js").LogEntry, "step" | "data">[]} log
 */

const IDLE_STEPS = 2000;
const MOSTLY = 0.6;
const SPIKE = 5; // x the median
const RARE = 0.02; // more of them than that are no spikes but how the norms are distributed
const FEWEST_STEPS = 300;
const WARM_UP_STEPS = 100; // in which norms fall from wherever the first weights put them
const RISE = 2; // x, over the last steps
const FEWEST_PICTURES = 20;

const PASCANU = { title: "Pascanu et al. 2013, section 3.2", url: "https://arxiv.org/abs/1211.5063" };
const ZHANG = { title: "Zhang et al. 2020", url: "https://arxiv.org/abs/1905.11881" };
const PALM = { title: "Chowdhery et al. 2022, section 5.1", url: "https://arxiv.org/abs/2204.02311" };
const ZCLIP = { title: "Kumar et al. 2025", url: "https://arxiv.org/abs/2504.02507" };
const MIXED = { title: "Micikevicius et al. 2018", url: "https://arxiv.org/abs/1710.03740" };
const DYING = { title: "Lu et al. 2019", url: "https://arxiv.org/abs/1903.06733" };
const DEFAZIO = { title: "Defazio 2025", url: "https://arxiv.org/abs/2506.02285" };

/**
 * What there is to say, the most urgent first.
 * @param {Evidence} evidence
 * @returns {Advice[]}
 */
export function advise(evidence) {
  return [nonfinite, dead, spikes, rising, mostly, never].flatMap((check) => check(evidence) ?? []);
}

/**
 * @param {Evidence} evidence
 * @returns {Advice | null}
 */
function nonfinite({ table, control, pictures, layers, log }) {
  const first = firstRecent(table);
  const norms = table.column("norm").subarray(first);
  const bad = norms.filter((norm) => !Number.isFinite(norm)).length;
  if (bad === 0) return null;
  const step = table.at("step", first + norms.findIndex((norm) => !Number.isFinite(norm)));
  const where = whereTold(log, step, layers)
    || whereNonfinite(pictures.find((picture) => picture.step >= step && picture.norms.some((norm) => !Number.isFinite(norm))), layers);
  const reachesWeights = control.nonfinite === "propagate";
  return {
    kind: "nonfinite",
    step,
    seen: `${steps(bad)} of the last ${count(table.lastSeq - table.at("seq", first) + 1)} had a NaN or infinite norm, first step ${count(step)}${where}.`,
    advised:
      `${reachesWeights ? "One such step ruins the weights: nonfinite = skip, under More, leaves it out. " : ""}`
      + "In float16, scale the loss and clip after unscale_. Otherwise look for a logarithm or a root of 0, or a learning rate that is too high.",
    source: MIXED,
  };
}

/**
 * Where the trainer said it was, in a warning about that very step.
 * @param {Evidence["log"]} log
 * @param {number} step
 * @param {string[]} layers
 */
function whereTold(log, step, layers) {
  const data = log.findLast((entry) => entry.step === step && Array.isArray(entry.data.nonfinite_in))?.data;
  if (!data) return "";
  if (data.layers === layers.length) return ", in every layer";
  return `, in ${listed(/** @type {string[]} */ (data.nonfinite_in), Number(data.layers))}`;
}

/**
 * @param {Look | undefined} picture
 * @param {string[]} layers
 */
function whereNonfinite(picture, layers) {
  if (!picture) return "";
  const bad = layers.filter((_, layer) => !Number.isFinite(picture.norms[layer]));
  if (bad.length === layers.length) return ", in every layer";
  return `, in ${listed(bad)}`;
}

/**
 * @param {Evidence} evidence
 * @returns {Advice | null}
 */
function dead({ table, pictures, layers }) {
  const from = table.at("step", firstRecent(table));
  const looks = pictures.filter(({ step }) => step >= from);
  if (looks.length < FEWEST_PICTURES) return null;
  const zero = layers.filter((_, layer) => looks.every(({ norms }) => norms[layer] === 0));
  if (zero.length === 0 || zero.length === layers.length) return null;
  return {
    kind: "dead",
    step: null,
    seen: `The gradient of ${listed(zero)} was zero every time in steps ${count(looks[0].step)} to ${count(looks[looks.length - 1].step)}.`,
    advised:
      "A parameter that is frozen, or that the loss does not depend on, need not be given to the optimizer and the clipper. "
      + "If it should learn, its units may be dead, as a ReLU is that never fires: a lower learning rate, another initialisation or a leaky activation revives them.",
    source: DYING,
  };
}

/**
 * @param {Evidence} evidence
 * @returns {Advice | null}
 */
function spikes({ table, comparable }) {
  const first = Math.max(firstRecent(table), table.rowSince(WARM_UP_STEPS), table.rowSince(comparable));
  const norms = table.column("norm").subarray(first);
  const sorted = sortFinite(norms);
  const limit = SPIKE * quantile(sorted, 0.5);
  const found = sorted.filter((norm) => norm > limit);
  if (norms.length < FEWEST_STEPS || found.length === 0 || found.length > RARE * sorted.length) return null;
  const largest = found[found.length - 1];
  const step = table.at("step", first + norms.indexOf(largest));
  const passed = sortFinite(table.column("clipped_norm").subarray(first)).filter((norm) => norm > limit).length;
  return {
    kind: "spikes",
    step,
    seen:
      `${count(found.length)} of the last ${count(norms.length)} norms passed ${SPIKE} × the median (${number(limit / SPIKE)}); `
      + `the largest was ${number(largest)}, at step ${count(step)}.`,
    advised: passed
      ? `${count(passed)} still did after clipping. A threshold near p99 (${number(quantile(sorted, 0.99))}) cuts spikes and leaves the rest; mode zclip finds it by itself.`
      : "All were clipped, as intended. If the loss still jumps, a common remedy is to restart from an earlier checkpoint and skip those batches.",
    source: passed ? ZCLIP : PALM,
  };
}

/**
 * @param {Evidence} evidence
 * @returns {Advice | null}
 */
function rising({ table, comparable }) {
  const first = Math.max(firstRecent(table), table.rowSince(comparable));
  const norms = table.column("norm").subarray(first);
  if (!isExact(table, first) || norms.length < RECENT_STEPS || table.at("step", first) < WARM_UP_STEPS) return null;
  const quarter = norms.length >> 2;
  const medians = [0, 1, 2, 3].map((k) => quantile(sortFinite(norms.subarray(k * quarter, (k + 1) * quarter)), 0.5));
  const steady = medians.every((median, k) => k === 0 || median > medians[k - 1]);
  if (!steady || medians[3] < RISE * medians[0]) return null;
  return {
    kind: "rising",
    step: null,
    seen: `The median norm rose from ${number(medians[0])} to ${number(medians[3])} within the last ${steps(norms.length)}.`,
    advised:
      "If the loss rises too, people lower the learning rate or warm up for longer; a lower threshold only hides it. "
      + "A rise late in training, while the learning rate falls and weight decay stays, is common and does no harm.",
    source: DEFAZIO,
  };
}

/**
 * @param {Evidence} evidence
 * @returns {Advice | null}
 */
function mostly({ table, rule, since }) {
  const first = Math.max(firstRecent(table), table.rowSince(since));
  const rows = table.length - first;
  if (comparedWith(rule) !== "norm" || rows < FEWEST_STEPS || !isExact(table, first)) return null;
  const clipped = shareClipped(table, first);
  if (!(clipped > MOSTLY)) return null;
  const p90 = quantile(sortFinite(table.column("norm").subarray(first)), 0.9);
  return {
    kind: "mostly",
    step: null,
    seen: `${percent(clipped)} of the last ${steps(rows)} were clipped.`,
    advised:
      "The threshold then sets the length of nearly every step, as a learning rate does; with Adam, which divides by the "
      + `gradient's size itself, it changes little. Right if that is meant; to cut only what is unusual, use about p90, ${number(p90)}.`,
    source: ZHANG,
  };
}

/**
 * @param {Evidence} evidence
 * @returns {Advice | null}
 */
function never({ table, rule, since }) {
  // A bound that moves clips as often as it means to.
  if (!rule?.bounds || rule.adaptive || table.lastSeq - (table.column("seq")[table.rowSince(since)] ?? Infinity) + 1 < IDLE_STEPS) return null;
  const first = firstRecent(table, IDLE_STEPS);
  if (!(shareClipped(table, first) === 0)) return null;
  const values = sortFinite(table.column(comparedWith(rule) ?? "norm").subarray(first));
  const largest = `the largest ${rule.bounds === "element" ? "element" : "norm"} was ${number(values[values.length - 1])}`;
  return {
    kind: "never",
    step: null,
    seen: `0 of the last ${count(IDLE_STEPS)} steps were clipped; ${largest}.`,
    advised:
      "Fine as a guard against rare spikes. To do more, a threshold has to be near the norms: half to ten times their average still converged "
      + "for those who proposed clipping.",
    source: PASCANU,
  };
}

/**
 * Every step from this row on is in the table.
 * @param {import("./table.js").StepTable} table
 * @param {number} first
 */
function isExact(table, first) {
  return table.lastSeq - table.at("seq", first) + 1 === table.length - first;
}

/** @param {number} n */
function steps(n) {
  return n === 1 ? "1 step" : `${count(n)} steps`;
}

/**
 * @param {string[]} names  all, or the first two
 * @param {number} [many]  how many there are
 * @returns {string} "a", "a and b", "a, b and 3 more"
 */
function listed(names, many = names.length) {
  if (many <= 2) return names.join(" and ");
  return `${names[0]}, ${names[1]} and ${count(many - 2)} more`;
}
