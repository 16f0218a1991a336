// The shop's services, as the page calls them: grpc-web to where the page came from.
import { createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import { stepAfter } from "./advice";
import { delayMs, sleep } from "./backoff";
import { chest } from "./chest";
import { clock } from "./clock";
import { ShopService } from "./gen/firstcome/edge/v1/shop_service_pb";
import { CatalogService } from "./gen/firstcome/inventory/v1/catalog_service_pb";
import { StockService } from "./gen/firstcome/inventory/v1/stock_service_pb";
import { CartService } from "./gen/firstcome/order/v1/cart_service_pb";
import { OrderService } from "./gen/firstcome/order/v1/order_service_pb";
import { WishlistService } from "./gen/firstcome/order/v1/wishlist_service_pb";
import { AccountService } from "./gen/firstcome/user/v1/account_service_pb";
import { ProfileService } from "./gen/firstcome/user/v1/profile_service_pb";
import { language } from "./language";
import { type Refusal, refusalOf } from "./refusal";
import { Session } from "./session";
import { traced } from "./trace";

/** Longer than the edge's own, so that its answer is the one that is heard. */
const DEADLINE_MS = 20_000;

/** What every call carries, and what every answer tells of the shop's clock. */
const everyCall: Interceptor = (next) => async (request) => {
  request.header.set("accept-language", language.get());
  const sentMs = Date.now();
  const answer = await next(request);
  clock.sampleDate(answer.header.get("date"), sentMs, Date.now());
  return answer;
};

/** What a refused token means for the session; the answer is whether a new one may help. */
function heed(thrown: unknown, token: string): boolean {
  const step = stepAfter(refusalOf(thrown));
  if (step === "refresh") session.outdated(token);
  if (step === "log-in") session.end();
  return step === "refresh";
}

/** The user's token; one that ended on the way is refreshed, and the call made once more. */
const asUser: Interceptor = (next) => async (request) => {
  for (let again = false; ; again = true) {
    const token = await session.access();
    request.header.set("authorization", `Bearer ${token}`);
    try {
      const answer = await next(request);
      if (!answer.stream) return answer;
      return { ...answer, message: heeded(answer.message, token) };
    } catch (thrown) {
      if (!heed(thrown, token) || again || request.stream) throw thrown;
    }
  }
};

/** A stream is refused where it is read; whoever opens it again then does so with a new token. */
async function* heeded<T>(messages: AsyncIterable<T>, token: string): AsyncIterable<T> {
  try {
    yield* messages;
  } catch (thrown) {
    heed(thrown, token);
    throw thrown;
  }
}

function transport(...interceptors: Interceptor[]) {
  return createGrpcWebTransport({
    baseUrl: location.origin,
    interceptors: [...interceptors, traced, everyCall],
  });
}

/** To where the page came from, as nobody in particular. */
export const anybody = transport();
const user = transport(asUser);

export const account = createClient(AccountService, anybody);
export const catalog = createClient(CatalogService, anybody);
export const stocks = createClient(StockService, anybody);

export const session = new Session(chest, async (refreshToken) => {
  const answer = await account.refreshSession({ refreshToken }, { timeoutMs: DEADLINE_MS });
  return answer.tokens;
});

/** The same services, called as the user who is logged in. */
export const mine = {
  account: createClient(AccountService, user),
  cart: createClient(CartService, user),
  catalog: createClient(CatalogService, user),
  orders: createClient(OrderService, user),
  profile: createClient(ProfileService, user),
  shop: createClient(ShopService, user),
  wishlist: createClient(WishlistService, user),
};

/** What a call takes beside its message. */
export function options(signal?: AbortSignal) {
  return { timeoutMs: DEADLINE_MS, ...(signal && { signal }) };
}

/**
 * Makes a call that may be repeated freely until it is answered, as long as waiting helps and at
 * most `tries` times. `pausing` hears of each wait.
 */
export async function persist<T>(
  call: () => Promise<T>,
  signal?: AbortSignal,
  tries = 5,
  pausing: (refusal: Refusal) => void = () => {},
): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await call();
    } catch (thrown) {
      const refusal = refusalOf(thrown);
      if (stepAfter(refusal) !== "retry" || attempt + 1 >= tries || signal?.aborted) throw thrown;
      pausing(refusal);
      await sleep(delayMs(attempt, refusal.retryAfterMs), signal);
    }
  }
}
