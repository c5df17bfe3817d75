/** Who listens to what. */

/** @template {string} Topic */
export class Topics {
  /** @type {Map<Topic, (() => void)[]>} */
  #listeners = new Map();

  /**
   * @param {Topic[]} topics
   * @param {() => void} listener  called now, and after every change
   */
  watch(topics, listener) {
    for (const topic of topics) this.#listeners.set(topic, [...(this.#listeners.get(topic) ?? []), listener]);
    listener();
  }

  /** @param {Topic[]} topics  that changed; whoever listens to several of them is called once */
  tell(topics) {
    const listeners = new Set(topics.flatMap((topic) => this.#listeners.get(topic) ?? []));
    for (const listener of listeners) listener();
  }
}
