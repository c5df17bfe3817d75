import assert from "node:assert/strict";
import { test } from "node:test";

import { shareBeyond } from "../../web/lib/exponents.js";

/** Two elements in 0.25..0.5, four in 0.5..1, two in 1..2, two zeros. */
const exponents = { first: 125, counts: [2, 4, 2], zeros: 2, every: 64 };

test("at a power of two the share is that of the bins above", () => {
  assert.deepEqual([0.25, 0.5, 1, 2].map((limit) => shareBeyond(exponents, limit)), [0.8, 0.6, 0.2, 0]);
});

test("within a bin the logarithm decides", () => {
  assert.ok(Math.abs(shareBeyond(exponents, Math.SQRT1_2) - 0.4) < 1e-12);
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
