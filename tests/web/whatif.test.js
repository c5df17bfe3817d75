import assert from "node:assert/strict";
import { test } from "node:test";

import { clippedAt, coefAt, comparedWith, draftedRule, fixedBeside, quantile, shareCurve, sortFinite } from "../../web/lib/whatif.js";
import { NOT_LOGGED } from "../../web/lib/wire.js";
import { RULES } from "./rules.js";

const hundred = Float64Array.from({ length: 101 }, (_, i) => i);

test("a norm is compared with norms, an element's limit with the largest element, and other knobs with neither", () => {
  assert.deepEqual(["norm", "value", "layer", "agc", "autoclip", "off"].map((mode) => comparedWith(RULES[mode])), ["norm", "max_abs", null, null, null, null]);
});

test("beside a mode without a fixed bound the curve is about mode norm, where the global norm decides", () => {
  assert.deepEqual(["norm", "value", "off", "autoclip", "zclip", "layer", "agc", "adagc"].map((mode) => fixedBeside(mode, RULES[mode])), ["norm", "value", "norm", "norm", "norm", null, null, null]);
});

test("a drafted rule whose bound moves is tried with its own numbers: as typed, else the last ones", () => {
  const rule = { ...RULES.autoclip, properties: { percentile: { type: "number" }, window: { type: "integer" }, max_norm: { type: "number" } } };
  const remembered = { percentile: 10, window: 500, lr: 0.1 };
  const draft = { mode: "autoclip", texts: { percentile: "25", max_norm: "inf", lr: "3" } };
  assert.deepEqual(draftedRule(draft, rule, remembered), { mode: "autoclip", parameters: { percentile: 25, window: 500 } });
  assert.equal(draftedRule({ ...draft, mode: "norm" }, RULES.norm, remembered), null);
  assert.equal(draftedRule(null, rule, remembered), null);
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

/** What the server says of norms 0, 1, 10 and 100, but for the 1e-6 that clipping adds to a norm. */
const effect = {
  steps: 4,
  curve: { threshold: [1, 10, 100], clipped: [0.5, 0.25, 0], coef: [(2 + 0.1 + 0.01) / 4, 3.1 / 4, 1] },
  histogram: { edges: [1, 10, 100, 1000], counts: [1, 1, 1], zeros: 1, below: 0, beyond: 0 },
  suggestions: [],
};

test("at a threshold of the curve the share and the coefficient are the curve's", () => {
  assert.deepEqual([1, 10, 100].map((limit) => clippedAt(effect, limit)), [0.5, 0.25, 0]);
  assert.deepEqual([10, 100].map((limit) => coefAt(effect, limit)), [0.775, 1]);
});

test("between two norms the share stays, and the coefficient grows with the threshold", () => {
  assert.equal(clippedAt(effect, 4), 0.5);
  assert.ok(Math.abs(coefAt(effect, 4) - (2 + 0.4 + 0.04) / 4) < 1e-12);
});

test("beyond the largest norm nothing is clipped", () => {
  for (const limit of [101, Infinity]) assert.deepEqual([clippedAt(effect, limit), coefAt(effect, limit)], [0, 1]);
});

test("below the least norm all but zero gradients are clipped, in proportion to the threshold", () => {
  assert.equal(clippedAt(effect, 0.5), 0.75);
  assert.ok(Math.abs(coefAt(effect, 0.5) - (1 + 0.5 + 0.05 + 0.005) / 4) < 1e-12);
  assert.equal(coefAt(effect, 0), 0.25);
});

test("where all norms are zero, no threshold clips", () => {
  const zeros = { steps: 300, curve: { threshold: [], clipped: [], coef: [] }, histogram: null, suggestions: [] };
  assert.deepEqual([0, 1].map((limit) => [clippedAt(zeros, limit), coefAt(zeros, limit)]), [[0, 1], [0, 1]]);
  assert.ok(Number.isNaN(clippedAt(zeros, NaN)));
});

test("a share is drawn from end to end of another run's axis", () => {
  assert.deepEqual(shareCurve(effect, [0.1, 50]), { x: [0.1, 1, 10, 50], y: [0.75, 0.5, 0.25, 0.25] });
  assert.deepEqual(shareCurve(effect, [200, 300]), { x: [200, 300], y: [0, 0] });
});

test("without steps, without a threshold, or for a clamp's coefficient there is no answer", () => {
  const empty = { steps: 0, curve: { threshold: [], clipped: [], coef: [] }, histogram: null, suggestions: [] };
  assert.ok(Number.isNaN(clippedAt(empty, 1)));
  assert.ok(Number.isNaN(clippedAt(effect, NaN)));
  assert.ok(Number.isNaN(coefAt({ ...effect, curve: { ...effect.curve, coef: null } }, 1)));
});

test("a moving rule is tried only with what it allows", () => {
  const properties = { percentile: { type: "number", minimum: 0, maximum: 100 }, window: { type: "integer", minimum: 1 } };
  const rule = { ...RULES.autoclip, properties };
  const tried = (/** @type {{[name: string]: string}} */ texts) => draftedRule({ mode: "autoclip", texts }, rule, { percentile: 10, window: 5 });
  assert.deepEqual(tried({ percentile: "20" }), { mode: "autoclip", parameters: { percentile: 20, window: 5 } });
  for (const text of ["120", "-1", "fast", ""]) assert.equal(tried({ percentile: text }), null);
  assert.equal(tried({ window: "2.5" }), null);
});
