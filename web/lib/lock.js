/** Why the knob cannot be turned now. */

import { OVER } from "./endings.js";

export const UNREACHABLE = "the server is out of reach";

/**
 * @param {object} known
 * @param {boolean} known.readOnly
 * @param {boolean | null} known.loginHelps  whoever logs in may do more; null until the server has said
 * @param {import("./wire.js").RunInfo | null} known.run
 * @param {{state: string}} known.connection
 * @returns {string}  "" when it can
 */
export function lockedBy({ readOnly, loginHelps, run, connection }) {
  if (readOnly && loginHelps === null) return "this page may only watch";
  if (readOnly) return loginHelps ? "this page may only watch: log in to steer" : "this server only shows runs";
  if (!run) return "there is no run";
  if (run.state in OVER) return OVER[run.state];
  if (connection.state !== "live") return UNREACHABLE;
  if (run.state === "starting") return "the training is starting";
  return run.attached ? "" : "no trainer is attached";
}
