/** The three questions everyone asks about clipping, answered with a run's own numbers. */

import { number, percent } from "./format.js";
import { firstRecent, recent } from "./recent.js";
import { quantile, sortFinite } from "./whatif.js";

/** @typedef {{question: string, answer: string, here: string, sources: {title: string, url: string}[]}} Answer */

const PASCANU = { title: "Pascanu et al. 2013", url: "https://arxiv.org/abs/1211.5063" };
const ZHANG = { title: "Zhang et al. 2020", url: "https://arxiv.org/abs/1905.11881" };
const GOODFELLOW = { title: "Goodfellow et al. 2016, section 10.11.1", url: "https://www.deeplearningbook.org/contents/rnn.html" };
const BROWN = { title: "Brown et al. 2020, appendix B", url: "https://arxiv.org/abs/2005.14165" };

/**
 * What holds everywhere, and `here` what the last steps show; "" while there are none.
 * @param {import("./table.js").StepTable} table
 * @param {string} mode
 * @returns {Answer[]}
 */
export function answers(table, mode) {
  const norms = sortFinite(table.column("norm").subarray(firstRecent(table)));
  const known = norms.length > 0;
  return [
    {
      question: "When to clip?",
      answer:
        "Where a few gradients are much larger than the rest: recurrent networks, transformers, first steps, odd batches. "
        + "One such step can undo many. Clip after backward() and unscale_(), before optimizer.step(), once for each of its steps.",
      here: known ? spread(norms) : "",
      sources: [PASCANU, ZHANG],
    },
    {
      question: "Why by norm rather than by value?",
      answer:
        "Scaling the whole gradient keeps its direction, so a clipped step still goes downhill, only less far. Clamping elements "
        + "changes the direction, more so the more of them it clamps; in exchange it does not need the global norm first.",
      here: known ? effect(table, mode) : "",
      sources: [GOODFELLOW],
    },
    {
      question: "How to choose the threshold?",
      answer:
        "From the norms: measure some hundred steps in mode off, then take what leaves most of them alone. Half to ten times the average "
        + "norm converged for those who proposed it; many large language models use 1.0. Then turn the knob and watch the loss.",
      here: known ? choices(norms) : "",
      sources: [PASCANU, BROWN],
    },
  ];
}

/** @param {Float64Array} norms  in rising order */
function spread(norms) {
  const [median, largest] = [quantile(norms, 0.5), norms[norms.length - 1]];
  if (median === 0) return "Most norms here are zero.";
  return `Here the largest recent norm, ${number(largest)}, is ${number(largest / median)} × the median, ${number(median)}.`;
}

/**
 * @param {import("./table.js").StepTable} table
 * @param {string} mode
 */
function effect(table, mode) {
  const { clipped, meanCoef } = recent(table);
  const cut = `${percent(clipped)} of recent steps`;
  if (mode === "off") return "Here nothing is clipped: mode off only measures.";
  if (mode !== "value") return `Here ${cut} were clipped; the mean coefficient is ${number(meanCoef)}.`;
  const clamped = sortFinite(table.column("clamped_fraction").subarray(firstRecent(table)));
  return `Here ${cut} were clamped, on average ${percent(mean(clamped))} of their elements.`;
}

/** @param {Float64Array} norms  in rising order */
function choices(norms) {
  const average = mean(norms);
  const [p90, p99] = [quantile(norms, 0.9), quantile(norms, 0.99)];
  const above = norms.filter((norm) => norm > 1).length / norms.length;
  return (
    `Here half to ten times the average is ${number(average / 2)} to ${number(average * 10)}; ${number(p90)} would clip 10 % of recent steps, `
    + `${number(p99)} would clip 1 %, and 1.0 would clip ${percent(above)}.`
  );
}

/** @param {Float64Array} values */
function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
