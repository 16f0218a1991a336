// Waits for a unit, without polling.
import { createClient } from "@connectrpc/connect";

import { SaleState, StockService } from "./gen/firstcome/inventory/v1/stock_service_pb.js";

// Until a unit can be had, or none can come back.
export async function watch(shop, productId, skuId) {
  const leaving = new AbortController(); // Whoever only leaves the loop keeps the stream open.
  const options = { timeoutMs: 0, signal: leaving.signal };
  const changes = createClient(StockService, shop).watchStock({ productId }, options);
  for await (const { stock } of changes) {
    const sku = stock.skus.find((sku) => sku.skuId === skuId);
    const mayComeBack = sku?.available === 0 && sku.holdsOpen > 0;
    if (stock.state === SaleState.NOT_OPEN) continue;
    if (stock.state !== SaleState.OPEN || !mayComeBack) break;
  }
  leaving.abort();
}
