// The story of a sale, in a real browser against a running mesh, in both languages.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import type { Browser } from "playwright-core";

import type { Language } from "../src/language";
import { Buyer, launch } from "./buyer";
import { openPage, putOnSale } from "./shop";

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

const ORDERS = "**/firstcome.order.v1.OrderService/PlaceOrder";

// Side by side: most of it is waiting.
describe("a sale in both languages", { concurrency: true }, () => {
  for (const [first, second] of [["en", "ko"], ["ko", "en"]] as [Language, Language][]) {
    test(`a buyer waits for the opening, buys and pays; another gets the freed unit (${first}, ${second})`, async () => {
      const ann = await Buyer.arrive(browser, shop.url, first);
      const ben = await Buyer.arrive(browser, shop.url, second);
      await ann.signUp();
      await ben.signUp();
      assert.equal(await ann.page.locator("html").getAttribute("lang"), first);

      // One press before the opening is enough.
      const pair = await putOnSale({ name: "Opening pair", units: 5, opensInMs: 8000, holdSeconds: 60 });
      await ann.page.goto(`/products/${pair.productId}`);
      await ann.button(ann.texts.buyAtOpening).click();
      await ann.reads(ann.texts.waitingForOpening);
      await ann.page.waitForURL("**/orders/**", { timeout: 30_000 });
      await ann.pay();
      await ann.reads(ann.texts.orderState[2]);

      // The last pair is held and not paid.
      const last = await putOnSale({ name: "Last pair", units: 1, opensInMs: 0, holdSeconds: 8 });
      await ben.page.goto(`/products/${last.productId}`);
      await ann.page.goto(`/products/${last.productId}`);
      await ann.button(ann.texts.buy).click();
      await ann.page.waitForURL("**/orders/**");
      await ben.reads(ben.texts.stockLeft(0, 1));
      await ben.button(ben.texts.buy).click();
      await ben.reads(ben.texts.watching(1));
      await ben.reads(ben.texts.freed);
      await ben.button(ben.texts.buyFreed).click();
      await ben.page.waitForURL("**/orders/**");
      await ann.reads(ann.texts.orderState[3]);

      // Paid, and cancelled all the same.
      await ben.pay();
      await ben.reads(ben.texts.orderState[2]);
      await ben.button(ben.texts.cancel).click();
      await ben.button(ben.texts.cancelYes).click();
      await ben.reads(ben.texts.orderState[5]);
      await ben.page.getByRole("link", { name: ben.texts.me }).click();
      await ben.reads(ben.texts.orderState[5]);

      assert.deepEqual([...ann.complaints, ...ben.complaints], []);
      await ann.context.close();
      await ben.context.close();
    });
  }
});

test("a buyer whose answer is lost and who reloads ends with one order", async () => {
  const buyer = await Buyer.arrive(browser, shop.url, "en");
  await buyer.join();
  const pair = await putOnSale({ name: "Lost answer", units: 9, opensInMs: 0, holdSeconds: 120, limit: 5 });
  let reached = 0;
  const keys = new Set<string>();
  // The shop hears it; the buyer does not hear the shop.
  const hearAgain = await buyer.loseAnswers(ORDERS, async (route) => {
    keys.add(route.request().postDataBuffer()?.toString("latin1") ?? "");
    await route.fetch();
    reached += 1;
  });
  await buyer.page.goto(`/products/${pair.productId}`);
  await buyer.button(buyer.texts.buy).click();
  await buyer.reads(buyer.texts.pausing);
  await buyer.page.reload();
  await buyer.reads(buyer.texts.pausing);
  await buyer.page.goto("/");
  hearAgain();
  await buyer.page.goBack();
  await buyer.page.waitForURL("**/orders/**");
  assert.ok(reached >= 2, "the shop heard it several times");
  assert.equal(keys.size, 1, "always the same request");

  await buyer.page.goto("/me");
  await buyer.reads(buyer.texts.orderState[1]);
  assert.equal(await buyer.page.locator(".list .chip").count(), 1);

  // Going back to the product shows what is held, before anything else is sold.
  await buyer.page.goto(`/products/${pair.productId}`);
  await buyer.reads(buyer.texts.holding);
  assert.deepEqual(buyer.complaints, []);
  await buyer.context.close();
});

test("a buyer who loses the network in mid-purchase ends with one order", async () => {
  const buyer = await Buyer.arrive(browser, shop.url, "ko");
  await buyer.join();
  const pair = await putOnSale({ name: "Tunnel", units: 9, opensInMs: 0, holdSeconds: 120, limit: 5 });
  await buyer.page.goto(`/products/${pair.productId}`);
  await buyer.page.locator(".live.live").waitFor();
  await buyer.context.setOffline(true);
  await buyer.button(buyer.texts.buy).click();
  await buyer.reads(buyer.texts.pausing);
  await buyer.context.setOffline(false);
  await buyer.page.waitForURL("**/orders/**");
  await buyer.page.goto("/me");
  await buyer.reads(buyer.texts.orderState[1]);
  assert.equal(await buyer.page.locator(".list .chip").count(), 1);
  await buyer.context.close();
});

test("a declined card says what to do, and a reload keeps the log-in", async () => {
  const buyer = await Buyer.arrive(browser, shop.url, "ko");
  await buyer.join();
  const pair = await putOnSale({ name: "Declined", units: 9, opensInMs: 0, holdSeconds: 60, limit: 2 });
  await buyer.page.goto(`/products/${pair.productId}`);
  await buyer.button(buyer.texts.buy).click();
  await buyer.page.waitForURL("**/orders/**");
  await buyer.page.reload();
  await buyer.pay(buyer.texts.cardDecline);
  await buyer.reads(buyer.texts.orderState[4]);
  await buyer.page.getByRole("alert").filter({ hasText: "카드가 승인되지 않아" }).first().waitFor();
  await buyer.link(buyer.texts.newOrder).click();
  await buyer.button(buyer.texts.buy).click();
  await buyer.page.waitForURL("**/orders/**");
  await buyer.context.close();
});

test("two tabs that order in the same instant are one buyer with one order", async () => {
  const buyer = await Buyer.arrive(browser, shop.url, "en");
  await buyer.join();
  const pair = await putOnSale({ name: "Two tabs", units: 9, opensInMs: 6000, holdSeconds: 60, limit: 5 });
  const tabs = [buyer.page, await buyer.context.newPage()];
  await buyer.page.goto(`/products/${pair.productId}`);
  await buyer.button(buyer.texts.buyAtOpening).click();
  // The second one finds the press of the first, and waits too.
  await tabs[1]?.goto(`/products/${pair.productId}`);
  await tabs[1]?.getByText(buyer.texts.waitingForOpening).first().waitFor();
  await Promise.all(tabs.map((tab) => tab.waitForURL("**/orders/**")));
  assert.equal(tabs[0]?.url(), tabs[1]?.url());
  await buyer.context.close();
});

test("a buyer without a mouse gets there, and focus follows", async () => {
  const buyer = await Buyer.arrive(browser, shop.url, "ko");
  const { page, texts } = buyer;
  await buyer.join();
  const pair = await putOnSale({ name: "By keyboard", units: 2, opensInMs: 0, holdSeconds: 60, variants: ["260 mm", "270 mm"] });
  await page.goto("/");
  await page.getByRole("link", { name: pair.name }).focus();
  await page.keyboard.press("Enter");
  const heading = (name: string) => page.locator("h1:focus", { hasText: name }).waitFor();
  await heading(pair.name);
  await page.getByRole("radio").first().focus();
  await page.keyboard.press("ArrowDown");
  assert.equal(await page.getByLabel("270 mm").isChecked(), true);
  await buyer.button(texts.buy).focus();
  await page.keyboard.press("Enter");
  await heading(texts.orderTitle);
  await page.locator(".pay").waitFor();
  await page.keyboard.press("Tab");
  await page.locator("main :focus").waitFor();
  await buyer.context.close();
});

test("the language is the visitor's, and stays", async () => {
  const buyer = await Buyer.arrive(browser, shop.url, "ko");
  await buyer.page.goto("/");
  assert.equal(await buyer.page.locator("html").getAttribute("lang"), "ko");
  await buyer.button("English").click();
  await buyer.page.getByRole("heading", { level: 1, name: "First come, first served" }).waitFor();
  await buyer.page.reload();
  assert.equal(await buyer.page.locator("html").getAttribute("lang"), "en");
  await buyer.context.close();
});
