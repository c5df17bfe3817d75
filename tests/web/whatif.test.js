import assert from "node:assert/strict";
import { test } from "node:test";

import { comparedWith, logHistogram, quantile, shareAbove, sortFinite } from "../../web/lib/whatif.js";
import { NOT_LOGGED } from "../../web/lib/wire.js";

const hundred = Float64Array.from({ length: 101 }, (_, i) => i);

test("a norm is compared with norms, an element's limit with the largest element, and other knobs with neither", () => {
  assert.deepEqual(["norm", "value", "agc", "off"].map(comparedWith), ["norm", "max_abs", null, null]);
});

test("only finite, logged values enter, in rising order", () => {
  assert.deepEqual([...sortFinite(Float64Array.of(3, NaN, 10, Infinity, NOT_LOGGED, 0))], [0, 3, 10]);
});

test("quantiles interpolate linearly", () => {
  assert.equal(quantile(hundred, 0.5), 50);
  assert.equal(quantile(hundred, 0.905), 90.5);
  assert.equal(quantile(Float64Array.of(1, 2), 0.25), 1.25);
  assert.ok(Number.isNaN(quantile(new Float64Array(0), 0.5)));
});

test("the share that would be clipped is the share beyond the threshold, itself not included", () => {
  assert.equal(shareAbove(Float64Array.of(1, 2, 2, 4), 2), 0.25);
  assert.equal(shareAbove(Float64Array.of(1, 2, 2, 4), 0), 1);
  assert.equal(shareAbove(Float64Array.of(1, 2, 2, 4), Infinity), 0);
  assert.ok(Number.isNaN(shareAbove(new Float64Array(0), 1)));
});

test("a quantile taken as the threshold clips the share it promises", () => {
  for (const q of [0.5, 0.9, 0.99]) assert.ok(Math.abs(shareAbove(hundred, quantile(hundred, q)) - (1 - q)) <= 0.01);
});

test("every value lies in the bin between its edges, and zeros are counted apart", () => {
  const values = sortFinite(Float64Array.of(0, 0, 0.011, 0.5, 1, 1.7, 42, 1000));
  const histogram = logHistogram(values);
  assert.ok(histogram);
  assert.equal(histogram.zeros, 2);
  assert.equal(histogram.counts.reduce((sum, n) => sum + n), 6);
  assert.ok(histogram.edges[0] <= 0.011 && (histogram.edges.at(-1) ?? 0) >= 1000);
  const inside = (/** @type {number} */ k) => values.filter((v) => v >= histogram.edges[k] * (1 - 1e-12) && v < histogram.edges[k + 1] * (1 - 1e-12)).length;
  histogram.counts.forEach((n, k) => assert.equal(n, inside(k), `bin ${k}`));
});

test("thirty decades fit into the bins wanted", () => {
  assert.ok((logHistogram(Float64Array.of(1e-15, 1, 1e15))?.counts.length ?? Infinity) <= 61);
});

test("only zeros make no histogram", () => {
  assert.equal(logHistogram(Float64Array.of(0, 0)), null);
  assert.equal(logHistogram(new Float64Array(0)), null);
});
