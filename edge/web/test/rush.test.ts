import assert from "node:assert/strict";
import { test } from "node:test";

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";

import { type RushStockSchema, WatchRushResponseSchema } from "../src/gen/firstcome/edge/v1/rush_service_pb";
import { Reason } from "../src/gen/firstcome/error/v1/refusal_pb";
import { SaleState } from "../src/gen/firstcome/inventory/v1/stock_service_pb";
import { History, WINDOW_MS } from "../src/rush/history";
import { decades, linear } from "../src/rush/scale";
import { RUSH_TEXTS } from "../src/rush/texts";

const OPENS = 1_700_000_000_000;

type Told = readonly [Reason, number];
type Stock = MessageInitShape<typeof RushStockSchema>;

const counts = (admitted: number, refused: readonly Told[]) => ({
  admitted: BigInt(admitted),
  refused: refused.map(([reason, count]) => ({ reason, count: BigInt(count) })),
});

/** A look `atMs` after the opening: what was told since the start, and in the last 250 ms. */
function look(atMs: number, all: [number, ...Told[]], last: [number, ...Told[]], stock?: Stock) {
  const [admitted, ...refused] = all;
  const [lastAdmitted, ...lastRefused] = last;
  return create(WatchRushResponseSchema, {
    readTime: timestampFromMs(OPENS + atMs),
    interval: durationFromMs(250),
    sinceStart: counts(admitted, refused),
    inInterval: counts(lastAdmitted, lastRefused),
    ...(stock && { stock }),
  });
}

function stock(state: SaleState, available: number, held = 0, more: Stock = {}): Stock {
  const units = { total: 10n, available: BigInt(available), held: BigInt(held), sold: BigInt(10 - available - held) };
  return { productId: "p", state, opensAt: timestampFromMs(OPENS), ...units, ...more };
}

test("a figure per second is of the last second, and the highest is kept", () => {
  const history = new History();
  for (let atMs = 0; atMs < 1000; atMs += 250) history.take(look(atMs, [0], [25, [Reason.SOLD_OUT, 50]]));
  assert.equal(history.admittedPerS, 100);
  assert.equal(history.refusedPerS, 200);
  for (let atMs = 1000; atMs < 2250; atMs += 250) history.take(look(atMs, [0], [0]));
  assert.equal(history.admittedPerS, 0);
  assert.equal(history.peakAdmittedPerS, 100);
  assert.equal(history.peakRefusedPerS, 200);
});

test("the totals are this drop's for who saw it open, and all since the start for who came later", () => {
  const early = new History();
  early.take(look(-900, [40, [Reason.SOLD_OUT, 7]], [0], stock(SaleState.NOT_OPEN, 10)));
  const after = look(500, [44, [Reason.SOLD_OUT, 9], [Reason.FENCED, 5]], [4], stock(SaleState.OPEN, 6, 4));
  early.take(after);
  assert.equal(early.isWhole, true);
  const fenced = ["FENCED", 5] as const;
  assert.deepEqual(early.totals, { admitted: 4, refused: 7, left: 0, byReason: [fenced, ["SOLD_OUT", 2]] });

  const late = new History();
  late.take(after);
  assert.equal(late.isWhole, false);
  assert.deepEqual(late.totals, { admitted: 44, refused: 14, left: 0, byReason: [["SOLD_OUT", 9], fenced] });

  // An edge that started anew has told nothing yet.
  early.take(look(900, [1], [1], stock(SaleState.OPEN, 5, 5)));
  assert.equal(early.totals.admitted, 1);
});

test("the moment of the last unit is kept though a later stream does not know it; another drop begins anew", () => {
  const history = new History();
  history.take(look(2400, [0], [0], stock(SaleState.OPEN, 0, 10, { soldOutAfter: durationFromMs(2300) })));
  history.take(look(9000, [0], [0], stock(SaleState.OPEN, 0, 3)));
  assert.equal(history.soldOutAfterMs, 2300);
  assert.deepEqual(history.stock, { total: 10, available: 0, held: 3, sold: 7 });
  history.take(look(9250, [0], [0], { ...stock(SaleState.NOT_OPEN, 10), productId: "q" }));
  assert.equal(history.soldOutAfterMs, undefined);
});

test("lines are a minute long", () => {
  const history = new History();
  for (let atMs = 0; atMs <= 2 * WINDOW_MS; atMs += 250) history.take(look(atMs, [0], [0]));
  assert.equal(history.points.length, WINDOW_MS / 250);
  history.take(look(2 * WINDOW_MS + 250, [0], [25]));
  // The shop's clock was set back.
  history.take(look(0, [0], [0]));
  assert.equal(history.points.length, 1);
  assert.equal(history.admittedPerS, 0);
});

test("each decade has its line, and nothing stands on the floor", () => {
  const scale = decades(3000);
  assert.deepEqual(scale.ticks, [1, 10, 100, 1000, 10_000]);
  assert.equal(scale.place(0), 0);
  assert.equal(scale.place(10_000), 1);
  assert.ok(scale.place(100) > 0.45 && scale.place(100) < 0.55);
  assert.deepEqual(decades(0).ticks, [1, 10, 100]);
  assert.deepEqual(linear(500).ticks, [0, 250, 500]);
  assert.deepEqual([linear(0).place(0), linear(4).place(9)], [0, 1]);
});

test("no Korean word of the rush view was forgotten", () => {
  for (const [name, words] of Object.entries(RUSH_TEXTS.ko)) {
    const said = typeof words === "function" ? (words as (...all: unknown[]) => string)("1", "2", "3") : words;
    if (name !== "ms") assert.match(said, /[가-힣]/, name);
  }
});
