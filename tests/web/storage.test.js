import assert from "node:assert/strict";
import { test } from "node:test";

import { kept } from "../../web/lib/storage.js";

test("where the browser's storage is blocked, what is kept lasts as long as the page", () => {
  const memory = kept(() => {
    throw new DOMException("The operation is insecure.", "SecurityError");
  });
  assert.equal(memory.getItem("theme"), null);
  memory.setItem("theme", "dark");
  assert.equal(memory.getItem("theme"), "dark");
});

test("where it is not, it is used", () => {
  const storage = { getItem: () => "light", setItem: () => {} };
  assert.equal(kept(() => storage), storage);
});
