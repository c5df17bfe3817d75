/** What this page asked the trainer for, until it is answered. */

/** @typedef {import("./wire.js").Command} Command */
/** @typedef {import("./wire.js").Patch} Patch */
/** @typedef {import("./draft.js").Draft} Draft */
/** @typedef {import("./wire.js").LogEntry} LogEntry */

/**
 * A patch on its way: asked, then answered; or one that this page did not ask for, "awaited" and then in force from
 * "elsewhere".
 * @typedef {object} Change
 * @property {string} id
 * @property {Patch} patch
 * @property {Draft | null} draft  what was being edited when it was asked for
 * @property {"pending" | "applied" | "rejected" | "awaited" | "elsewhere"} state
 * @property {number} step  the first step that obeyed
 * @property {string} reason  why it was rejected
 */

/** @typedef {{state: "applied", step: number} | {state: "rejected", reason: string}} Answer */

export class Requests {
  /** @type {Change | null} the newest */
  change = null;
  /** @type {Map<string, Command>} not answered yet, by id */
  #commands = new Map();
  /** @type {Set<string>} ids of all patches */
  #asked = new Set();

  /**
   * @param {Patch} patch
   * @param {Draft | null} draft
   * @returns {string} the id to ask under
   */
  ask(patch, draft) {
    const id = newId();
    this.#asked.add(id);
    this.change = { id, patch, draft, state: "pending", step: 0, reason: "" };
    return id;
  }

  /**
   * @param {Command} command
   * @returns {string} the id to ask under
   */
  command(command) {
    const id = newId();
    this.#commands.set(id, command);
    return id;
  }

  /** The answer has been seen: what is edited next is another matter. */
  forget() {
    if (this.change?.state !== "pending") this.change = null;
  }

  /**
   * Look at an applied change; whose it was tells its id.
   * @param {Pick<LogEntry, "step" | "data">} entry
   * @returns {boolean} whether it is somebody else's, and this page waits for no answer of its own
   */
  observe({ step, data }) {
    const id = typeof data.id === "string" ? data.id : "";
    if (this.change?.state === "pending" || this.#asked.has(id)) return false;
    this.change = { id, patch: {}, draft: null, state: "elsewhere", step, reason: "" };
    return true;
  }

  /**
   * After the line was cut: what this page waits for though the trainer does not have it.
   * @param {import("./wire.js").RunInfo["waiting"]} waiting
   * @returns {string | null}  its id
   */
  miss(waiting) {
    const { state, id = null } = this.change ?? {};
    return state === "pending" && waiting.every((asked) => asked.id !== id) ? id : null;
  }

  /**
   * Look at all that the trainer has yet to answer, unless this page itself waits for an answer.
   * @param {import("./wire.js").RunInfo["waiting"]} waiting
   * @returns {boolean} whether that of somebody else has changed
   */
  overhear(waiting) {
    const { state, id } = this.change ?? {};
    const other = waiting.findLast((asked) => !this.#asked.has(asked.id));
    if (state === "pending" || (other ? other.id === id : state !== "awaited")) return false;
    this.change = other ? { ...other, draft: null, state: "awaited", step: 0, reason: "" } : null;
    return true;
  }

  /**
   * Take an answer in; that of a change which is answered already, or of another page, is passed over.
   * @param {string} id
   * @param {Answer} answer
   * @returns {Change | Command | null}  what it answers
   */
  settle(id, answer) {
    const command = this.#commands.get(id);
    this.#commands.delete(id);
    if (command) return command;
    if (this.change?.id !== id || this.change.state !== "pending") return null;
    this.change = { ...this.change, ...answer };
    return this.change;
  }
}

/** An id no other page uses; crypto.randomUUID is missing where a page comes over plain HTTP. */
function newId() {
  return [...crypto.getRandomValues(new Uint32Array(4))].map((word) => word.toString(36)).join("");
}
