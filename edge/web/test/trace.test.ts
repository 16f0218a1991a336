import assert from "node:assert/strict";
import { test } from "node:test";

import { traceparent } from "../src/trace";

test("a trace's header is of the standard's form, and new each time", () => {
  assert.match(traceparent(), /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
  assert.notEqual(traceparent(), traceparent());
});
