/** All charts together: drawn when they changed and are seen, under one crosshair. */

import { Chart, readPalette } from "../charts.js";
import { nearest } from "../lib/decimate.js";
import { Crosshair } from "./crosshair.js";
import { find } from "./dom.js";
import { HandleView } from "./handle.js";
import { imageMenu } from "./image.js";
import { LayersView } from "./layers.js";
import { OverlayView } from "./overlay.js";
import { plotViews } from "./plots.js";
import { WhatIfView } from "./whatif.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../store.js").Topic} Topic */
/** @typedef {import("../lib/frames.js").Frames} Frames */
/** @typedef {{element: HTMLElement, draw: () => void}} View */

/** The norm chart is what shows a step first. */
const FIRST = { every: 50, share: 1 / 4 };
const REST = { every: 125, share: 1 / 4 };

/**
 * @param {HTMLElement} board
 * @param {Store} store
 * @param {{frames: Frames, turns: Frames}} when  what follows the hand is drawn, and what follows the data
 * @param {import("../charts.js").Plotly} plotly
 * @returns {() => void}  draws everything anew, in the colours of the theme
 */
export function boardView(board, store, { frames, turns }, plotly) {
  let palette = readPalette();
  const makeChart = (/** @type {HTMLElement} */ element, /** @type {import("../charts.js").Margin} */ margin) => {
    const chart = new Chart(plotly, element, () => palette, margin);
    chart.onZoom = ([lo, hi]) => store.look({ range: [store.abscissa.stepAt(lo), store.abscissa.stepAt(hi)] });
    chart.onReset = () => store.look({ range: null });
    return chart;
  };
  const plots = plotViews(board, store, makeChart);
  const [norm] = plots;
  const handle = new HandleView(norm.element, norm.chart, store);
  const layers = new LayersView(find(board, "#layers", HTMLElement), store, makeChart);
  const key = new OverlayView(find(board, "#overlay", HTMLElement), store);
  const whatif = new WhatIfView(find(board, ".whatif", HTMLElement), store, makeChart);
  for (const view of [...plots, layers]) imageMenu(view, store, find(view.element.parentElement ?? board, "h2", HTMLElement).textContent ?? "");
  imageMenu(whatif, store, "Norms, and what another threshold would do");

  const read = () => {
    board.toggleAttribute("data-empty", store.table.length === 0);
    const steps = store.table.column("step");
    const row = Number.isNaN(crosshair.step) ? steps.length - 1 : nearest(steps.subarray(0, store.shownRows), crosshair.step);
    for (const plot of plots) plot.read(row);
    layers.read(crosshair.step);
    key.read(crosshair.step);
    crosshair.draw();
  };
  const pointed = frames.add(read);
  const crosshair = new Crosshair([...plots, layers], store, () => pointed());
  for (const plot of plots) plot.afterDraw = () => crosshair.draw();
  norm.afterDraw = () => {
    handle.draw();
    crosshair.draw();
  };
  store.watch(["rows", "layers", "run", "view", "overlay"], turns.add(read, { every: 250 }));
  store.watch(["draft", "run", "rules", "connection"], frames.add(() => handle.draw()));

  const redraws = [
    ...plots.map((plot) => redrawWhenSeen(plot, turns, store, ["rows", "run", "view", "log", "overlay"], plot === norm ? FIRST : REST)),
    redrawWhenSeen(layers, turns, store, ["layers", "rows", "run", "runs", "view", "log"], REST),
    redrawWhenSeen(whatif, turns, store, ["whatif", "view", "run", "runs", "draft", "rules", "connection"], REST),
  ];
  return () => {
    palette = readPalette();
    for (const redraw of redraws) redraw();
  };
}

/**
 * Draw a view when its topics or its size change, but only while it is on the screen.
 * @param {View} view
 * @param {Frames} turns
 * @param {Store} store
 * @param {Topic[]} topics
 * @param {{every: number, share?: number}} pace
 * @returns {() => void}  draws it anew
 */
function redrawWhenSeen(view, turns, store, topics, pace) {
  let seen = false;
  let wide = false;
  const redraw = turns.add(() => view.draw(), { ...pace, visible: () => seen && wide });
  new IntersectionObserver((entries) => {
    seen = entries.some(({ isIntersecting }) => isIntersecting);
    turns.wake();
  }).observe(view.element);
  new ResizeObserver(([{ contentRect }]) => {
    wide = contentRect.width > 0;
    redraw();
  }).observe(view.element);
  store.watch(topics, redraw);
  return redraw;
}
