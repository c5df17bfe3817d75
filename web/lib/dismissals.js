/** What a person has put aside, by run and kind; the browser remembers the newest of it. */

const KEY = "clipcore.dismissed";
const MOST = 200;

export class Dismissals {
  #storage;
  /** @type {string[]} oldest first */
  #dismissed;

  /** @param {import("./storage.js").Keeper} storage */
  constructor(storage) {
    this.#storage = storage;
    this.#dismissed = storage.getItem(KEY)?.split(" ") ?? [];
  }

  /**
   * @param {string} run
   * @param {string} kind
   */
  has(run, kind) {
    return this.#dismissed.includes(`${run}/${kind}`);
  }

  /**
   * @param {string} run
   * @param {string} kind
   */
  add(run, kind) {
    this.#dismissed = [...this.#dismissed, `${run}/${kind}`].slice(-MOST);
    this.#storage.setItem(KEY, this.#dismissed.join(" "));
  }
}
