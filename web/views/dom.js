/** Elements found and made with their types; text is always text, never markup. */

/** A press that moves no farther is a click. */
export const CLICK_PX = 4;

/**
 * The element of a page that must have it.
 * @template {Element} T
 * @param {ParentNode} root
 * @param {string} selector
 * @param {new () => T} type
 * @returns {T}
 */
export function find(root, selector, type) {
  const element = root.querySelector(selector);
  if (!(element instanceof type)) throw new TypeError(`${selector} is not a ${type.name} of this page`);
  return element;
}

/**
 * A new element.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {{[attribute: string]: string}} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/**
 * A line drawing beside or instead of words.
 * @param {string} path  within 16 x 16
 */
export function icon(path) {
  const [svg, line] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  for (const [name, value] of Object.entries({ viewBox: "0 0 16 16", "aria-hidden": "true" })) svg.setAttribute(name, value);
  for (const [name, value] of Object.entries({ d: path, fill: "none", stroke: "currentColor" })) line.setAttribute(name, value);
  svg.append(line);
  return svg;
}

/**
 * Change an element's text only when it differs, so that nothing is laid out or announced anew.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Tell of clicks, which Plotly keeps to itself; a press that moves on is a zoom, or a finger that scrolls.
 * @param {HTMLElement} element
 * @param {(event: PointerEvent) => void} tell
 */
export function onClick(element, tell) {
  element.addEventListener("pointerdown", (down) => {
    const up = (/** @type {PointerEvent} */ event) => {
      const moved = Math.hypot(event.clientX - down.clientX, event.clientY - down.clientY);
      if (event.pointerId === down.pointerId && moved < CLICK_PX) tell(event);
    };
    addEventListener("pointerup", up, { capture: true, once: true });
  }, true);
}
