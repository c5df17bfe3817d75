/** When something happened: the time of day, and the day only where it is another one. */

import { clock } from "./format.js";

const LOCALE = "en-GB"; // day before month
const DAY = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short" });
const YEAR = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short", year: "numeric" });
const MOMENT = new Intl.DateTimeFormat(LOCALE, { dateStyle: "full", timeStyle: "long" });

/**
 * @param {number} unixSeconds
 * @param {number} [now]  unix s
 * @returns {string} "14:03:59", "27 Nov, 14:03" of another day, "27 Nov 2025, 14:03" of another year; local time
 */
export function when(unixSeconds, now = Date.now() / 1000) {
  const [then, today] = [unixSeconds, now].map((seconds) => new Date(seconds * 1000));
  if (then.toDateString() === today.toDateString()) return clock(unixSeconds);
  const day = then.getFullYear() === today.getFullYear() ? DAY : YEAR;
  return `${day.format(then)}, ${clock(unixSeconds).slice(0, 5)}`;
}

/**
 * @param {number} unixSeconds
 * @returns {string} day, time and time zone in full
 */
export function moment(unixSeconds) {
  return MOMENT.format(unixSeconds * 1000);
}
