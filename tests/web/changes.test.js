import assert from "node:assert/strict";
import { test } from "node:test";

import { changesOf, describe, shortLabel, undo } from "../../web/lib/changes.js";

/** @type {import("../../web/lib/wire.js").LogEntry} */
const entry = { n: 1, step: 4790, time: 0, kind: "applied", text: "", data: { changes: { max_norm: [2, 1] }, id: "c0" } };

test("a change reads as parameter, before and after", () => {
  assert.equal(describe({ max_norm: [2, 1] }), "max_norm 2 → 1");
  assert.equal(describe({ mode: ["norm", "value"], clip_value: [null, 0.1], max_norm: [1, null] }), "mode norm → value, clip_value 0.1");
  assert.equal(describe({ max_norm: [1, "Infinity"] }), "max_norm 1 → inf");
});

test("a mark is labelled with the mode when it changed, else with the first parameter", () => {
  assert.equal(shortLabel({ max_norm: [2, 1], norm_type: [2, 1] }), "max_norm 2 → 1");
  assert.equal(shortLabel({ clip_value: [null, 0.1], mode: ["norm", "value"] }), "norm → value");
});

test("undo restores the parameters of the same mode, or only the mode, which remembers its own", () => {
  assert.deepEqual(undo({ max_norm: [2, 1], norm_type: [2, "Infinity"] }), { max_norm: 2, norm_type: 2 });
  assert.deepEqual(undo({ mode: ["norm", "value"], clip_value: [null, 0.1] }), { mode: "norm" });
});

test("only applied changes of the clipper count as changes", () => {
  assert.deepEqual(changesOf(entry), { max_norm: [2, 1] });
  assert.equal(changesOf({ ...entry, kind: "rejected" }), null);
  assert.equal(changesOf({ ...entry, data: { command: "pause" } }), null);
  assert.equal(changesOf({ ...entry, data: { changes: {} } }), null);
});
