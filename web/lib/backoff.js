const FIRST_MS = 250;
const LONGEST_MS = 5000;

/**
 * How long to wait before the given try to reconnect (1 = first): 250 ms, doubling, at most 5 s.
 * @param {number} attempt
 * @returns {number} ms
 */
export function retryDelay(attempt) {
  return Math.min(LONGEST_MS, FIRST_MS * 2 ** (attempt - 1));
}
