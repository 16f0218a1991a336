// What a buyer keeps: profile, addresses, devices, password, and the account itself.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { create, toBinary } from "@bufbuild/protobuf";
import type { Browser } from "playwright-core";

import { GetMyPageResponseSchema, MyPagePart } from "../src/gen/firstcome/edge/v1/shop_service_pb";
import { TEXTS } from "../src/texts";
import { Buyer, launch, PASSWORD } from "./buyer";
import { mailedCode, openPage, putOnSale } from "./shop";

const NEW_PASSWORD = "Other-pairs-5!";

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

test("a profile is kept, and the page speaks its language", async () => {
  const buyer = await Buyer.arrive(browser, shop.url, "en");
  const { page, texts } = buyer;
  await buyer.join();
  await page.goto("/me");
  await page.getByRole("link", { name: texts.own.profileTitle }).click();
  await page.getByLabel(texts.name, { exact: true }).fill("Kim Seoyeon");
  await page.getByLabel(texts.own.greeting).fill("Size 270, always.");
  await page.getByLabel(texts.own.imageUrl).fill("http://elsewhere.example/me.png");
  await buyer.button(texts.own.save).click();
  await buyer.reads(texts.fieldWrong);
  await page.getByLabel(texts.own.imageUrl).fill("https://elsewhere.example/me.png");
  await page.getByLabel("한국어", { exact: true }).check();
  await buyer.button(texts.own.save).click();
  const ko = TEXTS.ko;
  await buyer.reads(ko.own.saved);
  assert.equal(await page.locator("html").getAttribute("lang"), "ko");
  await page.reload();
  assert.equal(await page.getByLabel(ko.own.greeting).inputValue(), "Size 270, always.");

  // On a device that speaks English, until its owner logs in.
  const other = await Buyer.arrive(browser, shop.url, "en");
  other.email = buyer.email;
  await other.logIn();
  await other.button(ko.logOut).waitFor();
  await other.page.goto("/me");
  await other.reads("Kim Seoyeon");
  assert.deepEqual([...buyer.complaints, ...other.complaints], []);
  await other.context.close();
  await buyer.context.close();
});

test("addresses are written, mended, chosen and deleted, and an order goes to one of them", async () => {
  const buyer = await Buyer.arrive(browser, shop.url, "ko");
  const { page, texts } = buyer;
  await buyer.join();
  await page.goto("/addresses");
  await buyer.reads(texts.own.noAddresses);
  const add = async (line1: string) => {
    await buyer.button(texts.own.addAddress).click();
    await buyer.writeAddress(line1);
    await buyer.button(texts.own.save).click();
    await page.locator(".entries li", { hasText: line1 }).waitFor();
  };
  const entry = (line1: string) => page.locator(".entries li", { hasText: line1 });
  await add("12 Seongsui-ro");
  await add("34 Yeonmujang-gil");
  await entry("12 Seongsui-ro").getByText(texts.own.isDefault, { exact: true }).waitFor();

  // Without a mouse, focus follows the question and comes back.
  await entry("34 Yeonmujang-gil").getByRole("button", { name: texts.own.remove }).focus();
  await page.keyboard.press("Enter");
  await page.locator(".sure:focus").waitFor();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.locator("button:focus", { hasText: texts.own.remove }).waitFor();

  // The shop keeps a default, and says so.
  await entry("12 Seongsui-ro").getByRole("button", { name: texts.own.remove }).click();
  await buyer.button(texts.own.removeYes).click();
  await page.getByRole("alert").filter({ hasText: "기본 배송지입니다" }).first().waitFor();
  await entry("34 Yeonmujang-gil").getByRole("button", { name: texts.own.makeDefault }).click();
  await entry("34 Yeonmujang-gil").getByText(texts.own.isDefault, { exact: true }).waitFor();
  await entry("12 Seongsui-ro").getByRole("button", { name: texts.own.remove }).click();
  await buyer.button(texts.own.removeYes).click();
  await entry("12 Seongsui-ro").waitFor({ state: "detached" });
  await entry("34 Yeonmujang-gil").getByRole("button", { name: texts.own.edit }).click();
  await page.getByLabel(texts.line1).fill("56 Ttukseom-ro");
  await buyer.button(texts.own.save).click();
  await entry("56 Ttukseom-ro").waitFor();

  const pair = await putOnSale({ name: "By the book", units: 3, opensInMs: 0, holdSeconds: 60 });
  await page.goto(`/products/${pair.productId}`);
  await buyer.button(texts.buy).click();
  await page.waitForURL("**/orders/**");
  await page.getByLabel("56 Ttukseom-ro").waitFor();
  await page.locator(".pay button[type=submit]").click();
  await buyer.reads(texts.orderState[2]);
  await buyer.reads("56 Ttukseom-ro");
  assert.deepEqual(buyer.complaints, []);
  await buyer.context.close();
});

test("a device is logged out from another, and then all are", async () => {
  const phone = await Buyer.arrive(browser, shop.url, "en");
  await phone.join();
  const { texts } = phone;
  const laptop = await Buyer.arrive(browser, shop.url, "en");
  laptop.email = phone.email;
  await laptop.logIn();
  await laptop.button(texts.logOut).waitFor();

  await phone.page.goto("/security");
  const devices = phone.page.locator(".entries li");
  await devices.filter({ hasText: "Chrome" }).getByRole("button", { name: texts.own.endSession }).click();
  await devices.filter({ hasText: "Chrome" }).waitFor({ state: "detached" });
  await devices.getByText(texts.own.thisDevice, { exact: true }).waitFor();
  // Within a second no edge takes its token, and its next call sends it to log in.
  for (let tries = 0; (await laptop.button(texts.logOut).count()) > 0; tries += 1) {
    assert.ok(tries < 20, "the device stays logged in");
    await laptop.page.goto("/me");
    const out = laptop.page.getByRole("navigation").getByRole("link", { name: texts.signUp });
    await out.or(laptop.page.locator("main section").first()).waitFor();
  }

  await phone.button(texts.logOutEverywhere).click();
  await phone.button(texts.own.everywhereYes).click();
  await phone.page.getByRole("navigation").getByRole("link", { name: texts.logIn }).waitFor();
  assert.deepEqual([...phone.complaints, ...laptop.complaints], []);
  await phone.context.close();
  await laptop.context.close();
});

test("a password is changed, forgotten and set anew, and the account is given up", async () => {
  const buyer = await Buyer.arrive(browser, shop.url, "en");
  const { page, texts } = buyer;
  await buyer.join();
  await page.goto("/security");
  const form = page.getByRole("form", { name: texts.own.changePassword });
  const change = async (old: string) => {
    await form.getByLabel(texts.own.oldPassword).fill(old);
    await form.getByLabel(texts.newPassword).fill(NEW_PASSWORD);
    await form.getByRole("button").click();
  };
  await change("Not-the-one-1");
  await page.getByRole("alert").filter({ hasText: "password is wrong" }).first().waitFor();
  await change(PASSWORD);
  await buyer.reads(texts.own.passwordChanged);
  await buyer.button(texts.logOut).click();
  await page.getByRole("navigation").getByRole("link", { name: texts.logIn }).waitFor();

  await page.goto("/forgot");
  await page.getByLabel(texts.email).fill(buyer.email);
  await buyer.button(texts.mailCode).click();
  const code = page.locator("input[name=code]");
  await code.waitFor();
  await code.fill(await mailedCode(buyer.email));
  await page.locator("input[name=new_password]").fill(PASSWORD);
  await buyer.button(texts.setPassword).click();
  await buyer.reads(texts.passwordSet);
  await buyer.logIn(NEW_PASSWORD);
  await page.getByRole("alert").filter({ hasText: "password is wrong" }).first().waitFor();
  await buyer.logIn();
  await buyer.button(texts.logOut).waitFor();

  await page.goto("/security");
  const end = page.getByRole("form", { name: texts.own.deleteTitle });
  await end.getByLabel(texts.own.deletePassword).fill(PASSWORD);
  await end.getByRole("button").click();
  await buyer.reads(texts.required);
  await end.getByLabel(texts.own.deleteSure).check();
  await end.getByRole("button").click();
  await page.getByRole("navigation").getByRole("link", { name: texts.logIn }).waitFor();
  await buyer.logIn();
  await page.getByRole("alert").filter({ hasText: "password is wrong" }).first().waitFor();
  assert.deepEqual(buyer.complaints, []);
  await buyer.context.close();
});

test("who lost the code asks for another, on the way in", async () => {
  const buyer = await Buyer.arrive(browser, shop.url, "ko");
  const { page, texts } = buyer;
  await page.goto("/sign-up");
  await page.getByLabel(texts.name, { exact: true }).fill("Kim Minji");
  await page.getByLabel(texts.email).fill(buyer.email);
  await page.getByLabel(texts.password).fill(PASSWORD);
  await page.getByLabel(texts.phone).fill("010-1234-5678");
  await buyer.button(texts.signUp).click();
  await page.locator("input[name=code]").waitFor();
  await mailedCode(buyer.email);
  await buyer.logIn();
  await buyer.link(texts.verifyTitle).click();
  // The shop mails one a minute, and the page asks again when it may.
  await buyer.button(texts.resend).click();
  await page.getByText(texts.resent).first().waitFor({ state: "attached", timeout: 100_000 });
  await page.locator("input[name=code]").fill(await mailedCode(buyer.email, 2));
  await buyer.button(texts.verify).click();
  await buyer.button(texts.logOut).waitFor();
  assert.deepEqual(buyer.complaints, []);
  await buyer.context.close();
});

function frame(flag: number, bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flag);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

test("my page says which part is missing", async () => {
  const buyer = await Buyer.arrive(browser, shop.url, "ko");
  await buyer.join();
  // Played, because no shop breaks in just this place for us.
  const page = create(GetMyPageResponseSchema, {
    profile: { name: "김민지", email: buyer.email, phone: "+821012345678" },
    missing: [{ part: MyPagePart.WISHLIST, reason: "UPSTREAM_UNAVAILABLE" }],
  });
  const body = Buffer.concat([
    frame(0, toBinary(GetMyPageResponseSchema, page)),
    frame(0x80, Buffer.from("grpc-status: 0\r\n")),
  ]);
  await buyer.context.route("**/firstcome.edge.v1.ShopService/GetMyPage", (route) =>
    route.fulfill({ body, contentType: "application/grpc-web+proto" }),
  );
  await buyer.page.goto("/me");
  await buyer.reads("김민지");
  await buyer.reads(buyer.texts.noOrders);
  await buyer.reads(buyer.texts.partMissing);
  await buyer.context.close();
});
