/**
 * What the page knows: the run on show, its steps, its change log, and how far a change of ours has got.
 *
 * The wire comes in through `receive`, people's wishes through the other methods; whoever shows something listens
 * to its topic.
 */

import { abscissa } from "./lib/abscissa.js";
import { changesOf, standing } from "./lib/changes.js";
import { boundOf, startedWith } from "./lib/draft.js";
import { OVER } from "./lib/endings.js";
import { runTitle } from "./lib/format.js";
import { Gaps } from "./lib/gaps.js";
import { LayerHistory } from "./lib/layers.js";
import { lockedBy, UNREACHABLE } from "./lib/lock.js";
import { MOST_RUNS, onShow, Overlay, takeIn } from "./lib/overlay.js";
import { Requests } from "./lib/requests.js";
import { StepTable } from "./lib/table.js";
import { followRange } from "./lib/scale.js";
import { write } from "./lib/schema.js";
import { Topics } from "./lib/topics.js";
import { HOME } from "./lib/url.js";
import { toColumns } from "./lib/wire.js";

/** @typedef {import("./lib/wire.js").Patch} Patch */
/** @typedef {import("./lib/wire.js").LogEntry} LogEntry */
/** @typedef {import("./lib/wire.js").RunInfo} RunInfo */
/** @typedef {import("./lib/wire.js").Command} Command */
/** @typedef {import("./lib/wire.js").ServerMessage} ServerMessage */
/** @typedef {import("./lib/wire.js").BrowserMessage} BrowserMessage */
/** @typedef {"connection" | "run" | "runs" | "rows" | "layers" | "log" | "change" | "draft" | "rules" | "notice" | "view" | "overlay" | "whatif" | "pointed"} Topic */
/** @typedef {{state: "connecting" | "live" | "lost", attempt: number}} Connection */

/**
 * What the charts show and how: what a link names, and what it does not.
 * @typedef {Omit<import("./lib/url.js").Place, "run"> & {frozen: number | null}} View
 *     frozen: seq of the newest row the charts show while they are paused
 */

const LOST = "connection lost before an answer came; if the change was applied, the change log will show it";
const AROUND_STEPS = 50;
const MOST_LOG_ENTRIES = 1000;

export class Store {
  /** @type {Connection} */
  connection = { state: "connecting", attempt: 0 };
  loaded = false;
  readOnly = false;
  /** @type {boolean | null} whoever logs in may do more; null until the server has said */
  loginHelps = null;
  /** Scripts need the server's token. */
  hasToken = false;
  /** @type {RunInfo | null} */
  run = null;
  /** @type {RunInfo[]} newest first */
  runs = [];
  table = new StepTable();
  /** What of the history came thinned. */
  gaps = new Gaps();
  layers = new LayerHistory();
  /** Other runs on the same charts. */
  overlay = new Overlay();
  /** @type {LogEntry[]} oldest first */
  log = [];
  /** @type {import("./lib/draft.js").Draft | null} what is being edited */
  draft = null;
  /** @type {import("./lib/whatif.js").Foresight | null} */
  whatif = null;
  notice = "";
  /** The step that was asked for last; NaN before. */
  pointed = NaN;
  /** @type {View} */
  view;

  /** @type {string | null} the run a person chose; null shows the newest */
  #chosen;
  /** @type {string | null} the run that was asked for and has not come yet */
  #asked = null;
  /** @type {Topics<Topic>} */
  #topics = new Topics();
  /** @type {import("./lib/schema.js").Declared} */
  #declared = { rules: {}, shared: {} };
  #requests = new Requests();
  #send;

  /**
   * @param {(message: BrowserMessage) => boolean} send  false when there is no connection
   * @param {import("./lib/url.js").Place} [place]  what to show first
   */
  constructor(send, { run, ...view } = HOME) {
    this.#send = send;
    this.#chosen = run;
    this.view = { ...view, frozen: null };
  }

  /**
   * What is shown, as a link would name it.
   * @returns {import("./lib/url.js").Place}
   */
  get place() {
    const { frozen, ...view } = this.view;
    return { run: this.#chosen, ...view };
  }

  /**
   * @param {Topic[]} topics
   * @param {() => void} listener  called now, and after every change
   */
  watch(topics, listener) {
    this.#topics.watch(topics, listener);
  }

  /** The run's training has ended. */
  get over() {
    return this.run !== null && this.run.state in OVER;
  }

  /** Why the knob cannot be turned now; "" when it can. */
  get locked() {
    return lockedBy(this);
  }

  /**
   * What to ask for on a new connection: the rest of what is here already.
   * @returns {BrowserMessage}
   */
  subscription() {
    const run = this.#chosen ?? (this.over ? null : (this.run?.id ?? null));
    const since = run !== null && run === this.run?.id && this.table.length ? this.table.lastSeq : null;
    this.#asked = run;
    return { type: "subscribe", run, since };
  }

  /** @param {Connection} connection */
  setConnection(connection) {
    this.connection = connection;
    this.#changed("connection");
  }

  /** @param {{loginHelps: boolean, hasToken: boolean}} login */
  setLogin({ loginHelps, hasToken }) {
    this.loginHelps = loginHelps;
    this.hasToken = hasToken;
    this.#changed("connection");
  }

  /** @param {ServerMessage} message */
  receive(message) {
    switch (message.type) {
      case "snapshot":
        return this.#restart(message);
      case "rejected":
        return this.#settle(message.id, { state: "rejected", reason: message.reason });
      case "runs":
        return this.#listRuns(message.runs);
      case "pong":
        return; // that it came is all it says
      case "error":
        return this.#fail(message.reason);
      case "status":
        return this.#isShown(message.run.id) && this.#learn(message.run);
      default:
        return this.#isShown(message.run) && this.#follow(message);
    }
  }

  /**
   * News of the run on show.
   * @param {Extract<ServerMessage, {type: "steps" | "layers" | "event" | "applied"}>} message
   */
  #follow(message) {
    switch (message.type) {
      case "steps":
        return this.#receiveRows(message);
      case "layers":
        this.layers.add(message.layers, this.run?.sizes ?? []);
        return this.#changed("layers");
      case "event":
        return this.#append(message.entry);
      case "applied":
        if (this.run) this.#learn({ ...this.run, control: message.config });
        return this.#settle(message.id, { state: "applied", step: message.step });
    }
  }

  /** @param {RunInfo} run */
  #learn(run) {
    this.run = run;
    this.#drop();
    this.#changed("run");
    if (this.#requests.overhear(run.waiting)) this.#changed("change");
  }

  /** Nobody will ever obey a draft of a run that is over. */
  #drop() {
    if (this.over && this.draft) this.edit(null);
  }

  /** @param {import("./lib/table.js").Columns} columns */
  addRows(columns) {
    const lost = this.table.add(columns);
    if (lost) this.gaps.thinned(lost);
    this.#changed("rows");
  }

  /**
   * @param {string} run
   * @param {import("./lib/wire.js").Layers[]} missed
   */
  fillLayers(run, missed) {
    if (!this.#isShown(run)) return;
    this.layers.fill(missed, this.run?.sizes ?? []);
    this.#changed("layers");
  }

  /** @param {import("./lib/schema.js").Declared} declared */
  setRules(declared) {
    this.#declared = declared;
    this.#changed("rules");
  }

  /** @param {import("./lib/whatif.js").Foresight} whatif */
  foresee(whatif) {
    const { run } = whatif.question;
    const about = this.#isShown(run) ? this : this.overlay.runs.find(({ info }) => info.id === run);
    if (!about) return;
    about.whatif = whatif;
    this.#changed("whatif");
  }

  /** @param {import("./lib/draft.js").Draft | null} draft */
  edit(draft) {
    this.draft = draft;
    this.#requests.forget();
    this.#changed("draft", "change");
  }

  /**
   * What holds in every mode: how non-finite gradients are met, and the knobs that the training declared.
   * @returns {import("./lib/schema.js").Properties}
   */
  get shared() {
    return { ...this.#declared.shared, ...this.run?.knobs };
  }

  /**
   * A mode's own parameters.
   * @param {string} mode
   * @returns {import("./lib/schema.js").Properties}
   */
  ownOf(mode) {
    return this.#declared.rules[mode]?.properties ?? {};
  }

  /**
   * The modes, each with its own parameters and those that all share.
   * @returns {import("./lib/schema.js").Rules}
   */
  get rules() {
    const all = Object.entries(this.#declared.rules);
    return Object.fromEntries(all.map(([mode, rule]) => [mode, { ...rule, properties: { ...rule.properties, ...this.shared } }]));
  }

  /** The clipper's configuration: in force, or until the training has started, what it was asked to start with. */
  get configuration() {
    const { control = {}, config = {} } = this.run ?? {};
    return control.mode === undefined ? startedWith(config, this.rules) : control;
  }

  /** The mode on show: drafted, else in force. */
  get mode() {
    return this.draft?.mode ?? write(this.configuration.mode);
  }

  /** The threshold on show: drafted, else in force; NaN when the mode has none or what is typed is not allowed. */
  get bound() {
    return boundOf(this.draft, this.configuration, this.rules);
  }

  /** How far the newest change that this page asked for has got. */
  get change() {
    return this.#requests.change;
  }

  /** @param {Patch} patch */
  control(patch) {
    if (!this.run) return;
    const id = this.#requests.ask(patch, this.draft);
    const sent = this.#send({ type: "control", id, run: this.run.id, patch });
    if (!sent) this.#requests.settle(id, { state: "rejected", reason: UNREACHABLE });
    this.#changed("change");
  }

  /** @param {Command} command */
  command(command) {
    if (!this.run) return;
    const id = this.#requests.command(command);
    const sent = this.#send({ type: "command", id, run: this.run.id, command });
    if (!sent) this.#settle(id, { state: "rejected", reason: UNREACHABLE });
  }

  /**
   * Show a run from now on.
   * @param {string} run
   * @param {string[]} [others]  runs to lay over it
   */
  select(run, others = this.view.others) {
    this.#chosen = run;
    this.look({ others: others.filter((id) => id !== run).slice(0, MOST_RUNS - 1) });
    this.#subscribe(run);
  }

  /** @param {Partial<View>} view */
  look(view) {
    this.view = { ...this.view, ...view };
    this.#layOver();
    this.#changed("view");
  }

  /**
   * Show a step and what is around it.
   * @param {number} step
   */
  showStep(step) {
    this.pointed = step;
    this.look({ range: [Math.max(0, step - AROUND_STEPS), step + AROUND_STEPS] });
    this.#changed("pointed");
  }

  /**
   * Lay runs over the one on show, which then stays on show.
   * @param {string[]} others  as many of them as there are colours for
   */
  compare(others) {
    this.#chosen = this.run?.id ?? this.#chosen;
    this.look({ others: others.filter((id) => !this.#isShown(id)).slice(0, MOST_RUNS - 1) });
  }

  /**
   * Show a run that is laid over the one on show, and lay that one over it.
   * @param {string} run
   */
  exchange(run) {
    const shown = this.run?.id ?? run;
    this.select(run, this.view.others.map((other) => (other === run ? shown : other)));
  }

  /**
   * @param {import("./lib/overlay.js").Overlaid} run
   * @param {import("./lib/table.js").Columns} columns
   */
  addOverlaid(run, columns) {
    takeIn(run, columns);
    this.#changed("overlay");
  }

  /**
   * @param {import("./lib/overlay.js").Overlaid} run
   * @param {import("./lib/overlay.js").OverlaidLayers} layers
   */
  setOverlaidLayers(run, layers) {
    run.layers = layers;
    this.#changed("layers");
  }

  /** Show the newest steps as they come. */
  follow() {
    this.look({ range: null });
  }

  /** @param {"log" | "smooth"} choice */
  toggle(choice) {
    this.look({ [choice]: !this.view[choice] });
  }

  /** Steps along the x-axis, or time. */
  toggleUnit() {
    this.look({ unit: this.view.unit === "step" ? "time" : "step" });
  }

  /** Hold the charts still, or let them go on; rows arrive all the same. */
  toggleFrozen() {
    this.look({ frozen: this.view.frozen === null ? this.table.lastSeq : null });
  }

  /** @param {string} notice  one sentence for the person at the page */
  say(notice) {
    this.notice = notice;
    this.#changed("notice");
  }

  /** The newest applied change of the clipper's configuration. */
  get lastChange() {
    return this.log.findLast((entry) => changesOf(entry) !== null) ?? null;
  }

  /** The change that an undo takes back; null when none is left. */
  get undoable() {
    return standing(this.log).at(-1) ?? null;
  }

  /**
   * The steps the charts show.
   * @returns {[lo: number, hi: number]}
   */
  get range() {
    if (this.view.range) return this.view.range;
    const steps = this.table.column("step");
    const shown = this.shownRows;
    return followRange(steps[0] ?? 0, steps[shown - 1] ?? 0, this.view.width);
  }

  /**
   * The rows that the charts show.
   * @returns {import("./lib/gaps.js").Range | null}  null for none
   */
  get rowsOnShow() {
    const { abscissa, range, table, view } = this;
    const [lo, hi] = range.map(abscissa.at);
    const rows = onShow(abscissa.column, table, [lo, hi]);
    return rows && !view.range ? { ...rows, first: Math.max(1, rows.last - view.width + 1) } : rows;
  }

  /** Where steps lie on the charts' x-axis. */
  get abscissa() {
    return abscissa(this.view.unit, this.table, this.shownRows);
  }

  /** How many of the table's rows the charts show: all, or those from before they were paused. */
  get shownRows() {
    const { frozen } = this.view;
    if (frozen === null) return this.table.length;
    return this.table.column("seq").findLastIndex((seq) => seq <= frozen) + 1;
  }

  /** @param {import("./lib/wire.js").Snapshot} snapshot */
  #restart(snapshot) {
    this.loaded = true;
    if (snapshot.run?.id === this.#asked) this.#asked = null;
    this.readOnly = snapshot.read_only;
    if (snapshot.run?.id !== this.run?.id) this.#forget();
    if (!snapshot.resumed) {
      this.table.clear();
      this.gaps.clear();
    }
    this.run = snapshot.run;
    this.#drop();
    this.log = snapshot.log;
    this.#receiveRows(snapshot);
    if (snapshot.layers) this.layers.add(snapshot.layers, snapshot.run?.sizes ?? []);
    for (const entry of snapshot.log) this.#settleFrom(entry);
    const waiting = snapshot.run?.waiting ?? [];
    const lost = this.#requests.miss(waiting);
    if (lost) this.#settle(lost, { state: "rejected", reason: LOST });
    this.#requests.overhear(waiting);
    this.#listRuns(snapshot.runs);
    this.#changed("run", "layers", "log", "change", "draft", "view");
  }

  /** @param {{rows: import("./lib/wire.js").WireRows | null, exact: boolean}} message */
  #receiveRows({ rows, exact }) {
    this.addRows(toColumns(rows ?? { seq: [] }));
    if (!exact) this.gaps.thinned(this.table.lastSeq);
  }

  #forget() {
    this.layers.clear();
    this.whatif = null;
    this.#changed("whatif");
    this.#requests = new Requests();
    this.draft = null;
    this.pointed = NaN;
    this.#changed("pointed");
    if (this.run) this.view = { ...this.view, range: null, frozen: null, layer: null };
  }

  /** @param {LogEntry} entry */
  #append(entry) {
    if (this.log.some(({ n }) => n === entry.n)) return;
    this.log = [...this.log, entry].slice(-MOST_LOG_ENTRIES);
    this.#settleFrom(entry);
    if (changesOf(entry) && this.#requests.observe(entry)) this.#changed("change");
    this.#changed("log");
  }

  /**
   * A page that lost its connection while a change was pending finds the answer in the log.
   * @param {LogEntry} entry
   */
  #settleFrom({ kind, step, text, data }) {
    if (typeof data.id !== "string") return;
    if (kind === "applied") this.#settle(data.id, { state: "applied", step });
    if (kind === "rejected") this.#settle(data.id, { state: "rejected", reason: text });
  }

  /**
   * @param {string} id
   * @param {import("./lib/requests.js").Answer} answer
   */
  #settle(id, answer) {
    const asked = this.#requests.settle(id, answer);
    if (asked === null) return;
    if (typeof asked !== "string") return this.#settled(asked);
    if (answer.state === "rejected") this.say(`${asked} was rejected: ${answer.reason}`);
  }

  /** @param {import("./lib/requests.js").Change} change */
  #settled({ state, draft }) {
    if (state === "applied" && this.draft === draft) this.draft = null;
    this.#changed("change");
  }

  /** @param {string} reason */
  #fail(reason) {
    if (this.#asked === null) return this.say(reason);
    this.say(`Run ${this.#asked} does not exist or was deleted; showing the newest run`);
    this.#showNewest();
  }

  /** @param {RunInfo[]} runs */
  #listRuns(runs) {
    this.runs = runs;
    this.#layOver();
    this.#changed("runs");
    const newest = runs[0]?.id;
    if (this.run && !runs.some(({ id }) => this.#isShown(id))) {
      this.say(`${runTitle(this.run)} was deleted`);
      return this.#showNewest();
    }
    const idle = this.run === null || this.over;
    if (this.#chosen === null && idle && newest !== undefined && newest !== this.run?.id) {
      this.#subscribe(newest);
    }
  }

  #showNewest() {
    this.#chosen = null;
    this.#subscribe(null);
  }

  /** @param {string | null} run  null for the newest */
  #subscribe(run) {
    this.#asked = run;
    this.#send({ type: "subscribe", run, since: null });
  }

  #layOver() {
    const others = this.view.others.filter((id) => !this.#isShown(id)).map((id) => this.runs.find((run) => run.id === id));
    this.overlay.choose(others.filter((run) => run !== undefined));
    this.#changed("overlay");
  }

  /** @param {string} run */
  #isShown(run) {
    return run === this.run?.id;
  }

  /** @param {...Topic} topics */
  #changed(...topics) {
    this.#topics.tell(topics);
  }
}
