/** The page's end of /ws/view: connects, says what it wants, and comes back by itself when the line is cut. */

import { retryDelay } from "./lib/backoff.js";
import { parse } from "./lib/wire.js";

/** @typedef {import("./lib/wire.js").BrowserMessage} BrowserMessage */

/**
 * @typedef {object} Handlers
 * @property {() => BrowserMessage} subscription  the first message of every connection
 * @property {(message: import("./lib/wire.js").ServerMessage) => void} onMessage
 * @property {(connection: import("./store.js").Connection) => void} onConnection
 */

export class Socket {
  /** @type {WebSocket | null} */
  #socket = null;
  #attempt = 0;
  #live = false;
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
    const socket = new WebSocket(this.#url);
    socket.onopen = () => {
      this.#socket = socket;
      socket.send(JSON.stringify(this.#handlers.subscription()));
    };
    socket.onmessage = ({ data }) => {
      if (!this.#live) this.#goLive();
      this.#handlers.onMessage(parse(data));
    };
    socket.onclose = () => this.#retry();
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

  #goLive() {
    this.#attempt = 0;
    this.#live = true;
    this.#handlers.onConnection({ state: "live", attempt: 0 });
  }

  #retry() {
    this.#socket = null;
    this.#live = false;
    this.#attempt++;
    this.#handlers.onConnection({ state: "lost", attempt: this.#attempt });
    setTimeout(() => this.connect(), retryDelay(this.#attempt));
  }
}
