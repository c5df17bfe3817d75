import assert from "node:assert/strict";
import { test } from "node:test";

import { endingOf } from "../../web/lib/endings.js";

/** @type {import("../../web/lib/wire.js").RunInfo} */
const run = {
  id: "a1", note: "", name: "charlm", state: "running", reason: "", cut_short: false, created: 0, updated: 0, seq: 0, step: 1200, attached: true,
  commands: true, workload: "charlm", config: {}, control: {}, knobs: {}, layers: [], sizes: [], waiting: [],
};

test("while a run is under way there is nothing to say", () => {
  for (const state of /** @type {const} */ (["starting", "running", "paused"])) assert.equal(endingOf({ ...run, state }), null);
});

test("an end is told with its step and the last line of its reason", () => {
  assert.deepEqual(endingOf({ ...run, state: "finished" }), { tone: "", words: "Run finished at step 1,200", step: 1200 });
  assert.deepEqual(endingOf({ ...run, state: "stopped", reason: "asked to stop" }), { tone: "", words: "Run stopped at step 1,200: asked to stop", step: 1200 });
  const failed = endingOf({ ...run, state: "failed", reason: "Traceback\n  line 1\nOops: no\n" });
  assert.deepEqual(failed, { tone: "failed", words: "Run failed at step 1,200: Oops: no", step: 1200 });
});

test("an end that nobody asked for is a warning", () => {
  const stopped = /** @type {const} */ ({ ...run, state: "stopped", reason: "any words" });
  assert.equal(endingOf({ ...stopped, cut_short: true })?.tone, "warning");
  assert.equal(endingOf(stopped)?.tone, "");
});

test("a silent trainer is told with the time since when, and what to do", () => {
  const updated = new Date("2026-11-28T12:13:09").getTime() / 1000;
  const ending = endingOf({ ...run, state: "disconnected", updated }, updated + 60);
  assert.equal(ending?.tone, "warning");
  assert.match(ending?.words ?? "", /No contact with the trainer since 12:13:09\. If it is still running, it will reconnect .* start it again/);
});
