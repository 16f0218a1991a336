// Waits for a unit, without polling.
import { Code, ConnectError, createClient } from "@connectrpc/connect";

import { SaleState, StockService } from "./gen/firstcome/inventory/v1/stock_service_pb.js";

// Until a unit can be had, or none can come back.
export async function watch(shop, productId, skuId) {
  const leaving = new AbortController(); // Whoever only leaves the loop keeps the stream open.
  // A page cannot ping. It asks anew each minute: a connection may have died without a word.
  const options = { timeoutMs: 60_000, signal: leaving.signal };
  try {
    const changes = createClient(StockService, shop).watchStock({ productId }, options);
    for await (const { stock } of changes) {
      const sku = stock.skus.find((sku) => sku.skuId === skuId);
      const mayComeBack = sku?.available === 0 && sku.holdsOpen > 0;
      if (stock.state === SaleState.NOT_OPEN) continue;
      if (stock.state !== SaleState.OPEN || !mayComeBack) break;
    }
  } catch (broken) {
    if (ConnectError.from(broken).code !== Code.DeadlineExceeded) throw broken;
  }
  leaving.abort();
}
