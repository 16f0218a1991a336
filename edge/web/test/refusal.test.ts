import assert from "node:assert/strict";
import { test } from "node:test";

import { create } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";

import { ADVICE, stepAfter } from "../src/advice";
import { Reason } from "../src/gen/firstcome/error/v1/refusal_pb";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../src/gen/google/rpc/error_details_pb";
import { holdsOpen, LoggedOut, opensAtMs, refusalOf } from "../src/refusal";

const NAMES = Object.keys(Reason).filter((name) => Number.isNaN(Number(name)) && name !== "UNSPECIFIED");

test("every reason of the contract has words in both languages", () => {
  assert.deepEqual(Object.keys(ADVICE).sort(), [...NAMES, "UNREACHABLE"].sort());
  for (const [name, { en, ko }] of Object.entries(ADVICE)) {
    assert.match(en, /^[A-Z].*[.]$/, name);
    assert.match(ko, /[가-힣].*[.]$/, name);
  }
});

test("a reason whose comment says to try again is tried again", () => {
  for (const name of ["RATE_LIMITED", "OVERLOADED", "FENCED", "UPSTREAM_UNAVAILABLE", "PAYMENT_IN_PROGRESS", "PLACEMENT_IN_PROGRESS", "DEADLINE_EXCEEDED", "INTERNAL", "UNREACHABLE"] as const) {
    assert.equal(ADVICE[name].step, "retry", name);
  }
});

/** As the transport hands over what stood in `grpc-status-details-bin`. */
function refused(reason: string, metadata: Record<string, string> = {}): ConnectError {
  const error = new ConnectError("told to a developer", Code.ResourceExhausted);
  const details = [
    anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason, domain: "firstcome", metadata })),
    anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay: { seconds: 1n, nanos: 500_000_000 } })),
    anyPack(BadRequestSchema, create(BadRequestSchema, { fieldViolations: [{ field: "address.postal_code" }] })),
  ];
  error.details = details.map((any) => ({ type: any.typeUrl.replace(/^.*\//, ""), value: any.value }));
  return error;
}

test("a refusal is read from the details of its status", () => {
  for (const name of NAMES) assert.equal(refusalOf(refused(name)).reason, name);
  const refusal = refusalOf(refused("SOLD_OUT", { holds_open: "7" }));
  assert.equal(refusal.retryAfterMs, 1500);
  assert.equal(holdsOpen(refusal), 7);
  assert.deepEqual(refusal.fields, ["address.postal_code"]);
  const notOpen = refusalOf(refused("NOT_OPEN", { opens_at: "2026-01-01T03:00:00.5Z" }));
  assert.equal(opensAtMs(notOpen), Date.UTC(2026, 0, 1, 3, 0, 0, 500));
});

test("what has no details is judged by its code, and what has no answer is the network", () => {
  assert.equal(refusalOf(new ConnectError("", Code.Unimplemented)).reason, "NO_SUCH_METHOD");
  assert.equal(refusalOf(new TypeError("Failed to fetch")).reason, "UNREACHABLE");
  assert.equal(refusalOf(new ConnectError("", Code.Unavailable)).reason, "UNREACHABLE");
  assert.equal(refusalOf(refused("OF_A_LATER_VERSION")).reason, "RATE_LIMITED");
  assert.equal(stepAfter(refusalOf(new LoggedOut())), "log-in");
  assert.equal(stepAfter(refusalOf(ConnectError.from(new LoggedOut()))), "log-in");
});
