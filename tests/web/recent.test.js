import assert from "node:assert/strict";
import { test } from "node:test";

import { firstRecent, recent, stepRate } from "../../web/lib/recent.js";
import { StepTable } from "../../web/lib/table.js";

/**
 * @param {{[column: string]: number[]}} columns
 */
function tableOf(columns) {
  const table = new StepTable();
  table.add(new Map(Object.entries(columns).map(([name, values]) => [name, Float64Array.from(values)])));
  return table;
}

test("the last steps are counted by seq, so a thinned history does not reach further back", () => {
  const table = tableOf({ seq: [1, 50, 90, 99, 100] });
  assert.equal(firstRecent(table, 10), 3);
  assert.equal(firstRecent(table, 1000), 0);
});

test("a step is clipped when any of its tensors was; one with a non-finite norm counts as neither", () => {
  const table = tableOf({ seq: [1, 2, 3, 4, 5], clipped_tensors: [0, 2, 1, 0, 3], coef: [1, 0.5, 0.9, 0.8, NaN], norm: [1, 2, 3, 1, NaN] });
  const { steps, clipped, meanCoef, nonfinite } = recent(table);
  assert.deepEqual([steps, clipped, nonfinite], [5, 0.5, 1]);
  assert.ok(Math.abs(meanCoef - 0.8) < 1e-12);
});

test("no steps have no share, nor have steps without a finite norm", () => {
  assert.ok(Number.isNaN(recent(new StepTable()).clipped));
  assert.ok(Number.isNaN(recent(tableOf({ seq: [1], clipped_tensors: [3], coef: [NaN], norm: [NaN] })).clipped));
});

test("the step rate is steps over time in the last five seconds", () => {
  const seconds = Array.from({ length: 200 }, (_, i) => i);
  const table = tableOf({ seq: seconds.map((i) => i + 1), step: seconds.map((i) => i + 1), time: seconds.map((i) => 1000 + i / 20) });
  assert.ok(Math.abs(stepRate(table) - 20) < 1e-6);
});

test("one step makes no rate", () => {
  assert.ok(Number.isNaN(stepRate(tableOf({ seq: [1], step: [1], time: [1000] }))));
});

test("a training that went back to an earlier step is timed from there", () => {
  const seconds = Array.from({ length: 80 }, (_, i) => i / 20);
  const step = seconds.map((_, i) => (i < 50 ? 1000 + i : i));
  const table = tableOf({ seq: seconds.map((_, i) => i + 1), step, time: seconds.map((s) => 1000 + s) });
  assert.ok(Math.abs(stepRate(table) - 20) < 1e-6);
});
