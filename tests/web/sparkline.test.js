import assert from "node:assert/strict";
import { test } from "node:test";

import { sparkline } from "../../web/lib/sparkline.js";

const SIZE = { width: 4, height: 10 };

test("each value is a column of its own while they fit, from the largest at the top to the least at the bottom", () => {
  assert.equal(sparkline(Float64Array.of(1, 10, 100), SIZE), "M0 10V10L1 5V5L2 0V0");
});

test("values that share a column show the least and the largest of them, so a spike survives", () => {
  const values = new Float64Array(4000).fill(1);
  values[2500] = 100;
  assert.equal(sparkline(values, SIZE), "M0 10V10L1 10V10L2 10V0L3 10V10");
});

test("equal values are a line at half height", () => {
  assert.equal(sparkline(Float64Array.of(3, 3), SIZE), "M0 5V5L1 5V5");
});

test("what has no logarithm is passed over", () => {
  assert.equal(sparkline(Float64Array.of(NaN, 1, Infinity, 0, 100), SIZE), "M0 10V10L1 0V0");
  assert.equal(sparkline(Float64Array.of(NaN, 0), SIZE), "");
});
