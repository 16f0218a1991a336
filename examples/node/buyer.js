// Buys one unit: logs in, places an order and pays, again under the same key until it is told.
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { OrderService, OrderState } from "./gen/firstcome/order/v1/order_service_pb.js";
import { AccountService } from "./gen/firstcome/user/v1/account_service_pb.js";
import { after } from "./patience.js";
import { watch } from "./stock.js";

const setting = (name) => process.env[`FIRSTCOME_${name}`];
const [email, password, productId, skuId] = ["EMAIL", "PASSWORD", "PRODUCT", "SKU"].map(setting);
const idempotencyKey = setting("KEY") ?? crypto.randomUUID();
// The pings notice when a stream's connection has died without a word.
const deadlines = { defaultTimeoutMs: 20_000, pingIntervalMs: 20_000 };
const shop = createGrpcTransport({ baseUrl: setting("EDGE"), ...deadlines });
const newSession = () => ({ key: crypto.randomUUID() });
let session = newSession();

// All of it may be done again: session, order and payment are then what they were.
async function buy() {
  const accounts = createClient(AccountService, shop);
  const logIn = { email, password, idempotencyKey: session.key };
  session.token ??= (await accounts.logIn(logIn)).tokens.accessToken;
  const asBuyer = { headers: { authorization: `Bearer ${session.token}` } };
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

console.log(`FIRSTCOME_KEY=${idempotencyKey}`); // Cut off? Start again with it: the same order.
for (let step = "buy", tries = 0; step !== "done"; ) {
  try {
    if (step === "watch") {
      await watch(shop, productId, skuId);
      tries = 0;
    }
    await buy();
    step = "done";
  } catch (refused) {
    step = await after(refused, ++tries);
    if (step === "log in") session = newSession();
  }
}
