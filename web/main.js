/** Wires the page together; the only module that does something when it is loaded. */

import { getRules, RETRY_MS } from "./api.js";
import { backFill, backFillLayers } from "./backfill.js";
import { plotly } from "./charts.js";
import { followOverlay } from "./follow.js";
import { foretell } from "./foretell.js";
import { reasonOf } from "./lib/format.js";
import { Frames } from "./lib/frames.js";
import { kept } from "./lib/storage.js";
import { fromQuery, toQuery } from "./lib/url.js";
import { Socket } from "./socket.js";
import { Store } from "./store.js";
import { AdviceView } from "./views/advice.js";
import { bannerView } from "./views/banner.js";
import { boardView } from "./views/board.js";
import { ControlView } from "./views/control.js";
import { find, setText } from "./views/dom.js";
import { helpView } from "./views/help.js";
import { bind, keysView } from "./views/keys.js";
import { logView } from "./views/log.js";
import { noticeView } from "./views/notice.js";
import { nowView } from "./views/now.js";
import { rangeView } from "./views/range.js";
import { RunsView } from "./views/runs.js";
import { StartView } from "./views/start.js";
import { sessionView } from "./views/session.js";
import { statusView } from "./views/status.js";
import { themeView } from "./views/theme.js";
import { titleView } from "./views/title.js";
import { waitingView } from "./views/waiting.js";

const element = (/** @type {string} */ selector) => find(document, selector, HTMLElement);

const url = new URL("ws/view", document.baseURI);
url.protocol = url.protocol.replace("http", "ws");
const socket = new Socket(url, {
  subscription: () => store.subscription(),
  onMessage: (message) => store.receive(message),
  onConnection: (connection) => store.setConnection(connection),
});
const store = new Store((message) => socket.send(message), fromQuery(location.search));
const storage = kept(() => localStorage);
const now = () => performance.now();
/** What follows the hand is drawn in the very next frame. */
const frames = new Frames((frame) => requestAnimationFrame(frame), now);
/** What follows the data is drawn between frames, so that none waits for a chart; a hidden page has no frames. */
const turns = new Frames((turn, ms) => (document.hidden ? requestAnimationFrame(turn) : setTimeout(turn, ms)), now);

const control = new ControlView(find(document, "#control", HTMLFormElement), store, (sentence) => setText(element("#announce"), sentence));
const start = new StartView(element("#start"), store);
const ask = { another: () => start.open(), again: (/** @type {import("./lib/wire.js").RunInfo} */ run) => start.again(run) };
const runs = new RunsView(find(document, "#runs", HTMLDialogElement), store, ask);
element("#runs-open").addEventListener("click", () => runs.open());
bannerView(element("#banner"), store, ask);
logView(element(".log"), store);
noticeView(element("#notice"), store);
waitingView(element("#waiting"), store);
sessionView(element(".bar"), store);
rangeView(element("#norm .tools"), store);
backFill(store);
backFillLayers(store);
followOverlay(store);
foretell(store, element(".whatif"));
store.watch(["view", "run"], () => {
  const query = toQuery(store.place);
  if (query !== location.search) history.replaceState(null, "", query || location.pathname);
});

for (const draw of [statusView(element(".bar"), store), nowView(element("#now"), store), titleView(store)]) {
  store.watch(["rows", "run", "connection"], turns.add(draw, { every: 250 }));
}

const advice = new AdviceView(element("#advice"), store, storage);
store.watch(["rows", "layers", "run"], turns.add(() => advice.draw(), { every: 2000 }));

let repaint = () => {};
themeView(element("[data-testid=theme]"), storage, () => repaint());

const showHelp = helpView(find(document, "#help", HTMLDialogElement), store);
element("#help-open").addEventListener("click", showHelp);
keysView(element("#keys"), [
  bind("?", "this help", showHelp),
  bind(" ", "freeze the charts, or let them go on", () => store.toggleFrozen(), "space"),
  bind("r", "all runs: compare, repeat, rename, delete", () => runs.open()),
  bind("f", "follow the newest steps", () => store.follow()),
  bind("l", "logarithmic or linear norm axis", () => store.toggle("log")),
  bind("t", "steps or time along the x-axis", () => store.toggleUnit()),
  bind("s", "smooth the norm and the loss", () => store.toggle("smooth")),
  bind("[", "halve the threshold", () => control.scale(0.5)),
  bind("]", "double the threshold", () => control.scale(2)),
  { shown: "1 … 8", does: "choose the mode", action: (key) => (/^[1-8]$/.test(key) ? () => control.chooseMode(Number(key) - 1) : null) },
  bind("Enter", "apply what is being edited", () => store.draft && control.apply()),
  bind("u", "undo the last change", () => control.undo()),
  bind("Escape", "drop what is being edited", () => control.cancel(), "Esc"),
]);

socket.connect();
for (const change of ["offline", "online"]) addEventListener(change, () => socket.doubt());
untilDone("The clipping modes", async () => store.setRules(await getRules()));
untilDone("The built-in trainings", () => start.load());
if (plotly) repaint = boardView(element(".board"), store, { frames, turns }, plotly);
else store.say("Plotly could not be loaded, so there are no charts: load the page again");

/**
 * What the page needs and the server may not give just now.
 * @param {string} what
 * @param {() => Promise<void>} load
 */
async function untilDone(what, load) {
  try {
    await load();
  } catch (error) {
    store.say(`${what} could not be loaded: ${reasonOf(error)}`);
    setTimeout(() => untilDone(what, load), RETRY_MS);
  }
}
