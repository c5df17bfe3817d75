/** Which of the recorded norms are of the type that is measured now: no threshold can be compared with the others. */

import { changesOf } from "./changes.js";

/** What every mode measures that has no `norm_type` of its own. */
const EUCLIDEAN = 2;

/**
 * The first step whose norm is of the type that is measured now.
 * @param {import("./wire.js").LogEntry[]} log  oldest first
 * @returns {number}  0 when it has always been that one
 */
export function normsSince(log) {
  const changed = log.findLast((entry) => {
    const [before, after] = changesOf(entry)?.norm_type ?? [null, null];
    return (before ?? EUCLIDEAN) !== (after ?? EUCLIDEAN);
  });
  return changed?.step ?? 0;
}
