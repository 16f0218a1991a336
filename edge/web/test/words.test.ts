import assert from "node:assert/strict";
import { test } from "node:test";

import { countdown, e164 } from "../src/format";
import { preferred } from "../src/language";
import { TEXTS } from "../src/texts";

test("the browser's languages are asked in their order", () => {
  assert.equal(preferred(["ko-KR", "en"]), "ko");
  assert.equal(preferred(["fr", "de", "ko"]), "ko");
  assert.equal(preferred(["en-US", "ko"]), "en");
  assert.equal(preferred(["fr"]), "en");
  assert.equal(preferred([]), "en");
});

test("no Korean word was forgotten, and none is English by accident", () => {
  for (const [name, words] of [...Object.entries(TEXTS.ko), ...Object.entries(TEXTS.ko.own)]) {
    const said = typeof words === "function" ? (words as (...all: unknown[]) => string)(1, 2) : JSON.stringify(words);
    if (name !== "milliseconds") assert.match(said, /[가-힣]/, name);
  }
});

test("a time left is told in as many parts as it has", () => {
  const table: [number, string][] = [[-5, "00:00"], [1, "00:01"], [61_000, "01:01"], [3_600_000, "01:00:00"], [90_061_000, "01:01:01:01"]];
  for (const [left, words] of table) assert.equal(countdown(left), words);
});

test("a phone number written at home becomes one for the world", () => {
  const table: [string, string][] = [["010-1234-5678", "+821012345678"], ["+82 10 1234 5678", "+821012345678"], ["0049 30 1234567", "+49301234567"]];
  for (const [written, sent] of table) assert.equal(e164(written), sent);
});
