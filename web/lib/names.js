/** Runs' names, which people and scripts choose: of any length, in any script, and with any character. */

const BIDI_CONTROLS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;
const [ISOLATE, POP] = ["\u2068", "\u2069"];

/**
 * A name that leaves the text around it in its order.
 * @param {string} name
 */
export function isolated(name) {
  const plain = name.replace(BIDI_CONTROLS, "");
  return RIGHT_TO_LEFT.test(plain) ? `${ISOLATE}${plain}${POP}` : plain;
}

/**
 * The beginning of a name, where what comes after it has to be seen, too.
 * @param {string} name
 * @param {number} length  in characters
 */
export function shortened(name, length) {
  const characters = [...name];
  return characters.length > length ? `${characters.slice(0, length - 1).join("").trimEnd()}…` : name;
}
