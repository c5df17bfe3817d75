/** Starting a built-in training: which one, with which options. */

import { getWorkloads, startWorker } from "../api.js";
import { read, write } from "../lib/schema.js";
import { find, make, setText } from "./dom.js";
import { fieldFor } from "./fields.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../api.js").Workload} Workload */
/** @typedef {import("../lib/wire.js").Patch} Patch */

export class StartView {
  #panel;
  #form;
  #store;
  #open = false;
  /** @type {Map<string, (config: Patch) => void>} by workload: fills its form in */
  #fill = new Map();

  /**
   * @param {HTMLElement} panel
   * @param {Store} store
   */
  constructor(panel, store) {
    this.#panel = panel;
    this.#store = store;
    this.#form = find(panel, "#start-form", HTMLFormElement);
    find(panel, "#start-close", HTMLButtonElement).addEventListener("click", () => this.close());
    setText(find(panel, "#server-url", HTMLElement), new URL(".", document.baseURI).href.replace(/\/$/, ""));
    store.watch(["run"], () => this.#show());
  }

  /** Ask what to start, over the run on show. */
  open() {
    this.#open = true;
    this.#show();
  }

  /**
   * Ask for the same again: a run's workload with its options, its seed among them, to change what one will.
   * @param {string} workload
   * @param {Patch} config
   */
  again(workload, config) {
    this.#fill.get(workload)?.(config);
    this.open();
  }

  close() {
    this.#open = false;
    this.#show();
  }

  async load() {
    const workloads = await getWorkloads();
    this.#form.replaceChildren(...workloads.map((workload) => this.#choice(workload)));
  }

  #show() {
    const { loaded, run, readOnly } = this.#store;
    document.body.dataset.show = !loaded ? "loading" : !run || this.#open ? "start" : "run";
    this.#form.hidden = readOnly;
    setText(find(this.#panel, "#start-title", HTMLElement), run ? "Start a training" : "No training yet");
    find(this.#panel, "#start-close", HTMLButtonElement).hidden = !run;
  }

  /** @param {Workload} workload */
  #choice({ name, title, help, options }) {
    const fields = Object.entries(options.properties).map(([option, property]) => ({ option, property, ...fieldFor(option, property) }));
    /** @type {Patch} options of the run to repeat */
    let repeated = {};
    const answer = make("output", { class: "answer", "data-state": "rejected" });
    const button = make("button", { type: "button", class: "main", "data-testid": `start-${name}` }, `Start ${name}`);
    button.addEventListener("click", async () => {
      const changed = fields.filter(({ field, property }) => field.value !== write(property.default));
      const config = Object.fromEntries(changed.map(({ option, field, property }) => [option, read(field.value, property)]));
      const sameMode = fields.some(({ option, field }) => option === "mode" && field.value === repeated.mode);
      const unshown = Object.entries(repeated).filter(([option]) => sameMode && !(option in options.properties)); // the mode's own
      button.disabled = true;
      setText(answer, await this.#start(name, { ...Object.fromEntries(unshown), ...config }));
      button.disabled = false;
    });
    const list = make("div", { class: "fields" }, ...fields.map(({ label }) => label));
    const more = make("details", { class: "more" }, make("summary", {}, "Options"), list);
    this.#fill.set(name, (config) => {
      for (const { option, field, property } of fields) field.value = write(config[option] ?? property.default);
      repeated = config;
      more.open = true;
      setText(answer, "");
    });
    return make("section", { class: "choice" }, make("h3", {}, title), make("p", {}, help), more, make("div", {}, button, answer));
  }

  /**
   * @param {string} workload
   * @param {Patch} config
   * @returns {Promise<string>} why it did not start; "" when it did
   */
  async #start(workload, config) {
    try {
      this.#store.select(await startWorker(workload, config));
      this.close();
      return "";
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
}
