import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { POLICY } from "../security";

const pages = readFileSync(new URL("../../src/pages.rs", import.meta.url), "utf8");

test("the page is developed under the policy under which it is served", () => {
  const served = /const POLICY: &str = "([^"]*)"/.exec(pages)?.[1]?.replace(/\\\n\s*/g, "");
  assert.equal(served, POLICY);
});

test("the edge knows the addresses that the page knows", () => {
  const served = /const PLACES: [^=]*=\s*\[([^\]]*)\]/.exec(pages)?.[1] ?? "";
  const main = readFileSync(new URL("../src/main.tsx", import.meta.url), "utf8");
  const known = [...main.matchAll(/case "([^"]*)":/g)].map((found) => found[1]);
  assert.deepEqual([...served.matchAll(/"([^"]*)"/g)].map((found) => found[1]).sort(), known.sort());
});
