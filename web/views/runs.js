/** All runs side by side: how each stands and what clipping did to it lately, and what is to be done with them. */

import { deleteRun, editRun, getRun, getSeries, restoreRun } from "../api.js";
import { boundOf } from "../lib/draft.js";
import { OVER } from "../lib/endings.js";
import { exact, reasonOf, runTitle } from "../lib/format.js";
import { MOST_RUNS } from "../lib/overlay.js";
import { RECENT_STEPS } from "../lib/recent.js";
import { StepTable } from "../lib/table.js";
import { toColumns } from "../lib/wire.js";
import { find, setText } from "./dom.js";
import { Entry } from "./entry.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../lib/wire.js").RunInfo} RunInfo */

const METRICS = ["norm", "clipped_tensors", "coef"];
const REFRESH_MS = 3000;

export class RunsView {
  #dialog;
  #list;
  #answer;
  #store;
  #again;
  #start;
  #busy = false;
  /** What failed last of what the list asks for by itself. */
  #trouble = "";
  /** @type {Map<string, Entry>} by run */
  #entries = new Map();
  /** @type {Map<string, RunInfo>} those deleted here since the list was opened */
  #deleted = new Map();
  /** @type {Set<string>} runs that are over and measured: nothing about their steps changes any more */
  #settled = new Set();

  /**
   * @param {HTMLDialogElement} dialog
   * @param {Store} store
   * @param {{another: () => void, again: (run: RunInfo) => void}} start  ask what to start, or for the same once more
   */
  constructor(dialog, store, { another, again }) {
    this.#dialog = dialog;
    this.#list = find(dialog, "#runs-list", HTMLElement);
    this.#answer = find(dialog, "#runs-answer", HTMLElement);
    this.#store = store;
    this.#again = again;
    this.#start = find(dialog, "#runs-start", HTMLButtonElement);
    this.#start.addEventListener("click", () => this.#leave(another));
    store.watch(["runs", "run", "view"], () => dialog.open && this.#draw());
    setInterval(() => dialog.open && this.#measure(), REFRESH_MS);
  }

  open() {
    this.#deleted.clear();
    setText(this.#answer, "");
    this.#dialog.showModal();
    this.#draw();
    this.#measure();
  }

  #draw() {
    const { runs, run: shown, view, readOnly } = this.#store;
    this.#start.hidden = readOnly;
    const listed = [...runs.filter(({ id }) => !this.#deleted.has(id)), ...this.#deleted.values()].sort((a, b) => b.created - a.created);
    for (const [id, { element }] of this.#entries) {
      if (listed.some((run) => run.id === id)) continue;
      element.remove();
      this.#entries.delete(id);
      this.#settled.delete(id);
    }
    const full = view.others.length >= MOST_RUNS - 1;
    listed.forEach((run, place) => {
      if (!(run.state in OVER)) this.#settled.delete(run.id); // it goes on
      const entry = this.#entries.get(run.id) ?? this.#add(run);
      if (this.#list.children[place] !== entry.element) this.#list.insertBefore(entry.element, this.#list.children[place] ?? null);
      if (this.#deleted.has(run.id)) entry.showDeleted();
      else entry.show(run, { shown: run.id === shown?.id, beside: view.others.includes(run.id), full });
    });
  }

  async #measure() {
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (const { id } of this.#store.runs) if (!this.#settled.has(id)) await this.#measureRun(id);
      if (this.#answer.textContent === this.#trouble) setText(this.#answer, "");
    } catch (error) {
      this.#trouble = `The runs could not be measured: ${reasonOf(error)}`;
      setText(this.#answer, this.#trouble);
    }
    this.#busy = false;
  }

  /** @param {string} id */
  async #measureRun(id) {
    const { seq, step, state, control } = await getRun(id);
    const table = new StepTable();
    const recentRows = { first: Math.max(1, seq - RECENT_STEPS + 1), last: seq, points: RECENT_STEPS };
    if (seq > 0) table.add(toColumns(await getSeries(id, { metrics: METRICS, ...recentRows })));
    const bound = boundOf(null, control, this.#store.rules);
    this.#entries.get(id)?.measure(step, `${control.mode ?? ""}${Number.isNaN(bound) ? "" : ` ${exact(bound)}`}`, table);
    if (state in OVER) this.#settled.add(id);
  }

  /** @param {RunInfo} run */
  #add(run) {
    const { id } = run;
    const store = this.#store;
    const entry = new Entry(run, store.readOnly, {
      show: () => this.#leave(() => store.select(id)),
      compare: (beside) => store.compare(beside ? [...store.view.others, id] : store.view.others.filter((other) => other !== id)),
      repeat: () => this.#attempt("The run could not be read", async () => {
        const known = await getRun(id);
        this.#leave(() => this.#again(known));
      }),
      rename: (words) => this.#attempt("Not renamed", () => editRun(id, words)),
      remove: () => this.#attempt(`${runTitle(run)} was not deleted`, () => this.#remove(run)),
      restore: () => this.#attempt("Not brought back", async () => {
        await restoreRun(id);
        this.#deleted.delete(id);
        if (store.runs.some((each) => each.id === id)) this.#draw(); // else when the list has it again
      }),
    });
    this.#entries.set(id, entry);
    return entry;
  }

  /** @param {RunInfo} run */
  async #remove(run) {
    this.#deleted.set(run.id, run); // before the server says so to all: its row is to stay
    try {
      await deleteRun(run.id);
    } catch (error) {
      this.#deleted.delete(run.id);
      throw error;
    } finally {
      this.#draw();
    }
  }

  /** @param {() => void} then */
  #leave(then) {
    this.#dialog.close();
    then();
  }

  /**
   * Do what a person asked for; the answer stays until the next.
   * @param {string} failed  what to say before the reason
   * @param {() => Promise<unknown>} attempt
   * @returns {Promise<boolean>} whether it was done
   */
  async #attempt(failed, attempt) {
    try {
      await attempt();
      setText(this.#answer, "");
      return true;
    } catch (error) {
      setText(this.#answer, `${failed}: ${reasonOf(error)}`);
      return false;
    }
  }
}
