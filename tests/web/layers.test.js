import assert from "node:assert/strict";
import { test } from "node:test";

import { heatGrid, LayerHistory } from "../../web/lib/layers.js";

/**
 * @param {number} step
 * @param {import("../../web/lib/wire.js").Cell[]} norm
 */
const layers = (step, norm) => ({ step, norm, coef: norm.map(() => 1), clamped: norm.map(() => 0) });

test("pictures are kept in the order of their steps", () => {
  const history = new LayerHistory();
  history.add(layers(1, [1, 2]));
  history.add(layers(5, [3, 4]));
  assert.deepEqual(history.pictures.map((p) => [p.step, ...p.norms]), [[1, 1, 2], [5, 3, 4]]);
});

test("a roll-back takes the pictures of the steps it undid with it", () => {
  const history = new LayerHistory();
  for (const step of [1, 2, 3, 4]) history.add(layers(step, [step]));
  history.add(layers(2, [20]));
  assert.deepEqual(history.pictures.map((p) => p.norms[0]), [1, 20]);
});

test("memory stays bounded, and the newest picture is always there", () => {
  const history = new LayerHistory();
  for (let step = 1; step <= 5000; step++) history.add(layers(step, [step]));
  assert.ok(history.pictures.length <= 600);
  assert.equal(history.pictures.at(-1)?.step, 5000);
});

test("a grid cell shows the largest norm that falls into it", () => {
  const pictures = [1, 2, 3, 4].map((step) => ({ step, norms: Float64Array.of(step, 10 * step, 100 * step) }));
  const { steps, grid, perRow } = heatGrid(pictures, { lo: 1, hi: 4, columns: 2, rows: 2 });
  assert.deepEqual(steps, [1, 3]);
  assert.equal(perRow, 2);
  assert.deepEqual(grid, [[20, 40], [200, 400]]);
});

test("only the pictures in range are drawn", () => {
  const pictures = [1, 2, 3, 4].map((step) => ({ step, norms: Float64Array.of(step) }));
  assert.deepEqual(heatGrid(pictures, { lo: 2, hi: 3, columns: 10, rows: 10 }).steps, [2, 3]);
  assert.deepEqual(heatGrid([], { lo: 2, hi: 3, columns: 10, rows: 10 }), { steps: [], grid: [], perRow: 1 });
});

test("a non-finite norm shows, whatever finite ones share its cell", () => {
  const pictures = [{ step: 1, norms: Float64Array.of(3, NaN, 2, 1, Infinity, 4) }];
  const { grid } = heatGrid(pictures, { lo: 1, hi: 1, columns: 1, rows: 3 });
  assert.deepEqual(grid, [[NaN], [2], [NaN]]);
});
