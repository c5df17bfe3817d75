import assert from "node:assert/strict";
import { test } from "node:test";

import { cutShapes, lineTraces } from "../../web/traces.js";

const axis = { type: /** @type {const} */ ("linear"), lo: 0, hi: 10, ticks: [] };

/**
 * A figure of one line, and of what was cut.
 * @param {number[]} x
 * @param {number[]} y
 * @param {number[]} [cut]  x, y of the ends of pieces with a NaN between
 */
function figure(x, y, cut = []) {
  const points = cut.flatMap((at) => (Number.isNaN(at) ? [NaN, NaN] : [at, at]));
  return {
    x: { lo: 0, hi: 10, ticks: [] }, y: axis, crosses: new Float64Array(0), marks: [], note: "", faint: false,
    lines: [
      { role: /** @type {const} */ ("cut"), name: "clipped", x: Float64Array.from(points), y: Float64Array.from(points) },
      { role: /** @type {const} */ ("before"), name: "norm", x: Float64Array.from(x), y: Float64Array.from(y) },
    ],
  };
}

/** @param {import("../../web/lib/figures.js").Figure} shown */
const norm = (shown) => lineTraces(shown, {})[0];

test("one value is drawn as a ring, several as a line", () => {
  assert.equal(norm(figure([3], [1])).mode, "lines+markers");
  assert.equal(norm(figure([3, 4], [1, 2])).mode, "lines");
});

test("a line is broken where a training went back to an earlier step", () => {
  const { x, y } = norm(figure([1, 2, 3, 2, 3], [5, 6, 7, 8, 9]));
  assert.deepEqual([x, y].map((values) => [.../** @type {Float64Array} */ (values)]), [[1, 2, 3, NaN, 2, 3], [5, 6, 7, NaN, 8, 9]]);
});

test("what was cut is as wide as steps lie apart, within limits, and lies in the plotting area", () => {
  const widths = [20, 80, 1000].map((width) => cutShapes(figure([0, 1, 2], [1, 1, 1], [1, 20]), {}, width)[0].line);
  assert.deepEqual(widths.map((line) => /** @type {{width: number}} */ (line).width), [4, 8, 16]);
  const [{ path }] = cutShapes(figure([0, 1], [1, 1], [5, 20]), {}, 100);
  assert.equal(path, "M0.5000,0.5000L0.5000,0.5000L2.0000,1.0000L2.0000,1.0000");
});
