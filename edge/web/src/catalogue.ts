// Products, as several pages need them.
import { catalog, options, persist, stocks } from "./api";
import { clock } from "./clock";
import { ms } from "./format";
import { type Product, ProductStatus } from "./gen/firstcome/inventory/v1/catalog_service_pb";
import { type ProductStock } from "./gen/firstcome/inventory/v1/stock_service_pb";

/** Where a product stands in its window, by the shop's clock. */
export type Phase = "coming" | "running" | "over" | "later";

export function phaseOf(product: Product, now = clock.now()): Phase {
  if (product.status === ProductStatus.DISCONTINUED) return "over";
  const opens = ms(product.drop?.opensAt);
  const closes = ms(product.drop?.closesAt);
  if (opens === undefined) return "later";
  if (now < opens) return "coming";
  return closes !== undefined && now >= closes ? "over" : "running";
}

const known = new Map<string, Promise<Product>>();

/** A product, read once: for its name and picture beside an order. */
export function productOf(id: string): Promise<Product> {
  const asked = known.get(id) ?? readProduct(id);
  known.set(id, asked);
  asked.catch(() => known.delete(id));
  return asked;
}

export async function readProduct(id: string, signal?: AbortSignal): Promise<Product> {
  const answer = await persist(() => catalog.getProduct({ productId: id }, options(signal)), signal);
  if (answer.product === undefined) throw new Error("no product in the answer");
  return answer.product;
}

/** Reads the stock, and the shop's clock with it. */
export async function readStock(productId: string, signal?: AbortSignal): Promise<ProductStock | undefined> {
  const sentMs = Date.now();
  const { stock } = await stocks.getStock({ productId }, options(signal));
  const read = ms(stock?.readTime);
  if (read !== undefined) clock.sample(read, sentMs, Date.now());
  return stock;
}
