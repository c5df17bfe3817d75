import assert from "node:assert/strict";
import { test } from "node:test";

import { isolated, shortened } from "../../web/lib/names.js";

test("a name cannot turn the text around it", () => {
  assert.equal(isolated("charlm"), "charlm");
  assert.equal(isolated("a\u202elive"), "alive");
  assert.equal(isolated("\u2069\u202eevil"), "evil");
  assert.equal(isolated("שלום"), "\u2068שלום\u2069");
});

test("a long name is cut, between characters", () => {
  assert.equal(shortened("charlm", 6), "charlm");
  assert.equal(shortened("exp_llama lr2e-5", 10), "exp_llama…");
  assert.equal(shortened("😀😀😀", 2), "😀…");
});
