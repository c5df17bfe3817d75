/** One run in the list of all runs: how it stands, its name and note, and what can be done with it. */

import { count, number, percent, runTitle } from "../lib/format.js";
import { recent } from "../lib/recent.js";
import { sparkline } from "../lib/sparkline.js";
import { moment, when } from "../lib/when.js";
import { icon, make, setText } from "./dom.js";
import { renameForm } from "./rename.js";
import { STATES } from "./status.js";

/** @typedef {import("../lib/wire.js").RunInfo} RunInfo */

/**
 * What a person may ask for.
 * @typedef {object} Wishes
 * @property {() => void} show
 * @property {(beside: boolean) => void} compare
 * @property {() => void} repeat
 * @property {(words: import("./rename.js").Words) => Promise<boolean>} rename  whether it was done
 * @property {() => void} remove
 * @property {() => void} restore
 */

const SPARKLINE = { width: 120, height: 24 };
const PENCIL = "m2.5 13.5.7-3.2 7.6-7.6 2.5 2.5-7.6 7.6z";

export class Entry {
  element = make("tr");
  #run;
  #wishes;
  #beside = make("input", { type: "checkbox", title: "On the charts, beside the run on show" });
  #name = make("button", { type: "button", class: "quiet" });
  #rename = make("button", { type: "button", class: "quiet icon", title: "Rename it, or write a note" }, icon(PENCIL));
  #note = make("small");
  #words = make("td");
  #state = make("td");
  #started = make("td");
  #step = make("td");
  #clipping = make("td");
  #path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  #last = make("td");
  #clipped = make("td");
  #cells;
  /** Measured, which is newer than what the list of runs says; NaN until then. */
  #reached = NaN;

  /**
   * @param {RunInfo} run
   * @param {boolean} readOnly
   * @param {Wishes} wishes
   */
  constructor(run, readOnly, wishes) {
    this.#run = run;
    this.#wishes = wishes;
    const line = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    line.append(this.#path);
    const again = make("button", { type: "button", title: "The same options and seed, in a run of its own: to compare another threshold" }, "Again…");
    const remove = make("button", { type: "button", title: "Delete the run; it can be restored here for 10 minutes" }, "Delete");
    again.hidden = readOnly || run.workload === null;
    remove.hidden = this.#rename.hidden = readOnly;
    this.#cells = [
      make("td", {}, this.#beside), this.#words, this.#state, this.#started, this.#step, this.#clipping,
      make("td", {}, line), this.#last, this.#clipped, make("td", {}, again, remove),
    ];
    this.#name.addEventListener("click", wishes.show);
    this.#beside.addEventListener("change", () => wishes.compare(this.#beside.checked));
    this.#rename.addEventListener("click", () => this.#edit());
    again.addEventListener("click", wishes.repeat);
    remove.addEventListener("click", wishes.remove);
    this.#showWords();
    this.element.append(...this.#cells);
  }

  /**
   * @param {RunInfo} run
   * @param {{shown: boolean, beside: boolean, full: boolean}} charts  full: no more runs go on them
   */
  show(run, { shown, beside, full }) {
    this.#run = run;
    if (!this.#words.isConnected) this.#bringBack();
    this.element.setAttribute("aria-current", String(shown));
    this.#beside.checked = shown || beside;
    this.#beside.disabled = shown || (full && !beside);
    this.#beside.setAttribute("aria-label", `${runTitle(run)} on the charts`);
    setText(this.#name, runTitle(run));
    this.#name.title = `Show ${runTitle(run)}`;
    this.#rename.setAttribute("aria-label", `Rename ${runTitle(run)}`);
    setText(this.#note, run.note);
    this.#state.dataset.state = run.state;
    setText(this.#state, STATES[run.state]);
    setText(this.#started, when(run.created));
    this.#started.title = moment(run.created);
    setText(this.#step, count(Number.isNaN(this.#reached) ? run.step : this.#reached));
  }

  /**
   * @param {number} step  the newest
   * @param {string} clipping  the configuration in force
   * @param {import("../lib/table.js").StepTable} steps  the last ones
   */
  measure(step, clipping, steps) {
    this.#reached = step;
    setText(this.#step, count(step));
    setText(this.#clipping, clipping);
    this.#path.setAttribute("d", sparkline(steps.column("norm"), SPARKLINE));
    setText(this.#last, steps.length ? number(steps.at("norm", steps.length - 1)) : "–");
    const { clipped } = recent(steps);
    setText(this.#clipped, Number.isNaN(clipped) ? "–" : percent(clipped));
  }

  /** In the run's place, say that it is deleted, and offer it back. */
  showDeleted() {
    if (!this.#words.isConnected) return;
    const undo = make("button", { type: "button" }, "Undo");
    undo.addEventListener("click", this.#wishes.restore);
    this.element.setAttribute("aria-current", "false");
    this.element.replaceChildren(
      make("td"), make("td", { colspan: "8", role: "status" }, `${runTitle(this.#run)} is deleted`), make("td", {}, undo),
    );
    undo.focus();
  }

  #bringBack() {
    const undone = this.element.contains(document.activeElement);
    this.element.replaceChildren(...this.#cells);
    if (undone) this.#name.focus();
  }

  #edit() {
    const { form, focus } = renameForm(this.#run, this.#wishes.rename, () => {
      this.#showWords();
      this.#rename.focus();
    });
    this.#words.replaceChildren(form);
    focus();
  }

  #showWords() {
    this.#words.replaceChildren(make("div", { class: "title" }, this.#name, this.#rename), this.#note);
  }
}
