import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { Socket } from "../../web/socket.js";

/** A line whose other end does only what a test says. */
class Line {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSED = 3;
  /** @type {Line[]} */
  static all = [];
  readyState = Line.CONNECTING;
  /** @type {string[]} */
  sent = [];
  /** @type {(() => void) | null} */
  onopen = null;
  /** @type {((event: {data: string}) => void) | null} */
  onmessage = null;
  /** @type {(() => void) | null} */
  onclose = null;

  constructor() {
    Line.all.push(this);
  }

  open() {
    this.readyState = Line.OPEN;
    this.onopen?.();
  }

  say() {
    this.onmessage?.({ data: '{"type": "pong"}' });
  }

  /** @param {string} text */
  send(text) {
    this.sent.push(JSON.parse(text).type);
  }

  close() {
    this.readyState = Line.CLOSED;
  }
}

Object.assign(globalThis, { window: globalThis, WebSocket: Line });

function connected() {
  Line.all = [];
  /** @type {string[]} */
  const states = [];
  const socket = new Socket(new URL("ws://localhost/ws/view"), {
    subscription: () => ({ type: "subscribe", run: null, since: null }),
    onMessage: () => {},
    onConnection: ({ state }) => states.push(state),
  });
  socket.connect();
  return { socket, states };
}

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
});

test("a handshake that hangs is given up, and another one tried", () => {
  const { states } = connected();
  mock.timers.tick(10_000);
  assert.deepEqual([states, Line.all.length, Line.all[0].readyState], [["lost"], 1, Line.CLOSED]);
  mock.timers.tick(30_000);
  assert.ok(Line.all.length > 1);
});

test("a handshake under way when the network changes is given up soon", () => {
  const { socket, states } = connected();
  socket.doubt();
  mock.timers.tick(2000);
  assert.deepEqual(states, ["lost"]);
});

test("the first message may take its time; after it, silence is asked about", () => {
  const { states } = connected();
  const [line] = Line.all;
  line.open();
  assert.deepEqual(line.sent, ["subscribe"]);
  mock.timers.tick(50_000);
  assert.deepEqual(states, []);
  line.say();
  assert.deepEqual(states, ["live"]);
  mock.timers.tick(5000);
  assert.deepEqual(line.sent, ["subscribe", "ping"]);
  line.say();
  mock.timers.tick(5000);
  mock.timers.tick(10_000);
  assert.deepEqual([states, line.sent], [["live", "lost"], ["subscribe", "ping", "ping"]]);
});
