/**
 * The steps of one run in typed columns, ordered by seq, each seq once, bounded in memory.
 *
 * Columns are contiguous, so a chart reads them without copying. A full table thins its older half to the rows that
 * hold an extreme or a non-finite value; what it let go, the server still has.
 */

import { extremes, nonfinite } from "./decimate.js";
import { NOT_LOGGED } from "./wire.js";

/** @typedef {Map<string, Float64Array>} Columns */

const THINNED_BINS = 1000;

export class StepTable {
  /** @type {Columns} */
  #columns = new Map([["seq", new Float64Array(0)]]);
  #allocated = 0;
  #length = 0;
  #capacity;

  /** @param {number} [capacity]  rows */
  constructor(capacity = 200_000) {
    if (!(capacity >= 2)) throw new RangeError(`capacity must be >= 2 rows, got ${capacity}`);
    this.#capacity = capacity;
  }

  get length() {
    return this.#length;
  }

  /** The newest seq, 0 when there is none. */
  get lastSeq() {
    return this.#length ? this.at("seq", this.#length - 1) : 0;
  }

  /** @returns {string[]} */
  get names() {
    return [...this.#columns.keys()];
  }

  /**
   * A view of one column, valid until the next `add`; a name never logged gives a column of NOT_LOGGED.
   * @param {string} name
   * @returns {Float64Array}
   */
  column(name) {
    const column = this.#columns.get(name);
    return column ? column.subarray(0, this.#length) : new Float64Array(this.#length).fill(NOT_LOGGED);
  }

  /**
   * @param {string} name
   * @param {number} row
   * @returns {number}
   */
  at(name, row) {
    return this.#columns.get(name)?.[row] ?? NOT_LOGGED;
  }

  /**
   * The newest value logged at a row or before it: of a metric that is not logged every step, the one that holds.
   * @param {string} name
   * @param {number} row
   * @returns {number}
   */
  lastLogged(name, row) {
    const column = this.#columns.get(name) ?? [];
    while (row > 0 && column[row] === NOT_LOGGED) row--;
    return column[row] ?? NOT_LOGGED;
  }

  /**
   * The first row that belongs to a step or a later one, up to the newest; behind the last row when there is none.
   * @param {number} step
   * @returns {number}
   */
  rowSince(step) {
    return this.column("step").findLastIndex((each) => each < step) + 1;
  }

  /** Forget every row. */
  clear() {
    this.#columns = new Map([["seq", new Float64Array(0)]]);
    this.#allocated = 0;
    this.#length = 0;
  }

  /**
   * Put rows in their places by seq; a seq that is there already keeps its row.
   * @param {Columns} rows
   * @returns {number}  when this made the table thin itself, the newest seq before which rows are gone now; else 0
   */
  add(rows) {
    const seq = rows.get("seq");
    if (!seq) throw new TypeError("rows have no seq");
    if (seq.length === 0) return 0;
    if (seq[0] > this.lastSeq) this.#append(rows, seq.length);
    else this.#merge(rows, seq);
    let thinnedUntil = 0;
    while (this.#length > this.#capacity) thinnedUntil = this.#thin();
    return thinnedUntil;
  }

  /**
   * @param {Columns} rows
   * @param {number} count
   */
  #append(rows, count) {
    this.#reserve(this.#length + count);
    for (const name of rows.keys()) this.#declare(name);
    for (const [name, column] of this.#columns) {
      const source = rows.get(name);
      if (source) column.set(source, this.#length);
      else column.fill(NOT_LOGGED, this.#length, this.#length + count);
    }
    this.#length += count;
  }

  /**
   * @param {Columns} rows
   * @param {Float64Array} seq
   */
  #merge(rows, seq) {
    const mine = this.column("seq");
    /** @type {number[]} row of this table, or -1 - row of the new ones */
    const order = [];
    let i = 0;
    let j = 0;
    while (i < mine.length || j < seq.length) {
      if (j === seq.length || mine[i] <= seq[j]) {
        if (mine[i] === seq[j]) j++;
        order.push(i++);
      } else {
        order.push(-1 - j++);
      }
    }
    for (const name of rows.keys()) this.#declare(name);
    this.#take(order, rows);
  }

  #thin() {
    const half = this.#length >> 1;
    const seq = this.column("seq");
    const window = { lo: seq[0], hi: seq[half], bins: Math.min(THINNED_BINS, half >> 2) };
    /** @type {Set<number>} */
    const kept = new Set();
    for (const name of this.#columns.keys()) {
      if (name === "seq" || name === "step" || name === "time") continue;
      const column = this.column(name);
      for (const row of extremes(seq, column, window, [0, half])) kept.add(row);
      for (const row of nonfinite(seq, column, window, [0, half])) kept.add(row);
    }
    const order = [...kept].sort((a, b) => a - b);
    // Constant metrics keep a row or two a bin; a table of noise alone might keep all, and then the oldest go.
    if (order.length > half >> 1) order.splice(0, order.length - (half >> 1));
    for (let row = half; row < this.#length; row++) order.push(row);
    this.#take(order);
    return window.hi;
  }

  /**
   * Rewrite the table as the given rows.
   * @param {number[]} order  row of this table, or -1 - row of `others`
   * @param {Columns} [others]
   */
  #take(order, others) {
    for (const [name, column] of this.#columns) {
      const other = others?.get(name);
      const taken = new Float64Array(order.length);
      for (let k = 0; k < order.length; k++) {
        const row = order[k];
        taken[k] = row >= 0 ? column[row] : (other?.[-1 - row] ?? NOT_LOGGED);
      }
      this.#columns.set(name, taken);
    }
    this.#allocated = this.#length = order.length;
  }

  /** @param {string} name */
  #declare(name) {
    if (!this.#columns.has(name)) this.#columns.set(name, new Float64Array(this.#allocated).fill(NOT_LOGGED));
  }

  /** @param {number} rows */
  #reserve(rows) {
    if (rows <= this.#allocated) return;
    this.#allocated = Math.max(rows, 1024, this.#allocated * 2);
    for (const [name, column] of this.#columns) {
      const grown = new Float64Array(this.#allocated);
      grown.set(column.subarray(0, this.#length));
      this.#columns.set(name, grown);
    }
  }
}
