// A purchase against a scripted shop: what becomes of the key, and how often the shop is asked.
import assert from "node:assert/strict";
import { test } from "node:test";

import { create } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";

import { MapChest } from "../src/chest";
import { OrderSchema } from "../src/gen/firstcome/order/v1/order_service_pb";
import { ErrorInfoSchema } from "../src/gen/google/rpc/error_details_pb";
import { Keys } from "../src/keys";
import { Purchase, type Stage } from "../src/purchase";

const LOST = new TypeError("Failed to fetch");
const ORDER = create(OrderSchema, { orderId: "o" });
const SLOT = "buy";

function refused(reason: string, metadata: Record<string, string> = {}): ConnectError {
  const error = new ConnectError("", Code.FailedPrecondition);
  const any = anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason, domain: "firstcome", metadata }));
  error.details = [{ type: "google.rpc.ErrorInfo", value: any.value }];
  return error;
}

/** Presses once; the shop answers each call with the next of the script. */
async function press(script: readonly (Error | typeof ORDER)[]) {
  const keys = new Keys(new MapChest());
  const asked: string[] = [];
  let now = 0;
  const purchase = new Purchase(SLOT, {
    keys,
    now: () => now,
    random: () => 0,
    sleep: async (ms) => {
      now += ms;
    },
    place: async (key) => {
      const answer = script[Math.min(asked.length, script.length - 1)];
      asked.push(key);
      if (answer instanceof Error || answer === undefined) throw answer;
      return answer;
    },
  });
  const ended = new Promise<Stage>((resolve) => {
    purchase.stage.subscribe((stage) => {
      if (!["asking", "pausing", "waiting-for-opening"].includes(stage.at)) resolve(stage);
    });
  });
  purchase.press();
  purchase.press();
  const stage = await ended;
  return { stage: stage.at, asked, kept: keys.peek(SLOT)?.key, now };
}

const IN_A_MINUTE = refused("NOT_OPEN", { opens_at: new Date(60_000).toISOString() });

const CASES: [string, (Error | typeof ORDER)[], { stage: string; calls: number; keys: number; kept: boolean }][] = [
  ["an order ends it", [ORDER], { stage: "held", calls: 1, keys: 1, kept: false }],
  ["lost answers are asked for again with the same key", [LOST, LOST, ORDER], { stage: "held", calls: 3, keys: 1, kept: false }],
  ["a shop that stays silent leaves the key for later", [LOST], { stage: "unknown", calls: 12, keys: 1, kept: true }],
  ["the opening is waited for", [IN_A_MINUTE, ORDER], { stage: "held", calls: 2, keys: 1, kept: false }],
  ["sold out with open holds is watched", [refused("SOLD_OUT", { holds_open: "2" })], { stage: "watching", calls: 1, keys: 1, kept: false }],
  ["sold out for good ends it", [refused("SOLD_OUT", { holds_open: "0" })], { stage: "refused", calls: 1, keys: 1, kept: false }],
  ["a key of another purchase is replaced once", [refused("KEY_REUSED"), ORDER], { stage: "held", calls: 2, keys: 2, kept: false }],
  ["and not for ever", [refused("KEY_REUSED")], { stage: "refused", calls: 2, keys: 2, kept: false }],
  ["the limit ends it", [refused("LIMIT_PER_BUYER")], { stage: "refused", calls: 1, keys: 1, kept: false }],
  ["an expired order needs a new key", [LOST, refused("ORDER_EXPIRED")], { stage: "refused", calls: 2, keys: 1, kept: false }],
  ["a log-in is needed, and the key waits for it", [refused("TOKEN_REVOKED")], { stage: "refused", calls: 1, keys: 1, kept: true }],
  ["what a proxy refuses without a reason leaves the key", [LOST, new ConnectError("", Code.PermissionDenied)], { stage: "refused", calls: 2, keys: 1, kept: true }],
  ["a fenced product is asked again", [refused("FENCED"), refused("OVERLOADED"), ORDER], { stage: "held", calls: 3, keys: 1, kept: false }],
];

for (const [name, script, want] of CASES) {
  test(name, async () => {
    const { stage, asked, kept } = await press(script);
    assert.deepEqual({ stage, calls: asked.length, keys: new Set(asked).size, kept: kept !== undefined }, want);
  });
}

test("nobody is asked before the opening", async () => {
  const { now } = await press([IN_A_MINUTE, ORDER]);
  assert.ok(now >= 60_000, String(now));
});

test("a buyer who leaves in mid-call comes back with the same key", async () => {
  const keys = new Keys(new MapChest());
  const asked: string[] = [];
  const begin = (answer: (signal: AbortSignal) => Promise<typeof ORDER>) =>
    new Purchase(SLOT, { keys, now: () => 0, place: (key, signal) => (asked.push(key), answer(signal)) });
  let reply: (order: typeof ORDER) => void = () => {};
  const first = begin(() => new Promise((resolve) => (reply = resolve)));
  first.press();
  first.leave();
  // The answer comes in the very moment of leaving: nobody sees it, so the key must stay.
  reply(ORDER);
  await new Promise((resolve) => setTimeout(resolve));
  assert.ok(first.pendingSince() !== undefined);
  const second = begin(async () => ORDER);
  second.press();
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(second.stage.get().at, "held");
  assert.equal(new Set(asked).size, 1);
});

test("two tabs with one press ask for one order, whoever has the answer first", async () => {
  const keys = new Keys(new MapChest());
  const asked: string[] = [];
  const replies: ((order: typeof ORDER) => void)[] = [];
  const tab = () =>
    new Purchase(SLOT, {
      keys,
      now: () => 0,
      random: () => 0,
      sleep: async () => {},
      place: (key) => {
        asked.push(key);
        // Each tab first loses an answer, so that the slower one asks after the faster one is done.
        if (asked.length <= 2) return Promise.reject(LOST);
        return new Promise((resolve) => replies.push(resolve));
      },
    });
  const tabs = [tab(), tab()];
  for (const one of tabs) one.press();
  await new Promise((resolve) => setTimeout(resolve));
  replies[0]?.(ORDER);
  await new Promise((resolve) => setTimeout(resolve));
  replies[1]?.(ORDER);
  await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual(tabs.map((one) => one.stage.get().at), ["held", "held"]);
  assert.equal(new Set(asked).size, 1);
});

test("who gives up in one tab has given up in all", async () => {
  const keys = new Keys(new MapChest());
  const asked: string[] = [];
  let open: () => void = () => {};
  const opening = new Promise<void>((resolve) => (open = resolve));
  let now = 0;
  const tab = () =>
    new Purchase(SLOT, {
      keys,
      now: () => now,
      sleep: () => opening,
      place: async (key) => {
        asked.push(key);
        if (now === 0) throw IN_A_MINUTE;
        return ORDER;
      },
    });
  const tabs = [tab(), tab()];
  for (const one of tabs) one.press();
  await new Promise((resolve) => setTimeout(resolve));
  tabs[0]?.giveUp();
  now = 60_000;
  open();
  await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual(tabs.map((one) => one.stage.get().at), ["rest", "rest"]);
  assert.equal(asked.length, 2);
});

test("who gives up and presses again has one order, though another tab slept through both", async () => {
  const keys = new Keys(new MapChest());
  const asked: string[] = [];
  let wake: () => void = () => {};
  const sleeping = new Promise<void>((resolve) => (wake = resolve));
  let now = 0;
  const tab = (sleep: () => Promise<void>) =>
    new Purchase(SLOT, {
      keys,
      now: () => now,
      sleep,
      place: async (key) => {
        if (now === 0) throw IN_A_MINUTE;
        asked.push(key);
        return ORDER;
      },
    });
  const [sleeper, awake] = [tab(() => sleeping), tab(() => new Promise(() => {}))];
  sleeper.press();
  awake.press();
  await new Promise((resolve) => setTimeout(resolve));
  awake.giveUp();
  now = 60_000;
  awake.press();
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(awake.stage.get().at, "held");
  wake();
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(asked.length, 2);
  assert.equal(new Set(asked).size, 1);
});
