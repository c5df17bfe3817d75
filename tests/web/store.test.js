import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { HOME } from "../../web/lib/url.js";
import { parse } from "../../web/lib/wire.js";
import { Store } from "../../web/store.js";
import { RULES, SHARED } from "./rules.js";

/** @typedef {import("../../web/lib/wire.js").ServerMessage} ServerMessage */
/** @typedef {import("../../web/lib/wire.js").BrowserMessage} BrowserMessage */
/** @typedef {import("../../web/lib/wire.js").LogEntry} LogEntry */

/** @type {{server_to_browser: object[]}} */
const golden = JSON.parse(readFileSync(new URL("../fixtures/messages.json", import.meta.url), "utf8"));

/** @type {import("../../web/lib/wire.js").RunInfo} */
const run = {
  id: "a1", note: "", name: "charlm", state: "running", reason: "", cut_short: false, created: 0, updated: 0, seq: 0, step: 0, attached: true,
  commands: true, workload: "charlm", config: {}, control: { mode: "norm", max_norm: 1 }, knobs: {}, layers: [], sizes: [], waiting: [],
};

/**
 * @param {Partial<import("../../web/lib/wire.js").Snapshot>} [parts]
 * @returns {ServerMessage}
 */
function snapshot(parts) {
  return { type: "snapshot", run, rows: rows(1, 3), exact: true, resumed: false, log: [], layers: null, runs: [run], read_only: false, ...parts };
}

/**
 * @param {number} first
 * @param {number} last
 */
function rows(first, last) {
  const seq = Array.from({ length: last - first + 1 }, (_, i) => first + i);
  return { seq, step: seq, time: seq, mode: seq.map(() => "norm"), norm: seq.map((s) => s / 10) };
}

/**
 * A store that is live, and what it sends.
 * @param {string | null} [chosen]
 */
function live(chosen = null) {
  /** @type {BrowserMessage[]} */
  const sent = [];
  const store = new Store((message) => sent.push(message) > 0, { ...HOME, run: chosen });
  store.setConnection({ state: "live", attempt: 0 });
  return { store, sent };
}

/** @param {BrowserMessage[]} sent */
function lastId(sent) {
  const message = sent.at(-1);
  assert.ok(message && "id" in message);
  return message.id;
}

test("every golden message is taken in", () => {
  const { store } = live();
  for (const message of golden.server_to_browser) store.receive(parse(JSON.stringify(message)));
  assert.deepEqual([...store.table.column("seq")], [1, 2, 3]);
  assert.equal(store.run?.state, "failed");
});

test("a new page asks for the newest run from its start", () => {
  assert.deepEqual(live().store.subscription(), { type: "subscribe", run: null, since: null });
  assert.deepEqual(live("zz").store.subscription(), { type: "subscribe", run: "zz", since: null });
});

test("after a reconnect only what was missed is asked for, and joins without a hole or a double", () => {
  const { store } = live();
  store.receive(snapshot());
  assert.deepEqual(store.subscription(), { type: "subscribe", run: "a1", since: 3 });
  store.receive(snapshot({ rows: rows(3, 6), resumed: true }));
  assert.deepEqual([...store.table.column("seq")], [1, 2, 3, 4, 5, 6]);
});

test("a snapshot that does not resume replaces the rows", () => {
  const { store } = live();
  store.receive(snapshot());
  store.receive(snapshot({ rows: rows(10, 12) }));
  assert.deepEqual([...store.table.column("seq")], [10, 11, 12]);
});

test("the steps that a link names stay on show when its run comes in, not when another is chosen", () => {
  const store = new Store(() => true, { ...HOME, run: "a1", range: [1, 2] });
  store.receive(snapshot());
  assert.deepEqual(store.range, [1, 2]);
  store.receive(snapshot({ run: { ...run, id: "b2" } }));
  assert.equal(store.view.range, null);
});

test("rows of another run are not mixed in", () => {
  const { store } = live();
  store.receive(snapshot());
  store.receive({ type: "steps", run: "other", rows: rows(4, 5), exact: true });
  assert.equal(store.table.lastSeq, 3);
});

test("a change is pending until it is answered with its step, and its configuration is in force", () => {
  const { store, sent } = live();
  store.receive(snapshot());
  store.control({ max_norm: 0.5 });
  assert.equal(store.change?.state, "pending");
  store.receive({ type: "applied", run: "a1", id: lastId(sent), step: 4, config: { mode: "norm", max_norm: 0.5 } });
  assert.deepEqual([store.change?.state, store.change?.step], ["applied", 4]);
  assert.equal(store.run?.control.max_norm, 0.5);
});

test("a rejected change says why and changes nothing", () => {
  const { store, sent } = live();
  store.receive(snapshot());
  store.control({ max_norm: -1 });
  store.receive({ type: "rejected", run: "a1", id: lastId(sent), reason: "max_norm must be >= 0, got -1" });
  assert.deepEqual([store.change?.state, store.change?.reason], ["rejected", "max_norm must be >= 0, got -1"]);
  assert.equal(store.run?.control.max_norm, 1);
});

test("a change that was pending when the line was cut is settled from the log", () => {
  const { store, sent } = live();
  store.receive(snapshot());
  store.control({ max_norm: 0.5 });
  /** @type {LogEntry} */
  const entry = { n: 1, step: 7, time: 0, kind: "applied", text: "", data: { changes: { max_norm: [1, 0.5] }, id: lastId(sent) } };
  store.receive(snapshot({ resumed: true, rows: rows(4, 8), log: [entry] }));
  assert.deepEqual([store.change?.state, store.change?.step], ["applied", 7]);
});

test("a change that was lost with the line is answered as such, one that the trainer still has is not", () => {
  const { store, sent } = live();
  store.receive(snapshot());
  store.control({ max_norm: 0.5 });
  const waiting = [{ id: lastId(sent), patch: { max_norm: 0.5 } }];
  store.receive(snapshot({ resumed: true, rows: rows(4, 8), run: { ...run, waiting } }));
  assert.equal(store.change?.state, "pending");
  store.receive(snapshot({ resumed: true, rows: rows(9, 9) }));
  assert.equal(store.change?.state, "rejected");
  assert.match(store.change?.reason ?? "", /connection lost/);
});

test("a change without a connection is rejected at once", () => {
  const store = new Store(() => false);
  store.receive(snapshot());
  store.control({ max_norm: 0.5 });
  assert.equal(store.change?.state, "rejected");
});

test("an applied draft is done with, but not what has been edited since", () => {
  const { store, sent } = live();
  store.receive(snapshot());
  const config = { mode: "norm", max_norm: 0.5 };
  store.edit({ mode: "norm", texts: { max_norm: "0.5" } });
  store.control({ max_norm: 0.5 });
  store.receive({ type: "applied", run: "a1", id: lastId(sent), step: 4, config });
  const left = store.draft;
  assert.equal(left, null);
  store.edit({ mode: "norm", texts: { max_norm: "0.4" } });
  store.control({ max_norm: 0.4 });
  store.edit({ mode: "norm", texts: { max_norm: "0.3" } });
  store.receive({ type: "applied", run: "a1", id: lastId(sent), step: 5, config });
  assert.deepEqual(store.draft?.texts, { max_norm: "0.3" });
});

test("a line of the log that comes twice is there once", () => {
  const { store } = live();
  store.receive(snapshot());
  /** @type {ServerMessage} */
  const event = { type: "event", run: "a1", entry: { n: 1, step: 1, time: 0, kind: "note", text: "hello", data: {} } };
  store.receive(event);
  store.receive(event);
  assert.equal(store.log.length, 1);
});

test("frozen charts show the rows from before, while later ones are kept", () => {
  const { store } = live();
  store.receive(snapshot());
  store.toggleFrozen();
  store.receive({ type: "steps", run: "a1", rows: rows(4, 9), exact: true });
  assert.deepEqual([store.shownRows, store.table.length], [3, 9]);
  store.toggleFrozen();
  assert.equal(store.shownRows, 9);
});

test("the knobs that a training declared may be turned in every mode, beside the mode's own parameters", () => {
  const { store } = live();
  store.setRules({ rules: { off: RULES.off, norm: RULES.norm }, shared: SHARED });
  store.receive(snapshot({ run: { ...run, knobs: { lr: { type: "number" } } } }));
  const { off, norm } = store.rules;
  assert.deepEqual([off, norm].map(({ properties }) => Object.keys(properties)), [["nonfinite", "lr"], ["max_norm", "norm_type", "nonfinite", "lr"]]);
  assert.deepEqual(Object.keys(store.ownOf("norm")), ["max_norm", "norm_type"]);
});

test("what was asked of a run laid over the one on show is kept with it", () => {
  const { store } = live();
  store.receive(snapshot({ runs: [run, { ...run, id: "b2" }] }));
  store.compare(["b2"]);
  const question = { run: "b2", metric: /** @type {const} */ ("norm"), first: 1, last: 3, rule: null };
  store.foresee({ question, steps: 0, curve: { threshold: [], clipped: [], coef: [] }, histogram: null, suggestions: [], effect: null });
  assert.deepEqual([store.whatif, store.overlay.runs[0].whatif?.question], [null, question]);
});

test("what was asked of a run that is on show no more is let go", () => {
  const { store } = live();
  store.receive(snapshot({}));
  const answer = { steps: 0, curve: { threshold: [], clipped: [], coef: [] }, histogram: null, suggestions: [], effect: null };
  const question = { run: run.id, metric: /** @type {const} */ ("norm"), first: 1, last: 3, rule: null };
  const missed = [{ step: 2, norm: [1], coef: [1], clamped: [0], histogram: null }];
  store.foresee({ question, ...answer });
  store.fillLayers(run.id, missed);
  assert.equal(store.whatif?.question, question);
  assert.equal(store.layers.pictures.length, 1);
  store.receive(snapshot({ run: { ...run, id: "b2" } }));
  store.foresee({ question, ...answer });
  store.fillLayers(run.id, missed);
  assert.equal(store.whatif, null);
  assert.equal(store.layers.pictures.length, 0);
});

test("a page that shows the newest run goes on to the next one when it has ended", () => {
  const { store, sent } = live();
  store.receive(snapshot({ run: { ...run, state: "finished" } }));
  store.receive({ type: "runs", runs: [{ ...run, id: "b2" }, run] });
  assert.deepEqual(sent, [{ type: "subscribe", run: "b2", since: null }]);
});

test("a page does not leave a run that still trains, nor one that a person chose", () => {
  const training = live();
  training.store.receive(snapshot());
  training.store.receive({ type: "runs", runs: [{ ...run, id: "b2" }, run] });
  const chosen = live("a1");
  chosen.store.receive(snapshot({ run: { ...run, state: "finished" } }));
  chosen.store.receive({ type: "runs", runs: [{ ...run, id: "b2" }, run] });
  assert.deepEqual([training.sent, chosen.sent], [[], []]);
});

test("of two runs that are chosen one after the other, the second may be gone though the first comes", () => {
  const { store, sent } = live();
  const runs = [run, { ...run, id: "b2" }];
  store.receive(snapshot({ runs: [...runs, { ...run, id: "c3" }] }));
  store.select("b2");
  store.select("c3");
  store.receive(snapshot({ run: { ...run, id: "b2" }, runs }));
  store.receive({ type: "error", reason: "no run 'c3'" });
  assert.equal(store.notice, "Run c3 does not exist or was deleted; showing the newest run");
  assert.deepEqual([sent.pop(), store.place.run], [{ type: "subscribe", run: null, since: null }, null]);
});

test("a run that is laid over another and then chosen is not laid over itself", () => {
  const { store } = live();
  store.receive(snapshot({ runs: [run, { ...run, id: "b2" }] }));
  store.compare(["b2"]);
  store.select("b2");
  assert.deepEqual([store.place.run, store.place.others], ["b2", []]);
});

test("a page that asks for a run that is gone shows the newest", () => {
  const { store, sent } = live("gone");
  store.subscription();
  store.receive({ type: "error", reason: "no run 'gone'" });
  assert.equal(store.notice, "Run gone does not exist or was deleted; showing the newest run");
  assert.deepEqual(sent, [{ type: "subscribe", run: null, since: null }]);
});

test("a page whose run is deleted, before its eyes or while it was away, shows the newest", () => {
  const newest = { type: "subscribe", run: null, since: null };
  const { store, sent } = live("a1");
  store.receive(snapshot());
  store.receive({ type: "runs", runs: [{ ...run, id: "b" }] });
  assert.deepEqual([store.notice, sent.pop()], ["charlm a1 was deleted", newest]);
  store.receive(snapshot());
  store.subscription();
  store.receive({ type: "error", reason: "no run 'a1'" });
  assert.deepEqual(sent.pop(), newest);
  store.receive(snapshot());
  store.receive({ type: "error", reason: "the disk is full" });
  assert.deepEqual([store.notice, sent.length], ["the disk is full", 0]);
});

test("the knob is locked, with the reason, whenever nobody would obey", () => {
  const { store } = live();
  assert.equal(store.locked, "there is no run");
  store.receive(snapshot({ run: { ...run, state: "starting", attached: false } }));
  assert.equal(store.locked, "the training is starting");
  store.receive(snapshot({ run: { ...run, attached: false } }));
  assert.equal(store.locked, "no trainer is attached");
  store.receive(snapshot({ run: { ...run, state: "failed" } }));
  assert.equal(store.locked, "the run has failed");
  store.receive(snapshot({ read_only: true }));
  assert.match(store.locked, /this page may only watch/);
  store.receive(snapshot());
  assert.equal(store.locked, "");
  store.setConnection({ state: "lost", attempt: 1 });
  assert.equal(store.locked, "the server is out of reach");
});

test("runs laid over the one on show follow the list, are never that one, and change places with it", () => {
  const { store, sent } = live();
  store.receive(snapshot({ runs: [run, { ...run, id: "b" }, { ...run, id: "c" }] }));
  store.compare(["b", "c", "gone", run.id]);
  const laid = () => store.overlay.runs.map(({ info }) => info.id);
  assert.deepEqual(laid(), ["b", "c"]);
  assert.deepEqual([store.place.run, store.place.others], [run.id, ["b", "c", "gone"]]);
  store.receive({ type: "runs", runs: [run, { ...run, id: "c" }] });
  assert.deepEqual(laid(), ["c"]);
  store.exchange("c");
  assert.deepEqual(sent.at(-1), { type: "subscribe", run: "c", since: null });
  store.receive(snapshot({ run: { ...run, id: "c" }, runs: [run, { ...run, id: "c" }] }));
  assert.deepEqual(laid(), [run.id]);
});

test("until a training has started, the knob shows what it was asked to start with", () => {
  const { store } = live();
  store.setRules({ rules: { off: RULES.off }, shared: SHARED });
  const config = { seed: 7, mode: "off", nonfinite: "skip" };
  store.receive(snapshot({ run: { ...run, state: "starting", config, control: {} } }));
  assert.deepEqual(store.configuration, { mode: "off", nonfinite: "skip" });
  store.receive({ type: "status", run: { ...run, config } });
  assert.deepEqual(store.configuration, { mode: "norm", max_norm: 1 });
});
