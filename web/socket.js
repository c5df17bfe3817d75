/**
 * The page's end of /ws/view: connects, says what it wants, and comes back by itself when the line is cut.
 *
 * A line can die without a word, and looks like a training that is between two steps. So after some silence the page
 * asks, on that very line, and takes one that does not answer for cut.
 */

import { retryDelay } from "./lib/backoff.js";
import { parse } from "./lib/wire.js";

/** @typedef {import("./lib/wire.js").BrowserMessage} BrowserMessage */

/**
 * @typedef {object} Handlers
 * @property {() => BrowserMessage} subscription  the first message of every connection
 * @property {(message: import("./lib/wire.js").ServerMessage) => void} onMessage
 * @property {(connection: import("./store.js").Connection) => void} onConnection
 */

/** So long nothing may come before the page asks. */
const QUIET_MS = 5000;
/** So long an answer may take: it comes after all that is on its way already. */
const ANSWER_MS = 10_000;
/** And when the browser has just said that the network is gone, or another one. */
const DOUBTED_ANSWER_MS = 2000;
/** The first message has all of the run, and may be long under way. */
const FIRST_MESSAGE_MS = 60_000;

export class Socket {
  /** @type {WebSocket | null} the connection, or the try at one */
  #socket = null;
  #attempt = 0;
  #live = false;
  #retrying = 0;
  #watchdog = 0;
  #url;
  #handlers;

  /**
   * @param {URL} url
   * @param {Handlers} handlers
   */
  constructor(url, handlers) {
    this.#url = url;
    this.#handlers = handlers;
  }

  connect() {
    clearTimeout(this.#retrying);
    const socket = (this.#socket = new WebSocket(this.#url));
    this.#expect(ANSWER_MS);
    socket.onopen = () => {
      this.#expect(FIRST_MESSAGE_MS);
      this.send(this.#handlers.subscription());
    };
    socket.onmessage = ({ data }) => {
      if (!this.#live) this.#goLive();
      this.#heard();
      this.#handlers.onMessage(parse(data));
    };
    socket.onclose = () => this.#lose();
  }

  /**
   * @param {BrowserMessage} message
   * @returns {boolean}  false when there is no connection
   */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** The network has changed: find out at once whether the line still works; without one, try again at once. */
  doubt() {
    if (this.#live) this.#ask(DOUBTED_ANSWER_MS);
    else if (this.#socket === null) this.connect();
    else if (this.#socket.readyState === WebSocket.CONNECTING) this.#expect(DOUBTED_ANSWER_MS);
  }

  #goLive() {
    this.#attempt = 0;
    this.#live = true;
    this.#handlers.onConnection({ state: "live", attempt: 0 });
  }

  #heard() {
    clearTimeout(this.#watchdog);
    this.#watchdog = window.setTimeout(() => this.#ask(ANSWER_MS), QUIET_MS);
  }

  /** @param {number} patience  ms */
  #ask(patience) {
    this.send({ type: "ping" });
    this.#expect(patience);
  }

  /**
   * Take the line for cut when nothing comes in time.
   * @param {number} patience  ms
   */
  #expect(patience) {
    clearTimeout(this.#watchdog);
    this.#watchdog = window.setTimeout(() => this.#lose(), patience);
  }

  #lose() {
    clearTimeout(this.#watchdog);
    if (this.#socket) this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket?.close();
    this.#socket = null;
    this.#live = false;
    this.#attempt++;
    this.#handlers.onConnection({ state: "lost", attempt: this.#attempt });
    this.#retrying = window.setTimeout(() => this.connect(), retryDelay(this.#attempt));
  }
}
