// Many tabs and many streams while a drop is stormed: they tell what is true, and nothing hangs.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Browser, BrowserContext, Page, Request } from "playwright-core";

import { WatchStockRequestSchema, WatchStockResponseSchema } from "../src/gen/firstcome/inventory/v1/stock_service_pb";
import { TEXTS } from "../src/texts";
import { Buyer, launch } from "./buyer";
import { edge, openPage, putOnSale, rush, seeded } from "./shop";

/** More than the six connections that a browser has. */
const TABS = 9;
/** Fifty tabs' worth: half from the shop's own page, half from another site's. */
const STREAMS_OF_CONTEXT = 5;
const CONTEXTS_OF_KIND = 5;
/** Who storms; they stand at the end of the list, where no browser has taken them. */
const CROWD = 60;
const UNITS = 30;

let browser: Browser;
let shop: Awaited<ReturnType<typeof openPage>>;

before(async () => {
  shop = await openPage();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await shop?.close();
});

/** Counts the streams that a browser opens, and those that are open in tabs that are. */
function countStreams(context: BrowserContext) {
  const living = new Map<Request, Page>();
  const count = {
    opened: 0,
    open: () => [...living.values()].filter((page) => !page.isClosed()).length,
  };
  context.on("request", (request) => {
    if (!request.url().endsWith("/WatchStock")) return;
    count.opened += 1;
    living.set(request, request.frame().page());
  });
  context.on("requestfailed", (request) => living.delete(request));
  context.on("requestfinished", (request) => living.delete(request));
  return count;
}

/** What a browser does is told a moment later. */
async function becomes<T>(wanted: T, seen: () => T): Promise<void> {
  for (const until = Date.now() + 10_000; seen() !== wanted && Date.now() < until; ) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal(seen(), wanted);
}

async function openTabs(buyer: Buyer, productIds: readonly string[]): Promise<Page[]> {
  const tabs = await Promise.all(productIds.map(() => buyer.context.newPage()));
  await Promise.all(tabs.map((tab, number) => tab.goto(`/products/${productIds[number]}`)));
  await Promise.all(tabs.map((tab) => tab.locator(".live.live").waitFor()));
  return tabs;
}

test("nine tabs of a drop share one stream through a rush, and one of them leads after another", async (t) => {
  const crowd = (await seeded()).slice(-CROWD);
  if (crowd.length < CROWD) return t.skip("FIRSTCOME_BUYERS lists no crowd");
  const buyer = await Buyer.arrive(browser, shop.url, "en");
  const { texts } = buyer;
  await buyer.join();
  const drop = await putOnSale({ name: "Nine tabs", units: UNITS, opensInMs: 0, holdSeconds: 300 });
  const streams = countStreams(buyer.context);
  const tabs = await openTabs(buyer, Array.from({ length: TABS }, () => drop.productId));
  const all = (words: string) => Promise.all(tabs.map((tab) => tab.getByText(words).first().waitFor()));
  await all(texts.stockLeft(UNITS, UNITS));
  assert.equal(streams.opened, 1);

  // In the middle of it somebody buys in the last tab: a call finds a connection.
  const [won] = await Promise.all([
    rush(crowd.slice(0, UNITS - 1), drop),
    tabs.at(-1)?.getByRole("button", { name: texts.buy, exact: true }).click(),
  ]);
  assert.equal(won, UNITS - 1);
  const bought = tabs.pop();
  await bought?.waitForURL("**/orders/**");
  await all(texts.stockLeft(0, UNITS));
  assert.equal(await rush(crowd.slice(UNITS), drop), 0);

  // Whoever leads is closed; the next one takes the stream up, and nobody sees it break.
  for (let closed = 0; closed < 3; closed += 1) await tabs.shift()?.close();
  await bought?.bringToFront();
  await bought?.getByRole("button", { name: texts.cancel }).click();
  await bought?.getByRole("button", { name: texts.cancelYes }).click();
  await all(texts.stockLeft(1, UNITS));
  await Promise.all(tabs.map((tab) => tab.locator(".live.live").waitFor()));
  await becomes(1, streams.open);

  await buyer.context.setOffline(true);
  await all(texts.liveBroken);
  await buyer.context.setOffline(false);
  await Promise.all(tabs.map((tab) => tab.locator(".live.live").waitFor()));
  await all(texts.stockLeft(1, UNITS));
  await becomes(1, streams.open);
  assert.deepEqual(buyer.complaints, []);
  await buyer.context.close();
});

test("nine tabs of nine drops keep four streams, ask for the rest, and buy", async () => {
  const buyer = await Buyer.arrive(browser, shop.url, "ko");
  const { texts } = buyer;
  await buyer.join();
  const wanted = { units: 3, opensInMs: 0, holdSeconds: 60 };
  const drops = await Promise.all(
    Array.from({ length: TABS }, (_, number) => putOnSale({ ...wanted, name: `Drop ${number}` })),
  );
  const streams = countStreams(buyer.context);
  const tabs = await openTabs(buyer, drops.map((drop) => drop.productId));
  assert.deepEqual([streams.opened, streams.open()], [4, 4]);
  const buyAndSee = tabs.slice(-2).map(async (tab) => {
    const other = await buyer.context.newPage();
    await other.goto(tab.url());
    await other.getByRole("button", { name: texts.buy, exact: true }).click();
    await other.waitForURL("**/orders/**");
    await tab.getByText(texts.stockLeft(2, 3)).first().waitFor();
  });
  await Promise.all(buyAndSee);
  assert.deepEqual(buyer.complaints, []);
  await buyer.context.close();
});

/** What a page runs: streams of its own, kept open, each with the last whole message that came. */
function watch([url, request, streams]: [string, number[], number]): void {
  const kept: { last: number[]; fault: string }[] = [];
  (globalThis as unknown as { kept: typeof kept }).kept = kept;
  for (let number = 0; number < streams; number += 1) {
    const one = { last: [] as number[], fault: "" };
    kept.push(one);
    const headers = { "content-type": "application/grpc-web+proto", "x-grpc-web": "1" };
    void (async () => {
      const answer = await fetch(url, { method: "POST", headers, body: new Uint8Array(request) });
      const reader = answer.body?.getReader();
      let rest: number[] = [];
      for (let read = await reader?.read(); read && !read.done; read = await reader?.read()) {
        rest.push(...read.value);
        for (;;) {
          const length = new DataView(new Uint8Array(rest.slice(0, 5).concat([0, 0, 0, 0, 0])).buffer).getUint32(1);
          if (rest.length < 5 || rest.length < 5 + length) break;
          one.last = rest.slice(5, 5 + length);
          rest = rest.slice(5 + length);
        }
      }
      one.fault = "it ended";
    })().catch((error) => (one.fault = String(error)));
  }
}

test("fifty streams of the same and of another origin stay live through a rush", async (t) => {
  const crowd = (await seeded()).slice(-CROWD);
  if (crowd.length < CROWD) return t.skip("FIRSTCOME_BUYERS lists no crowd");
  const elsewhere = createServer((_, answer) => answer.setHeader("content-type", "text/html").end("<title>elsewhere</title>"));
  await new Promise<void>((listening) => elsewhere.listen(0, "127.0.0.1", listening));
  const other = `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}/`;
  const drop = await putOnSale({ name: "Fifty", units: UNITS, opensInMs: 0, holdSeconds: 300 });
  const sent = toBinary(WatchStockRequestSchema, create(WatchStockRequestSchema, { productId: drop.productId }));
  const message = [0, 0, 0, 0, sent.length, ...sent];
  const method = "/firstcome.inventory.v1.StockService/WatchStock";

  // A context has six connections of its own, as another person's browser has.
  const pages = await Promise.all(
    Array.from({ length: 2 * CONTEXTS_OF_KIND }, async (_, number) => {
      const isSame = number < CONTEXTS_OF_KIND;
      const page = await (await browser.newContext()).newPage();
      await page.goto(isSame ? `${shop.url}/log-in` : other);
      const url = (isSame ? shop.url : edge()) + method;
      await page.evaluate(watch, [url, message, STREAMS_OF_CONTEXT] satisfies Parameters<typeof watch>[0]);
      return page;
    }),
  );
  const availableEverywhere = async (wanted: number) => {
    let seen: (number | string)[] = [];
    for (const until = Date.now() + 30_000; Date.now() < until; ) {
      const kept = await Promise.all(
        pages.map((page) => page.evaluate(() => (globalThis as unknown as { kept: { last: number[]; fault: string }[] }).kept)),
      );
      seen = kept.flat().map(({ last, fault }) => {
        if (fault !== "") return fault;
        const { stock } = fromBinary(WatchStockResponseSchema, new Uint8Array(last));
        return stock?.skus[0]?.available ?? "nothing yet";
      });
      if (seen.every((available) => available === wanted)) return seen.length;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`want ${wanted} everywhere, and see ${seen.join(", ")}`);
  };
  assert.equal(await availableEverywhere(UNITS), 50);
  assert.equal(await rush(crowd, drop), UNITS);
  assert.equal(await availableEverywhere(0), 50);

  await Promise.all(pages.map((page) => page.context().close()));
  elsewhere.close();
});

test("a broken network shows and heals", async () => {
  const buyer = await Buyer.arrive(browser, shop.url, "en");
  const pair = await putOnSale({ name: "Far away", units: 9, opensInMs: 0, holdSeconds: 60 });
  await buyer.page.goto(`/products/${pair.productId}`);
  await buyer.page.locator(".live.live").waitFor();
  await buyer.context.setOffline(true);
  await buyer.reads(TEXTS.en.liveBroken);
  await buyer.context.setOffline(false);
  await buyer.page.locator("p.live:not(.broken)").waitFor();
  await buyer.page.getByText(buyer.texts.stockLeft(9, 9)).first().waitFor();
  await buyer.context.close();
});

test("a tab that nobody looks at keeps no stream, and lives when it is looked at", async () => {
  const buyer = await Buyer.arrive(browser, shop.url, "en");
  const pair = await putOnSale({ name: "Unseen", units: 3, opensInMs: 0, holdSeconds: 60 });
  // No browser without a screen hides a page, so the page is told that it is hidden.
  await buyer.context.addInitScript(`
    let hidden = true;
    Object.defineProperty(document, "hidden", { get: () => hidden });
    window.look = (at) => {
      hidden = !at;
      document.dispatchEvent(new Event("visibilitychange"));
    };
  `);
  const streams = countStreams(buyer.context);
  await buyer.page.goto(`/products/${pair.productId}`);
  await buyer.reads(buyer.texts.logInToBuy);
  assert.equal(streams.opened, 0);
  await buyer.page.evaluate("look(true)");
  await buyer.page.getByText(buyer.texts.stockLeft(3, 3)).first().waitFor();
  await becomes(1, streams.open);
  await buyer.page.evaluate("look(false)");
  await becomes(0, streams.open);
  assert.equal(streams.opened, 1);
  await buyer.context.close();
});
