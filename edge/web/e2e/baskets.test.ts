// The cart and the wishlist, and what is ordered out of them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import type { Browser } from "playwright-core";

import { Buyer, launch } from "./buyer";
import { openPage, putOnSale } from "./shop";

const ORDERS = "**/firstcome.order.v1.OrderService/PlaceOrder";

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

async function addToCart(buyer: Buyer, productId: string): Promise<void> {
  await buyer.page.goto(`/products/${productId}`);
  await buyer.button(buyer.texts.own.addToCart).click();
  await buyer.reads(buyer.texts.own.inCart(1));
}

test("a cart is filled, counted, partly ordered and emptied", async () => {
  const buyer = await Buyer.arrive(browser, shop.url, "en");
  const { page, texts } = buyer;
  await buyer.join();
  const [one, two, soon] = await Promise.all([
    putOnSale({ name: "Cart one", units: 5, opensInMs: 0, holdSeconds: 60, limit: 4 }),
    putOnSale({ name: "Cart two", units: 2, opensInMs: 0, holdSeconds: 60, limit: 4 }),
    putOnSale({ name: "Cart soon", units: 5, opensInMs: 3_600_000, holdSeconds: 60, limit: 4 }),
  ]);
  for (const { productId } of [one, two, soon]) await addToCart(buyer, productId);
  await buyer.link(texts.own.toCart).click();
  const line = (name: string) => page.locator(".cart li", { hasText: name });
  await line(soon.name).getByText(texts.own.availability[2]).waitFor();
  // All or nothing: with what is not on sale yet, there is no order now.
  await buyer.reads(texts.own.notOrderable);
  await line(soon.name).getByRole("checkbox").uncheck();
  const sum = page.locator(".price.big");
  await sum.getByText("₩258,000").waitFor();
  await line(one.name).getByRole("button", { name: texts.own.oneMore("").trim() }).click();
  await sum.getByText("₩387,000").waitFor();
  await line(two.name).getByRole("spinbutton").fill("3");
  await page.keyboard.press("Tab");
  await line(two.name).getByText(texts.own.onlyLeft(2)).waitFor();
  await line(two.name).getByRole("button", { name: texts.remove }).click();
  await line(two.name).waitFor({ state: "detached" });
  await sum.getByText("₩258,000").waitFor();
  await buyer.button(texts.own.orderChosen).click();
  await page.waitForURL("**/orders/**");
  await buyer.reads(texts.line(2, "₩129,000"));
  await buyer.pay();
  await buyer.reads(texts.orderState[2]);

  await page.getByRole("link", { name: texts.own.cart, exact: true }).click();
  await line(soon.name).waitFor();
  assert.equal(await page.locator(".cart li").count(), 1);
  await buyer.button(texts.own.clear).click();
  await buyer.button(texts.own.clearYes).click();
  await buyer.reads(texts.own.cartEmpty);
  assert.deepEqual(buyer.complaints, []);
  await buyer.context.close();
});

test("a cart whose answer is lost and that is loaded anew ends with one order", async () => {
  const buyer = await Buyer.arrive(browser, shop.url, "ko");
  const { page, texts } = buyer;
  await buyer.join();
  const pair = await putOnSale({ name: "Cart lost", units: 5, opensInMs: 0, holdSeconds: 60, limit: 4 });
  await addToCart(buyer, pair.productId);
  await page.goto("/cart");
  const hearAgain = await buyer.loseAnswers(ORDERS, async (route) => {
    await route.fetch();
  });
  await buyer.button(texts.own.orderChosen).click();
  await buyer.reads(texts.pausing);
  hearAgain();
  // The order has taken the line out of the cart; the page knows what it asked for.
  await page.reload();
  await page.waitForURL("**/orders/**");
  await page.goto("/me");
  await buyer.reads(texts.orderState[1]);
  assert.equal(await page.locator(".list .chip").count(), 1);
  assert.deepEqual(buyer.complaints, []);
  await buyer.context.close();
});

test("an order of a cart that never had its answer goes on when its buyer says so, and not before", async () => {
  const buyer = await Buyer.arrive(browser, shop.url, "en");
  const { page, texts } = buyer;
  await buyer.join();
  const pair = await putOnSale({ name: "Cart old", units: 5, opensInMs: 0, holdSeconds: 60, limit: 4 });
  await addToCart(buyer, pair.productId);
  await page.goto("/cart");
  let asked = 0;
  const hearAgain = await buyer.loseAnswers(ORDERS, () => {
    asked += 1;
  });
  await buyer.button(texts.own.orderChosen).click();
  await buyer.reads(texts.pausing);
  // An hour passes while the browser is closed.
  await page.evaluate(() => {
    for (const name of Object.keys(localStorage).filter((name) => name.startsWith("firstcome.key.basket."))) {
      const kept = JSON.parse(localStorage.getItem(name) ?? "{}") as { sinceMs: number };
      localStorage.setItem(name, JSON.stringify({ ...kept, sinceMs: kept.sinceMs - 3_600_000 }));
    }
  });
  await page.goto("/nowhere");
  asked = 0;
  await page.goto("/cart");
  await buyer.reads(texts.own.orderUnfinished);
  await page.locator(".cart li", { hasText: pair.name }).waitFor();
  assert.equal(asked, 0);
  hearAgain();
  assert.equal(await buyer.button(texts.own.orderChosen).getAttribute("aria-disabled"), "true");
  await buyer.button(texts.finish).click();
  await page.waitForURL("**/orders/**");
  assert.deepEqual(buyer.complaints, []);
  await buyer.context.close();
});

test("what is kept for later is ordered from my page, and leaves the list", async () => {
  const buyer = await Buyer.arrive(browser, shop.url, "ko");
  const { page, texts } = buyer;
  await buyer.join();
  const pair = await putOnSale({ name: "One day", units: 5, opensInMs: 0, holdSeconds: 60 });
  await page.goto(`/products/${pair.productId}`);
  await buyer.button(texts.wish).click();
  await buyer.reads(texts.wished);
  await page.goto("/me");
  await page.getByRole("button", { name: new RegExp(`^${texts.own.order}: ${pair.name}`) }).click();
  await page.waitForURL("**/orders/**");
  await page.goto("/me");
  await buyer.reads(texts.noWishes);
  assert.deepEqual(buyer.complaints, []);
  await buyer.context.close();
});
