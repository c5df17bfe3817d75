/**
 * The knob. It shows the value in force; a draft differs visibly until it is applied, and every change is answered
 * here: pending, applied at a step, or rejected with the reason.
 */

import { changesOf, describe, undo } from "../lib/changes.js";
import { toCode } from "../lib/code.js";
import { lastValues, patchOf, switchTo } from "../lib/draft.js";
import { count, exact } from "../lib/format.js";
import { fromSlider, toSlider } from "../lib/scale.js";
import { numeric, scaled, sliderRange, write } from "../lib/schema.js";
import { find, make, setText } from "./dom.js";
import { ParametersView } from "./parameters.js";

/** @typedef {import("../store.js").Store} Store */

export class ControlView {
  #form;
  #store;
  #mode;
  #bound;
  #boundName;
  #halve;
  #double;
  #slider;
  #answer;
  #modeHelp;
  #inForce;
  #undo;
  #copy;
  #parameters;
  #announce;

  /**
   * @param {HTMLFormElement} form
   * @param {Store} store
   * @param {(sentence: string) => void} announce  to those who listen rather than look
   */
  constructor(form, store, announce) {
    this.#form = form;
    this.#store = store;
    this.#announce = announce;
    this.#mode = find(form, "#mode", HTMLSelectElement);
    this.#bound = find(form, "#bound", HTMLInputElement);
    this.#boundName = find(form, "#bound-name", HTMLElement);
    this.#slider = find(form, "#slider", HTMLInputElement);
    this.#halve = find(form, "#halve", HTMLButtonElement);
    this.#double = find(form, "#double", HTMLButtonElement);
    this.#answer = find(form, "#answer", HTMLElement);
    this.#modeHelp = find(form, "#mode-help", HTMLElement);
    this.#inForce = find(form, "#in-force", HTMLElement);
    this.#undo = find(form, "#undo", HTMLButtonElement);
    this.#copy = find(form, "#copy", HTMLButtonElement);
    this.#parameters = new ParametersView(find(form, "#more", HTMLElement), (name, text) => this.#edit(name, text));
    this.#listen();
    store.watch(["rules"], () => this.#listModes());
    store.watch(["run", "draft", "connection", "rules", "log", "change"], () => this.#show());
    store.watch(["change", "connection"], () => this.#showAnswer());
  }

  /**
   * Edit the knob to a multiple of what it shows.
   * @param {number} factor
   */
  scale(factor) {
    const value = this.#store.bound;
    const property = this.#rule?.properties[this.#rule.bound ?? ""] ?? {};
    if (isScalable(value) && !this.#store.locked) this.#editBound(write(scaled(value, factor, property)));
  }

  /**
   * Edit the mode, by its place in the list.
   * @param {number} index  from 0
   */
  chooseMode(index) {
    const { rules, log, locked } = this.#store;
    const mode = Object.keys(rules)[index];
    if (mode && !locked) this.#store.edit(switchTo(mode, log, this.#control, rules));
  }

  /** Put the configuration in force on the clipboard, as lines for one's own script. */
  async copy() {
    const knobs = Object.keys(this.#store.run?.knobs ?? {});
    const code = toCode(Object.fromEntries(Object.entries(this.#control).filter(([name]) => !knobs.includes(name))));
    try {
      await navigator.clipboard.writeText(code);
      this.#store.say("Copied: the lines that set this up in your own script");
    } catch {
      this.#store.say(code); // no clipboard where the page comes over plain HTTP from elsewhere
    }
  }

  /** Drop the draft. */
  cancel() {
    this.#store.edit(null);
  }

  /** Ask for what was before the last change, and called again, for what was before the one that came earlier. */
  undo() {
    const { undoable, locked, change } = this.#store;
    const changes = undoable && changesOf(undoable);
    if (changes && !locked && change?.state !== "pending") this.#store.control(undo(changes));
  }

  get #control() {
    return this.#store.configuration;
  }

  get #rule() {
    return this.#store.rules[this.#store.mode];
  }

  get #boundControls() {
    return [this.#bound, this.#slider, this.#halve, this.#double];
  }

  #listen() {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.apply();
    });
    this.#mode.addEventListener("change", () => this.chooseMode(this.#mode.selectedIndex));
    this.#bound.addEventListener("input", () => this.#editBound(this.#bound.value));
    this.#slider.addEventListener("input", () => this.#editBound(write(this.#fromSlider(Number(this.#slider.value)))));
    this.#halve.addEventListener("click", () => this.scale(0.5));
    this.#double.addEventListener("click", () => this.scale(2));
    this.#undo.addEventListener("click", () => this.undo());
    this.#copy.addEventListener("click", () => this.copy());
  }

  /** Ask for the draft, or for the knob as it stands. */
  apply() {
    const { draft, rules } = this.#store;
    this.#store.control(patchOf(draft ?? { mode: this.#store.mode, texts: {} }, this.#control, rules));
  }

  /** @param {string} text */
  #editBound(text) {
    if (this.#rule?.bound) this.#edit(this.#rule.bound, text);
  }

  /**
   * @param {string} name
   * @param {string} text
   */
  #edit(name, text) {
    const { draft } = this.#store;
    const mode = this.#store.mode;
    const texts = { ...draft?.texts, [name]: text };
    const unchanged = mode === this.#control.mode && Object.entries(texts).every(([n, t]) => t === write(this.#control[n]));
    this.#store.edit(unchanged ? null : { mode, texts });
  }

  #listModes() {
    const modes = Object.entries(this.#store.rules);
    this.#mode.replaceChildren(...modes.map(([mode, { help }]) => make("option", { value: mode, title: help }, mode)));
  }

  #show() {
    const { locked, draft, bound: value } = this.#store;
    setText(this.#inForce, locked || `in force: ${this.#control.mode}${this.#boundInForce()}`);
    if (!this.#rule) return this.#empty();
    this.#mode.value = this.#store.mode;
    this.#mode.title = this.#rule.help;
    this.#mode.classList.toggle("edited", draft !== null && draft.mode !== this.#control.mode);
    const bound = this.#rule.bound;
    setText(this.#boundName, bound ?? "no bound");
    this.#fill(this.#bound, bound);
    this.#slider.value = String(this.#toSlider(value));
    this.#slider.setAttribute("aria-valuetext", Number.isNaN(value) ? (bound ?? "no bound") : `${bound} ${exact(value)}`);
    this.#parameters.show(this.#store.mode, this.#rule);
    for (const [name, field] of this.#parameters.fields) this.#fill(field, name);
    this.#enable();
  }

  /** Show no value of another run where there is none yet. */
  #empty() {
    this.#mode.value = this.#bound.value = "";
    this.#enable();
  }

  /** Let everything be used that somebody would obey. */
  #enable() {
    const locked = this.#store.locked !== "" || !this.#rule;
    for (const element of this.#form.querySelectorAll("button, input, select")) element.toggleAttribute("disabled", locked);
    for (const element of this.#boundControls) element.disabled ||= !this.#rule?.bound;
    for (const element of [this.#halve, this.#double]) element.disabled ||= !isScalable(this.#store.bound);
    const undoable = this.#store.undoable;
    const changes = undoable && changesOf(undoable);
    this.#undo.disabled ||= changes === null;
    this.#undo.title = changes ? `Take back: ${describe(changes)} (u)` : "Nothing to take back";
    this.#copy.disabled = !this.#store.run; // what was in force is worth having after the run, too
  }

  #boundInForce() {
    const bound = this.#store.rules[write(this.#control.mode)]?.bound;
    return bound ? `, ${bound} ${exact(this.#control[bound])}` : "";
  }

  /**
   * Show a parameter's draft, its value in force, or what the mode would bring back.
   * @param {import("./fields.js").Field} field
   * @param {string | null} name
   */
  #fill(field, name) {
    const typed = name === null ? undefined : this.#store.draft?.texts[name];
    const holds = name !== null && (this.#store.mode === this.#control.mode || name in this.#store.shared);
    const inForce = holds ? write(this.#control[name]) : "";
    const text = typed ?? inForce;
    if (field.value !== text) field.value = text;
    field.classList.toggle("edited", typed !== undefined && typed !== inForce);
    if (field instanceof HTMLInputElement) field.placeholder = name === null ? "none" : this.#remembered(name);
  }

  /** @param {string} name */
  #remembered(name) {
    const values = lastValues(this.#store.log, this.#control)[this.#store.mode];
    return write(values?.[name] ?? this.#rule.properties[name]?.default);
  }

  get #scale() {
    const bound = this.#rule?.bound ?? "";
    const inForce = this.#store.mode === this.#control.mode ? numeric(this.#control[bound]) : numeric(this.#rule?.properties[bound]?.default);
    return sliderRange(inForce, this.#rule?.properties[bound] ?? {});
  }

  /** @param {number} value */
  #toSlider(value) {
    const { log, lo, hi } = this.#scale;
    if (Number.isNaN(value)) return 0.5;
    return log ? toSlider(value, lo, hi) : (value - lo) / (hi - lo);
  }

  /** @param {number} position */
  #fromSlider(position) {
    const { log, lo, hi } = this.#scale;
    return log ? fromSlider(position, lo, hi) : Number((lo + position * (hi - lo)).toPrecision(3));
  }

  /** What a mode does, while it is being considered and there is nothing else to say. */
  #showHelp() {
    const { draft, change } = this.#store;
    const considered = draft !== null && draft.mode !== this.#control.mode && change === null;
    setText(this.#modeHelp, considered ? (this.#rule?.help ?? "") : "");
  }

  #showAnswer() {
    const { change, run, connection } = this.#store;
    this.#answer.dataset.state = change?.state === "awaited" ? "pending" : (change?.state ?? "");
    this.#answer.dataset.step = change?.state === "applied" ? String(change.step) : "";
    const words = change ? answerWords(change, connection.state !== "live" ? "connection lost" : run?.state === "paused" ? "training is paused" : "") : "";
    setText(this.#answer, words);
    this.#showHelp();
    if (change && change.state !== "pending") this.#announce(words);
  }
}

/**
 * Whether half and twice of it are something else.
 * @param {number} value
 */
function isScalable(value) {
  return value !== 0 && Number.isFinite(value);
}

/**
 * @param {import("../lib/requests.js").Change} change
 * @param {string} obstacle  what the answer waits for; "" when it is on its way
 */
function answerWords({ state, step, reason, patch }, obstacle) {
  if (state === "applied") return `applied at step ${count(step)}`;
  if (state === "elsewhere") return `changed at step ${count(step)} from elsewhere`;
  if (state === "rejected") return `rejected: ${reason}`;
  const asked = Object.entries(patch).map(([name, value]) => `${name} ${exact(value)}`).join(", ");
  return `pending${state === "awaited" ? " from elsewhere" : ""}: ${asked}${obstacle && `; ${obstacle}`}`;
}
