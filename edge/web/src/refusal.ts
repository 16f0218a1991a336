// What a failed call says: one Refusal, read from the details of its status, or from the lack of any
// answer at all.
import { Code, ConnectError } from "@connectrpc/connect";

import { Reason } from "./gen/firstcome/error/v1/refusal_pb";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb";

/** The names of the contract's reasons, and one for the network between. */
export type ReasonName = Exclude<keyof typeof Reason, "UNSPECIFIED"> | "UNREACHABLE";

export interface Refusal {
  readonly reason: ReasonName;
  /** At least this long. */
  readonly retryAfterMs?: number;
  readonly metadata: Readonly<Record<string, string>>;
  /** The fields that are wrong, as in `address.postal_code`. */
  readonly fields: readonly string[];
  /** For a developer. */
  readonly detail: string;
  /** It came without a reason, as from a proxy: what the shop did is not known. */
  readonly isBare?: true;
}

/** Thrown where a call needs a user and nobody is logged in. */
export class LoggedOut extends Error {}

const DOMAIN = "firstcome";

/** Reads what was thrown by a call. */
export function refusalOf(thrown: unknown): Refusal {
  const error = ConnectError.from(thrown);
  if (thrown instanceof LoggedOut || error.cause instanceof LoggedOut) {
    return { reason: "TOKEN_INVALID", metadata: {}, fields: [], detail: "nobody is logged in" };
  }
  const info = error.findDetails(ErrorInfoSchema).find((info) => info.domain === DOMAIN);
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const bad = error.findDetails(BadRequestSchema)[0];
  return {
    ...(info !== undefined && isReason(info.reason)
      ? { reason: info.reason }
      : { reason: withoutDetails(error.code), isBare: true }),
    ...(delay && { retryAfterMs: Number(delay.seconds) * 1000 + delay.nanos / 1e6 }),
    metadata: info?.metadata ?? {},
    fields: bad?.fieldViolations.map((violation) => violation.field) ?? [],
    detail: error.rawMessage,
  };
}

function isReason(name: string): name is Exclude<ReasonName, "UNREACHABLE"> {
  return name in Reason && name !== "UNSPECIFIED" && Number.isNaN(Number(name));
}

/** A proxy's answer, an older edge's, or none: the code is all there is. */
function withoutDetails(code: Code): ReasonName {
  switch (code) {
    case Code.Unimplemented:
      return "NO_SUCH_METHOD";
    case Code.Unauthenticated:
      return "TOKEN_INVALID";
    case Code.NotFound:
      return "NOT_FOUND";
    case Code.PermissionDenied:
      return "PERMISSION_DENIED";
    case Code.InvalidArgument:
      return "INVALID_ARGUMENT";
    case Code.ResourceExhausted:
      return "RATE_LIMITED";
    case Code.DeadlineExceeded:
      return "DEADLINE_EXCEEDED";
    case Code.Internal:
      return "INTERNAL";
    default:
      return "UNREACHABLE";
  }
}

/** The same, where what was sent is an address that somebody followed: a wrong one names nothing. */
export function refusalOfAddress(thrown: unknown): Refusal {
  const refusal = refusalOf(thrown);
  return refusal.reason === "INVALID_ARGUMENT" ? { ...refusal, reason: "NOT_FOUND" } : refusal;
}

/** `holds_open` of a SOLD_OUT: units held and unpaid, which may come back. */
export function holdsOpen(refusal: Refusal): number {
  return Number.parseInt(refusal.metadata.holds_open ?? "0", 10) || 0;
}

/** `opens_at` of a NOT_OPEN, in milliseconds; NaN when it does not say. */
export function opensAtMs(refusal: Refusal): number {
  return Date.parse(refusal.metadata.opens_at ?? "");
}
