/** Which rows of a thinned history to ask the server for: enough for the pixels, and nothing twice. */

/** @typedef {{first: number, last: number}} Range  seqs, both included */

/** Rows asked for at a time: two a pixel of a wide chart. */
export const POINTS = 2000;

/** @param {Range} range */
function density({ first, last }) {
  return Math.min(1, POINTS / (last - first + 1));
}

export class Gaps {
  /** The newest seq before which rows may be missing; what came later came whole. */
  #thinUntil = 0;
  /** @type {Range[]} */
  #asked = [];

  /**
   * Rows up to this seq are a selection.
   * @param {number} seq
   */
  thinned(seq) {
    if (seq > this.#thinUntil) this.#asked = [];
    this.#thinUntil = Math.max(this.#thinUntil, seq);
  }

  /** Everything is here again. */
  clear() {
    this.#thinUntil = 0;
    this.#asked = [];
  }

  /**
   * The rows to ask for so that a range can be shown; null when they are here, or have been asked for.
   * @param {Range} range
   * @returns {Range | null}
   */
  missing({ first, last }) {
    const thin = { first, last: Math.min(last, this.#thinUntil) };
    if (thin.first > thin.last) return null;
    const covered = this.#asked.some((a) => a.first <= thin.first && a.last >= thin.last && density(a) >= density(thin));
    return covered ? null : thin;
  }

  /** @param {Range} range */
  ask(range) {
    this.#asked.push(range);
  }

  /**
   * No answer came: it may be asked for again.
   * @param {Range} range
   */
  forget(range) {
    this.#asked = this.#asked.filter((asked) => asked !== range);
  }
}
