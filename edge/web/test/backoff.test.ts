import assert from "node:assert/strict";
import { test } from "node:test";

import { DELAY_FIRST_MS, DELAY_MAX_MS, delayMs, sleep } from "../src/backoff";

const least = () => 0;
const most = () => 0.999999;

test("a wait without the server's word doubles, is jittered, and has a bound", () => {
  for (let attempt = 0; attempt < 40; attempt += 1) {
    const bound = Math.min(DELAY_FIRST_MS * 2 ** attempt, DELAY_MAX_MS);
    assert.equal(delayMs(attempt, undefined, least), Math.round(bound / 2));
    assert.equal(delayMs(attempt, undefined, most), Math.round(bound));
  }
});

test("a wait that the server asked for is never cut short, and its ends lie apart", () => {
  assert.equal(delayMs(7, 2000, least), 2000);
  assert.equal(delayMs(7, 2000, most), 3000);
  assert.equal(delayMs(0, 3600_000, least), 120_000);
});

test("a sleep ends with its signal, also one that had ended before", async () => {
  const signal = AbortSignal.timeout(5);
  const begun = Date.now();
  await sleep(60_000, signal);
  await sleep(60_000, signal);
  assert.ok(Date.now() - begun < 5000);
});
