import assert from "node:assert/strict";
import { test } from "node:test";

import { answers } from "../../web/lib/answers.js";
import { StepTable } from "../../web/lib/table.js";

/** @param {{[column: string]: number[]}} columns */
function tableOf(columns) {
  const table = new StepTable();
  table.add(new Map(Object.entries(columns).map(([name, values]) => [name, Float64Array.from(values)])));
  return table;
}

/** Norms 0.01, 0.02, ... 2.00; every second step was clipped to half its norm. */
const HUNDREDTHS = tableOf({
  seq: Array.from({ length: 200 }, (_, i) => i + 1),
  norm: Array.from({ length: 200 }, (_, i) => (i + 1) / 100),
  clipped_tensors: Array.from({ length: 200 }, (_, i) => i % 2),
  coef: Array.from({ length: 200 }, (_, i) => (i % 2 ? 0.5 : 1)),
  clamped_fraction: Array.from({ length: 200 }, (_, i) => (i % 2 ? 0.2 : 0)),
});

/**
 * @param {StepTable} table
 * @param {string} mode
 */
const here = (table, mode) => answers(table, mode).map((answer) => answer.here);

test("without steps there are answers, but no numbers", () => {
  assert.deepEqual(here(new StepTable(), "norm"), ["", "", ""]);
  assert.ok(answers(new StepTable(), "norm").every(({ answer, sources }) => answer && sources.length > 0));
});

test("when to clip: how far the largest norm is from the median", () => {
  assert.equal(here(HUNDREDTHS, "norm")[0], "Here the largest recent norm, 2.00, is 1.99 × the median, 1.00.");
  assert.equal(here(tableOf({ seq: [1], norm: [0] }), "norm")[0], "Most norms here are zero.");
});

test("by norm or by value: what the mode in force does to this run", () => {
  assert.equal(here(HUNDREDTHS, "norm")[1], "Here 50.0 % of recent steps were clipped; the mean coefficient is 0.750.");
  assert.equal(here(HUNDREDTHS, "value")[1], "Here 50.0 % of recent steps were clamped, on average 10.0 % of their elements.");
  assert.equal(here(HUNDREDTHS, "off")[1], "Here nothing is clipped: mode off only measures.");
});

test("the threshold: what the usual choices are for these norms, and what they would clip", () => {
  assert.equal(
    here(HUNDREDTHS, "norm")[2],
    "Here half to ten times the average is 0.502 to 10.0; 1.80 would clip 10 % of recent steps, 1.98 would clip 1 %, and 1.0 would clip 50.0 %.",
  );
});

test("a NaN norm enters none of the numbers", () => {
  const answered = here(tableOf({ seq: [1, 2], norm: [NaN, 1], clipped_tensors: [0, 0], coef: [NaN, 1] }), "norm");
  assert.ok(!answered.join(" ").includes("NaN"));
});
