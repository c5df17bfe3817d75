import assert from "node:assert/strict";
import { test } from "node:test";

import { abscissa } from "../../web/lib/abscissa.js";
import { StepTable } from "../../web/lib/table.js";

const START = 1_750_000_000;

/**
 * @param {number[]} steps
 * @param {number[]} seconds  since the start
 */
function table(steps, seconds) {
  const made = new StepTable();
  const columns = { seq: steps.map((_, i) => i + 1), step: steps, time: seconds.map((s) => START + s) };
  made.add(new Map(Object.entries(columns).map(([name, values]) => [name, Float64Array.from(values)])));
  return made;
}

/** Ten steps a second, with a pause of a minute after step 20; steps 11 to 19 are not known. */
const paused = table([1, 10, 20, 21, 31], [0, 0.9, 1.9, 62, 63]);

test("by step, a step lies at its number", () => {
  const { column, at, stepAt } = abscissa("step", paused, 5);
  assert.deepEqual([...column], [1, 10, 20, 21, 31]);
  assert.deepEqual([at(15), stepAt(15)], [15, 15]);
});

test("by time, a step lies at its time, one that is not known in between, and one beyond at the average pace", () => {
  const { column, at } = abscissa("time", paused, 5);
  assert.equal(column[3], START + 62);
  assert.deepEqual([20, 15, 26].map((step) => Number((at(step) - START).toFixed(3))), [1.9, 1.4, 62.5]);
  assert.deepEqual([46, -14].map((step) => Number((at(step) - START).toFixed(3))), [94.5, -31.5]);
});

test("a time names the step that was made then", () => {
  const { at, stepAt } = abscissa("time", paused, 5);
  for (const step of [-14, 1, 5, 15, 20, 21, 30, 46]) assert.equal(Math.round(stepAt(at(step)) * 1000), step * 1000);
});

test("only the rows on show count", () => {
  assert.deepEqual([...abscissa("time", paused, 2).column], [START, START + 0.9]);
});

test("one row, or none, has its place too", () => {
  const { at, stepAt } = abscissa("time", table([7], [3]), 1);
  assert.deepEqual([at(7), at(9), stepAt(START)], [START + 3, START + 3, 7]);
  assert.equal(abscissa("time", new StepTable(), 0).at(3), 3);
});

test("steps that repeat after a roll-back do not throw the rest off", () => {
  const { at } = abscissa("time", table([1, 2, 3, 2, 3, 4], [0, 1, 2, 3, 4, 5]), 6);
  assert.equal(at(4), START + 5);
  assert.ok([2, 3].map(at).every((x) => x >= START && x <= START + 5));
});

test("ticks are at round times since the first step", () => {
  const { ticks } = abscissa("time", paused, 5);
  const labels = (/** @type {number} */ seconds) => ticks(START, START + seconds, 4).map(({ label }) => label);
  assert.deepEqual(labels(63), ["0:00", "0:30", "1:00"]);
  assert.deepEqual(labels(2), ["0:00", "0:00.5", "0:01", "0:01.5", "0:02"]);
  assert.deepEqual(labels(9000), ["0:00", "1:00:00", "2:00:00"]);
  assert.deepEqual(labels(400_000), ["0:00", "48:00:00", "96:00:00"]);
  assert.equal(ticks(START, START + 63, 4)[1].value, START + 30);
});

test("steps are ticked at whole numbers, written in full", () => {
  const { ticks } = abscissa("step", paused, 5);
  assert.deepEqual(ticks(1_499_000, 1_500_000, 2).map(({ label }) => label), ["1,499,000", "1,499,500", "1,500,000"]);
  assert.deepEqual(ticks(0, 2, 8).map(({ label }) => label), ["0", "1", "2"]);
});
