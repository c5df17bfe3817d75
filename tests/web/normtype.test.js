import assert from "node:assert/strict";
import { test } from "node:test";

import { normsSince } from "../../web/lib/normtype.js";

/** @typedef {import("../../web/lib/wire.js").LogEntry} LogEntry */

/**
 * @param {number} step
 * @param {import("../../web/lib/changes.js").Changes} changes
 * @returns {LogEntry}
 */
const applied = (step, changes) => ({ n: step, step, time: 0, kind: "applied", text: "", data: { changes } });

test("norms can be compared from the step on that measured another type", () => {
  const log = [applied(3, { norm_type: [2, "Infinity"] }), applied(9, { max_norm: [1, 2] })];
  assert.equal(normsSince(log), 3);
  assert.equal(normsSince([]), 0);
});

test("a mode without a norm type measures the Euclidean norm", () => {
  assert.equal(normsSince([applied(5, { mode: ["norm", "value"], norm_type: [2, null] })]), 0);
  assert.equal(normsSince([applied(5, { mode: ["norm", "layer"], norm_type: ["Infinity", null] })]), 5);
  assert.equal(normsSince([applied(5, { mode: ["off", "norm"], norm_type: [null, 1] })]), 5);
});
