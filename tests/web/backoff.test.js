import assert from "node:assert/strict";
import { test } from "node:test";

import { retryDelay } from "../../web/lib/backoff.js";

test("the first try to reconnect comes after 250 ms, each later one after twice the wait, up to 5 s", () => {
  assert.deepEqual([1, 2, 3, 4, 5, 6, 7, 2000].map(retryDelay), [250, 500, 1000, 2000, 4000, 5000, 5000, 5000]);
});
