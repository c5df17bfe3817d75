/** The change log: what changed when, newest first. */

import { filePath } from "../api.js";
import { changesOf, describe, newsOf, whoOf } from "../lib/changes.js";
import { lastLine } from "../lib/endings.js";
import { moment, when } from "../lib/when.js";
import { find, make } from "./dom.js";
import { stepButton } from "./step.js";

/** @typedef {import("../lib/wire.js").LogEntry} LogEntry */

const SHOWN = 200;

/**
 * @param {HTMLElement} panel
 * @param {import("../store.js").Store} store
 */
export function logView(panel, store) {
  const list = find(panel, "#events", HTMLElement);
  const downloads = find(panel, "#downloads", HTMLElement);
  store.watch(["run"], () => {
    downloads.hidden = store.run === null;
    for (const link of downloads.querySelectorAll("a")) link.href = filePath(store.run?.id ?? "", link.dataset.file ?? "");
  });
  store.watch(["log"], () => {
    const entries = newsOf(store.log).slice(-SHOWN).reverse();
    list.replaceChildren(...entries.map((entry) => row(store, entry)));
    if (entries.length === 0) list.append(make("li", { class: "empty" }, "No changes yet"));
  });
}

/**
 * @param {import("../store.js").Store} store
 * @param {LogEntry} entry
 */
function row(store, entry) {
  const time = make("time", { datetime: new Date(entry.time * 1000).toISOString(), title: moment(entry.time) }, when(entry.time));
  const who = whoOf(entry);
  const what = make("span", {}, words(entry), ...(who ? [make("small", {}, who)] : []));
  return make("li", { "data-kind": entry.kind }, make("span", {}, stepButton(store, entry.step)), what, time);
}

/** @param {LogEntry} entry */
function words(entry) {
  const changes = changesOf(entry);
  if (changes) return describe(changes);
  if (entry.kind === "rejected") return `rejected: ${entry.text}`;
  return lastLine(entry.text || entry.kind);
}
