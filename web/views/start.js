/** Starting a built-in training: which one, with which options. */

import { getWorkloads, startWorker } from "../api.js";
import { read, write } from "../lib/schema.js";
import { find, make, setText } from "./dom.js";
import { fieldFor } from "./fields.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../api.js").Workload} Workload */

export class StartView {
  #panel;
  #form;
  #store;
  #open = false;

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
    const properties = Object.entries(options?.properties ?? {});
    const fields = properties.map(([option, property]) => ({ option, property, ...fieldFor(option, property) }));
    const answer = make("output", { class: "answer" });
    const button = make("button", { type: "button", class: "main", "data-testid": `start-${name}` }, `Start ${name}`);
    button.addEventListener("click", async () => {
      const changed = fields.filter(({ field, property }) => field.value !== write(property.default));
      button.disabled = true;
      try {
        const config = Object.fromEntries(changed.map(({ option, field, property }) => [option, read(field.value, property)]));
        this.#store.select(await startWorker(name, config));
        this.close();
        setText(answer, "");
      } catch (error) {
        setText(answer, error instanceof Error ? error.message : String(error));
        answer.dataset.state = "rejected";
      }
      button.disabled = false;
    });
    const more = make("details", { class: "more" }, make("summary", {}, "Options"), make("div", { class: "fields" }, ...fields.map(({ label }) => label)));
    return make("section", { class: "choice" }, make("h3", {}, title || name), make("p", {}, help), ...(fields.length ? [more] : []), make("div", {}, button, answer));
  }
}
