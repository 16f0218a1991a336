// The rush view while a drop sells, on a projector and on a phone: what it shows is what buyers were
// told, it breaks and heals in sight, and axe finds it readable.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import type { Browser } from "playwright-core";

import { RUSH_TEXTS } from "../../src/rush/texts";
import { Buyer, launch } from "../buyer";
import { look } from "../look";
import { openPage, putOnSale } from "../shop";

const PROJECTOR = { viewport: { width: 1920, height: 1080 } };
const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };

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

/** What the screen's edge and axe find wrong. */
async function faults(viewer: Buyer, name: string): Promise<string[]> {
  const { wide, violations } = await look(viewer, `rush-${name}`);
  const grave = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  return [...wide, ...grave.map(({ id, nodes }) => `${name}: ${id}: ${nodes.map(({ html }) => html).join(" | ")}`)];
}

test("a drop is seen before it opens, while it sells and when it is sold out", async () => {
  const texts = RUSH_TEXTS.en;
  const wall = await Buyer.arrive(browser, shop.url, "en", PROJECTOR);
  const phone = await Buyer.arrive(browser, shop.url, "ko", PHONE);
  const [winner, loser] = await Promise.all([0, 1].map(() => Buyer.arrive(browser, shop.url, "en")));
  assert.ok(winner && loser);
  await Promise.all([winner.signUp(), loser.signUp()]);
  const pair = await putOnSale({ name: "Seen from afar", units: 1, opensInMs: 5000, holdSeconds: 60 });
  // Without a product in its address, the view finds the newest drop by itself.
  await Promise.all([wall.page.goto("/rush"), phone.page.goto(`/rush/${pair.productId}`)]);
  await wall.page.getByRole("heading", { level: 1, name: pair.name }).waitFor();
  await wall.page.locator(".state.coming").waitFor();
  const found = await faults(wall, "coming-projector");

  await winner.page.goto(`/products/${pair.productId}`);
  await winner.button(winner.texts.buyAtOpening).click();
  await winner.page.waitForURL("**/orders/**");
  await wall.page.locator(".state.gone", { hasText: /\+\d+\.\d s/ }).waitFor();
  await loser.page.goto(`/products/${pair.productId}`);
  await loser.button(loser.texts.buy).click();
  await loser.reads(loser.texts.watching(1));

  const figure = (name: string) => wall.page.locator(".figure", { hasText: name });
  await figure(texts.left).getByText(`${texts.ofTotal("1")} · 1 ${texts.held} · 0 ${texts.sold}`).waitFor();
  await figure(texts.admittedPerS).getByText(`${texts.inAll} 1 ·`).waitFor();
  await wall.page.locator(".reasons li", { hasText: /^Sold out1$/ }).waitFor();
  await phone.page.locator(".reasons li", { hasText: "품절" }).waitFor();
  found.push(...(await faults(wall, "spent-projector")), ...(await faults(phone, "spent-phone")));

  await wall.context.setOffline(true);
  await wall.reads(wall.texts.liveBroken);
  await wall.context.setOffline(false);
  await wall.page.locator("p.live.live:not(.broken)").waitFor();
  await figure(texts.left).getByText(`1 ${texts.held}`).waitFor();

  assert.deepEqual(found, []);
  assert.deepEqual([...wall.complaints, ...phone.complaints], []);
  for (const { context } of [wall, phone, winner, loser]) await context.close();
});

test("where the shop has no rush view, there is no such page", async () => {
  const viewer = await Buyer.arrive(browser, shop.url, "en");
  // An edge outside development, which says so as of any unknown method.
  await viewer.context.route("**/firstcome.edge.v1.RushService/WatchRush", (route) =>
    route.fulfill({ contentType: "application/grpc-web+proto", headers: { "grpc-status": "12" }, body: "" }),
  );
  await viewer.page.goto("/rush");
  await viewer.reads(viewer.texts.notFound);
  await viewer.context.close();
});
