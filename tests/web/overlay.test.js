import assert from "node:assert/strict";
import { test } from "node:test";

import { abscissa } from "../../web/lib/abscissa.js";
import { alongside, onShow, Overlay, takeIn } from "../../web/lib/overlay.js";
import { StepTable } from "../../web/lib/table.js";

/** @typedef {import("../../web/lib/wire.js").RunInfo} RunInfo */

/** @param {string} id */
const info = (id) => /** @type {RunInfo} */ ({ id, name: id, state: "running" });

/** @param {number[]} seqs */
function rows(seqs, start = 0) {
  const seq = Float64Array.from(seqs);
  return new Map([["seq", seq], ["step", seq], ["time", seq.map((s) => start + s / 10)]]);
}

test("a run keeps its steps while others come and go, and is told as the list has it now", () => {
  const overlay = new Overlay();
  overlay.choose([info("a"), info("b")]);
  const [, b] = overlay.runs;
  assert.ok(b);
  takeIn(b, rows([1, 2, 3]));
  overlay.choose([{ ...info("b"), name: "renamed" }]);
  assert.deepEqual(overlay.runs.map((run) => [run.info.name, run.table.length]), [["renamed", 3]]);
});

test("a run that goes on after its end is followed again", () => {
  const overlay = new Overlay();
  overlay.choose([{ ...info("a"), state: "finished" }]);
  const [run] = overlay.runs;
  assert.ok(run);
  run.settled = true;
  overlay.choose([{ ...info("a"), state: "finished" }]);
  assert.equal(run.settled, true);
  overlay.choose([info("a")]);
  assert.equal(run.settled, false);
});

test("what came thinned is asked for again on a zoom, what came whole is not", () => {
  const overlay = new Overlay();
  overlay.choose([info("a")]);
  const [run] = overlay.runs;
  assert.ok(run);
  takeIn(run, rows([1, 50, 100]));
  takeIn(run, rows([101, 102, 103]));
  assert.deepEqual(run.gaps.missing({ first: 40, last: 103 }), { first: 40, last: 100 });
  assert.equal(run.gaps.missing({ first: 101, last: 103 }), null);
});

test("over time, runs start together whenever they were made", () => {
  const [shown, other] = [new StepTable(), new StepTable()];
  shown.add(rows([1, 2, 3], 1000));
  other.add(rows([1, 3], 5000));
  const { x, at } = alongside("time", other, abscissa("time", shown, 3));
  assert.deepEqual([...x, at(2)].map((time) => time.toFixed(3)), ["1000.100", "1000.300", "1000.200"]);
  const steps = alongside("step", other, abscissa("step", shown, 3));
  assert.deepEqual([...steps.x, steps.at(2)], [1, 3, 2]);
});

test("the steps of a run that are on show are those inside the axis, whatever lies beside it", () => {
  const table = new StepTable();
  table.add(rows([10, 20, 30, 40]));
  const seqs = (/** @type {[number, number]} */ window) => onShow(table.column("step"), table, window);
  assert.deepEqual(seqs([15, 40]), { first: 20, last: 40 });
  assert.deepEqual([seqs([21, 29]), seqs([41, 90])], [null, null]);
});
