import assert from "node:assert/strict";
import { test } from "node:test";

import { allowed, numeric, read, scaled, sliderRange, write } from "../../web/lib/schema.js";

const number = { type: "number", minimum: 0 };

test("numbers are read as numbers, however they are written", () => {
  assert.deepEqual(["1", " 0.5 ", "1e-3", "-1"].map((text) => read(text, number)), [1, 0.5, 0.001, -1]);
});

test("an infinite bound travels as the wire writes it", () => {
  assert.deepEqual(["inf", "Infinity", "+inf", "∞"].map((text) => read(text, number)), Array(4).fill("Infinity"));
});

test("what is no number goes to the server as it was typed, which knows why it is wrong", () => {
  assert.deepEqual(["", "fast", "0,5", "1.0.0", "nan"].map((text) => read(text, number)), ["", "fast", "0,5", "1.0.0", "nan"]);
});

test("names are separated by commas", () => {
  assert.deepEqual(read("head.*, embed.weight", { type: "array" }), ["head.*", "embed.weight"]);
  assert.deepEqual(read("", { type: "array" }), []);
});

test("a value reads back as it was written", () => {
  for (const value of [1, 0.25, 1e-7, "Infinity"]) assert.deepEqual(read(write(value), number), value);
  assert.deepEqual(read(write(["a", "b*"]), { type: "array" }), ["a", "b*"]);
  assert.equal(write(undefined), "");
});

test("only numbers are calculated with", () => {
  assert.deepEqual([2, "Infinity", "fast", null, undefined].map(numeric), [2, Infinity, NaN, NaN, NaN]);
});

test("a slider spans the allowed range, or two decades on either side of the value in force", () => {
  assert.deepEqual(sliderRange(10, { minimum: 0, maximum: 100 }), { log: false, lo: 0, hi: 100 });
  assert.deepEqual(sliderRange(2, number), { log: true, lo: 0.02, hi: 200 });
  assert.deepEqual(sliderRange(0, number), { log: true, lo: 0.01, hi: 100 });
  assert.deepEqual(sliderRange(Infinity, number), { log: true, lo: 0.01, hi: 100 });
});

test("a number that the parameter does not allow is none", () => {
  const percentile = { type: "number", minimum: 0, maximum: 100 };
  assert.deepEqual([0, 100, 120, -1, "fast", null].map((value) => allowed(value, percentile)), [0, 100, NaN, NaN, NaN, NaN]);
  assert.deepEqual([0, 0.1].map((value) => allowed(value, { type: "number", exclusiveMinimum: 0 })), [NaN, 0.1]);
  assert.deepEqual([2, 2.5].map((value) => allowed(value, { type: "integer" })), [2, NaN]);
  assert.equal(allowed("Infinity", number), Infinity);
});

test("a multiple stops where the parameter does", () => {
  const percentile = { type: "number", minimum: 0, maximum: 100 };
  assert.deepEqual([scaled(40, 2, percentile), scaled(80, 2, percentile), scaled(80, 2, number)], [80, 100, 160]);
  assert.equal(scaled(0.3, 0.1, number), 0.03);
});

test("what is too small for a float is not taken for zero", () => {
  const number = { type: "number", minimum: 0 };
  assert.deepEqual(["1e-400", "0", "0e-5", "0.0", "1e-40"].map((text) => read(text, number)), ["1e-400", 0, 0, 0, 1e-40]);
});
