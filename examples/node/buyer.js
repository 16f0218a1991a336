// Buys one unit: logs in, places an order and pays, again under the same key until it is told.
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { SaleState, StockService } from "./gen/firstcome/inventory/v1/stock_service_pb.js";
import { OrderService, OrderState } from "./gen/firstcome/order/v1/order_service_pb.js";
import { AccountService } from "./gen/firstcome/user/v1/account_service_pb.js";
import { after } from "./patience.js";

const setting = (name) => process.env[`FIRSTCOME_${name}`];
const [email, password, productId, skuId] = ["EMAIL", "PASSWORD", "PRODUCT", "SKU"].map(setting);
const idempotencyKey = setting("KEY") ?? crypto.randomUUID();
const shop = createGrpcTransport({ baseUrl: setting("EDGE"), defaultTimeoutMs: 20_000 });
let token;

// All of it may be done again: session, order and payment are then what they were.
async function buy() {
  const accounts = createClient(AccountService, shop);
  token ??= (await accounts.logIn({ email, password, idempotencyKey })).tokens.accessToken;
  const asBuyer = { headers: { authorization: `Bearer ${token}` } };
  const orders = createClient(OrderService, shop);
  const wish = { idempotencyKey, lines: [{ productId, skuId, quantity: 1 }] };
  const { orderId, sequence } = (await orders.placeOrder(wish, asBuyer)).order;
  console.log(`placed: ${orderId} is number ${sequence} of its product`);
  const home = { recipient: "Kim Minji", phone: "+821012345678", line1: "12 Seongsui-ro" };
  const address = { ...home, city: "Seoul", postalCode: "04784", countryCode: "KR" };
  const destination = { case: "address", value: address };
  const payment = { orderId, destination, paymentMethod: "pm_card_approve" };
  console.log(`paid: ${OrderState[(await orders.payOrder(payment, asBuyer)).order.state]}`);
}

// Until a unit can be had, or none can come back.
async function watch() {
  const leaving = new AbortController(); // Whoever only leaves the loop keeps the stream open.
  const options = { timeoutMs: 0, signal: leaving.signal };
  const changes = createClient(StockService, shop).watchStock({ productId }, options);
  for await (const { stock } of changes) {
    const { available, holdsOpen } = stock.skus.find((sku) => sku.skuId === skuId);
    if (stock.state !== SaleState.NOT_OPEN && (available > 0 || holdsOpen === 0)) break;
  }
  leaving.abort();
}

console.log(`FIRSTCOME_KEY=${idempotencyKey}`); // Cut off? Start again with it: the same order.
for (let step = "buy"; step !== "done"; ) {
  try {
    if (step === "watch") await watch();
    await buy();
    step = "done";
  } catch (refused) {
    step = await after(refused);
    if (step === "log in") token = undefined;
  }
}
