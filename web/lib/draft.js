/** A change that is being edited: not yet asked for, so nothing obeys it. */

import { changesOf } from "./changes.js";
import { allowed, numeric, read, write } from "./schema.js";

/** @typedef {import("./schema.js").Rules} Rules */
/** @typedef {import("./wire.js").Patch} Patch */

/**
 * @typedef {object} Draft
 * @property {string} mode
 * @property {{[parameter: string]: string}} texts  what was typed, by parameter; the others stay as they are
 */

/**
 * The patch that a draft asks for: what differs from the configuration in force, or the knob as it stands when
 * nothing does.
 * @param {Draft} draft
 * @param {Patch} control  in force
 * @param {Rules} rules
 * @returns {Patch}
 */
export function patchOf(draft, control, rules) {
  const rule = rules[draft.mode];
  /** @type {Patch} */
  const patch = draft.mode === control.mode ? {} : { mode: draft.mode };
  for (const [name, text] of Object.entries(draft.texts)) {
    const same = draft.mode === control.mode && text === write(control[name]);
    if (!same) patch[name] = read(text, rule.properties[name] ?? {});
  }
  if (Object.keys(patch).length) return patch;
  return rule?.bound ? { [rule.bound]: control[rule.bound] } : { mode: draft.mode };
}

/**
 * What is drafted when another mode is chosen: that mode with the knob where it last was, or at its default.
 * @param {string} mode
 * @param {import("./wire.js").LogEntry[]} log
 * @param {Patch} control  in force
 * @param {Rules} rules
 * @returns {Draft | null}  null for the mode in force
 */
export function switchTo(mode, log, control, rules) {
  if (mode === control.mode) return null;
  const { bound, properties } = rules[mode];
  const value = bound && write(lastValues(log, control)[mode]?.[bound] ?? properties[bound].default);
  return { mode, texts: bound && value ? { [bound]: value } : {} };
}

/**
 * The clipper's part of the options that a training was started with, until it says itself what is in force.
 * @param {Patch} config
 * @param {Rules} rules
 * @returns {Patch}
 */
export function startedWith(config, rules) {
  const names = ["mode", ...Object.keys(rules[String(config.mode)]?.properties ?? {})];
  return Object.fromEntries(names.flatMap((name) => (name in config ? [[name, config[name]]] : [])));
}

/**
 * Each mode's own last values, as far as the change log and the configuration in force tell.
 * @param {import("./wire.js").LogEntry[]} log
 * @param {Patch} control  in force
 * @returns {{[mode: string]: Patch}}
 */
export function lastValues(log, control) {
  const all = log.map(changesOf).filter((changes) => changes !== null);
  let mode = String(all.find((changes) => changes.mode)?.mode[0] ?? control.mode);
  /** @type {{[mode: string]: Patch}} */
  const values = {};
  const remember = (/** @type {string} */ name, /** @type {import("./wire.js").Json} */ value) => {
    if (name !== "mode" && value !== null) (values[mode] ??= {})[name] = value;
  };
  for (const changes of all) {
    for (const [name, [before]] of Object.entries(changes)) remember(name, before);
    mode = String(changes.mode?.[1] ?? mode);
    for (const [name, [, after]] of Object.entries(changes)) remember(name, after);
  }
  values[String(control.mode)] = control;
  return values;
}

/**
 * The value of the mode's knob, drafted or in force; NaN when the mode has none or what is typed is not allowed.
 * @param {Draft | null} draft
 * @param {Patch} control
 * @param {Rules} rules
 * @returns {number}
 */
export function boundOf(draft, control, rules) {
  const mode = draft?.mode ?? String(control.mode);
  const bound = rules[mode]?.bound;
  if (!bound) return NaN;
  const text = draft?.texts[bound];
  if (text !== undefined) return allowed(read(text, rules[mode].properties[bound]), rules[mode].properties[bound]);
  return mode === control.mode ? numeric(control[bound]) : NaN;
}
