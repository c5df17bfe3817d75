import assert from "node:assert/strict";
import { test } from "node:test";

import { followRange, fromSlider, linearAxis, linearTicks, logAxis, logTicks, near, roundDown, roundUp, toSlider } from "../../web/lib/scale.js";

/** @param {number[]} values */
const column = (...values) => [Float64Array.from(values)];

test("round numbers are 1, 2 or 5 times a power of ten, and stay where they are", () => {
  assert.deepEqual([0.07, 0.5, 1, 3.3, 9.9, 1000].map((value) => roundDown(value)), [0.05, 0.5, 1, 2, 5, 1000]);
  assert.deepEqual([0.07, 0.5, 1, 3.3, 9.9, 1000].map((value) => roundUp(value)), [0.1, 0.5, 1, 5, 10, 1000]);
});

test("a log axis spans its values with round bounds, not far beyond them", () => {
  const bounds = [[0.3, 7], [0.55, 2.5], [638, 642]].map((values) => logAxis(column(...values)));
  assert.deepEqual(bounds.map(({ lo, hi }) => [lo, hi]), [[0.2, 10], [0.5, 3], [500, 1000]]);
});

test("a log axis holds still while values move a little", () => {
  assert.deepEqual(logAxis(column(0.34, 6.5)), logAxis(column(0.45, 5.9)));
});

test("zeros have a line of their own below the least positive value", () => {
  const { lo, ticks } = logAxis(column(0, 0.3, 7));
  assert.ok(lo < 0.2);
  assert.deepEqual(ticks[0], { value: lo, label: "0" });
});

test("all zeros, or nothing at all, still make an axis", () => {
  for (const values of [column(0, 0), column()]) {
    const { lo, hi, ticks } = logAxis(values);
    assert.ok(lo > 0 && hi > lo);
    assert.equal(ticks[0].label, "0");
  }
});

test("an exploding norm gets ticks at whole decades, few enough to read", () => {
  const { ticks } = logAxis(column(1e-3, 1e38));
  assert.ok(ticks.length >= 4 && ticks.length <= 8, String(ticks.length));
});

test("within a few decades 1, 2 and 5 are ticks", () => {
  assert.deepEqual(logTicks(0.2, 10, 6).map((t) => t.label), ["0.2", "0.5", "1", "2", "5", "10"]);
});

test("within less than a decade ticks are evenly spaced where 1, 2 and 5 are too few", () => {
  assert.deepEqual(logTicks(0.55, 1.3, 4).map((t) => t.label), ["0.6", "0.8", "1", "1.2"]);
});

test("linear ticks are round and have no rounding dust", () => {
  assert.deepEqual(linearTicks(0, 1, 5).map((t) => t.label), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
});

test("a linear axis covers its values, a constant one too", () => {
  for (const values of [[2.31, 4.5], [3, 3], [0, 0], [-1, -1]]) {
    const { lo, hi } = linearAxis(column(...values));
    assert.ok(lo <= Math.min(...values) && hi > Math.max(...values), `${values}: ${lo} .. ${hi}`);
  }
});

test("a linear axis ends less than half of its values' range beyond them", () => {
  for (const [lowest, most] of [[1.45, 2.3], [0.9, 3.1], [5.1, 7.05], [101, 350]]) {
    const { lo, hi, ticks } = linearAxis(column(lowest, most));
    assert.ok(lowest - lo < (most - lowest) / 2 && hi - most < (most - lowest) / 2 && ticks.length >= 3, `${lo} .. ${hi}`);
  }
});

test("a linear axis goes below zero only where a value does", () => {
  assert.equal(linearAxis(column(0.1, 4e3)).lo, 0);
  assert.ok(linearAxis(column(-0.1, 4e3)).lo < -0.1);
});

test("counts have whole ticks", () => {
  for (const most of [0, 1, 3, 40]) {
    const { hi, ticks } = linearAxis(column(0, most), { fromZero: true, whole: true });
    assert.ok(hi > most && ticks.length > 1 && ticks.every(({ value }) => Number.isInteger(value)), `${most}: ${ticks.map(({ label }) => label)}`);
  }
});

test("an axis from zero starts at zero", () => {
  assert.equal(linearAxis(column(5, 80), { fromZero: true }).lo, 0);
});

test("the followed range holds the newest step and moves on in strides", () => {
  assert.deepEqual(followRange(1, 20, 1000), [1, 101]);
  const [lo, hi] = followRange(1, 4812, 1000);
  assert.ok(hi >= 4812 && hi - lo === 1000);
  assert.deepEqual(followRange(1, 4813, 1000), [lo, hi]);
});

test("following everything starts at the first step", () => {
  const [lo, hi] = followRange(1, 48_120, Infinity);
  assert.ok(lo === 1 && hi >= 48_120);
});

test("a slider's position and value are each other's inverse, within its ends", () => {
  for (const value of [0.001, 0.02, 1, 37, 100]) assert.equal(fromSlider(toSlider(value, 0.001, 100), 0.001, 100), value);
  assert.deepEqual([0, -1, NaN, 1e9].map((value) => toSlider(value, 0.001, 100)), [0, 0, 0, 1]);
});

test("a bound far from what it bounds does not widen the axis", () => {
  const norms = Float64Array.of(0.5, 2);
  assert.deepEqual([...near(Float64Array.of(1e60, 1, 0, NaN, 1e-9), [norms])], [1]);
  assert.deepEqual([...near(Float64Array.of(1e60), [new Float64Array()])], [1e60]);
});
