// Buys one unit: logs in, places an order and pays, again under the same key until it is told.
import { createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import { OrderService, OrderState } from "./gen/firstcome/order/v1/order_service_pb.js";
import { AccountService } from "./gen/firstcome/user/v1/account_service_pb.js";
import { after } from "./patience.js";
import { watch } from "./stock.js";

// Ends with a paid order, or throws the refusal that ends it; says what happens on the way.
export async function purchase({ edge, ...wanted }, say) {
  const shop = createGrpcWebTransport({ baseUrl: edge, defaultTimeoutMs: 20_000 });
  let session = newSession();
  for (let step = "buy", tries = 0; step !== "done"; ) {
    try {
      if (step === "watch") {
        await watch(shop, wanted.productId, wanted.skuId);
        tries = 0;
      }
      await buy(shop, session, wanted, say);
      step = "done";
    } catch (refused) {
      step = await after(refused, ++tries, say);
      if (step === "log in") session = newSession();
    }
  }
}

const newSession = () => ({ key: crypto.randomUUID() });

// All of it may be done again: session, order and payment are then what they were.
async function buy(shop, session, { email, password, productId, skuId, idempotencyKey }, say) {
  const accounts = createClient(AccountService, shop);
  const logIn = { email, password, idempotencyKey: session.key };
  session.token ??= (await accounts.logIn(logIn)).tokens.accessToken;
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
