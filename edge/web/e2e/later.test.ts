// A shop of a later version than the one that runs here, played by the test: what it answers is what
// the contract says.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { create, type DescMessage, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { Browser, Route } from "playwright-core";

import { GetMyPageResponseSchema, MyPagePart } from "../src/gen/firstcome/edge/v1/shop_service_pb";
import { PayOrderRequestSchema } from "../src/gen/firstcome/order/v1/order_service_pb";
import { ListAddressesResponseSchema } from "../src/gen/firstcome/user/v1/profile_service_pb";
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

function frame(flag: number, bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flag);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

/** One message and a good end, as grpc-web carries them. */
function answer<Desc extends DescMessage>(schema: Desc, message: MessageInitShape<Desc>) {
  const body = Buffer.concat([
    frame(0, toBinary(schema, create(schema, message))),
    frame(0x80, Buffer.from("grpc-status: 0\r\n")),
  ]);
  return (route: Route) => route.fulfill({ body, contentType: "application/grpc-web+proto" });
}

test("my page comes in one call, and says which part is missing", async () => {
  const buyer = await Buyer.arrive(browser, shop.url, "ko");
  await buyer.signUp();
  const page = answer(GetMyPageResponseSchema, {
    profile: { name: "김민지", email: buyer.email, phone: "+821012345678" },
    missing: [{ part: MyPagePart.WISHLIST, reason: "UPSTREAM_UNAVAILABLE" }],
  });
  await buyer.context.route("**/firstcome.edge.v1.ShopService/GetMyPage", page);
  await buyer.page.goto("/me");
  await buyer.reads("김민지");
  await buyer.reads(buyer.texts.noOrders);
  await buyer.reads(buyer.texts.partMissing);
  assert.deepEqual(buyer.complaints, []);
  await buyer.context.close();
});

test("an address out of the book goes by its id", async () => {
  const buyer = await Buyer.arrive(browser, shop.url, "en");
  await buyer.signUp();
  const address = { recipient: "Kim Minji", line1: "12 Seongsui-ro", city: "Seoul" };
  const book = answer(ListAddressesResponseSchema, {
    addresses: [{ addressId: "01a2000d-ed91-75ab-9a4b-dc894ff5231c", address, isDefault: true }],
  });
  await buyer.context.route("**/firstcome.user.v1.ProfileService/ListAddresses", book);
  const pair = await putOnSale({ name: "By the book", units: 3, opensInMs: 0, holdSeconds: 60 });
  await buyer.page.goto(`/products/${pair.productId}`);
  await buyer.button(buyer.texts.buy).click();
  await buyer.page.waitForURL("**/orders/**");
  await buyer.page.getByLabel("12 Seongsui-ro").waitFor();
  const sent = buyer.page.waitForRequest("**/firstcome.order.v1.OrderService/PayOrder");
  await buyer.page.locator(".pay button[type=submit]").click();
  const body = (await sent).postDataBuffer() ?? Buffer.alloc(0);
  const { destination } = fromBinary(PayOrderRequestSchema, body.subarray(5));
  assert.deepEqual(destination, { case: "addressId", value: "01a2000d-ed91-75ab-9a4b-dc894ff5231c" });
  await buyer.context.close();
});
