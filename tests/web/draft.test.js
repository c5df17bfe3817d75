import assert from "node:assert/strict";
import { test } from "node:test";

import { boundOf, lastValues, patchOf, startedWith, switchTo } from "../../web/lib/draft.js";
import { RULES } from "./rules.js";

const number = { type: "number", minimum: 0 };
const rules = {
  off: RULES.off,
  norm: { ...RULES.norm, properties: { max_norm: number, norm_type: number } },
  value: { ...RULES.value, properties: { clip_value: number } },
};
const control = { mode: "norm", max_norm: 1, norm_type: 2, nonfinite: "propagate" };

/**
 * @param {import("../../web/lib/changes.js").Changes} changes
 * @returns {import("../../web/lib/wire.js").LogEntry}
 */
const applied = (changes) => ({ n: 1, step: 1, time: 0, kind: "applied", text: "", data: { changes } });

test("a patch holds only what differs from what is in force", () => {
  assert.deepEqual(patchOf({ mode: "norm", texts: { max_norm: "0.5", norm_type: "2" } }, control, rules), { max_norm: 0.5 });
});

test("a mode switch takes along what was typed for the new mode, and nothing else", () => {
  assert.deepEqual(patchOf({ mode: "value", texts: { clip_value: "0.1" } }, control, rules), { mode: "value", clip_value: 0.1 });
  assert.deepEqual(patchOf({ mode: "value", texts: {} }, control, rules), { mode: "value" });
});

test("applying without a change asks for the knob as it stands", () => {
  assert.deepEqual(patchOf({ mode: "norm", texts: {} }, control, rules), { max_norm: 1 });
  assert.deepEqual(patchOf({ mode: "off", texts: {} }, { mode: "off" }, rules), { mode: "off" });
});

test("what cannot be read is left to the server to reject", () => {
  assert.deepEqual(patchOf({ mode: "norm", texts: { max_norm: "fast" } }, control, rules), { max_norm: "fast" });
});

test("another mode is drafted with its knob where it last was, else at its default", () => {
  const byDefault = { ...rules, value: { ...rules.value, properties: { clip_value: { ...number, default: 1 } } } };
  assert.deepEqual(switchTo("value", [], control, byDefault), { mode: "value", texts: { clip_value: "1" } });
  const log = [applied({ mode: ["value", "norm"], clip_value: [0.3, null], max_norm: [null, 1] })];
  assert.deepEqual(switchTo("value", log, control, byDefault), { mode: "value", texts: { clip_value: "0.3" } });
  assert.deepEqual(switchTo("off", log, control, byDefault), { mode: "off", texts: {} });
  assert.equal(switchTo("norm", log, control, byDefault), null);
});

test("what a training starts with is the clipper's part of its options", () => {
  assert.deepEqual(startedWith({ seed: 7, mode: "value", clip_value: 0.1, max_norm: 1 }, rules), { mode: "value", clip_value: 0.1 });
  assert.deepEqual(startedWith({ seed: 7, mode: "off" }, rules), { mode: "off" });
  assert.deepEqual(startedWith({}, rules), {});
});

test("each mode's last values follow from the log", () => {
  const log = [applied({ max_norm: [2, 1] }), applied({ mode: ["norm", "value"], clip_value: [null, 0.1] }), applied({ clip_value: [0.1, 0.3] })];
  const values = lastValues(log, { mode: "value", clip_value: 0.3 });
  assert.deepEqual(values, { norm: { max_norm: 1 }, value: { mode: "value", clip_value: 0.3 } });
});

test("the knob's value is the one typed, else the one in force", () => {
  assert.equal(boundOf(null, control, rules), 1);
  assert.equal(boundOf({ mode: "norm", texts: { max_norm: "0.25" } }, control, rules), 0.25);
  assert.equal(boundOf({ mode: "norm", texts: { max_norm: "inf" } }, control, rules), Infinity);
});

test("a mode without a knob, or a knob without an allowed number, has no value", () => {
  assert.ok(Number.isNaN(boundOf({ mode: "off", texts: {} }, control, rules)));
  assert.ok(Number.isNaN(boundOf({ mode: "value", texts: {} }, control, rules)));
  assert.ok(Number.isNaN(boundOf({ mode: "norm", texts: { max_norm: "fast" } }, control, rules)));
  assert.ok(Number.isNaN(boundOf({ mode: "norm", texts: { max_norm: "-1" } }, control, rules)));
});
