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
  assert.equal(requests.notice({ step: 6, data: { id: "theirs" } }), false); // it waits for its own answer
  requests.settle(id, { state: "applied", step: 7 });
  assert.equal(requests.notice({ step: 7, data: { id } }), false);
  assert.equal(requests.notice({ step: 9, data: { id: "theirs" } }), true);
  assert.deepEqual([requests.change?.state, requests.change?.step], ["elsewhere", 9]);
  assert.equal(requests.notice({ step: 12, data: { id: null } }), true); // by the script itself
  assert.equal(requests.notice({ step: 7, data: { id } }), false);
});
