import assert from "node:assert/strict";
import { test } from "node:test";

import { clock, count, elapsed, elide, exact, number, ordinal, percent, power, tick } from "../../web/lib/format.js";

test("numbers show three significant digits, and every digit before the point", () => {
  const shown = [0, 0.76, 1.3249, 12.44, 123.4, 999.4, 999.6, 1320.4, 48120, 99999.4, 99999.6, 311411, 0.00123, 0.0009996, 0.0009994, -2.5];
  assert.deepEqual(shown.map(number), [
    "0", "0.760", "1.32", "12.4", "123", "999", "1,000", "1,320", "48,120", "99,999", "1.00e5", "3.11e5", "0.00123", "0.00100", "9.99e-4", "-2.50",
  ]);
});

test("NaN and the infinities are shown, not hidden", () => {
  assert.deepEqual([NaN, Infinity, -Infinity].map(number), ["NaN", "inf", "-inf"]);
});

test("counts have thousands separators", () => {
  assert.equal(count(4790), "4,790");
});

test("ticks are as short as the value allows", () => {
  assert.deepEqual([0.5, 20, 1000, 0.00001, 2e7, 0, 0.1 + 0.2].map(tick), ["0.5", "20", "1,000", "1e-5", "2e7", "0", "0.3"]);
});

test("a parameter is shown as one would type it", () => {
  assert.deepEqual([1, 0.5, 1e-7, "Infinity", Infinity, ["bias"], null].map(exact), ["1", "0.5", "1e-7", "inf", "inf", '["bias"]', "null"]);
});

test("a share that is neither none nor all never reads as either", () => {
  assert.deepEqual([0, 0.0004, 0.124, 0.999, 0.9996, 1, NaN].map(percent), ["0 %", "< 0.1 %", "12.4 %", "99.9 %", "> 99.9 %", "100 %", "NaN"]);
});

test("ordinals end as English has it", () => {
  assert.deepEqual([1, 2, 3, 4, 11, 12, 13, 21, 102, 111].map(ordinal), [
    "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th",
  ]);
});

test("a time of day has hours, minutes and seconds", () => {
  assert.match(clock(1_750_000_000), /^\d\d:\d\d:\d\d$/);
});

test("a time since the start reads as on a stop watch", () => {
  assert.deepEqual([0, 5, 0.25, 750, 3723, 100_000, -90].map(elapsed), ["0:00", "0:05", "0:00.25", "12:30", "1:02:03", "27:46:40", "-1:30"]);
  assert.equal(elapsed(59.9999), "1:00");
});

test("a power of two is written as one", () => {
  assert.deepEqual([-24, 0, 8].map(power), ["2⁻²⁴", "2⁰", "2⁸"]);
});

test("a long name loses its middle, by characters and not by code units", () => {
  assert.deepEqual([elide("recurrence.weight_hh_l0", 10), elide("head.bias", 9), elide("🚀🚀🚀🚀", 3)], ["recur…h_l0", "head.bias", "🚀…🚀"]);
});

test("a tick has no more digits than it means", () => {
  assert.deepEqual([3e-44, 2.9999999999999997e-44, 4.9999999999999995e37, 0.1 + 0.2].map(tick), ["3e-44", "3e-44", "5e37", "0.3"]);
});
