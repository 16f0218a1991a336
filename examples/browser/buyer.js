// Buys one unit: logs in, places an order and pays, again under the same key until it is told.
import { createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import { SaleState, StockService } from "./gen/firstcome/inventory/v1/stock_service_pb.js";
import { OrderService, OrderState } from "./gen/firstcome/order/v1/order_service_pb.js";
import { AccountService } from "./gen/firstcome/user/v1/account_service_pb.js";
import { after } from "./patience.js";

// Ends with a paid order, or throws the refusal that ends it; says what happens on the way.
export async function purchase({ edge, ...wanted }, say) {
  const shop = createGrpcWebTransport({ baseUrl: edge, defaultTimeoutMs: 20_000 });
  const session = {};
  for (let step = "buy"; step !== "done"; ) {
    try {
      if (step === "watch") await watch(shop, wanted);
      await buy(shop, session, wanted, say);
      step = "done";
    } catch (refused) {
      step = await after(refused, say);
      if (step === "log in") delete session.token;
    }
  }
}

// All of it may be done again: session, order and payment are then what they were.
async function buy(shop, session, { email, password, productId, skuId, idempotencyKey }, say) {
  const accounts = createClient(AccountService, shop);
  session.token ??= (await accounts.logIn({ email, password, idempotencyKey })).tokens.accessToken;
  const asBuyer = { headers: { authorization: `Bearer ${session.token}` } };
  const orders = createClient(OrderService, shop);
  const wish = { idempotencyKey, lines: [{ productId, skuId, quantity: 1 }] };
  const { orderId, sequence } = (await orders.placeOrder(wish, asBuyer)).order;
  say(`placed: ${orderId} is number ${sequence} of its product`);
  const home = { recipient: "Kim Minji", phone: "+821012345678", line1: "12 Seongsui-ro" };
  const address = { ...home, city: "Seoul", postalCode: "04784", countryCode: "KR" };
  const destination = { case: "address", value: address };
  const payment = { orderId, destination, paymentMethod: "pm_card_approve" };
  say(`paid: ${OrderState[(await orders.payOrder(payment, asBuyer)).order.state]}`);
}

// Until a unit can be had, or none can come back.
async function watch(shop, { productId, skuId }) {
  const leaving = new AbortController(); // Whoever only leaves the loop keeps the stream open.
  const options = { timeoutMs: 0, signal: leaving.signal };
  const changes = createClient(StockService, shop).watchStock({ productId }, options);
  for await (const { stock } of changes) {
    const { available, holdsOpen } = stock.skus.find((sku) => sku.skuId === skuId);
    if (stock.state !== SaleState.NOT_OPEN && (available > 0 || holdsOpen === 0)) break;
  }
  leaving.abort();
}
