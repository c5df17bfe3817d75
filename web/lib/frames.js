/**
 * Who may draw next: what changed, is visible and is due.
 *
 * Whatever a drawing costs, it takes at most its share of the time, and all together leave some to the rest of the page,
 * so that it answers on a busy machine, too.
 */

/**
 * @typedef {object} Drawing
 * @property {() => void} draw
 * @property {() => boolean} visible
 * @property {number} every  ms, the shortest time between two draws
 * @property {number} share  of the time that it may take at most
 * @property {boolean} dirty
 * @property {number} due  ms, on the clock of `now`
 */

/** After so much drawing at a time the browser has its turn. */
const BUDGET_MS = 12;
/** What stays free after drawing, as a multiple of what that took. */
const REST = 1 / 3;

export class Frames {
  /** @type {Drawing[]} */
  #drawings = [];
  /** When the frame begins that has been asked for. */
  #next = Infinity;
  #rested = 0;
  #request;
  #now;

  /**
   * @param {(frame: () => void, ms: number) => void} request  calls back, after so long or later
   * @param {() => number} now  ms
   */
  constructor(request, now) {
    this.#request = request;
    this.#now = now;
  }

  /**
   * @param {() => void} draw
   * @param {{every?: number, share?: number, visible?: () => boolean}} [options]
   * @returns {() => void}  call it when what is drawn has changed
   */
  add(draw, { every = 0, share = 1, visible = () => true } = {}) {
    /** @type {Drawing} */
    const drawing = { draw, every, share, visible, dirty: false, due: 0 };
    this.#drawings.push(drawing);
    return () => {
      drawing.dirty = true;
      this.wake();
    };
  }

  /** Look again at what waits: something became visible. */
  wake() {
    const next = Math.max(this.#rested, Math.min(...this.#waiting().map(({ due }) => due)));
    if (next >= this.#next) return;
    this.#next = next;
    this.#request(() => next === this.#next && this.#frame(), next - this.#now());
  }

  #waiting() {
    return this.#drawings.filter(({ dirty, visible }) => dirty && visible());
  }

  #frame() {
    const start = this.#now();
    for (const drawing of this.#waiting().sort((a, b) => a.due - b.due)) {
      const before = this.#now();
      if (before - start >= BUDGET_MS || drawing.due > before) break;
      drawing.dirty = false;
      drawing.draw();
      drawing.due = before + Math.max(drawing.every, (this.#now() - before) / drawing.share);
    }
    this.#rested = this.#now() + (this.#now() - start) * REST;
    this.#next = Infinity;
    this.wake();
  }
}
