// A running shop from behind the counter: drops to be sold, and the mails that its buyers get.
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { preview } from "vite";

import { CatalogService, type Product } from "../src/gen/firstcome/inventory/v1/catalog_service_pb";
import { OrderService } from "../src/gen/firstcome/order/v1/order_service_pb";
import { AccountService } from "../src/gen/firstcome/user/v1/account_service_pb";

/** The edge, the folder of mails and the operator, as `up` prints them. */
const EDGE = wanted("FIRSTCOME_EDGE");
const MAIL = wanted("FIRSTCOME_MAIL_DIR");
const OPERATOR = { email: wanted("FIRSTCOME_ADMIN_EMAIL"), password: wanted("FIRSTCOME_ADMIN_PASSWORD") };

/** Where the shop's calls go. */
export function edge(): string {
  return EDGE.replace(/\/$/, "");
}

function wanted(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`set ${name}; \`cargo xtask up\` prints what it is`);
  return value;
}

/** Where the page is: FIRSTCOME_PAGE, or the built bundle behind a proxy to the edge. */
export async function openPage(): Promise<{ url: string; close: () => Promise<void> }> {
  if (process.env.FIRSTCOME_PAGE) return { url: process.env.FIRSTCOME_PAGE, close: async () => {} };
  const server = await preview({ preview: { port: 0, host: "127.0.0.1" }, logLevel: "warn" });
  const url = server.resolvedUrls?.local[0]?.replace(/\/$/, "") ?? "";
  return { url, close: () => server.close() };
}

let operator: Promise<string> | undefined;

/** An address that nobody else calls from. */
export function newAddress(): string {
  const part = () => Math.floor(Math.random() * 256);
  return `10.${part()}.${part()}.${part()}`;
}

/** Whoever has a token, calling from somewhere. */
function transportOf(token?: () => Promise<string>) {
  const address = newAddress();
  const identify: Interceptor = (next) => async (request) => {
    request.header.set("x-forwarded-for", address);
    if (token !== undefined) request.header.set("authorization", `Bearer ${await token()}`);
    return next(request);
  };
  return createGrpcWebTransport({ baseUrl: EDGE, interceptors: [identify] });
}

/** A log-in without a browser. */
export function enter(email: string, password: string) {
  const account = createClient(AccountService, transportOf());
  const idempotencyKey = `e2e-${Math.random().toString(36).slice(2)}`;
  return account.logIn({ email, password, idempotencyKey, device: "e2e" });
}

const counter = createClient(
  CatalogService,
  transportOf(async () => {
    operator ??= enter(OPERATOR.email, OPERATOR.password).then((answer) => answer.tokens?.accessToken ?? "");
    return operator;
  }),
);

/** Somebody who has an account already. */
export interface Seeded {
  readonly email: string;
  readonly token: string;
}

/** Those whom FIRSTCOME_BUYERS lists, in the lines of `firstcome-user seed`. */
export async function seeded(): Promise<readonly Seeded[]> {
  if (!process.env.FIRSTCOME_BUYERS) return [];
  const lines = (await readFile(process.env.FIRSTCOME_BUYERS, "utf8")).split("\n").filter(Boolean);
  return lines.map((line) => {
    const { email, access_token: token } = JSON.parse(line) as { email: string; access_token: string };
    return { email, token };
  });
}

/** One of them whom nobody has had; the test files run side by side. */
export async function claimSeeded(): Promise<Seeded | undefined> {
  for (const one of await seeded()) {
    const isOurs = await mkdir(`${process.env.FIRSTCOME_BUYERS}.${one.email}`).then(() => true, () => false);
    if (isOurs) return one;
  }
  return undefined;
}

/** All at once order one of a product; answers how many got it. */
export async function rush(buyers: readonly Seeded[], product: Product): Promise<number> {
  const lines = [{ productId: product.productId, skuId: product.skus[0]?.skuId ?? "", quantity: 1 }];
  const told = buyers.map(({ email, token }) => {
    const orders = createClient(OrderService, transportOf(async () => token));
    return orders.placeOrder({ idempotencyKey: `${email}-${product.productId}`.slice(0, 64), lines });
  });
  return (await Promise.allSettled(told)).filter(({ status }) => status === "fulfilled").length;
}

export interface Wanted {
  name: string;
  units: number;
  opensInMs: number;
  holdSeconds: number;
  limit?: number;
  variants?: readonly string[];
}

/** Registers a product and schedules its drop. */
export async function putOnSale(wanted: Wanted): Promise<Product> {
  const name = `${wanted.name} ${Date.now().toString(36)}`;
  const { product } = await counter.createProduct({
    idempotencyKey: name,
    name,
    description: "Suede and rubber, made once and never again.\nNumbered inside the tongue.",
    skus: (wanted.variants ?? ["270 mm, white"]).map((label) => ({
      label,
      price: { currencyCode: "KRW", amountMinor: 129_000n },
      total: wanted.units,
    })),
  });
  const scheduled = await counter.scheduleDrop({
    productId: product?.productId ?? "",
    drop: {
      opensAt: timestampFromMs(Date.now() + wanted.opensInMs),
      limitPerBuyer: wanted.limit ?? 1,
      holdTtl: { seconds: BigInt(wanted.holdSeconds) },
    },
  });
  if (scheduled.product === undefined) throw new Error("no product in the answer");
  return scheduled.product;
}

/** A password's hash takes long on a busy machine, and the mail comes after it. */
const MAIL_MAX_MS = 60_000;
/** Six digits verify an address; what sets a password may be longer, of letters that nobody mixes up. */
const CODE = /\b(\d{6}|[346789CDFGHJKMNPQRTVWXY]{8})\b/;

/** The so-manieth code that was mailed to this address, counted from 1. */
export async function mailedCode(email: string, number = 1): Promise<string> {
  for (const until = Date.now() + MAIL_MAX_MS; Date.now() < until; ) {
    const names = (await readdir(MAIL)).filter((name) => name.includes(email)).sort();
    const mails = await Promise.all(names.map((name) => readFile(join(MAIL, name), "utf8")));
    // The head names the address, which may look like anything.
    const codes = mails.flatMap((mail) => CODE.exec(mail.slice(mail.indexOf("\n\n")))?.[0] ?? []);
    const code = codes[number - 1];
    if (code !== undefined) return code;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`no code ${number} for ${email}`);
}
