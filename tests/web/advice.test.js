import assert from "node:assert/strict";
import { test } from "node:test";

import { advise } from "../../web/lib/advice.js";
import { StepTable } from "../../web/lib/table.js";
import { RULES } from "./rules.js";

/** @typedef {import("../../web/lib/advice.js").Evidence} Evidence */

/**
 * A run in mode norm, its steps' norms as told, clipped to `max_norm`.
 * @param {number} steps
 * @param {(step: number) => number} norm
 * @param {number} [max_norm]
 * @returns {Evidence}
 */
function run(steps, norm, max_norm = 1) {
  const seq = Float64Array.from({ length: steps }, (_, i) => i + 1);
  const norms = seq.map(norm);
  const table = new StepTable();
  table.add(
    new Map([
      ["seq", seq],
      ["step", seq],
      ["norm", norms],
      ["clipped_norm", norms.map((each) => Math.min(each, max_norm))],
      ["clipped_tensors", norms.map((each) => (each > max_norm ? 3 : 0))],
    ]),
  );
  return { table, control: { mode: "norm", max_norm, nonfinite: "propagate" }, rule: RULES.norm, since: 0, comparable: 0, pictures: [], layers: ["a", "b", "c"], log: [] };
}

/** @param {Evidence} evidence */
const kinds = (evidence) => advise(evidence).map(({ kind }) => kind);

/**
 * The piece of advice of a kind.
 * @param {Evidence} evidence
 * @param {string} kind
 */
function about(evidence, kind) {
  const found = advise(evidence).find((advice) => advice.kind === kind);
  assert.ok(found, `no advice about ${kind}, only ${kinds(evidence)}`);
  return found;
}

/** Norms between 0.5 and 0.7. @param {number} step */
const calm = (step) => 0.6 + 0.1 * Math.sin(step);

/**
 * Pictures of three layers, 20 steps apart, up to a step.
 * @param {number} last
 * @param {(step: number) => number[]} norms
 */
const pictures = (last, norms) =>
  Array.from({ length: last / 20 }, (_, i) => ({ step: 20 * (i + 1), norms: Float64Array.from(norms(20 * (i + 1))) }));

test("a calm run, now and then clipped, needs no advice", () => {
  assert.deepEqual(kinds(run(3000, (step) => (step % 20 ? calm(step) : 1.5))), []);
});

test("a young run gets no advice on how often it is clipped", () => {
  assert.deepEqual(kinds(run(250, () => 5)), []);
});

test("every piece names its source", () => {
  for (const { source } of advise(run(3000, (step) => (step === 2900 ? NaN : calm(step))))) {
    assert.match(source.url, /^https:\/\/arxiv\.org\/abs\/\d{4}\.\d{4,5}$/);
  }
});

test("clipping that never engaged is told after 2,000 steps, with the largest norm", () => {
  assert.deepEqual(kinds(run(1999, calm)), []);
  assert.equal(about(run(2000, calm), "never").seen, "0 of the last 2,000 steps were clipped; the largest norm was 0.700.");
});

test("steps from before the last change are no evidence about the threshold in force", () => {
  assert.deepEqual(kinds({ ...run(3000, calm), since: 1500 }), []);
  assert.deepEqual(kinds({ ...run(3000, calm), since: 3001 }), []);
});

test("a thinned history still shows that clipping never engaged", () => {
  const exact = run(3000, calm);
  const thinned = new StepTable();
  const kept = [0, ...Array.from({ length: 300 }, (_, i) => 10 * i + 9)];
  thinned.add(new Map(exact.table.names.map((name) => [name, Float64Array.from(kept, (row) => exact.table.at(name, row))])));
  assert.deepEqual(kinds({ ...exact, table: thinned }), ["never"]);
});

test("a mode that moves its own threshold is not told how often to clip", () => {
  const autoclip = { ...run(3000, () => 5), control: { mode: "autoclip" }, rule: RULES.autoclip };
  assert.deepEqual(kinds(autoclip), []);
  assert.deepEqual(kinds({ ...run(3000, calm), control: { mode: "off" }, rule: RULES.off }), []);
});

test("clipping nearly always is told with the share and the norms' p90", () => {
  const { seen, advised } = about(run(1000, (step) => (step % 4 ? 2 : 0.5)), "mostly");
  assert.equal(seen, "75.0 % of the last 1,000 steps were clipped.");
  assert.match(advised, /p90, 2\.00\./);
  assert.deepEqual(kinds(run(1000, (step) => (step % 5 < 3 ? 1.1 : 0.9))), [], "60 % is not more than 60 %");
});

test("a share is not told from a thinned history", () => {
  const { table, ...rest } = run(1000, () => 2);
  const thinned = new StepTable();
  const rows = Array.from({ length: 500 }, (_, i) => 2 * i + 1);
  thinned.add(new Map(table.names.map((name) => [name, Float64Array.from(rows, (row) => table.at(name, row))])));
  assert.deepEqual(kinds({ table: thinned, ...rest }), []);
});

test("spikes are told with their number, the largest and its step", () => {
  const spiky = (/** @type {number} */ step) => (step === 1500 ? 4 : step === 1700 ? 12.4 : calm(step));
  const { seen, advised } = about(run(2000, spiky), "spikes");
  assert.match(seen, /^2 of the last 1,000 norms passed 5 × the median \(0\.\d+\); the largest was 12\.4, at step 1,700\.$/);
  assert.match(advised, /^All were clipped/);
  assert.match(about(run(2000, spiky, 10), "spikes").advised, /^2 still did after clipping\./);
});

test("large norms of the first steps, or of many steps, are no spikes", () => {
  assert.ok(!kinds(run(1000, (step) => (step < 50 ? 100 : calm(step)))).includes("spikes"));
  assert.ok(!kinds(run(1000, (step) => (step % 10 ? calm(step) : 20))).includes("spikes"));
});

test("non-finite norms come first, with the layer that a picture shows", () => {
  const evidence = run(3000, (step) => (step === 2510 || step === 2600 ? NaN : calm(step)));
  assert.equal(about(evidence, "nonfinite").seen, "2 steps of the last 1,000 had a NaN or infinite norm, first step 2,510.");
  const seen = (/** @type {number[]} */ norms) =>
    about({ ...evidence, pictures: pictures(3000, (step) => (step === 2600 ? norms : [1, 1, 1])) }, "nonfinite").seen;
  assert.match(seen([1, Infinity, 1]), /first step 2,510, in b\.$/);
  assert.match(seen([NaN, NaN, NaN]), /in every layer\.$/);
  assert.equal(kinds(evidence)[0], "nonfinite");
});

test("a policy that keeps such steps from the weights is not advised again", () => {
  const evidence = run(1000, (step) => (step === 500 ? Infinity : calm(step)));
  assert.match(about(evidence, "nonfinite").advised, /nonfinite = skip/);
  const skipping = { ...evidence, control: { ...evidence.control, nonfinite: "skip" } };
  assert.doesNotMatch(about(skipping, "nonfinite").advised, /nonfinite = skip/);
});

test("non-finite norms come with the layers that the trainer named, if it did of that very step", () => {
  const seen = (/** @type {number} */ step, /** @type {string[]} */ named, /** @type {number} */ many) =>
    about({
      ...run(1000, (each) => (each === 900 ? NaN : calm(each))),
      pictures: pictures(1000, () => [NaN, 1, 1]),
      layers: ["a", "b", "c", "d"],
      log: [{ step: 7, data: {} }, { step, data: { nonfinite_in: named, layers: many } }],
    }, "nonfinite").seen;
  assert.match(seen(900, ["b"], 1), /first step 900, in b\.$/);
  assert.match(seen(900, ["b", "c"], 2), /, in b and c\.$/);
  assert.match(seen(900, ["b", "c"], 3), /, in b, c and 1 more\.$/);
  assert.match(seen(900, ["a", "b"], 4), /, in every layer\.$/);
  assert.match(seen(800, ["b"], 1), /, in a\b/);
});

test("a layer whose gradient stays zero is named; one that moved once is not", () => {
  const evidence = run(1000, (step) => (step % 20 ? calm(step) : 1.5));
  assert.match(about({ ...evidence, pictures: pictures(1000, () => [1, 0, 2]) }, "dead").seen, /^The gradient of b was zero every time in steps/);
  assert.deepEqual(kinds({ ...evidence, pictures: pictures(1000, (step) => [1, step === 600 ? 1 : 0, 2]) }), []);
  assert.deepEqual(kinds({ ...evidence, pictures: pictures(200, () => [1, 0, 2]) }), [], "ten looks are too few");
});

test("norms that double within the last steps are rising; those that swing are not", () => {
  assert.match(about(run(2000, (step) => 0.1 * 2 ** (step / 500)), "rising").seen, /^The median norm rose from .* within the last 1,000 steps\.$/);
  assert.ok(!kinds(run(2000, (step) => 0.3 + 0.25 * Math.sin(step / 80))).includes("rising"));
});

test("norms of another type than is measured now are no spikes and no trend", () => {
  const spiky = run(3000, (step) => (step < 2500 && step % 100 === 0 ? 10 : 1) * calm(step));
  assert.ok(kinds(spiky).includes("spikes"));
  assert.ok(!kinds({ ...spiky, comparable: 2500 }).includes("spikes"));
  const rising = run(2000, (step) => 0.1 * 2 ** (step / 500));
  assert.ok(kinds(rising).includes("rising"));
  assert.ok(!kinds({ ...rising, comparable: 1500 }).includes("rising"));
});
