/**
 * Who may draw in the next animation frame: what changed, is visible and is due, while the frame's time lasts.
 *
 * Whatever a drawing costs, it takes at most its share of the time, so the page stays responsive on a busy machine.
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

const BUDGET_MS = 12;

export class Frames {
  /** @type {Drawing[]} */
  #drawings = [];
  #requested = false;
  #request;
  #now;

  /**
   * @param {(frame: () => void) => void} request  requestAnimationFrame
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
  add(draw, { every = 100, share = 1 / 8, visible = () => true } = {}) {
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
    if (this.#requested) return;
    this.#requested = true;
    this.#request(() => this.#frame());
  }

  #frame() {
    this.#requested = false;
    const start = this.#now();
    const waiting = this.#drawings.filter((d) => d.dirty && d.visible()).sort((a, b) => a.due - b.due);
    for (const drawing of waiting) {
      const before = this.#now();
      if (before - start >= BUDGET_MS || drawing.due > before) break;
      drawing.dirty = false;
      drawing.draw();
      drawing.due = before + Math.max(drawing.every, (this.#now() - before) / drawing.share);
    }
    if (waiting.some((drawing) => drawing.dirty)) this.wake();
  }
}
