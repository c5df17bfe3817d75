/** The fields of what may be turned in a mode beside its bound. */

import { find, setText } from "./dom.js";
import { fieldFor } from "./fields.js";

/** @typedef {import("./fields.js").Field} Field */

export class ParametersView {
  #details;
  #summary;
  #list;
  #onEdit;
  /** What the fields were made for. */
  #made = "";
  /** @type {Map<string, Field>} by parameter */
  fields = new Map();

  /**
   * @param {HTMLElement} details
   * @param {(name: string, text: string) => void} onEdit
   */
  constructor(details, onEdit) {
    this.#details = details;
    this.#summary = find(details, "summary", HTMLElement);
    this.#list = find(details, "#parameters", HTMLElement);
    this.#onEdit = onEdit;
  }

  /**
   * Have the fields of a mode; those that are there already stay, with their focus.
   * @param {string} mode
   * @param {import("../lib/schema.js").Rule} rule
   */
  show(mode, rule) {
    const further = Object.entries(rule.properties).filter(([name]) => name !== rule.bound);
    const names = further.map(([name]) => name).join(", ");
    if (this.#made === `${mode}: ${names}`) return;
    this.#made = `${mode}: ${names}`;
    this.fields.clear();
    setText(this.#summary, `More: ${names}`);
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
