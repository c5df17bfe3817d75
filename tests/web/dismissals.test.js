import assert from "node:assert/strict";
import { test } from "node:test";

import { Dismissals } from "../../web/lib/dismissals.js";

/** A browser's storage, as far as it is used. */
function storage() {
  /** @type {Map<string, string>} */
  const items = new Map();
  return {
    getItem: (/** @type {string} */ key) => items.get(key) ?? null,
    setItem: (/** @type {string} */ key, /** @type {string} */ value) => void items.set(key, value),
  };
}

test("what is put aside holds for that run and kind, also for the next page", () => {
  const kept = storage();
  new Dismissals(kept).add("r1", "spikes");
  const next = new Dismissals(kept);
  assert.ok(next.has("r1", "spikes"));
  assert.ok(!next.has("r1", "never"));
  assert.ok(!next.has("r2", "spikes"));
});

test("the oldest are forgotten, so that the storage does not fill up", () => {
  const dismissals = new Dismissals(storage());
  for (let run = 0; run <= 200; run++) dismissals.add(`r${run}`, "never");
  assert.ok(!dismissals.has("r0", "never"));
  assert.ok(dismissals.has("r1", "never"));
});
