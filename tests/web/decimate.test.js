import assert from "node:assert/strict";
import { test } from "node:test";

import { extremes, gather, inside, nearest, nonfinite, span } from "../../web/lib/decimate.js";
import { NOT_LOGGED } from "../../web/lib/wire.js";

const ROWS = 100_000;
const x = Float64Array.from({ length: ROWS }, (_, i) => i);
const wave = Float64Array.from(x, (i) => Math.sin(i / 500));
const all = { lo: 0, hi: ROWS, bins: 400 };

/** @param {{[row: number]: number}} changes */
function waveWith(changes) {
  const y = wave.slice();
  for (const [row, value] of Object.entries(changes)) y[Number(row)] = value;
  return y;
}

test("a hundred thousand rows become two a bin at most", () => {
  const kept = extremes(x, wave, all, [0, ROWS]);
  assert.ok(kept.length <= 800 && kept.length >= 400, String(kept.length));
});

test("a spike one step wide survives, up and down", () => {
  const y = waveWith({ 71_234: 1e6, 12_345: -1e6 });
  const kept = gather(y, extremes(x, y, all, [0, ROWS]));
  assert.equal(Math.max(...kept), 1e6);
  assert.equal(Math.min(...kept), -1e6);
});

test("rows stay in the order of recording", () => {
  const kept = extremes(x, wave, all, [0, ROWS]);
  assert.deepEqual(kept, kept.toSorted((a, b) => a - b));
});

test("few rows are all kept", () => {
  assert.deepEqual(extremes(x, wave, { lo: 0, hi: 10, bins: 400 }, [0, 10]), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test("one NaN or infinity among a hundred thousand rows is found", () => {
  const y = waveWith({ 4_321: NaN, 54_321: Infinity });
  assert.deepEqual(nonfinite(x, y, all, [0, ROWS]), [4_321, 54_321]);
});

test("a run that is NaN to its end keeps one cross a bin", () => {
  const y = wave.map((value, i) => (i < ROWS / 2 ? value : NaN));
  assert.equal(nonfinite(x, y, all, [0, ROWS]).length, 200);
});

test("what was not logged is neither drawn nor marked", () => {
  const y = Float64Array.of(1, NOT_LOGGED, 2);
  assert.deepEqual(extremes(x, y, { lo: 0, hi: 3, bins: 30 }, [0, 3]), [0, 2]);
  assert.deepEqual(nonfinite(x, y, { lo: 0, hi: 3, bins: 30 }, [0, 3]), []);
});

test("a window's rows include one neighbour on either side", () => {
  assert.deepEqual(span(x.subarray(0, 100), 10, 20), [9, 22]);
  assert.deepEqual(span(x.subarray(0, 100), -5, 200), [0, 100]);
  assert.deepEqual(span(x.subarray(0, 100), 200, 300), [99, 100]);
  assert.deepEqual(span(new Float64Array(0), 0, 1), [0, 0]);
});

test("the rows inside a window do not include them, and may be none", () => {
  assert.deepEqual(inside(x.subarray(0, 100), 10, 20), [10, 21]);
  assert.deepEqual([inside(x.subarray(0, 100), 10.2, 10.8), inside(x.subarray(0, 100), 200, 300)], [[11, 11], [100, 100]]);
});

test("a rolled-back run shows its repeated steps too", () => {
  const steps = Float64Array.of(1, 2, 3, 4, 2, 3, 4, 5, 6);
  assert.deepEqual(span(steps, 2, 4), [0, 8]);
});

test("the row under the crosshair is the nearest one, and of a repeated step the newest", () => {
  assert.equal(nearest(Float64Array.of(1, 5, 9), 6), 1);
  assert.equal(nearest(Float64Array.of(1, 5, 9), Infinity), 2);
  assert.equal(nearest(Float64Array.of(1, 2, 3, 2, 3), 2), 3);
  assert.equal(nearest(new Float64Array(0), 2), -1);
});
