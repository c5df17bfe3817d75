import assert from "node:assert/strict";
import { test } from "node:test";

import { arrange, curveOf, heatGrid, LayerHistory, picturesOf, spacing, within, worstLayer } from "../../web/lib/layers.js";

/**
 * @param {number} step
 * @param {import("../../web/lib/wire.js").Cell[]} norm
 */
const layers = (step, norm) => ({ step, norm, coef: norm.map(() => 1), clamped: norm.map(() => 0), histogram: null });

/**
 * @param {number} step
 * @param {number[]} norms
 */
const picture = (step, ...norms) => ({
  step,
  norms: Float64Array.from(norms),
  coefs: Float64Array.from(norms, (norm) => Math.min(1, 1 / norm)),
  clamped: new Float64Array(norms.length),
  shares: new Float64Array(norms.length),
  exponents: null,
});

test("pictures are kept in the order of their steps, with all their numbers", () => {
  const history = new LayerHistory();
  history.add({ step: 1, norm: [1, "NaN"], coef: [0.5, 1], clamped: [0, 7], histogram: null }, []);
  history.add(layers(5, [3, 4]), []);
  assert.deepEqual(history.pictures.map(({ step }) => step), [1, 5]);
  const [{ norms, coefs, clamped }] = history.pictures;
  assert.deepEqual([norms, coefs, clamped].map((column) => [...column]), [[1, NaN], [0.5, 1], [0, 7]]);
});

test("a roll-back takes the pictures of the steps it undid with it", () => {
  const history = new LayerHistory();
  for (const step of [1, 2, 3, 4]) history.add(layers(step, [step]), []);
  history.add(layers(2, [20]), []);
  assert.deepEqual(history.pictures.map((p) => p.norms[0]), [1, 20]);
});

test("pictures that were missed take their places, and those that are there stay", () => {
  const history = new LayerHistory();
  history.add(layers(4, [4]), []);
  history.add(layers(9, [9]), []);
  history.fill([layers(1, [1]), layers(4, [40]), layers(6, [6])], []);
  assert.deepEqual(history.pictures.map((p) => [p.step, p.norms[0]]), [[1, 1], [4, 4], [6, 6], [9, 9]]);
});

test("the share of a layer's elements that were clamped follows from its size", () => {
  const history = new LayerHistory();
  const clamped = { ...layers(1, [1, 1, 1]), clamped: [5, 0, 20] };
  history.add(clamped, [10, 10, 20]);
  history.fill([{ ...clamped, step: 2 }], [100, 10, 20]);
  assert.deepEqual(history.pictures.map(({ shares }) => [...shares]), [[0.5, 0, 1], [0.05, 0, 1]]);
});

test("the newest histogram of exponents stays until another one comes", () => {
  const history = new LayerHistory();
  const histogram = { first: 120, counts: [1], zeros: 0, every: 64 };
  history.add({ ...layers(1, [1]), histogram }, []);
  history.add(layers(2, [1]), []);
  assert.equal(history.counted?.exponents, histogram);
  history.clear();
  assert.equal(history.counted, null);
});

test("memory stays bounded, and the whole run stays on show, up to the newest picture", () => {
  const history = new LayerHistory();
  for (let step = 1; step <= 5000; step++) history.add(layers(step, [step]), []);
  const steps = history.pictures.map((p) => p.step);
  assert.ok(steps.length >= 200 && steps.length <= 600);
  assert.equal(steps.at(-1), 5000);
  assert.ok(steps.every((step, i) => step - (steps[i - 1] ?? 0) <= 50));
});

test("a grid cell shows the worst value that falls into it", () => {
  const pictures = [1, 2, 3, 4].map((step) => picture(step, step, 10 * step, 100 * step));
  const size = { columns: 2, rows: 2, layers: [0, 1, 2] };
  const { steps, grid, perRow } = heatGrid(pictures, { ...size, measure: "norms" });
  assert.deepEqual(steps, [1, 3]);
  assert.equal(perRow, 2);
  assert.deepEqual(grid, [[20, 40], [200, 400]]);
  assert.deepEqual(heatGrid(pictures, { ...size, measure: "coefs" }).grid, [[1 / 20, 1 / 40], [1 / 200, 1 / 400]]);
});

test("rows follow the order that is asked for", () => {
  const { grid } = heatGrid([picture(1, 1, 2, 3)], { columns: 1, rows: 3, measure: "norms", layers: [2, 0] });
  assert.deepEqual(grid, [[3], [1]]);
});

test("only the pictures in range are drawn", () => {
  const pictures = [1, 2, 3, 4].map((step) => picture(step, step));
  assert.deepEqual(within(pictures, [2, 3]).map(({ step }) => step), [2, 3]);
  assert.deepEqual(heatGrid([], { columns: 9, rows: 9, measure: "norms", layers: [0] }), { steps: [], grid: [[]], perRow: 1 });
});

test("a non-finite norm shows, whatever finite ones share its cell", () => {
  const pictures = [picture(1, 3, NaN, 2, 1, Infinity, 4)];
  const { grid } = heatGrid(pictures, { columns: 1, rows: 3, measure: "norms", layers: [0, 1, 2, 3, 4, 5] });
  assert.deepEqual(grid, [[NaN], [2], [NaN]]);
});

test("layers are found by words of their names, in the model's order", () => {
  const names = ["embed.weight", "blocks.0.attn.weight", "blocks.1.attn.weight", "head.weight"];
  assert.deepEqual(arrange(names, "", null), [0, 1, 2, 3]);
  assert.deepEqual(arrange(names, "ATTN 1", null), [2]);
  assert.deepEqual(arrange(names, "conv", null), []);
});

test("the worst first: largest norm, smallest coefficient, not finite before all", () => {
  const names = ["a", "b", "c"];
  const pictures = [picture(1, 1, 5, 2), picture(2, 1, 1, 7)];
  assert.deepEqual(arrange(names, "", { pictures, measure: "norms" }), [2, 1, 0]);
  assert.deepEqual(arrange(names, "", { pictures, measure: "coefs" }), [2, 1, 0]);
  assert.deepEqual(arrange(names, "", { pictures, measure: "clamped" }), [0, 1, 2]);
  assert.deepEqual(arrange(names, "", { pictures: [picture(1, NaN, 5, 2)], measure: "norms" }), [0, 1, 2]);
  assert.equal(worstLayer(pictures[1], "norms", [0, 1, 2]), 2);
  assert.equal(worstLayer(picture(1, 9, NaN), "norms", [0, 1]), 1);
  assert.equal(worstLayer(pictures[1], "norms", []), undefined);
});

test("a layer's curve lies where the axis has its steps", () => {
  const { x, y } = curveOf([picture(1, 5, 6), picture(3, 7, NaN)], "norms", 1, (step) => 100 + step);
  assert.deepEqual([[...x], [...y]], [[101, 103], [6, NaN]]);
});

test("of a larger model fewer pictures are asked for, but always some", () => {
  assert.deepEqual([0, 7, 1000, 1_000_000].map(picturesOf), [300, 300, 100, 20]);
});

test("pictures lie so many steps apart on average; one alone stands for itself", () => {
  assert.equal(spacing([picture(1, 1), picture(70, 1), picture(161, 1)]), 80);
  assert.equal(spacing([picture(9, 1)]), 1);
});
