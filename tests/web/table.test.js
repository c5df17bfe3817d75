import assert from "node:assert/strict";
import { test } from "node:test";

import { StepTable } from "../../web/lib/table.js";
import { NOT_LOGGED } from "../../web/lib/wire.js";

/**
 * Rows first..last, with norm = seq / 10.
 * @param {number} first
 * @param {number} last
 * @returns {Map<string, Float64Array>}
 */
function rows(first, last) {
  const seq = Float64Array.from({ length: last - first + 1 }, (_, i) => first + i);
  return new Map([["seq", seq], ["step", seq], ["norm", seq.map((s) => s / 10)]]);
}

test("rows that follow are appended", () => {
  const table = new StepTable();
  table.add(rows(1, 3));
  table.add(rows(4, 5));
  assert.deepEqual([...table.column("seq")], [1, 2, 3, 4, 5]);
  assert.deepEqual([...table.column("norm")], [0.1, 0.2, 0.3, 0.4, 0.5]);
  assert.equal(table.lastSeq, 5);
});

test("rows sent twice after a reconnect are there once", () => {
  const table = new StepTable();
  table.add(rows(1, 6));
  table.add(rows(4, 9));
  assert.deepEqual([...table.column("seq")], [1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test("older rows fill the holes of a thinned history", () => {
  const table = new StepTable();
  table.add(new Map([["seq", Float64Array.of(1, 5, 9)], ["norm", Float64Array.of(0.1, 0.5, 0.9)]]));
  table.add(rows(4, 7));
  assert.deepEqual([...table.column("seq")], [1, 4, 5, 6, 7, 9]);
  assert.deepEqual([...table.column("norm")], [0.1, 0.4, 0.5, 0.6, 0.7, 0.9]);
});

test("a metric first logged later is not logged before", () => {
  const table = new StepTable();
  table.add(rows(1, 2));
  table.add(new Map([["seq", Float64Array.of(3)], ["val_loss", Float64Array.of(2.5)]]));
  assert.deepEqual([...table.column("val_loss")], [NOT_LOGGED, NOT_LOGGED, 2.5]);
  assert.equal(table.at("norm", 2), NOT_LOGGED);
  assert.deepEqual([...table.column("never")], [NOT_LOGGED, NOT_LOGGED, NOT_LOGGED]);
});

test("of a metric logged now and then, the last value holds", () => {
  const table = new StepTable();
  table.add(new Map([["seq", Float64Array.of(1, 2, 3, 4)], ["val_loss", Float64Array.of(NOT_LOGGED, 2.5, NOT_LOGGED, 2.25)]]));
  assert.deepEqual([0, 1, 2, 3].map((row) => table.lastLogged("val_loss", row)), [NOT_LOGGED, 2.5, 2.5, 2.25]);
  assert.equal(table.lastLogged("never", 3), NOT_LOGGED);
});

test("a full table stays within its capacity and keeps the newest half whole", () => {
  const table = new StepTable(4000);
  for (let first = 1; first < 20_000; first += 50) table.add(rows(first, first + 49));
  assert.ok(table.length <= 4000);
  const seq = table.column("seq");
  assert.equal(table.lastSeq, 20_000);
  assert.equal(seq.at(-1), (seq.at(-2000) ?? 0) + 1999);
  assert.equal(seq[0], 1);
});

test("a table says up to which seq it has thinned itself", () => {
  const table = new StepTable(100);
  assert.equal(table.add(rows(1, 100)), 0);
  assert.equal(table.add(rows(101, 101)), 51);
});

test("a thinned table still holds its spike and its NaN", () => {
  const table = new StepTable(4000);
  for (let first = 1; first < 40_000; first += 50) {
    const batch = rows(first, first + 49);
    if (first === 501) batch.get("norm")?.set([1e6, NaN], 7);
    table.add(batch);
  }
  assert.ok(table.column("norm").includes(1e6));
  assert.ok(table.column("norm").includes(NaN));
});

test("a cleared table is empty", () => {
  const table = new StepTable();
  table.add(rows(1, 3));
  table.clear();
  assert.equal(table.length, 0);
  assert.equal(table.lastSeq, 0);
  table.add(rows(1, 2));
  assert.equal(table.length, 2);
});

test("a capacity below two rows is refused", () => {
  assert.throws(() => new StepTable(1), /capacity must be >= 2 rows, got 1/);
});
