/** Advice, quiet: one line of what was seen, what people do about it on demand, and gone when it is put aside. */

import { advise } from "../lib/advice.js";
import { Dismissals } from "../lib/dismissals.js";
import { count } from "../lib/format.js";
import { normsSince } from "../lib/normtype.js";
import { write } from "../lib/schema.js";
import { make, setText } from "./dom.js";
import { withStep } from "./step.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../lib/advice.js").Advice} Advice */

const MOST_AT_ONCE = 2;

export class AdviceView {
  #panel;
  #store;
  #dismissals;
  /** @type {Map<string, {element: HTMLElement, show: (advice: Advice) => void}>} by run and kind */
  #notes = new Map();

  /**
   * @param {HTMLElement} panel
   * @param {Store} store
   * @param {import("../lib/storage.js").Keeper} storage  remembers what was dismissed
   */
  constructor(panel, store, storage) {
    this.#panel = panel;
    this.#store = store;
    this.#dismissals = new Dismissals(storage);
  }

  draw() {
    const run = this.#store.run?.id ?? "";
    const advice = this.#advice().filter(({ kind }) => !this.#dismissals.has(run, kind)).slice(0, MOST_AT_ONCE);
    this.#panel.hidden = advice.length === 0;
    const shown = new Map(advice.map((each) => [`${run}/${each.kind}`, each]));
    for (const [key, { element }] of this.#notes) {
      if (shown.has(key)) continue;
      element.remove();
      this.#notes.delete(key);
    }
    [...shown].forEach(([key, each], place) => {
      const { element, show } = this.#notes.get(key) ?? this.#add(key, run, each.kind);
      if (this.#panel.children[place] !== element) this.#panel.insertBefore(element, this.#panel.children[place] ?? null);
      show(each);
    });
  }

  #advice() {
    const { run, rules, table, log, lastChange, layers } = this.#store;
    if (!run || table.length === 0) return [];
    return advise({
      table, control: run.control, rule: rules[write(run.control.mode)],
      since: lastChange?.step ?? 0, comparable: normsSince(log), pictures: layers.pictures, layers: run.layers, log,
    });
  }

  /**
   * @param {string} key
   * @param {string} run
   * @param {string} kind
   */
  #add(key, run, kind) {
    const seen = make("summary");
    const advised = make("span");
    const there = make("span");
    const source = make("a", { target: "_blank", rel: "noreferrer" });
    const dismiss = make("button", { type: "button", class: "quiet icon", title: "Dismiss: not again for this run", "aria-label": "Dismiss" }, "×");
    dismiss.addEventListener("click", () => {
      this.#dismissals.add(run, kind);
      this.draw();
    });
    const element = make("div", { "data-kind": kind }, make("details", {}, seen, make("p", {}, advised, " ", source, there)), dismiss);
    const note = {
      element,
      /** @param {Advice} advice */
      show: (advice) => {
        setText(seen, advice.seen);
        setText(advised, advice.advised);
        setText(source, advice.source.title);
        source.href = advice.source.url;
        const look = advice.step === null ? "" : ` See step ${count(advice.step)}.`;
        if (there.textContent !== look) there.replaceChildren(...withStep(this.#store, look, advice.step));
      },
    };
    this.#notes.set(key, note);
    return note;
  }
}
