import assert from "node:assert/strict";
import { test } from "node:test";

import { forgetUser, MapChest } from "../src/chest";
import { Keys, newKey, purchaseSlot } from "../src/keys";

const SLOT = purchaseSlot("ann", "shoe", "white");
const DAY_MS = 24 * 3600_000;

test("a key is made once and found by the page that is loaded anew", () => {
  const chest = new MapChest();
  const { key } = new Keys(chest).take(SLOT);
  assert.equal(new Keys(chest).take(SLOT).key, key);
  assert.equal(new Keys(chest).peek(SLOT)?.key, key);
});

test("a known answer takes its own key away, and no newer one", () => {
  const chest = new MapChest();
  const keys = new Keys(chest);
  const { key } = keys.take(SLOT);
  keys.drop(SLOT, key);
  assert.equal(keys.peek(SLOT), undefined);
  const second = keys.take(SLOT).key;
  assert.notEqual(second, key);
  keys.drop(SLOT, key);
  assert.equal(keys.peek(SLOT)?.key, second);
});

test("a wish that was given up and is wished again keeps its key until it is answered", () => {
  let now = 0;
  const keys = new Keys(new MapChest(), () => now);
  const { key } = keys.take(SLOT);
  keys.abandon(SLOT);
  assert.equal(keys.peek(SLOT), undefined);
  now = 5;
  assert.deepEqual(keys.take(SLOT), { key, sinceMs: 5 });
  assert.equal(keys.isAbandoned(SLOT, key), false);
  keys.abandon(SLOT);
  keys.drop(SLOT, key);
  assert.notEqual(keys.take(SLOT).key, key);
});

test("another account, product or variant has another key", () => {
  const keys = new Keys(new MapChest());
  const slots = [SLOT, purchaseSlot("ben", "shoe", "white"), purchaseSlot("ann", "boot", "white"), purchaseSlot("ann", "shoe", "red")];
  assert.equal(new Set(slots.map((slot) => keys.take(slot).key)).size, slots.length);
});

test("what is a week old or not ours is swept, and nothing else", () => {
  const chest = new MapChest();
  let now = 0;
  new Keys(chest, () => now).take("old");
  now = 6 * DAY_MS;
  new Keys(chest, () => now).take("young");
  chest.setItem("firstcome.key.broken", "{");
  chest.setItem("firstcome.language", "ko");
  now = 7 * DAY_MS;
  const keys = new Keys(chest, () => now);
  assert.equal(keys.peek("old"), undefined);
  assert.ok(keys.peek("young"));
  assert.deepEqual([chest.length, chest.getItem("firstcome.language")], [2, "ko"]);
});

test("of a user who is gone nothing is kept, and of the others all", () => {
  const chest = new MapChest();
  const keys = new Keys(chest);
  const ben = purchaseSlot("ben", "shoe", "white");
  for (const slot of [SLOT, "basket.ann.CART", ben]) keys.take(slot);
  for (const name of ["firstcome.held.ann.shoe", "firstcome.liked.ann.shoe", "firstcome.language", "of.ann.elsewhere"]) chest.setItem(name, "1");
  forgetUser("ann", chest);
  const left = Array.from({ length: chest.length }, (_, index) => chest.key(index));
  assert.deepEqual(left, [`firstcome.key.${ben}`, "firstcome.language", "of.ann.elsewhere"]);
});

test("a key is what the contract takes", () => {
  assert.match(newKey(), /^[\x21-\x7e]{1,64}$/);
  assert.notEqual(newKey(), newKey());
});
