import assert from "node:assert/strict";
import { test } from "node:test";

import { Clock } from "../src/clock";

test("an exchange bounds the offset by its round trip", () => {
  const clock = new Clock(() => 1000);
  assert.equal(clock.reading(), undefined);
  assert.equal(clock.now(), 1000);
  // The server is 5 s ahead and read its clock in the middle of 100 ms.
  clock.sample(6050, 1000, 1100);
  const reading = clock.reading();
  assert.ok(reading && Math.abs(reading.offsetMs - 5000) <= 1 && reading.errorMs === 51, JSON.stringify(reading));
  assert.equal(clock.now(), 1000 + reading.offsetMs);
});

test("several exchanges know more than the best of them", () => {
  const clock = new Clock();
  // Offset 5000; a slow answer, then a slow question.
  clock.sample(6010, 1000, 1100);
  clock.sample(7090, 2000, 2100);
  const reading = clock.reading();
  assert.ok(reading && reading.errorMs <= 12, JSON.stringify(reading));
  assert.ok(reading && Math.abs(reading.offsetMs - 5000) <= reading.errorMs);
});

test("a date header alone is good to half a second, and whole seconds add up to less", () => {
  const clock = new Clock();
  const server = (local: number) => new Date(Math.floor((local + 60_000) / 1000) * 1000).toUTCString();
  clock.sampleDate(server(1_000_300), 1_000_300, 1_000_310);
  assert.equal(clock.reading()?.errorMs, 505);
  for (let local = 1_000_400; local < 1_003_000; local += 97) clock.sampleDate(server(local), local, local + 10);
  const reading = clock.reading();
  assert.ok(reading && reading.errorMs < 60, JSON.stringify(reading));
  assert.ok(Math.abs(reading.offsetMs - 60_000) <= reading.errorMs, JSON.stringify(reading));
});

test("a clock that was set is measured anew", () => {
  const clock = new Clock();
  clock.sample(1000, 1000, 1010);
  clock.sample(2000, 902_000, 902_010);
  assert.ok(Math.abs((clock.reading()?.offsetMs ?? 0) + 900_000) < 20);
});

test("nonsense is no sample", () => {
  const clock = new Clock();
  clock.sampleDate("yesterday", 1, 2);
  clock.sampleDate(null, 1, 2);
  clock.sample(5, 10, 1);
  assert.equal(clock.reading(), undefined);
});
