import assert from "node:assert/strict";
import { test } from "node:test";

import { Requests } from "../../web/lib/requests.js";

test("an answer is kept until something else is edited, a question until it is answered", () => {
  const requests = new Requests();
  const id = requests.ask({ max_norm: 2 }, null);
  requests.forget();
  assert.equal(requests.change?.state, "pending");
  requests.settle(id, { state: "applied", step: 7 });
  assert.equal(requests.change?.state, "applied");
  requests.forget();
  assert.equal(requests.change, null);
});

test("a change that this page did not ask for is noticed, its own is not", () => {
  const requests = new Requests();
  const id = requests.ask({ max_norm: 2 }, null);
  assert.equal(requests.observe({ step: 6, data: { id: "theirs" } }), false); // it waits for its own answer
  requests.settle(id, { state: "applied", step: 7 });
  assert.equal(requests.observe({ step: 7, data: { id } }), false);
  assert.equal(requests.observe({ step: 9, data: { id: "theirs" } }), true);
  assert.deepEqual([requests.change?.state, requests.change?.step], ["elsewhere", 9]);
  assert.equal(requests.observe({ step: 12, data: { id: null } }), true); // by the script itself
  assert.equal(requests.observe({ step: 7, data: { id } }), false);
});

test("what others wait for is told until it is answered, and never in place of what this page waits for", () => {
  const requests = new Requests();
  const theirs = { id: "theirs", patch: { max_norm: 3 } };
  const id = requests.ask({ max_norm: 2 }, null);
  assert.equal(requests.overhear([theirs, { id, patch: { max_norm: 2 } }]), false);
  assert.equal(requests.change?.state, "pending");
  requests.settle(id, { state: "applied", step: 7 });
  assert.equal(requests.overhear([{ id, patch: { max_norm: 2 } }]), false); // the list is older than the answer
  assert.equal(requests.overhear([theirs]), true);
  assert.deepEqual([requests.change?.state, requests.change?.patch], ["awaited", { max_norm: 3 }]);
  assert.equal(requests.overhear([theirs]), false);
  assert.equal(requests.overhear([]), true); // rejected, or lost
  assert.equal(requests.change, null);
  assert.equal(requests.overhear([]), false);
});
