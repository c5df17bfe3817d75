import assert from "node:assert/strict";
import { test } from "node:test";

import { fromQuery, HOME, toQuery } from "../../web/lib/url.js";

test("a fresh page has no query, and none gives a fresh page", () => {
  assert.equal(toQuery(HOME), "");
  assert.deepEqual(fromQuery(""), HOME);
});

test("a link shows the same view", () => {
  /** @type {import("../../web/lib/url.js").Place} */
  const place = {
    run: "a1b2", others: ["c3d4", "e5f6"], range: [1200, 1800], width: Infinity, log: false, smooth: true, unit: "time", subject: "exponents", worst: true, find: "attn 1", layer: "h.0",
  };
  const layers = "layers=exponents&sort=worst&find=attn+1&layer=h.0";
  assert.equal(toQuery(place), `?run=a1b2&with=c3d4,e5f6&steps=1200-1800&last=all&axis=linear&smooth=on&x=time&${layers}`);
  assert.deepEqual(fromQuery(toQuery(place)), place);
});

test("what cannot be read is as on a fresh page", () => {
  for (const search of ["?steps=9", "?steps=20-10", "?steps=a-b", "?last=-5", "?last=many", "?x=date", "?layers=none"]) assert.deepEqual(fromQuery(search), HOME, search);
});

test("as many runs are laid over as there are colours, each once, and nothing that is no id", () => {
  assert.deepEqual(fromQuery("?with=a1,a1,../b,,").others, ["a1", "b"]);
  assert.equal(fromQuery(`?with=${Array.from({ length: 20 }, (_, i) => `r${i}`).join()}`).others.length, 7);
});
