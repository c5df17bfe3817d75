import assert from "node:assert/strict";
import { test } from "node:test";

import { abscissa } from "../../web/lib/abscissa.js";
import { exponentsHeat, layersHeat, rowNames } from "../../web/lib/heat.js";
import { StepTable } from "../../web/lib/table.js";

const SIZE = { width: 400, height: 120 };

/** @type {import("../../web/lib/figures.js").Scene} */
const scene = { table: new StepTable(), abscissa: abscissa("step", new StepTable(), 0), range: [1, 100], mode: "norm", log: [], smooth: false, runs: [] };

/**
 * @param {number} step
 * @param {number[]} norms
 * @param {import("../../web/lib/exponents.js").Exponents | null} [exponents]
 * @returns {import("../../web/lib/layers.js").Picture}
 */
const picture = (step, norms, exponents = null) => {
  const values = Float64Array.from(norms);
  return { step, norms: values, coefs: values, clamped: values, shares: values, exponents };
};

test("layers lie from top to bottom, as many in a row as there is no room for, and named by their number", () => {
  const heat = layersHeat(scene, SIZE, { pictures: [picture(1, Array(90).fill(2))], measure: "norms", layers: [...Array(90).keys()], names: null });
  assert.equal(heat.perRow, 3);
  assert.deepEqual([heat.y.lo, heat.y.hi], [29.5, -0.5]);
  assert.deepEqual(heat.y.ticks.map(({ label }) => label), ["0", "30", "60"]);
});

test("a few layers are named where each has a line, their names shortened in the middle to a third of the chart", () => {
  const names = ["head.bias", "recurrence.weight_hh_l0"];
  const found = rowNames(names, { width: 180, height: 100 });
  assert.deepEqual(found, { names: ["head.bias", "recur…h_l0"], width: 60 });
  const { y } = layersHeat(scene, SIZE, { pictures: [picture(1, [1, 2])], measure: "norms", layers: [1, 0], names: found.names });
  assert.deepEqual(y.ticks, [{ value: 0, label: "head.bias" }, { value: 1, label: "recur…h_l0" }]);
});

test("rows without a line each, and more layers than are read at a glance, are called by number", () => {
  const named = (/** @type {number} */ layers, /** @type {number} */ height) => rowNames(Array(layers).fill("a"), { width: 400, height }).names !== null;
  assert.deepEqual([named(12, 132), named(12, 131), named(13, 400), named(0, 400)], [true, false, false, false]);
});

test("without pictures no layer is named", () => {
  const heat = layersHeat(scene, SIZE, { pictures: [], measure: "norms", layers: [0, 1], names: null });
  assert.deepEqual([heat.columns, heat.y.ticks], [[], []]);
});

test("the colour of coefficients spans 0 to 1, that of others their values", () => {
  const shown = { pictures: [picture(1, [0.5, 0.2])], layers: [0, 1], names: null };
  assert.deepEqual([layersHeat(scene, SIZE, { ...shown, measure: "coefs" }).colour.lo, layersHeat(scene, SIZE, { ...shown, measure: "norms" }).colour.type], [0, "log"]);
});

test("shares are labelled as percentages", () => {
  const { colour } = layersHeat(scene, SIZE, { pictures: [picture(1, [0.5, 0.002])], measure: "shares", layers: [0, 1], names: null });
  assert.ok(colour.ticks.every(({ value, label }) => label === `${Number((value * 100).toPrecision(6))} %`));
});

test("what a format cannot hold is a band from its least or largest number to the end of the axis", () => {
  const counted = { first: 127 - 20, counts: Array(31).fill(1), zeros: 0, every: 1 };
  const { y, bands } = exponentsHeat(scene, SIZE, [picture(1, [], counted)]);
  assert.deepEqual([y.lo, y.hi], [-20, 12]);
  assert.deepEqual(
    bands.map(({ lo, hi, label }) => [lo, hi, label]),
    [[-20, -17, "fp8 e5m2: zero"], [-20, -10, "fp8 e4m3: zero"], [Math.log2(448), 12, "fp8 e4m3: too large"]],
  );
});

test("sizes are labelled as powers of two, their shares as percentages", () => {
  const counted = { first: 127 - 8, counts: [1, 10, 100, 889], zeros: 0, every: 1 };
  const { y, rows, colour } = exponentsHeat(scene, SIZE, [picture(1, [], counted)]);
  assert.deepEqual(y.ticks.map(({ label }) => label), ["2⁻⁸", "2⁻⁴"]);
  assert.deepEqual(rows, [-7.5, -6.5, -5.5, -4.5]);
  assert.deepEqual(colour.ticks.map(({ label }) => label), ["0.1 %", "1 %", "10 %", "100 %"]);
});

test("without counted elements there is nothing to band", () => {
  const { grid, bands, y } = exponentsHeat(scene, SIZE, [picture(1, [1])]);
  assert.deepEqual([grid, bands, y.ticks], [[], [], []]);
});
