/** What the browser keeps for this page. */

/** @typedef {Pick<Storage, "getItem" | "setItem">} Keeper */

/**
 * Its own storage, or where a person has blocked that, something that lasts as long as the page.
 * @param {() => Keeper} storage
 * @returns {Keeper}
 */
export function kept(storage) {
  try {
    return storage();
  } catch {
    /** @type {Map<string, string>} */
    const memory = new Map();
    return { getItem: (key) => memory.get(key) ?? null, setItem: (key, value) => void memory.set(key, value) };
  }
}
