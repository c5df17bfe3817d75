/** What another threshold would do to the steps on show, read off their norms; and thresholds worth trying. */

import { shareBeyond } from "../lib/exponents.js";
import { count, number, percent } from "../lib/format.js";
import { logTicks } from "../lib/scale.js";
import { clippedAt, coefAt, comparedWith, fixedBeside, shareCurve } from "../lib/whatif.js";
import { find, make, setText } from "./dom.js";
import { compared } from "./plots.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../charts.js").Chart} Chart */
/** @typedef {import("../lib/whatif.js").Foresight} Foresight */

const SUGGESTIONS = ["p50", "p90", "p99", "knee"];
const PIXELS_PER_TICK = 56;
const PIXELS_PER_CHARACTER = 7;
const MARGIN = { left: 12, right: 12, top: 4, bottom: 20 };

export class WhatIfView {
  #store;
  #headline;
  #detail;
  #note;
  #buttons;
  #key;
  #coefs;
  /** What the key was made of. */
  #made = "";
  /** The suggestion that is pointed at or has the focus; "" for none. */
  #considered = "";
  /** The threshold under the pointer; NaN when it is elsewhere. */
  #pointed = NaN;

  /**
   * @param {HTMLElement} panel
   * @param {Store} store
   * @param {(element: HTMLElement, margin: import("../charts.js").Margin) => Chart} makeChart
   */
  constructor(panel, store, makeChart) {
    this.#store = store;
    this.element = find(panel, ".plot", HTMLElement);
    this.chart = makeChart(this.element, MARGIN);
    this.#headline = find(panel, "#would-clip", HTMLElement);
    this.#detail = find(panel, "#whatif-detail", HTMLElement);
    this.#note = find(panel, ".note", HTMLElement);
    this.#key = find(panel, "#shares", HTMLElement);
    this.#coefs = find(panel, "#coefs", HTMLElement);
    this.#buttons = SUGGESTIONS.map((name) => this.#makeButton(name));
    find(panel, "#suggestions", HTMLElement).replaceChildren(...this.#buttons.map(({ button }) => button));
    this.element.addEventListener("pointermove", ({ clientX }) => {
      this.#point(10 ** this.chart.xAt(clientX - this.element.getBoundingClientRect().left));
    });
    this.element.addEventListener("pointerleave", () => this.#point(NaN));
  }

  draw() {
    const bound = this.#bound;
    const whatif = this.#whatif;
    setText(this.#headline, whatif ? this.#title(whatif, bound) : this.#emptyWords());
    this.#describe();
    setText(this.#note, whatif && !whatif.histogram ? "All norms are zero" : "");
    for (const part of [this.element, this.#key, this.#coefs]) part.classList.toggle("stale", !whatif);
    if (whatif) this.#drawChart(whatif, bound);
    for (const { name, button, value } of this.#buttons) {
      const found = this.#suggestion(name);
      setText(value, found ? number(found.threshold) : "–");
      button.title = found ? this.#offer(found) : "";
      button.disabled = this.#store.locked !== "" || !this.#fixed || !found;
    }
  }

  /** @param {string} name */
  #makeButton(name) {
    const value = make("b", {}, "–");
    const button = make("button", { type: "button" }, `${name} `, value);
    const consider = (/** @type {string} */ considered) => () => {
      this.#considered = considered;
      this.#describe();
    };
    for (const event of ["pointerenter", "focus"]) button.addEventListener(event, consider(name));
    for (const event of ["pointerleave", "blur"]) button.addEventListener(event, consider(""));
    button.addEventListener("click", () => this.#use(name));
    return { name, button, value };
  }

  get #rule() {
    return this.#store.rules[this.#store.mode];
  }

  /** What the mode's knob is compared with; null when it has none that stays. */
  get #compared() {
    return comparedWith(this.#rule);
  }

  /** The mode that the curve and the suggestions are about. */
  get #fixed() {
    return fixedBeside(this.#store.mode, this.#rule);
  }

  /** The threshold in the knob; NaN when it has none that stays. */
  get #bound() {
    return this.#compared ? this.#store.bound : NaN;
  }

  /** What the server said about the metric that matters now. */
  get #whatif() {
    return this.#store.rowsOnShow && this.#matters(this.#store.whatif);
  }

  #emptyWords() {
    const { over, table, rowsOnShow } = this.#store;
    if (table.length > 0) return rowsOnShow ? "" : "No steps on show";
    return over ? "No step was recorded" : "No steps yet";
  }

  /**
   * What a click on a suggestion does.
   * @param {import("../lib/whatif.js").Suggestion} found
   */
  #offer({ sentence }) {
    if (!this.#fixed) return this.#noCurve;
    return `Apply it${this.#compared ? "" : `, in mode ${this.#fixed}`}: ${sentence}`;
  }

  /** Why the mode on show has no curve. */
  get #noCurve() {
    return `No curve: ${this.#store.mode} bounds each ${this.#rule?.bounds} by itself`;
  }

  /**
   * @param {Foresight | null} whatif
   * @returns {Foresight | null}
   */
  #matters(whatif) {
    return whatif?.steps && whatif.question.metric === (this.#compared ?? "norm") ? whatif : null;
  }

  /** Whose shares are drawn: those of the run on show, or of every run on the charts. */
  get #shares() {
    const alone = { role: /** @type {const} */ ("share"), name: "share clipped", whatif: this.#store.whatif };
    const runs = compared(this.#store);
    return (runs.length ? runs : [alone]).flatMap(({ role, name, whatif }) => {
      const found = this.#fixed ? this.#matters(whatif) : null;
      return found ? [{ role, name, whatif: found }] : [];
    });
  }

  /** @param {string} name */
  #suggestion(name) {
    return this.#whatif?.suggestions.find((suggestion) => suggestion.name === name);
  }

  /** @param {number} threshold */
  #point(threshold) {
    this.#pointed = threshold;
    this.#describe();
  }

  /** Say more about the suggestion or the threshold that is pointed at, else about the one in the knob. */
  #describe() {
    const considered = this.#suggestion(this.#considered);
    const whatif = this.#whatif;
    const words = whatif ? [this.#details(whatif), this.#whose(whatif), outsideWords(whatif)].filter(Boolean).join("; ") : "";
    setText(this.#detail, considered ? `${considered.name}: ${considered.sentence}` : words);
    this.#detail.title = words;
    this.#tellShares([considered?.threshold ?? NaN, this.#pointed, this.#bound].find((limit) => !Number.isNaN(limit)) ?? NaN);
  }

  /**
   * Beside other runs, say whose steps the bars and the words are about.
   * @param {Foresight} whatif
   */
  #whose({ question }) {
    const [shown] = compared(this.#store);
    return shown ? `${question.metric === "norm" ? "norms" : "largest elements"} of ${shown.name}` : "";
  }

  /**
   * In the key, beside the line of each of several runs, how much of it a threshold clips.
   * @param {number} limit  NaN for none
   */
  #tellShares(limit) {
    const shares = this.#shares;
    const made = shares.map(({ role, name }) => `${role} ${name}`).join();
    if (made !== this.#made) {
      const items = shares.map(({ role, name }) => make("span", { title: name }, make("i", { class: `swatch ${role}` }), make("b")));
      this.#key.replaceChildren(...items, make("span", {}, "share clipped"));
      this.#key.hidden = items.length === 0;
    }
    this.#made = made;
    this.#key.querySelectorAll("b").forEach((word, i) => {
      const { role, whatif } = shares[i];
      setText(word, role === "share" || Number.isNaN(limit) ? "" : percent(clippedAt(whatif, limit)));
    });
  }

  /**
   * What the mode on show would do to the steps.
   * @param {Foresight} whatif
   * @param {number} bound  NaN when the mode has none that stays
   */
  #title(whatif, bound) {
    const { view } = this.#store;
    const steps = view.range ? `the ${count(whatif.steps)} on show` : `the last ${count(whatif.steps)}`;
    if (this.#compared && bound === 0) return "A threshold of 0 clips everything: the model cannot learn";
    if (this.#compared && !Number.isNaN(bound)) return `${number(bound)} would clip ${percent(clippedAt(whatif, bound))} of ${steps}`;
    const tried = this.#tried(whatif);
    if (tried) return `${this.#store.mode} would clip ${percent(tried.clipped ?? NaN)} of ${steps}`;
    return `${whatif.question.metric === "norm" ? "Norms" : "Largest elements"} of ${steps}`;
  }

  /** @param {Foresight} whatif */
  #details(whatif) {
    const { bound, layers } = this.#store;
    if (!this.#rule) return "";
    if (!this.#fixed) return this.#noCurve;
    if (!Number.isNaN(this.#pointed)) return effectWords(whatif, layers.counted, this.#pointed, true);
    if (this.#compared) return Number.isNaN(bound) ? "" : effectWords(whatif, layers.counted, bound, false);
    const tried = this.#tried(whatif);
    if (tried) return `mean coefficient ${number(tried.coef ?? NaN)}, bounds ${number(tried.lowest ?? NaN)} to ${number(tried.highest ?? NaN)}`;
    return "The curve is for a fixed max_norm (mode norm)";
  }

  /**
   * What the moving rule that is being drafted would have done.
   * @param {Foresight} whatif
   */
  #tried({ question, effect }) {
    return question.rule?.mode === this.#store.mode && this.#store.draft && effect?.steps ? effect : null;
  }

  /**
   * @param {Foresight} whatif
   * @param {number} bound
   */
  #drawChart({ histogram, curve }, bound) {
    if (!histogram) {
      this.chart.clear();
      this.#coefs.hidden = true;
      return;
    }
    const [lo, hi] = [histogram.edges[0], histogram.edges[histogram.counts.length]];
    const ticks = logTicks(lo, hi, Math.floor(this.chart.width / PIXELS_PER_TICK)).filter(({ value, label }) => {
      const room = this.chart.width * Math.min(Math.log(value / lo), Math.log(hi / value)) / Math.log(hi / lo);
      return label.length * PIXELS_PER_CHARACTER / 2 <= room + MARGIN.left;
    });
    const shares = this.#shares.map(({ role, name, whatif }) => ({ role, name, ...shareCurve(whatif, [lo, hi]) }));
    const coefs = this.#fixed && compared(this.#store).length === 0 ? coefCurves(curve) : [];
    this.chart.drawBars({ ...histogram, ticks, curves: [...coefs, ...shares.toReversed()], threshold: bound });
    this.#coefs.hidden = coefs.length === 0;
  }

  /**
   * Apply a suggestion.
   * @param {string} name
   */
  #use(name) {
    const mode = this.#fixed;
    const bound = mode && this.#store.rules[mode]?.bound;
    const found = this.#suggestion(name);
    if (!bound || !found) return;
    const value = Number(found.threshold.toPrecision(3));
    const switched = mode !== this.#store.run?.control.mode;
    this.#store.edit(null);
    this.#store.control(switched ? { mode, [bound]: value } : { [bound]: value });
  }
}

/**
 * @param {import("../lib/whatif.js").Curve} curve
 * @returns {import("../traces.js").ShareCurve[]}  none of a clamp
 */
function coefCurves({ threshold, coef }) {
  return coef ? [{ role: "coef", name: "mean coefficient", x: threshold, y: coef }] : [];
}

/**
 * How many steps lie outside the chart, far from all others.
 * @param {Foresight} whatif
 */
function outsideWords({ histogram }) {
  const { below = 0, beyond = 0 } = histogram ?? {};
  return below + beyond ? `${count(below + beyond)} off the chart` : "";
}

/**
 * The effect of a threshold within the steps that it clips: on all of the gradient, or in a clamp's case on how many
 * of its elements when they were last counted.
 * @param {Foresight} whatif
 * @param {import("../lib/layers.js").Picture | null} counted
 * @param {number} bound
 * @param {boolean} pointed  the bound is not the knob's
 */
function effectWords(whatif, counted, bound, pointed) {
  const clamp = whatif.question.metric === "max_abs";
  const share = clamp && counted?.exponents ? shareBeyond(counted.exponents, bound) : NaN;
  const source = counted?.exponents?.every === 1 ? "counted at" : "sample of";
  const elements = Number.isNaN(share) ? "" : `clamps ~${percent(share)} of elements (${source} step ${count(counted?.step ?? NaN)})`;
  const words = clamp ? elements : `mean coefficient ${number(coefAt(whatif, bound))}`;
  if (!pointed) return words;
  return [`at ${number(bound)}: clips ${percent(clippedAt(whatif, bound))}`, words].filter(Boolean).join(", ");
}
