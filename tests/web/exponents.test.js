import assert from "node:assert/strict";
import { test } from "node:test";

import { exponentGrid, FORMATS, lossWords, lostIn, shareBeyond } from "../../web/lib/exponents.js";

/** Two elements in 0.25..0.5, four in 0.5..1, two in 1..2, two zeros. */
const exponents = { first: 125, counts: [2, 4, 2], zeros: 2, every: 64 };

test("at a power of two the share is that of the bins above", () => {
  assert.deepEqual([0.25, 0.5, 1, 2].map((limit) => shareBeyond(exponents, limit)), [0.8, 0.6, 0.2, 0]);
});

test("between powers of two a tail as steep as a normal distribution's is met, far out too", () => {
  const tail = (/** @type {number} */ size) => Math.exp(-size * size / 2);
  const counts = Array.from({ length: 24 }, (_, bin) => Math.round(1e6 * (tail(2 ** (bin - 20)) - tail(2 ** (bin - 19)))));
  for (let limit = 0.01; limit < 3.7; limit *= 1.07) {
    const told = shareBeyond({ first: 127 - 20, counts, zeros: 0, every: 1 }, limit) / tail(limit);
    assert.ok(told > 0.6 && told < 1.6, `at ${limit}: ${told} of it`);
  }
});

test("a limit below all clamps all but zeros, one beyond all nothing", () => {
  assert.deepEqual([0, 1e-30, 1e30, Infinity].map((limit) => shareBeyond(exponents, limit)), [0.8, 0.8, 0, 0]);
});

test("infinities and NaN count neither way", () => {
  assert.equal(shareBeyond({ first: 254, counts: [3, 99], zeros: 1, every: 1 }, 1), 0.75);
});

test("without elements there is no share", () => {
  assert.ok(Number.isNaN(shareBeyond({ first: 0, counts: [], zeros: 0, every: 1 }, 1)));
});

/** @param {import("../../web/lib/exponents.js").Exponents} counted */
const lost = (counted) => Object.fromEntries(FORMATS.map((format) => [format.name, lostIn(counted, format)]));

test("a format flushes what is below half of its least number", () => {
  const counted = { first: 127 - 26, counts: [1, 1, 0, 0, 0, 0, 0, 0, 2], zeros: 6, every: 1 };
  assert.deepEqual(lost(counted), {
    fp16: { zero: 0.1, over: 0 },
    bf16: { zero: 0, over: 0 },
    "fp8 e5m2": { zero: 0.4, over: 0 },
    "fp8 e4m3": { zero: 0.4, over: 0 },
  });
});

test("a format overflows beyond its largest number", () => {
  const counted = { first: 127 + 8, counts: [1, 1, 0, 0, 0, 0, 0, 0, 1], zeros: 0, every: 1 };
  const { fp16, bf16, "fp8 e4m3": e4m3 } = lost(counted);
  assert.equal(fp16.over.toFixed(3), "0.333");
  assert.deepEqual(bf16, { zero: 0, over: 0 });
  assert.ok(e4m3.over * 3 > 2 && e4m3.over * 3 < 2.3); // those from 512 on, and some from 448
});

test("bf16 holds the least and the largest of float32's exponents", () => {
  assert.deepEqual(lost({ first: 0, counts: [1], zeros: 0, every: 1 }).bf16, { zero: 0, over: 0 });
  assert.ok(lost({ first: 254, counts: [1], zeros: 0, every: 1 }).bf16.over < 0.01);
});

test("what would be lost is one sentence, marked when it is sampled", () => {
  const small = { first: 127 - 26, counts: [1, 1, 8], zeros: 0, every: 64 };
  assert.equal(
    lossWords(small),
    "fp16 would flush 10.0 % of the elements to zero, fp8 e5m2 100 %, fp8 e4m3 100 %; bf16 can hold all; sampled: 1 block in 64",
  );
  assert.equal(lossWords({ first: 127, counts: [1], zeros: 0, every: 1 }), "fp16, bf16, fp8 e5m2, fp8 e4m3 can hold all");
  const large = { first: 127 + 12, counts: [1, 3], zeros: 0, every: 1 };
  assert.equal(lossWords(large), "100 % are too large for fp8 e4m3; fp16, bf16, fp8 e5m2 can hold all");
});

/**
 * @param {number} step
 * @param {import("../../web/lib/exponents.js").Exponents | null} counted
 */
const picture = (step, counted) => {
  const none = new Float64Array(0);
  return { step, norms: none, coefs: none, clamped: none, shares: none, exponents: counted };
};

test("a grid of shares by size has a cell for every exponent between the least and the largest, NaN where there is none", () => {
  const { steps, lowest, grid } = exponentGrid([picture(1, exponents), picture(2, null), picture(3, { ...exponents, first: 127, counts: [8, 0, 0, 90] })], 9);
  assert.deepEqual(steps, [1, 3]);
  assert.equal(lowest, -2);
  assert.deepEqual(grid, [[0.2, NaN], [0.4, NaN], [0.2, 0.08], [NaN, NaN], [NaN, NaN], [NaN, 0.9]]);
});

test("where columns are few, each shows the mean", () => {
  const { steps, grid } = exponentGrid([1, 2].map((step) => picture(step, { first: 127, counts: [step], zeros: 2 - step, every: 1 })), 1);
  assert.deepEqual(steps, [1]);
  assert.deepEqual(grid, [[0.75]]);
});

test("without histograms there is no grid", () => {
  assert.deepEqual(exponentGrid([picture(1, null)], 9), { steps: [], lowest: 0, grid: [] });
});
