import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { abscissa } from "../../web/lib/abscissa.js";
import { clampedFigure, coefFigure, frame, layerFigure, lossFigure, normFigure } from "../../web/lib/figures.js";
import { StepTable } from "../../web/lib/table.js";
import { NOT_LOGGED } from "../../web/lib/wire.js";

/** @typedef {import("../../web/lib/wire.js").LogEntry} LogEntry */

const WIDTH = 800;

/**
 * A scene of `steps` steps whose columns are functions of the step.
 * @param {number} steps
 * @param {{[column: string]: (step: number) => number}} columns
 * @param {string} [mode]
 * @param {LogEntry[]} [log]
 * @returns {import("../../web/lib/figures.js").Scene}
 */
function scene(steps, columns, mode = "norm", log = []) {
  const seq = Float64Array.from({ length: steps }, (_, i) => i + 1);
  const table = new StepTable();
  table.add(new Map([["seq", seq], ["step", seq], ...Object.entries(columns).map(([name, f]) => /** @type {const} */ ([name, seq.map(f)]))]));
  return { table, abscissa: abscissa("step", table, steps), range: [1, steps], mode, log, smooth: false, runs: [] };
}

/**
 * @param {number} step
 * @param {[number, number]} norms
 * @returns {LogEntry}
 */
const changed = (step, norms) => ({ n: step, step, time: 0, kind: "applied", text: "", data: { changes: { max_norm: norms } } });

test("the norm's lines lie over what was cut, and each fits the pixels", () => {
  const figure = normFigure(scene(50_000, { norm: (s) => 1 + (s % 7), clipped_norm: () => 1, threshold: () => 1 }), WIDTH, true);
  assert.deepEqual(figure.lines.map(({ role }) => role), ["cut", "after", "before", "threshold"]);
  for (const { x } of figure.lines.filter(({ role }) => role !== "cut")) assert.ok(x.length > 0 && x.length <= WIDTH + 2, String(x.length));
});

test("a NaN step is a cross and leaves no gap in the line", () => {
  const figure = normFigure(scene(5, { norm: (s) => (s === 3 ? NaN : 1), clipped_norm: () => 1, threshold: () => 1 }), WIDTH, true);
  assert.deepEqual([...figure.crosses], [3]);
  assert.deepEqual([...(figure.lines[2]?.x ?? [])], [1, 2, 4, 5]);
});

test("where there is no threshold its line breaks off, and nothing is marked as non-finite", () => {
  const figure = normFigure(scene(5, { norm: () => 1, clipped_norm: () => 1, threshold: (s) => (s === 3 ? NaN : 1) }), WIDTH, true);
  assert.deepEqual([...(figure.lines[3]?.y ?? [])], [1, 1, NaN, 1, 1]);
  assert.equal(figure.crosses.length, 0);
});

test("smoothed, the average is drawn over a faint raw line, and starts level with the lines", () => {
  const figure = normFigure({ ...scene(1000, { norm: () => 2 }), range: [500, 600], smooth: true }, WIDTH, true);
  const trend = figure.lines.at(-1);
  assert.equal(figure.faint, true);
  assert.deepEqual([trend?.role, trend?.x[0], trend?.y[0]], ["trend", 499, 2]);
});

test("a clipped step is coloured from its norm after clipping to its norm before", () => {
  const clipped = scene(4, { norm: (s) => s, clipped_norm: (s) => Math.min(s, 2), threshold: () => 2 });
  const { role, x, y } = normFigure(clipped, WIDTH, true).lines[0];
  assert.deepEqual([role, [...x], [...y]], ["cut", [3, 3, NaN, 4, 4, NaN], [2, 3, NaN, 2, 4, NaN]]);
});

test("a spike beside the range widens no axis, though the line runs on to it", () => {
  const spiked = scene(1000, { norm: (s) => (s === 500 ? 1e6 : 1), loss: (s) => (s === 500 ? 1e6 : 1) });
  for (const draw of [(/** @type {typeof spiked} */ shown) => normFigure(shown, WIDTH, false), (/** @type {typeof spiked} */ shown) => lossFigure(shown, WIDTH)]) {
    const { y, lines } = draw({ ...spiked, range: [501, 600] });
    assert.ok(y.hi < 10, String(y.hi));
    assert.equal(lines.find(({ x }) => x[0] === 500)?.y[0], 1e6);
    assert.ok(draw({ ...spiked, range: [500, 600] }).y.hi >= 1e6);
    assert.ok(draw({ ...spiked, range: [499.2, 499.8] }).y.hi >= 1e6); // between two steps
  }
});

test("a spike does not hold the average of the norm up, on either axis", () => {
  const spiked = { ...scene(1000, { norm: (s) => (s === 500 ? 1e6 : 1) }), smooth: true };
  const ends = [true, false].map((log) => normFigure(spiked, WIDTH, log).lines.at(-1)?.y.at(-1) ?? NaN);
  assert.ok(ends[0] < 1.001 && ends[1] === ends[0], String(ends));
});

test("in layer mode the largest layer's norm joins the chart, over the steps on show at which it is known", () => {
  const none = new Float64Array(0);
  const picture = (/** @type {number} */ step, /** @type {number[]} */ ...norms) => ({ step, norms: Float64Array.from(norms), coefs: none, clamped: none, shares: none, exponents: null });
  const shown = { ...scene(100, { norm: () => 2 }, "layer"), range: /** @type {[number, number]} */ ([10, 100]) };
  const { lines } = normFigure(shown, WIDTH, true, [picture(5, 9), picture(20, 1, 3, 2), picture(40, NaN, 1), picture(60, 1, 2)]);
  const { role, x, y } = lines[lines.length - 2];
  assert.deepEqual([role, [...x], [...y], lines.at(-1)?.role], ["largest", [20, 60], [3, 2], "threshold"]);
});

test("what an average remembers from before the range does not widen an axis", () => {
  const spiked = { ...scene(1000, { norm: (s) => (s < 40 ? 1e6 : 1), loss: (s) => (s < 40 ? 1e6 : 1) }), range: /** @type {[number, number]} */ ([45, 200]), smooth: true };
  for (const { y, lines } of [normFigure(spiked, WIDTH, false), lossFigure(spiked, WIDTH)]) assert.ok(y.hi <= 2 && lines.at(-1)?.role === "trend", String(y.hi));
});

test("in value mode the largest element joins the chart, since it is what clip_value bounds", () => {
  const roles = normFigure(scene(5, { norm: () => 1 }, "value"), WIDTH, true).lines.map(({ role }) => role);
  assert.deepEqual(roles, ["cut", "after", "before", "largest", "threshold"]);
});

test("rows that came after the charts were frozen are not drawn", () => {
  const all = scene(10, { coef: () => 0.5 });
  const frozen = { ...all, abscissa: abscissa("step", all.table, 4) };
  assert.deepEqual([...(coefFigure(frozen, WIDTH).lines[0]?.x ?? [])], [1, 2, 3, 4]);
});

test("over time, lines, crosses and marks lie at the times of their steps", () => {
  const all = scene(100, { time: (s) => 1000 + 2 * s, norm: (s) => (s === 50 ? NaN : 1), clipped_norm: () => 1, threshold: () => 1 }, "norm", [changed(40, [2, 1])]);
  const { x, lines, crosses, marks } = normFigure({ ...all, abscissa: abscissa("time", all.table, 100) }, WIDTH, true);
  assert.deepEqual([x.lo, x.hi, lines[1].x[0], lines[1].x.at(-1)], [1002, 1200, 1002, 1200]);
  assert.deepEqual([[...crosses], marks.map((mark) => mark.x)], [[1100], [1080]]);
});

test("in a mode that scales, the clamp chart says that nothing is clamped instead of drawing zeros", () => {
  const figure = clampedFigure(scene(5, { clamped: () => 0 }), WIDTH);
  assert.equal(figure.lines.length, 0);
  assert.match(figure.note, /^Nothing is clamped in norm mode/);
});

test("clamps from before a mode switch stay on the chart", () => {
  const figure = clampedFigure(scene(5, { clamped: (s) => (s < 3 ? 12 : 0) }), WIDTH);
  assert.equal(figure.note, "");
  assert.deepEqual([...(figure.lines[0]?.y ?? [])], [12, 12, 0, 0, 0]);
});

test("in value mode zeros are drawn", () => {
  const figure = clampedFigure(scene(5, { clamped: () => 0 }, "value"), WIDTH);
  assert.deepEqual([figure.lines.length, figure.note], [1, ""]);
});

test("the loss and other metrics named after it share a chart; without any it says how to log one", () => {
  const figure = lossFigure(scene(5, { loss: () => 2, val_loss: () => 3, lossless: () => 1 }), WIDTH);
  assert.deepEqual(figure.lines.map(({ name, role, dashed }) => [name, role, dashed]), [["loss", "loss", undefined], ["val_loss", "other", true]]);
  assert.match(lossFigure(scene(5, { norm: () => 1 }), WIDTH).note, /run\.log/);
});

test("an empty run makes empty figures", () => {
  for (const figure of [normFigure(scene(0, {}), WIDTH, true), coefFigure(scene(0, {}), WIDTH)]) {
    assert.ok(figure.lines.every(({ x }) => x.length === 0));
    assert.ok(figure.y.hi > figure.y.lo);
  }
});

test("however narrow, a chart has at least two ticks along its steps", () => {
  for (const range of [[850, 2150], [1, 1000], [4980, 5020]]) {
    const { x } = frame({ ...scene(6000, {}), range: /** @type {[number, number]} */ (range) }, 90);
    assert.ok(x.ticks.length >= 2 && x.ticks.length <= 4, `${range}: ${x.ticks.map(({ label }) => label)}`);
  }
});

test("changes are marked at the first step that obeyed, labelled where there is room", () => {
  const log = [changed(100, [4, 2]), changed(500, [2, 1]), changed(520, [1, 0.5])];
  const { marks } = frame(scene(1000, {}, "norm", log), WIDTH);
  assert.deepEqual(marks, [
    { x: 100, label: "max_norm 4 → 2", side: "right" },
    { x: 500, label: "", side: "left" },
    { x: 520, label: "max_norm 1 → 0.5", side: "right" },
  ]);
});

test("the newest change is always labelled, at the edge on its left", () => {
  const { marks } = frame(scene(1000, {}, "norm", [changed(995, [1, 0.5])]), WIDTH);
  assert.deepEqual(marks, [{ x: 995, label: "max_norm 1 → 0.5", side: "left" }]);
});

test("what was rejected, or lies outside the range, is not marked", () => {
  const rejected = { ...changed(500, [1, -1]), kind: /** @type {const} */ ("rejected") };
  assert.deepEqual(frame({ ...scene(1000, {}, "norm", [rejected, changed(10, [2, 1])]), range: [100, 1000] }, WIDTH).marks, []);
});

test("no label runs into that of a later mark which lies across one without", () => {
  const log = [changed(600, [4, 2]), changed(900, [2, 1]), changed(980, [1, 0.5])];
  assert.deepEqual(frame(scene(1000, {}, "norm", log), 400).marks.map(({ label }) => label), ["", "", "max_norm 1 → 0.5"]);
});

test("a long label needs more room than a short one", () => {
  const labels = (/** @type {number} */ before) => frame(scene(1000, {}, "norm", [changed(500, [before, 0.5]), changed(680, [0.5, 1])]), WIDTH).marks[0].label;
  assert.deepEqual([labels(1), labels(1.23456e-15)], ["max_norm 1 → 0.5", ""]);
});

test("no label runs into the next mark's label, on whichever side that is", () => {
  const log = [changed(700, [2, 1]), changed(995, [1, 0.5])];
  const narrow = frame(scene(1000, {}, "norm", log), 300).marks;
  assert.deepEqual(narrow, [
    { x: 700, label: "", side: "left" },
    { x: 995, label: "max_norm 1 → 0.5", side: "left" },
  ]);
});

/** @param {ReturnType<typeof scene>[]} scenes  of runs on the same charts, the one on show first */
function together(...scenes) {
  const runs = scenes.map(({ table, abscissa: { column } }, i) => ({ id: `a${i}`, role: /** @type {const} */ (`run${i}`), name: `charlm ${i}`, table, x: column }));
  return { ...scenes[0], runs };
}

test("beside other runs each chart shows one line of each, the run on show on top, its threshold, and every run's crosses", () => {
  const shown = scene(100, { norm: () => 2, threshold: () => 1, coef: () => 1, loss: () => 5 });
  const both = together(shown, scene(80, { norm: () => 40, coef: () => 0.5, loss: (s) => (s === 70 ? NaN : 3), clamped: () => 0 }));
  const norm = normFigure(both, WIDTH, true);
  assert.deepEqual(norm.lines.map(({ role }) => role), ["run1", "run0", "threshold"]);
  assert.deepEqual([norm.lines[0]?.x.at(-1), norm.lines[1]?.x.at(-1)], [80, 100]);
  assert.ok(norm.y.hi > 40);
  for (const figure of [coefFigure(both, WIDTH), lossFigure(both, WIDTH)]) assert.deepEqual(figure.lines.map(({ role }) => role), ["run1", "run0"]);
  assert.deepEqual([...lossFigure(both, WIDTH).crosses], [70]);
  const smoothed = lossFigure({ ...both, smooth: true }, WIDTH);
  assert.deepEqual([smoothed.faint, ...smoothed.lines.map(({ name }) => name)], [false, "charlm 1", "charlm 0"]);
});

test("other losses of every run lie dashed over the losses, each in its run's colour, and are never averaged", () => {
  const valid = (/** @type {number} */ s) => (s % 25 === 0 ? 4 : NOT_LOGGED);
  const both = together(scene(100, { loss: () => 5 }), scene(100, { loss: () => 3, val_loss: valid }), scene(100, { loss: () => 2, val_loss: valid }));
  for (const smooth of [false, true]) {
    const { lines } = lossFigure({ ...both, smooth }, WIDTH);
    assert.deepEqual(lines.map(({ role, dashed }) => [role, dashed]), [
      ["run2", undefined], ["run1", undefined], ["run0", undefined], ["run2", true], ["run1", true],
    ]);
    assert.deepEqual([lines[3].name, [...lines[3].x], [...lines[3].y]], ["charlm 2 val_loss", [25, 50, 75, 100], [4, 4, 4, 4]]);
  }
});

test("a layer is drawn in its measure's colour alone, in its run's colour among several, on one axis that holds them all", () => {
  const curve = (/** @type {number} */ high) => ({ name: "head", x: Float64Array.of(1, 2, 3), y: Float64Array.of(1, NaN, high) });
  const alone = layerFigure(scene(3, {}), WIDTH, "coefs", [curve(1)]);
  assert.deepEqual([alone.lines.map(({ role }) => role), [...alone.crosses]], [["coef"], [2]]);
  const several = layerFigure(scene(3, {}), WIDTH, "norms", [{ ...curve(500), role: "run1" }, { ...curve(2), role: "run0" }]);
  assert.deepEqual(several.lines.map(({ role }) => role), ["run1", "run0"]);
  assert.ok(several.y.hi >= 500 && several.y.lo <= 1);
});

test("changes are labelled as in a report, whose own test reads the same cases", () => {
  /** @type {{why: string, changes: number[], sides: {[step: string]: string}}[]} */
  const cases = JSON.parse(readFileSync(new URL("../fixtures/labels.json", import.meta.url), "utf8"));
  for (const { why, changes, sides } of cases) {
    const { marks } = frame(scene(1000, {}, "norm", changes.map((step) => changed(step, [2, 1]))), WIDTH);
    assert.deepEqual(Object.fromEntries(marks.filter(({ label }) => label).map(({ x, side }) => [x, side])), sides, why);
  }
});

test("a range without steps says which there are", () => {
  const beyond = { ...scene(150, { norm: () => 1 }), range: /** @type {[number, number]} */ ([200, 300]) };
  assert.equal(normFigure(beyond, WIDTH, true).note, "No step lies here: the run has steps 1 to 150");
  assert.equal(normFigure({ ...beyond, range: [100, 300] }, WIDTH, true).note, "");
});
