// Every page as a visitor sees it: photographed on a desk and a phone, in light and dark, in both
// languages, and examined by axe. The pictures land in FIRSTCOME_PICTURES, when it is set.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import type { Browser } from "playwright-core";

import { Buyer, launch } from "./buyer";
import { look, PICTURES } from "./look";
import { openPage, putOnSale, rush, seeded } from "./shop";

const DESK = { viewport: { width: 1280, height: 860 } };
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

async function faults(buyer: Buyer, name: string): Promise<string[]> {
  const { wide, violations, passed } = await look(buyer, name);
  assert.ok(passed >= 15, `${name}: axe examined too little: ${passed}`);
  const told = violations.map(({ id, impact, nodes }) =>
    `${name}: ${impact} ${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join(" | ")}`);
  return [...wide, ...told];
}

/** Both screens, both lights, both languages; all four pairs of the first two when pictures are taken. */
const LOOKS = [
  { screen: "desk", view: DESK, colorScheme: "light", language: "en" },
  { screen: "phone", view: PHONE, colorScheme: "dark", language: "ko" },
  ...(PICTURES
    ? ([
        { screen: "desk", view: DESK, colorScheme: "dark", language: "ko" },
        { screen: "phone", view: PHONE, colorScheme: "light", language: "en" },
      ] as const)
    : []),
] as const;

for (const { screen, view, colorScheme, language } of LOOKS) {
  test(`every page reads well: ${screen}, ${colorScheme}, ${language}`, async () => {
    const buyer = await Buyer.arrive(browser, shop.url, language, { ...view, colorScheme });
    const { page, texts } = buyer;
    const found: string[] = [];
    const shoot = async (name: string) => {
      found.push(...(await faults(buyer, `${name}-${screen}-${colorScheme}-${language}`)));
    };
    const goods = await stock();
    await outside(buyer, shoot);
    await buyer.join();
    await inShop(buyer, goods, shoot);
    await ofAccount(buyer, shoot);
    await page.goto("/me");
    await page.locator(".list").first().waitFor();
    await page.getByText(texts.orderState[2]).first().waitFor();
    await shoot("me");
    await buyer.context.close();

    const serious = found.filter((finding) => / (serious|critical) |px wide/.test(finding));
    for (const finding of found) console.log(finding);
    assert.deepEqual(serious, []);
    assert.deepEqual(buyer.complaints, []);
  });
}

type Shoot = (name: string) => Promise<void>;
type Goods = Awaited<ReturnType<typeof stock>>;

async function stock() {
  const [coming, running, spent] = await Promise.all([
    putOnSale({ name: "Harbour Low", units: 40, opensInMs: 3 * 3600_000, holdSeconds: 300 }),
    putOnSale({
      name: "Tideline Runner",
      units: 20,
      opensInMs: 0,
      holdSeconds: 300,
      limit: 4,
      variants: ["260 mm, red", "270 mm, blue", "280 mm, black"],
    }),
    putOnSale({ name: "Last Light", units: 1, opensInMs: 0, holdSeconds: 300 }),
  ]);
  return { coming, running, spent };
}

/** What a stranger sees. */
async function outside(buyer: Buyer, shoot: Shoot): Promise<void> {
  const { page, texts } = buyer;
  await page.goto("/");
  await page.locator(".card").first().waitFor();
  await page.locator(".chip").first().waitFor();
  await shoot("home");
  await page.goto("/log-in");
  await page.getByRole("main").getByRole("button", { name: texts.logIn, exact: true }).click();
  await page.locator(".fault").first().waitFor();
  await shoot("log-in");
  for (const place of ["forgot", "nowhere", "sign-up", "verify"]) {
    await page.goto(`/${place}`);
    await page.locator("h1").waitFor();
    await shoot(place);
  }
}

async function inShop(buyer: Buyer, goods: Goods, shoot: Shoot): Promise<void> {
  const { page, texts } = buyer;
  const { coming, running, spent } = goods;
  await page.goto(`/products/${coming.productId}`);
  await page.getByText(/±\d{1,3} ?ms/).first().waitFor();
  await buyer.button(texts.buyAtOpening).click();
  await buyer.reads(texts.waitingForOpening);
  await shoot("product-coming");
  await buyer.button(texts.own.addToCart).click();
  await buyer.reads(texts.own.inCart(1));
  await page.goto(`/products/${running.productId}`);
  await page.locator(".live.live").waitFor();
  await shoot("product-running");
  await buyer.button(texts.wish).click();
  await buyer.reads(texts.wished);
  await buyer.button(texts.own.addToCart).click();
  await buyer.reads(texts.own.inCart(1));
  await page.goto("/cart");
  await buyer.reads(texts.own.notOrderable);
  await page.locator(".cart li").nth(1).waitFor();
  await shoot("cart");
  await page.goto(`/products/${running.productId}`);
  await buyer.button(texts.buy).click();
  await page.waitForURL("**/orders/**");
  await page.locator(".pay").waitFor();
  await shoot("order-pay");
  await buyer.pay();
  await buyer.reads(texts.orderState[2]);
  await buyer.reads("12 Seongsui-ro");
  await shoot("order-paid");

  // Somebody else has the last one.
  const [other] = (await seeded()).slice(-1);
  if (other !== undefined) await rush([other], spent);
  else await rushBy(await Buyer.arrive(browser, shop.url, "en"), spent.productId);
  await page.goto(`/products/${spent.productId}`);
  await buyer.button(texts.buy).click();
  await buyer.reads(texts.watching(1));
  await shoot("product-spent");
}

async function rushBy(other: Buyer, productId: string): Promise<void> {
  await other.join();
  await other.page.goto(`/products/${productId}`);
  await other.button(other.texts.buy).click();
  await other.page.waitForURL("**/orders/**");
  await other.context.close();
}

async function ofAccount(buyer: Buyer, shoot: Shoot): Promise<void> {
  const { page, texts } = buyer;
  await page.goto("/profile");
  await page.getByLabel(texts.own.greeting).waitFor();
  await shoot("profile");
  await page.goto("/addresses");
  for (const line of ["12 Seongsui-ro", "34 Yeonmujang-gil"]) {
    await buyer.button(texts.own.addAddress).click();
    await buyer.writeAddress(line);
    if (line.startsWith("34")) await shoot("address-new");
    await buyer.button(texts.own.save).click();
    await page.locator(".entries li", { hasText: line }).waitFor();
  }
  await page.getByRole("button", { name: new RegExp(`^${texts.own.remove}: `) }).last().click();
  await buyer.reads(texts.own.removeSure);
  await shoot("addresses");
  await page.goto("/security");
  await page.locator(".entries li").first().waitFor();
  await shoot("security");
}
