/** The bar at the top: which run, is it live, how far is it, and the training's own controls. */

import { count, number, ordinal, runTitle } from "../lib/format.js";
import { shortened } from "../lib/names.js";
import { stepRate } from "../lib/recent.js";
import { find, make, setText } from "./dom.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../lib/wire.js").RunInfo} RunInfo */

export const STATES = {
  starting: "starting",
  running: "training",
  paused: "training paused",
  disconnected: "no trainer",
  finished: "finished",
  stopped: "stopped",
  failed: "failed",
};

/** @type {import("../lib/wire.js").Command[]} */
const COMMANDS = ["pause", "resume", "step", "stop"];

/** A training whose steps take longer than this is called silent. */
const SILENT_S = 5;

/** Characters of a run's name in the list, whose width leaves room for its state. */
const LONGEST_NAME = 14;

/**
 * @param {HTMLElement} bar
 * @param {Store} store
 * @returns {() => void}  draws the numbers that stream
 */
export function statusView(bar, store) {
  const connection = find(bar, "[data-testid=connection]", HTMLElement);
  const state = find(bar, "[data-testid=run-state]", HTMLElement);
  const badge = find(bar, "#read-only", HTMLElement);
  store.watch(["connection", "run"], () => {
    connection.dataset.state = store.connection.state;
    setText(connection, connectionWords(store.connection));
    state.dataset.state = store.run?.state ?? "";
    badge.hidden = !store.readOnly;
    badge.title = store.locked;
  });
  runSelect(find(bar, "#run-select", HTMLSelectElement), store);
  transport(find(bar, "#transport", HTMLElement), store);
  freeze(find(bar, "[data-testid=pause]", HTMLButtonElement), store);

  const step = find(bar, "[data-testid=step]", HTMLElement);
  const rate = find(bar, "[data-testid=step-rate]", HTMLElement);
  let newest = NaN;
  let arrived = 0; // when it did, ms
  const draw = () => {
    const { table, run } = store;
    if (table.lastSeq !== newest) [newest, arrived] = [table.lastSeq, performance.now()];
    const silent = run?.state === "running" ? (performance.now() - arrived) / 1000 : 0;
    setText(step, count(table.length ? table.at("step", table.length - 1) : 0));
    const perSecond = run?.state === "running" && silent < SILENT_S ? stepRate(table) : 0;
    setText(rate, Number.isFinite(perSecond) ? number(perSecond) : "0");
    setText(state, run ? stateWords(run, silent) : "");
  };
  setInterval(draw, 1000); // silence brings no news that would draw it
  return draw;
}

/**
 * @param {RunInfo} run
 * @param {number} silent  seconds since the last step came
 */
function stateWords({ state }, silent) {
  return silent < SILENT_S ? STATES[state] : `no step for ${Math.round(silent)} s`;
}

/** @param {import("../store.js").Connection} connection */
function connectionWords({ state, attempt }) {
  if (state === "live") return "live";
  if (state === "connecting") return "connecting";
  return `reconnecting (${ordinal(attempt)} try), no recorded step is lost`;
}

/**
 * @param {HTMLSelectElement} select
 * @param {Store} store
 */
function runSelect(select, store) {
  select.addEventListener("change", () => store.select(select.value));
  store.watch(["runs", "run"], () => {
    const runs = store.run && !store.runs.some(({ id }) => id === store.run?.id) ? [store.run, ...store.runs] : store.runs;
    const options = runs.map((run) => ({ value: run.id, text: runName(run.id === store.run?.id ? store.run : run) }));
    const same = options.length === select.options.length
      && options.every(({ value, text }, i) => select.options[i].value === value && select.options[i].text === text);
    if (!same) select.replaceChildren(...options.map(({ value, text }) => make("option", { value }, text)));
    if (options.length === 0) select.replaceChildren(make("option", { value: "" }, store.loaded ? "no runs" : "loading"));
    select.disabled = options.length === 0;
    select.value = store.run?.id ?? "";
    select.title = store.run ? runTitle(store.run) : "";
  });
}

/** @param {RunInfo} run */
function runName({ name, id, state }) {
  return `${runTitle({ id, name: shortened(name, LONGEST_NAME) })} · ${STATES[state]}`;
}

/**
 * @param {HTMLElement} group
 * @param {Store} store
 */
function transport(group, store) {
  const buttons = COMMANDS.map((command) => {
    const button = find(group, `[data-testid=train-${command}]`, HTMLButtonElement);
    button.addEventListener("click", () => store.command(command));
    return { button, does: button.title };
  });
  const [pause, resume] = buttons.map(({ button }) => button);
  store.watch(["run", "log", "connection"], () => {
    const paused = store.run?.state === "paused";
    pause.hidden = paused;
    resume.hidden = !paused;
    const obstacle = store.locked || (store.run?.commands ? "" : whyNoCommands(store.log));
    for (const { button, does } of buttons) {
      button.disabled = obstacle !== "";
      button.title = obstacle || does;
    }
  });
}

/**
 * Why a training that goes on takes no commands.
 * @param {import("../lib/wire.js").LogEntry[]} log
 */
function whyNoCommands(log) {
  const state = log.findLast(({ kind }) => kind === "state")?.text;
  return state === "stopping" ? "the training is stopping" : "this script does not call run.proceed(), so it cannot be paused or stopped";
}

/**
 * @param {HTMLButtonElement} button
 * @param {Store} store
 */
function freeze(button, store) {
  const label = find(button, "span", HTMLElement);
  button.addEventListener("click", () => store.toggleFrozen());
  store.watch(["view"], () => {
    const frozen = store.view.frozen !== null;
    button.setAttribute("aria-pressed", String(frozen));
    setText(label, frozen ? "Frozen" : "Freeze");
  });
}
