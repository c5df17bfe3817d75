import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

/** @typedef {[number, number, number]} Triple */

const CSS = readFileSync(new URL("../../web/colours.css", import.meta.url), "utf8");
const THEMES = ["light", "dark"];

/**
 * How linear light reaches eyes that lack a kind of cone: Machado, Oliveira and Fernandes 2009, severity 1.
 * @type {{[eyes: string]: Triple[]}}
 */
const EYES = {
  usual: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protan: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deutan: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  tritan: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
};

/** @type {Triple[]} */
const LMS = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566], [0.0883024619, 0.2817188376, 0.6299787005]];
/** @type {Triple[]} */
const LAB = [[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099], [0.0259040371, 0.7827717662, -0.808675766]];

const times = (/** @type {Triple[]} */ matrix, /** @type {Triple} */ [a, b, c]) => /** @type {Triple} */ (matrix.map(([x, y, z]) => x * a + y * b + z * c));

/**
 * A colour of the style sheet, in linear light.
 * @param {string} name
 * @param {string} theme
 * @returns {Triple}
 */
function colour(name, theme) {
  const value = CSS.match(new RegExp(`--${name}: ([^;]+);`))?.[1] ?? assert.fail(name);
  if (value.startsWith("var(--")) return colour(value.slice(6, -1), theme);
  const hex = value.match(/#\w{6}/g)?.[THEMES.indexOf(theme)] ?? assert.fail(value);
  const channels = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255);
  return /** @type {Triple} */ (channels.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)));
}

/**
 * WCAG's contrast ratio.
 * @param {Triple} one
 * @param {Triple} other
 */
function contrast(one, other) {
  const [light, dark] = [one, other].map(([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b).sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

/**
 * How far two colours are apart in Oklab, to the eyes to which they are closest.
 * @param {Triple} one
 * @param {Triple} other
 */
function apart(one, other) {
  const seen = (/** @type {Triple[]} */ eyes, /** @type {Triple} */ light) => {
    const clipped = /** @type {Triple} */ (times(eyes, light).map((c) => Math.min(1, Math.max(0, c))));
    return times(LAB, /** @type {Triple} */ (times(LMS, clipped).map(Math.cbrt)));
  };
  return Math.min(...Object.values(EYES).map((eyes) => Math.hypot(...seen(eyes, one).map((c, i) => c - seen(eyes, other)[i]))));
}

for (const theme of THEMES) {
  const grounds = ["ground", "surface"].map((name) => colour(name, theme));
  const runs = Array.from({ length: 8 }, (_, i) => colour(`run${i}`, theme));

  test(`lines and words stand out from both grounds: ${theme}`, () => {
    const ratios = (/** @type {Triple} */ light) => Math.min(...grounds.map((ground) => contrast(light, ground)));
    for (const name of ["ink", "muted", "before", "after", "threshold", "coef", "clamped", "bad"]) {
      assert.ok(ratios(colour(name, theme)) >= 4.5, name);
    }
    runs.forEach((run, i) => assert.ok(ratios(run) >= 3, `run${i}`));
  });

  test(`runs are told apart by all eyes, the first few with ease: ${theme}`, () => {
    const nearest = runs.map((run, i) => Math.min(...runs.slice(0, i).map((earlier) => apart(run, earlier))));
    for (const [i, least] of [Infinity, 0.4, 0.18, 0.18, 0.12, 0.12, 0.11, 0.1].entries()) {
      assert.ok(nearest[i] >= least, `run${i}: ${nearest[i].toFixed(3)}`);
    }
  });
}
