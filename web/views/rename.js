/** A run's name and note, edited where they stand. */

import { make } from "./dom.js";

/** @typedef {{name: string, note: string}} Words */

/**
 * A form in place of what it edits. Enter saves, Esc lets it be.
 * @param {Words} words
 * @param {(words: Words) => Promise<boolean>} save  whether that was done; else the form stays
 * @param {() => void} close
 */
export function renameForm(words, save, close) {
  const name = make("input", { value: words.name, required: "", maxlength: "200", "aria-label": "Name" });
  const note = make("input", { value: words.note, maxlength: "1000", placeholder: "note", "aria-label": "Note" });
  const form = make("form", { class: "rename" }, name, note, make("button", { class: "main" }, "Save"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await save({ name: name.value, note: note.value })) close();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault(); // else it closes the whole list
    close();
  });
  return { form, focus: () => name.select() };
}
