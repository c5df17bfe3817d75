import assert from "node:assert/strict";
import { test } from "node:test";

import { Frames } from "../../web/lib/frames.js";

/** A clock that moves only when told, and calls back what was asked for by then. */
class Display {
  now = 0;
  /** @type {{at: number, frame: () => void}[]} */
  requested = [];
  frames = new Frames((frame, ms) => this.requested.push({ at: this.now + ms, frame }), () => this.now);

  /** @param {number} ms */
  run(ms) {
    const end = this.now + ms;
    for (let next; (next = this.requested.sort((a, b) => a.at - b.at)[0]) && next.at <= end; ) {
      this.requested.shift();
      this.now = Math.max(this.now, next.at);
      next.frame();
    }
    this.now = Math.max(this.now, end);
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
  display.run(100);
  assert.equal(chart.draws, 0);
  chart.changed();
  display.run(100);
  assert.equal(chart.draws, 1);
  assert.deepEqual(display.requested, []);
});

test("a change that comes too soon is drawn when it is due", () => {
  const display = new Display();
  const chart = display.drawing(0, { every: 100 });
  while (display.now < 1000) {
    chart.changed();
    display.run(10);
  }
  assert.equal(chart.draws, 11); // at 0, 100, ... 1000 ms
});

test("what is due does not wait for what is not", () => {
  const display = new Display();
  const seldom = display.drawing(0, { every: 1000 });
  const often = display.drawing(0);
  seldom.changed();
  display.run(1);
  seldom.changed();
  display.run(1);
  often.changed();
  display.run(1);
  assert.deepEqual([seldom.draws, often.draws], [1, 1]);
  display.run(1000);
  assert.deepEqual([seldom.draws, often.draws], [2, 1]);
});

test("what is hidden is drawn only once it is seen, and asks for no frame", () => {
  const display = new Display();
  let visible = false;
  const chart = display.drawing(1, { visible: () => visible });
  chart.changed();
  assert.deepEqual(display.requested, []);
  display.run(100);
  assert.equal(chart.draws, 0);
  visible = true;
  display.frames.wake();
  display.run(1);
  assert.equal(chart.draws, 1);
});

test("costly drawings take turns: one a frame, all in order", () => {
  const display = new Display();
  const charts = [1, 2, 3].map(() => display.drawing(20));
  for (const chart of charts) chart.changed();
  display.run(0);
  assert.deepEqual(charts.map((c) => c.draws), [1, 0, 0]);
  display.run(60);
  assert.deepEqual(charts.map((c) => c.draws), [1, 1, 1]);
});

test("a drawing takes at most its share of the time, whatever it costs", () => {
  for (const share of [1 / 8, 1 / 4]) {
    const display = new Display();
    const chart = display.drawing(50, { share });
    while (display.now < 10_000) {
      chart.changed();
      display.run(1);
    }
    assert.ok(chart.draws * 50 <= 10_000 * share + 50, `${chart.draws} draws`);
    assert.ok(chart.draws * 50 >= 10_000 * share * 0.8, `${chart.draws} draws`);
  }
});

test("all drawings together leave a quarter of the time", () => {
  const display = new Display();
  const charts = [1, 2, 3, 4].map(() => display.drawing(20));
  while (display.now < 10_000) {
    for (const chart of charts) chart.changed();
    display.run(1);
  }
  const drawing = charts.reduce((sum, { draws }) => sum + 20 * draws, 0);
  assert.ok(drawing <= 7_600 && drawing >= 7_000, `${drawing} ms`);
});
