import assert from "node:assert/strict";
import { test } from "node:test";

import { changesOf, describe, newsOf, shortLabel, standing, undo, whoOf } from "../../web/lib/changes.js";

/** @type {import("../../web/lib/wire.js").LogEntry} */
const entry = { n: 1, step: 4790, time: 0, kind: "applied", text: "", data: { changes: { max_norm: [2, 1] }, id: "c0" } };

test("a change reads as parameter, before and after", () => {
  assert.equal(describe({ max_norm: [2, 1] }), "max_norm 2 → 1");
  assert.equal(describe({ mode: ["norm", "value"], clip_value: [null, 0.1], max_norm: [1, null] }), "mode norm → value, clip_value 0.1");
  assert.equal(describe({ max_norm: [1, "Infinity"] }), "max_norm 1 → inf");
});

test("a mark is labelled with the mode when it changed, else with the first parameter that stays", () => {
  assert.equal(shortLabel({ max_norm: [2, 1], norm_type: [2, 1] }), "max_norm 2 → 1");
  assert.equal(shortLabel({ clip_value: [null, 0.1], mode: ["norm", "value"] }), "norm → value");
  assert.equal(shortLabel({ exclude: [["a"], null], clipping: [0.1, 0.2] }), "clipping 0.1 → 0.2");
  assert.equal(shortLabel({ exclude: [["a"], null] }), "");
});

test("undo restores what was before: the parameters, and with a mode those it had", () => {
  assert.deepEqual(undo({ max_norm: [2, 1], norm_type: [2, "Infinity"] }), { max_norm: 2, norm_type: 2 });
  assert.deepEqual(undo({ mode: ["norm", "value"], clip_value: [null, 0.1], max_norm: [2, null] }), { mode: "norm", max_norm: 2 });
});

test("a change that was taken back no longer stands, so that undo goes on to the one before it", () => {
  /** @param {...import("../../web/lib/changes.js").Changes} all */
  const logged = (...all) => all.map((changes, i) => ({ ...entry, n: i, data: { changes } }));
  const stands = (/** @type {import("../../web/lib/wire.js").LogEntry[]} */ log) => standing(log).map(({ n }) => n);
  const log = logged(
    { max_norm: [2, 1] },
    { mode: ["norm", "value"], max_norm: [1, null], clip_value: [null, 0.1] },
    { mode: ["value", "norm"], clip_value: [0.1, null], max_norm: [null, 1] },
    { max_norm: [1, 2] },
    { max_norm: [2, 3] },
  );
  assert.deepEqual([1, 2, 3, 4, 5].map((n) => stands(log.slice(0, n))), [[0], [0, 1], [0], [], [4]]);
  assert.deepEqual(stands([...log, { ...entry, kind: "rejected" }, ...logged({}, { lr: [1, 3] })]), [4, 1]);
});

test("a change with an id was asked for through the server, one without came from the script", () => {
  assert.equal(whoOf(entry), "page or API");
  assert.equal(whoOf({ ...entry, kind: "rejected" }), "page or API");
  assert.equal(whoOf({ ...entry, data: { changes: { max_norm: [2, 1] }, id: null } }), "script");
  assert.equal(whoOf({ ...entry, kind: "state", data: {} }), "");
});

test("only applied changes of the clipper count as changes", () => {
  assert.deepEqual(changesOf(entry), { max_norm: [2, 1] });
  assert.equal(changesOf({ ...entry, kind: "rejected" }), null);
  assert.equal(changesOf({ ...entry, data: { command: "pause" } }), null);
  assert.equal(changesOf({ ...entry, data: { changes: {} } }), null);
});

test("the log tells of what changed: no empty patches, no obeyed commands, no state twice", () => {
  /** @type {[kind: import("../../web/lib/wire.js").LogEntry["kind"], text: string, data: {[key: string]: import("../../web/lib/wire.js").Json}][]} */
  const all = [
    ["state", "running", {}],
    ["applied", "", { changes: {}, command: null }],
    ["applied", "pause", { changes: {}, command: "pause" }],
    ["state", "paused", {}],
    ["applied", "step", { changes: {}, command: "step" }],
    ["state", "paused", {}],
    ["applied", "", { changes: { max_norm: [2, 1] } }],
    ["warning", "gradients are NaN", {}],
    ["state", "running", {}],
  ];
  const told = newsOf(all.map(([kind, text, data], n) => ({ ...entry, n, kind, text, data })));
  assert.deepEqual(told.map(({ n }) => n), [0, 3, 6, 7, 8]);
});
