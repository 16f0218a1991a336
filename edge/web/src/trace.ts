// Traces of purchases, from the button on: what a buyer's call met behind the edge is found by the
// number that it went out with. The page keeps no spans of its own.
import type { Interceptor } from "@connectrpc/connect";

import { OrderService } from "./gen/firstcome/order/v1/order_service_pb";

/** What is worth it: the edge has room for a few traces a second, and makes none of the others. */
const TRACED: ReadonlySet<unknown> = new Set([
  OrderService.method.placeOrder,
  OrderService.method.payOrder,
]);

/** A header of W3C Trace Context, version 00: a new trace, a first span, and the wish to keep both. */
export function traceparent(): string {
  return `00-${randomHex(16)}-${randomHex(8)}-01`;
}

/** Asks for the trace of each try of a purchase. */
export const traced: Interceptor = (next) => (request) => {
  if (TRACED.has(request.method)) request.header.set("traceparent", traceparent());
  return next(request);
};

function randomHex(bytes: number): string {
  const random = crypto.getRandomValues(new Uint8Array(bytes));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
