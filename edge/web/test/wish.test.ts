import assert from "node:assert/strict";
import { test } from "node:test";

import { MapChest } from "../src/chest";
import { Wish } from "../src/wish";

const SLOT = "basket.ann.CART";

test("what was wished under a key is found by the page that is loaded anew, and under no other", () => {
  const chest = new MapChest();
  new Wish(SLOT, chest).keep("one", ["a", "b"]);
  const reloaded = new Wish(SLOT, chest);
  assert.deepEqual(reloaded.of("one"), ["a", "b"]);
  assert.deepEqual([reloaded.knows("one"), reloaded.knows("two")], [true, false]);
  assert.throws(() => new Wish(SLOT, chest).of("two"));
});

test("another tab's newer wish does not change what this one asked for", () => {
  const chest = new MapChest();
  const [here, there] = [new Wish(SLOT, chest), new Wish(SLOT, chest)];
  here.keep("one", ["a"]);
  assert.deepEqual(here.of("one"), ["a"]);
  there.keep("two", ["b"]);
  assert.deepEqual([here.of("one"), there.of("two")], [["a"], ["b"]]);
});

test("a wish that cannot be read is none, and never all that stands in the list", () => {
  for (const kept of ["", "{", "null", "[]", '{"key":"one"}', '{"key":"one","skuIds":[]}', '{"key":"one","skuIds":[1]}']) {
    const chest = new MapChest();
    chest.setItem(`firstcome.wish.${SLOT}`, kept);
    assert.equal(new Wish(SLOT, chest).knows("one"), false, kept);
    assert.throws(() => new Wish(SLOT, chest).of("one"), kept);
  }
});
