// What to do about a refusal: its reason says so, and RetryInfo for how long to wait.
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";

import { ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";

const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));
// Nobody knows what became of the call: it is asked again, with the same key.
const UNKNOWN = [Code.Unavailable, Code.DeadlineExceeded, Code.Internal, Code.Unknown];

// Waits as long as it takes and says what comes next; throws what no waiting changes.
export async function after(refused, say) {
  if (!(refused instanceof ConnectError)) throw refused;
  const { reason = "", metadata } = refused.findDetails(ErrorInfoSchema)[0] ?? {};
  const delay = refused.findDetails(RetryInfoSchema)[0]?.retryDelay;
  say(`refused: ${reason} ${refused.rawMessage}`);
  if (reason === "TOKEN_EXPIRED") return "log in";
  if (reason === "NOT_OPEN") return "watch";
  // Who holds them has not paid yet.
  if (reason === "SOLD_OUT" && metadata.holds_open !== "0") return "watch";
  // Up to half as long again: those who were refused together do not come back together.
  if (delay) await sleep(durationMs(delay) * (1 + Math.random() / 2));
  else if (UNKNOWN.includes(refused.code)) await sleep(1000);
  else throw refused;
  return "try again";
}
