import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { SHARED, changesOf, describe, newsOf, shortLabel, standing, undo, whoOf } from "../../web/lib/changes.js";
import { RULES } from "./rules.js";

/** @type {import("../../web/lib/wire.js").LogEntry} */
const entry = { n: 1, step: 4790, time: 0, kind: "applied", text: "", data: { changes: { max_norm: [2, 1] }, id: "c0" } };

/** @type {{why: string, changes: import("../../web/lib/changes.js").Changes, line: string, label: string}[]} */
const CASES = JSON.parse(readFileSync(new URL("../fixtures/changes.json", import.meta.url), "utf8"));

for (const { why, changes, line, label } of CASES) {
  test(`a change reads, and is labelled, as in a report: ${why}`, () => {
    assert.equal(describe(changes), line);
    assert.equal(shortLabel(changes), label);
  });
}

test("what several modes have is known", () => {
  const names = Object.values(RULES).flatMap(({ properties }) => Object.keys(properties));
  assert.deepEqual([...SHARED].sort(), [...new Set(names.filter((name, i) => names.indexOf(name) !== i))].sort());
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
