import assert from "node:assert/strict";
import { test } from "node:test";

import { toCode } from "../../web/lib/code.js";

test("the configuration in force becomes a line of Python", () => {
  const [first, , line] = toCode({ mode: "norm", max_norm: 0.5, norm_type: 2, nonfinite: "propagate" }).split("\n");
  assert.equal(first, "import clipcore");
  assert.equal(line, 'clipper = clipcore.Clipper(model, mode="norm", max_norm=0.5, norm_type=2, nonfinite="propagate")');
});

test("values are written as Python writes them", () => {
  const [, , line] = toCode({ mode: "agc", max_norm: "Infinity", exclude: ["head.*"], fast: true, limit: null }).split("\n");
  assert.equal(line, 'clipper = clipcore.Clipper(model, mode="agc", max_norm=float("inf"), exclude=["head.*"], fast=True, limit=None)');
});

test("skipping a step takes the optimizer whose step it is", () => {
  const [, , line] = toCode({ mode: "off", nonfinite: "skip" }).split("\n");
  assert.equal(line, 'clipper = clipcore.Clipper(model, mode="off", nonfinite="skip", optimizer=optimizer)');
});
