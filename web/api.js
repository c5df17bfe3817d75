/** The server's REST interface, by paths relative to the page, so that it works below any prefix. */

/** @typedef {import("./lib/wire.js").Json} Json */
/** @typedef {import("./lib/wire.js").WireRows} WireRows */
/** @typedef {import("./lib/schema.js").Declared} Declared */
/** @typedef {import("./lib/schema.js").Property} Property */

/** So long after a question without an answer it is asked again. */
export const RETRY_MS = 5000;

/**
 * A training that this server can start.
 * @typedef {object} Workload
 * @property {string} name
 * @property {string} title
 * @property {string} help
 * @property {{properties: {[name: string]: Property}}} options
 */

/**
 * Whether this browser is logged in, and what logging in is needed for.
 * @returns {Promise<{logged_in: boolean, login: "nothing" | "steering" | "viewing"}>}
 */
export async function getSession() {
  return /** @type {{logged_in: boolean, login: "nothing" | "steering" | "viewing"}} */ (await request("api/session"));
}

/** @returns {Promise<Declared>} */
export async function getRules() {
  return /** @type {Declared} */ (await request("api/rules"));
}

/** @returns {Promise<Workload[]>} */
export async function getWorkloads() {
  return /** @type {{workloads: Workload[]}} */ (await request("api/workloads")).workloads;
}

/**
 * All that is known of a run.
 * @param {string} run
 */
export async function getRun(run) {
  return /** @type {import("./lib/wire.js").RunInfo} */ (await request(`api/runs/${run}`));
}

/**
 * Rows of a run's history: every one between two seqs when there are at most `points`, else those that matter.
 * @param {string} run
 * @param {{metrics: string[], first: number, last: number, points: number}} wanted
 * @returns {Promise<WireRows>}
 */
export async function getSeries(run, { metrics, first, last, points }) {
  const query = new URLSearchParams({ metrics: metrics.join(","), first: `${first}`, last: `${last}`, points: `${points}` });
  return /** @type {{columns: WireRows}} */ (await request(`api/runs/${run}/series?${query}`)).columns;
}

/**
 * Per-layer numbers of at most `points` steps all over a run, oldest first.
 * @param {string} run
 * @param {number} points
 * @returns {Promise<import("./lib/wire.js").Layers[]>}
 */
export async function getLayers(run, points) {
  const answer = await request(`api/runs/${run}/layers?points=${points}`);
  return /** @type {{pictures: import("./lib/wire.js").Layers[]}} */ (answer).pictures;
}

/**
 * What other thresholds would have done to some steps.
 * @param {import("./lib/whatif.js").Question} question
 * @returns {Promise<import("./lib/whatif.js").WhatIf>}
 */
export async function getWhatIf({ run, metric, first, last }) {
  const query = new URLSearchParams({ metric, first: `${first}`, last: `${last}` });
  return /** @type {import("./lib/whatif.js").WhatIf} */ (await request(`api/runs/${run}/whatif?${query}`));
}

/**
 * What a rule whose bound moves would have done to some steps.
 * @param {import("./lib/whatif.js").Question} question
 * @param {import("./lib/whatif.js").MovingRule} rule
 */
export async function getReplay({ run, first, last }, { mode, parameters }) {
  const query = new URLSearchParams({ mode, first: `${first}`, last: `${last}` });
  for (const [name, value] of Object.entries(parameters)) query.set(name, `${value}`);
  return /** @type {{effect: import("./lib/whatif.js").Effect}} */ (await request(`api/runs/${run}/replay?${query}`)).effect;
}

/**
 * Where something of a run can be had as a file.
 * @param {string} run
 * @param {string} file  "changes", "export" or "report"
 */
export function filePath(run, file) {
  return `api/runs/${run}/${file}`;
}

/**
 * @param {string} workload
 * @param {{[option: string]: Json}} config
 * @returns {Promise<string>} the new run's id
 */
export async function startWorker(workload, config) {
  const answer = await request("api/workers", { method: "POST", body: JSON.stringify({ workload, config }) });
  return /** @type {{id: string}} */ (answer).id;
}

/**
 * Give a run another name or note.
 * @param {string} run
 * @param {{name?: string, note?: string}} words
 */
export async function editRun(run, words) {
  await request(`api/runs/${run}`, { method: "PATCH", body: JSON.stringify(words) });
}

/** @param {string} run */
export async function deleteRun(run) {
  await request(`api/runs/${run}`, { method: "DELETE" });
}

/**
 * Bring a deleted run back.
 * @param {string} run
 */
export async function restoreRun(run) {
  await request(`api/runs/${run}/restore`, { method: "POST" });
}

/**
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<unknown>}
 * @throws {Error} with the server's own sentence
 */
async function request(path, options) {
  const response = await fetch(path, { headers: { "content-type": "application/json" }, ...options });
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Error(detailOf(body) || `${path} answered ${response.status}`);
  return body;
}

/**
 * @param {unknown} body
 * @returns {string}
 */
function detailOf(body) {
  if (typeof body !== "object" || body === null || !("detail" in body)) return "";
  return typeof body.detail === "string" ? body.detail : JSON.stringify(body.detail);
}
