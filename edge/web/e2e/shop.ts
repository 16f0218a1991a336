// A running shop from behind the counter: drops to be sold, and the mails that its buyers get.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { preview } from "vite";

import { CatalogService, type Product } from "../src/gen/firstcome/inventory/v1/catalog_service_pb";
import { AccountService } from "../src/gen/firstcome/user/v1/account_service_pb";

/** The edge, the folder of mails and the operator, as `up` prints them. */
const EDGE = wanted("FIRSTCOME_EDGE");
const MAIL = wanted("FIRSTCOME_MAIL_DIR");
const OPERATOR = { email: wanted("FIRSTCOME_ADMIN_EMAIL"), password: wanted("FIRSTCOME_ADMIN_PASSWORD") };

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

async function logIn(): Promise<string> {
  const account = createClient(AccountService, createGrpcWebTransport({ baseUrl: EDGE }));
  const answer = await account.logIn({ ...OPERATOR, idempotencyKey: `e2e-${Date.now()}` });
  return answer.tokens?.accessToken ?? "";
}

const asOperator: Interceptor = (next) => async (request) => {
  operator ??= logIn();
  request.header.set("authorization", `Bearer ${await operator}`);
  return next(request);
};

const counter = createClient(
  CatalogService,
  createGrpcWebTransport({ baseUrl: EDGE, interceptors: [asOperator] }),
);

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

/** The newest code that was mailed to this address. */
export async function mailedCode(email: string): Promise<string> {
  for (let tries = 0; tries < 100; tries += 1) {
    const names = (await readdir(MAIL)).filter((name) => name.includes(email)).sort();
    const newest = names.at(-1);
    const code = newest && /\b(\d{6})\b/.exec(await readFile(join(MAIL, newest), "utf8"))?.[1];
    if (code) return code;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`no mail for ${email} in ${MAIL}`);
}
