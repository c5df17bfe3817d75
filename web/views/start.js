/** Starting a built-in training: which one, with which options. */

import { getWorkloads, startWorker } from "../api.js";
import { reasonOf, runTitle } from "../lib/format.js";
import { read, write } from "../lib/schema.js";
import { find, make, setText } from "./dom.js";
import { fieldFor } from "./fields.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../api.js").Workload} Workload */
/** @typedef {import("../lib/wire.js").Patch} Patch */
/** @typedef {import("../lib/wire.js").RunInfo} RunInfo */

export class StartView {
  #panel;
  #form;
  #store;
  #open = false;
  /** @type {Map<string, (run: RunInfo | null) => void>} by workload: fills its form in as for that run, or for a new one */
  #fill = new Map();
  #close;
  /** What had the focus before. @type {Element | null} */
  #opener = null;

  /**
   * @param {HTMLElement} panel
   * @param {Store} store
   */
  constructor(panel, store) {
    this.#panel = panel;
    this.#store = store;
    this.#form = find(panel, "#start-form", HTMLFormElement);
    this.#close = find(panel, "#start-close", HTMLButtonElement);
    this.#close.addEventListener("click", () => this.close());
    setText(find(panel, "#server-url", HTMLElement), new URL(".", document.baseURI).href.replace(/\/$/, ""));
    store.watch(["run", "connection"], () => this.#show());
  }

  /** Ask what to start, over the run on show. */
  open() {
    for (const fill of this.#fill.values()) fill(null);
    this.#opener = document.activeElement;
    this.#open = true;
    this.#show();
    this.#close.focus();
  }

  /**
   * Ask for the same again: a run's workload with its options, its seed among them, to change what one will.
   * @param {RunInfo} run
   */
  again(run) {
    this.open();
    this.#fill.get(run.workload ?? "")?.(run);
  }

  close() {
    this.#open = false;
    this.#show();
    if (this.#opener instanceof HTMLElement) this.#opener.focus();
  }

  async load() {
    const workloads = await getWorkloads();
    this.#form.replaceChildren(...workloads.map((workload) => this.#choice(workload)));
  }

  #show() {
    const { loaded, run, readOnly, hasToken } = this.#store;
    document.body.dataset.show = !loaded ? "loading" : !run || this.#open ? "start" : "run";
    this.#form.hidden = readOnly;
    setText(find(this.#panel, "#start-title", HTMLElement), run ? "Start a training" : "No training yet");
    find(this.#panel, "#token-hint", HTMLElement).hidden = !hasToken;
    this.#close.hidden = !run;
  }

  /** @param {Workload} workload */
  #choice({ name, title, help, options }) {
    const fields = Object.entries(options.properties).map(([option, property]) => ({ option, property, ...fieldFor(option, property) }));
    /** @type {RunInfo | null} the run to repeat */
    let repeated = null;
    const answer = make("output", { class: "answer", "data-state": "rejected" });
    const button = make("button", { type: "button", class: "main", "data-testid": `start-${name}` }, `Start ${name}`);
    button.addEventListener("click", async () => {
      const changed = fields.filter(({ field, property }) => field.value !== write(property.default));
      const config = Object.fromEntries(changed.map(({ option, field, property }) => [option, read(field.value, property)]));
      const before = repeated?.config ?? {};
      const sameMode = fields.some(({ option, field }) => option === "mode" && field.value === before.mode);
      const unshown = Object.entries(before).filter(([option]) => sameMode && !(option in options.properties)); // the mode's own
      button.disabled = true;
      setText(answer, await this.#start(name, { ...Object.fromEntries(unshown), ...config }, repeated && beside.checked ? repeated.id : null));
      button.disabled = false;
    });
    const list = make("div", { class: "fields" }, ...fields.map(({ label }) => label));
    const more = make("details", { class: "more" }, make("summary", {}, "Options"), list);
    const beside = make("input", { type: "checkbox", checked: "" });
    const besideWords = make("span");
    const besideLabel = make("label", { hidden: "" }, beside, besideWords);
    this.#fill.set(name, (run) => {
      for (const { option, field, property } of fields) field.value = write(run?.config[option] ?? property.default);
      repeated = run;
      more.open = run !== null;
      besideLabel.hidden = run === null;
      setText(besideWords, run ? `beside ${runTitle(run)} on the charts` : "");
      setText(answer, "");
    });
    return make("section", { class: "choice" }, make("h3", {}, title), make("p", {}, help), more, make("div", {}, button, besideLabel, answer));
  }

  /**
   * @param {string} workload
   * @param {Patch} config
   * @param {string | null} beside  a run to compare the new one with
   * @returns {Promise<string>} why it did not start; "" when it did
   */
  async #start(workload, config, beside) {
    try {
      this.#store.select(await startWorker(workload, config), beside === null ? [] : [beside]);
      this.close();
      return "";
    } catch (error) {
      return reasonOf(error);
    }
  }
}
