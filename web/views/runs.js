/** All runs side by side: how each stands and what clipping did to it lately; one click shows or repeats it. */

import { getRun, getSeries } from "../api.js";
import { boundOf } from "../lib/draft.js";
import { count, exact, number, percent } from "../lib/format.js";
import { RECENT_STEPS, recent } from "../lib/recent.js";
import { sparkline } from "../lib/sparkline.js";
import { StepTable } from "../lib/table.js";
import { toColumns } from "../lib/wire.js";
import { OVER } from "../store.js";
import { find, make, setText } from "./dom.js";
import { STATES } from "./status.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../lib/wire.js").RunInfo} RunInfo */
/** @typedef {{element: HTMLElement, show: (run: RunInfo) => void, measure: (run: RunInfo, steps: StepTable) => void}} Row */

const SPARKLINE = { width: 120, height: 24 };
const METRICS = ["norm", "clipped_tensors", "coef"];
const REFRESH_MS = 3000;

export class RunsView {
  #dialog;
  #list;
  #store;
  #again;
  #busy = false;
  /** @type {Map<string, Row>} by run */
  #rows = new Map();
  /** @type {Set<string>} runs that are over and measured: nothing about them changes any more */
  #settled = new Set();

  /**
   * @param {HTMLDialogElement} dialog
   * @param {Store} store
   * @param {(workload: string, config: import("../lib/wire.js").Patch) => void} again  asks for the same once more
   */
  constructor(dialog, store, again) {
    this.#dialog = dialog;
    this.#list = find(dialog, "#runs-list", HTMLElement);
    this.#store = store;
    this.#again = again;
    store.watch(["runs", "run"], () => dialog.open && this.#draw());
    setInterval(() => dialog.open && this.#measure(), REFRESH_MS);
  }

  open() {
    this.#dialog.showModal();
    this.#draw();
    this.#measure();
  }

  #draw() {
    const { runs } = this.#store;
    for (const [id, { element }] of this.#rows) {
      if (runs.some((run) => run.id === id)) continue;
      element.remove();
      this.#rows.delete(id);
    }
    runs.forEach((run, place) => {
      const { element, show } = this.#rows.get(run.id) ?? this.#add(run);
      if (this.#list.children[place] !== element) this.#list.insertBefore(element, this.#list.children[place] ?? null);
      element.setAttribute("aria-current", String(run.id === this.#store.run?.id));
      show(run);
    });
  }

  async #measure() {
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (const { id } of this.#store.runs) if (!this.#settled.has(id)) await this.#measureRun(id);
    } catch (error) {
      this.#store.say(`The runs could not be measured: ${error instanceof Error ? error.message : error}`);
    }
    this.#busy = false;
  }

  /** @param {string} id */
  async #measureRun(id) {
    const run = await getRun(id);
    const table = new StepTable();
    const recentRows = { first: Math.max(1, run.seq - RECENT_STEPS + 1), last: run.seq, points: RECENT_STEPS };
    if (run.seq > 0) table.add(toColumns(await getSeries(id, { metrics: METRICS, ...recentRows })));
    this.#rows.get(id)?.show(run);
    this.#rows.get(id)?.measure(run, table);
    if (run.state in OVER) this.#settled.add(id);
  }

  /**
   * @param {RunInfo} run
   * @returns {Row}
   */
  #add({ id, name, workload }) {
    const choose = make("button", { type: "button", class: "quiet", title: "Show this run" }, `${name} ${id.slice(0, 4)}`);
    choose.addEventListener("click", () => this.#choose(id));
    const again = make("button", { type: "button", title: "The same options and seed, in a run of its own: to compare another threshold" }, "Again…");
    again.addEventListener("click", () => this.#repeat(id));
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    line.append(path);
    const [state, step, clipping, last, clipped] = Array.from({ length: 5 }, () => make("td"));
    const repeatable = workload !== null && !this.#store.readOnly;
    const cells = [make("td", {}, choose), state, step, clipping, make("td", {}, line), last, clipped, make("td", {}, ...(repeatable ? [again] : []))];
    const row = {
      element: make("tr", {}, ...cells),
      show: (/** @type {RunInfo} */ run) => {
        state.dataset.state = run.state;
        setText(state, STATES[run.state]);
        setText(step, count(run.step));
      },
      measure: (/** @type {RunInfo} */ run, /** @type {StepTable} */ steps) => {
        setText(clipping, this.#clipping(run.control));
        path.setAttribute("d", sparkline(steps.column("norm"), SPARKLINE));
        setText(last, steps.length ? number(steps.at("norm", steps.length - 1)) : "–");
        setText(clipped, steps.length ? percent(recent(steps).clipped) : "–");
      },
    };
    this.#rows.set(id, row);
    return row;
  }

  /** @param {import("../lib/wire.js").Patch} control */
  #clipping(control) {
    const bound = boundOf(null, control, this.#store.rules);
    return `${control.mode}${Number.isNaN(bound) ? "" : ` ${exact(bound)}`}`;
  }

  /** @param {string} id */
  #choose(id) {
    this.#store.select(id);
    this.#dialog.close();
  }

  /** @param {string} id */
  async #repeat(id) {
    this.#dialog.close();
    try {
      const { workload, config } = await getRun(id);
      if (workload !== null) this.#again(workload, config);
    } catch (error) {
      this.#store.say(`Run ${id} could not be read: ${error instanceof Error ? error.message : error}`);
    }
  }
}
