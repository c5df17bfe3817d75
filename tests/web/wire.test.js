import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { NOT_LOGGED, parse, toColumns, toNumber } from "../../web/lib/wire.js";

/** @type {{server_to_browser: object[]}} */
const golden = JSON.parse(readFileSync(new URL("../fixtures/messages.json", import.meta.url), "utf8"));
const frames = golden.server_to_browser.map((message) => JSON.stringify(message));

test("every message a server sends to a browser is understood", () => {
  const types = frames.map((frame) => parse(frame).type);
  assert.deepEqual(new Set(types), new Set(["snapshot", "steps", "layers", "status", "event", "applied", "rejected", "runs", "pong", "error"]));
});

test("the rows of the golden snapshot and steps become typed columns", () => {
  for (const frame of frames) {
    const message = parse(frame);
    if (message.type !== "steps" && message.type !== "snapshot") continue;
    const columns = toColumns(message.rows ?? {});
    const rows = columns.get("seq")?.length;
    assert.ok(rows);
    for (const [name, column] of columns) assert.equal(column.length, rows, name);
  }
});

test("non-finite numbers arrive as what they are, and null as not logged", () => {
  const columns = toColumns({ seq: [1, 2, 3, 4], mode: ["norm", "norm", "norm", "norm"], norm: ["NaN", "Infinity", "-Infinity", null] });
  assert.deepEqual([...(columns.get("norm") ?? [])], [NaN, Infinity, -Infinity, NOT_LOGGED]);
  assert.equal(columns.has("mode"), false);
});

test("a cell that is no number is refused by name", () => {
  assert.throws(() => toNumber("fast"), /got "fast"/);
});

test("an unknown message is refused by its type", () => {
  assert.throws(() => parse('{"type": "weather"}'), /unknown message type "weather"/);
});
