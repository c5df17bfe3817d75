import assert from "node:assert/strict";
import { test } from "node:test";

import { Gaps, POINTS } from "../../web/lib/gaps.js";

test("a history that came whole has no gaps", () => {
  assert.equal(new Gaps().missing({ first: 1, last: 1000 }), null);
});

test("of a thinned history only the thinned part is asked for", () => {
  const gaps = new Gaps();
  gaps.thinned(5000);
  assert.deepEqual(gaps.missing({ first: 4001, last: 5200 }), { first: 4001, last: 5000 });
  assert.equal(gaps.missing({ first: 5001, last: 6000 }), null);
});

test("nothing is asked for twice, also while the followed range moves on", () => {
  const gaps = new Gaps();
  gaps.thinned(5000);
  gaps.ask({ first: 4001, last: 5000 });
  assert.equal(gaps.missing({ first: 4001, last: 5200 }), null);
  assert.equal(gaps.missing({ first: 4300, last: 5300 }), null);
});

test("zooming into what came thinned asks for more", () => {
  const gaps = new Gaps();
  gaps.thinned(1_000_000);
  gaps.ask({ first: 1, last: 1_000_000 });
  assert.deepEqual(gaps.missing({ first: 1, last: POINTS }), { first: 1, last: POINTS });
});

test("after another thinning everything thinned may be asked for again", () => {
  const gaps = new Gaps();
  gaps.thinned(5000);
  gaps.ask({ first: 1, last: 5000 });
  gaps.thinned(9000);
  assert.deepEqual(gaps.missing({ first: 1, last: 5000 }), { first: 1, last: 5000 });
  gaps.clear();
  assert.equal(gaps.missing({ first: 1, last: 5000 }), null);
});

test("what was asked for and not answered may be asked for again", () => {
  const gaps = new Gaps();
  gaps.thinned(5000);
  const range = { first: 1, last: 5000 };
  gaps.ask(range);
  assert.equal(gaps.missing(range), null);
  gaps.forget(range);
  assert.deepEqual(gaps.missing(range), range);
});
