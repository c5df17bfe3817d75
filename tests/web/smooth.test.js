import assert from "node:assert/strict";
import { test } from "node:test";

import { smooth } from "../../web/lib/smooth.js";
import { NOT_LOGGED } from "../../web/lib/wire.js";

const steps = Float64Array.from({ length: 1000 }, (_, i) => i + 1);

test("a constant stays what it is", () => {
  assert.ok(smooth(steps, new Float64Array(1000).fill(2.5), 50).every((value) => Math.abs(value - 2.5) < 1e-12));
});

test("after a jump the average has gone 1 - 1/e of the way when the memory is over", () => {
  const jump = steps.map((step) => (step <= 500 ? 0 : 1));
  assert.ok(Math.abs(smooth(steps, jump, 50)[549] - (1 - 1 / Math.E)) < 1e-9);
});

test("a NaN neither enters the average nor ends it", () => {
  const averaged = smooth(steps.subarray(0, 4), Float64Array.of(1, NaN, Infinity, 1), 50);
  assert.deepEqual([...averaged], [1, NOT_LOGGED, NOT_LOGGED, 1]);
});

test("a thinned history ends at the same average as the whole one", () => {
  const values = steps.map((step) => 1 + step / 1000);
  const every10 = (/** @type {Float64Array} */ column) => column.filter((_, i) => i % 10 === 9);
  const whole = smooth(steps, values, 50).at(-1) ?? NaN;
  const thinned = smooth(every10(steps), every10(values), 50).at(-1) ?? NaN;
  assert.ok(Math.abs(whole - thinned) < 0.01, `${whole} and ${thinned}`);
});
