// What to do about a refusal: its reason says so, and RetryInfo for how long to wait.
import { setTimeout as sleep } from "node:timers/promises";

import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";

import { ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";

const TOKEN_ENDED = ["TOKEN_EXPIRED", "TOKEN_REVOKED", "TOKEN_INVALID"];
// Nobody knows what became of the call: it is asked again, with the same key.
const UNKNOWN = [Code.Unavailable, Code.DeadlineExceeded, Code.Internal, Code.Unknown];
// Tries in a row that brought nothing but waiting, about two minutes in all.
const TRIES_MAX = 12;

// Waits as long as it takes and says what comes next; throws what no waiting changes.
export async function after(refused, tries) {
  if (!(refused instanceof ConnectError)) throw refused;
  const { reason = "", metadata } = refused.findDetails(ErrorInfoSchema)[0] ?? {};
  const delay = refused.findDetails(RetryInfoSchema)[0]?.retryDelay;
  console.log(`refused: ${reason} ${refused.rawMessage}`);
  if (reason === "NOT_OPEN") return "watch";
  if (reason === "SOLD_OUT" && metadata.holds_open !== "0") {
    // Who holds them has not paid yet. The stream's first news may be a second old.
    await sleep(Math.random() * 1000);
    return "watch";
  }
  if (tries > TRIES_MAX) throw refused;
  if (TOKEN_ENDED.includes(reason)) return "log in";
  if (!delay && !UNKNOWN.includes(refused.code)) throw refused;
  // As long as the shop says or longer from try to try, and up to half as long again by chance:
  // those who were refused together do not come back together.
  const wait = Math.max(delay ? durationMs(delay) : 1000, Math.min(50 * 2 ** tries, 30_000));
  await sleep(wait * (1 + Math.random() / 2));
  return "try again";
}
