import assert from "node:assert/strict";
import { test } from "node:test";

import { moment, when } from "../../web/lib/when.js";

const at = (/** @type {string} */ local) => new Date(local).getTime() / 1000;
const now = at("2026-11-28T15:00:00");

test("what happened today has a time, what happened before has a day, too", () => {
  assert.equal(when(at("2026-11-28T14:03:59"), now), "14:03:59");
  assert.equal(when(at("2026-11-27T14:03:59"), now), "27 Nov, 14:03");
  assert.equal(when(at("2025-11-28T14:03:59"), now), "28 Nov 2025, 14:03");
});

test("in full it is the day, the time and its zone", () => {
  assert.match(moment(at("2026-11-27T14:03:59")), /^Friday,? 27 November 2026 at 14:03:59 \S+/);
});
