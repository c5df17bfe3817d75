/** Labelled fields for the parameters of a JSON Schema. */

import { write } from "../lib/schema.js";
import { make } from "./dom.js";

/** @typedef {import("../lib/schema.js").Property} Property */
/** @typedef {HTMLInputElement | HTMLSelectElement} Field */

/**
 * A field and its label; what is typed is read by `lib/schema.js`.
 * @param {string} name
 * @param {Property} property
 * @returns {{label: HTMLLabelElement, field: Field}}
 */
export function fieldFor(name, property) {
  const choices = property.type === "boolean" ? ["false", "true"] : property.enum?.map(write);
  const field = choices
    ? make("select", { name }, ...choices.map((value) => make("option", { value }, value)))
    : make("input", { name, inputmode: property.type === "array" ? "text" : "decimal", spellcheck: "false" });
  field.value = write(property.default);
  const title = [property.description?.replace(/\.$/, ""), property.unit && `(${property.unit})`].filter(Boolean).join(" ");
  const label = make("label", { title }, make("span", {}, name), field);
  return { label, field };
}
