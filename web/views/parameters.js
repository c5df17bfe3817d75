/** The fields of a mode's parameters beside its knob. */

import { find } from "./dom.js";
import { fieldFor } from "./fields.js";

/** @typedef {import("./fields.js").Field} Field */

export class ParametersView {
  #details;
  #list;
  #onEdit;
  #mode = "";
  /** @type {Map<string, Field>} by parameter */
  fields = new Map();

  /**
   * @param {HTMLElement} details
   * @param {(name: string, text: string) => void} onEdit
   */
  constructor(details, onEdit) {
    this.#details = details;
    this.#list = find(details, "#parameters", HTMLElement);
    this.#onEdit = onEdit;
  }

  /**
   * Have the fields of a mode; those that are there already stay, with their focus.
   * @param {string} mode
   * @param {import("../lib/schema.js").Rule} rule
   */
  show(mode, rule) {
    if (mode === this.#mode) return;
    this.#mode = mode;
    this.fields.clear();
    const further = Object.entries(rule.properties).filter(([name]) => name !== rule.bound);
    const labels = further.map(([name, property]) => {
      const { label, field } = fieldFor(name, property);
      field.addEventListener("input", () => this.#onEdit(name, field.value));
      this.fields.set(name, field);
      return label;
    });
    this.#list.replaceChildren(...labels);
    this.#details.hidden = further.length === 0;
  }
}
