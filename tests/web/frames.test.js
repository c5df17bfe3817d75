import assert from "node:assert/strict";
import { test } from "node:test";

import { Frames } from "../../web/lib/frames.js";

/** A display whose clock moves only when told, 16 ms a frame. */
class Display {
  now = 0;
  /** @type {(() => void) | null} */
  requested = null;
  frames = new Frames((frame) => (this.requested = frame), () => this.now);

  /** @param {number} count */
  run(count) {
    for (let i = 0; i < count; i++) {
      const frame = this.requested;
      this.requested = null;
      frame?.();
      this.now += 16;
    }
  }

  /**
   * A drawing that takes `cost` ms and counts its draws.
   * @param {number} cost
   * @param {{every?: number, share?: number, visible?: () => boolean}} [options]
   */
  drawing(cost, options) {
    const drawing = { draws: 0, changed: () => {} };
    drawing.changed = this.frames.add(() => {
      drawing.draws++;
      this.now += cost;
    }, options);
    return drawing;
  }
}

test("what did not change is not drawn, and no frame is asked for", () => {
  const display = new Display();
  const chart = display.drawing(1);
  display.run(5);
  assert.equal(chart.draws, 0);
  chart.changed();
  display.run(5);
  assert.equal(chart.draws, 1);
  assert.equal(display.requested, null);
});

test("a change that comes too soon is drawn when it is due", () => {
  const display = new Display();
  const chart = display.drawing(0, { every: 100 });
  for (let i = 0; i < 63; i++) {
    chart.changed();
    display.run(1);
  }
  assert.ok(chart.draws >= 8 && chart.draws <= 11, String(chart.draws));
});

test("what is hidden is drawn only once it is seen", () => {
  const display = new Display();
  let visible = false;
  const chart = display.drawing(1, { visible: () => visible });
  chart.changed();
  display.run(5);
  assert.equal(chart.draws, 0);
  visible = true;
  display.frames.wake();
  display.run(1);
  assert.equal(chart.draws, 1);
});

test("costly drawings share the frames: one a frame, all in turn", () => {
  const display = new Display();
  const charts = [display.drawing(20), display.drawing(20), display.drawing(20)];
  for (const chart of charts) chart.changed();
  display.run(1);
  assert.deepEqual(charts.map((c) => c.draws).sort(), [0, 0, 1]);
  display.run(2);
  assert.deepEqual(charts.map((c) => c.draws), [1, 1, 1]);
});

test("a drawing takes at most its share of the time, whatever it costs", () => {
  for (const [options, share] of /** @type {const} */ ([[{}, 1 / 8], [{ share: 1 / 4 }, 1 / 4]])) {
    const display = new Display();
    const chart = display.drawing(50, { every: 0, ...options });
    while (display.now < 10_000) {
      chart.changed();
      display.run(1);
    }
    assert.ok(chart.draws * 50 <= 10_000 * share + 50, `${chart.draws} draws`);
    assert.ok(chart.draws * 50 >= 10_000 * share * 0.8, `${chart.draws} draws`);
  }
});
