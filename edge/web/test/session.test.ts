import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { create } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";

import { MapChest } from "../src/chest";
import { type TokenPair, TokenPairSchema } from "../src/gen/firstcome/user/v1/account_service_pb";
import { ErrorInfoSchema } from "../src/gen/google/rpc/error_details_pb";
import { LoggedOut } from "../src/refusal";
import { Session } from "../src/session";

// Here each session stands for a tab of another browser; a channel would also keep the test alive.
Reflect.deleteProperty(globalThis, "BroadcastChannel");

const opened: Session[] = [];
afterEach(() => opened.splice(0).forEach((session) => session.end()));

let made = 0;
function pair(seconds = 600): TokenPair {
  made += 1;
  return create(TokenPairSchema, {
    accessToken: `access-${made}`,
    accessTokenTtl: { seconds: BigInt(seconds) },
    refreshToken: `refresh-${made}`,
  });
}

function refused(reason: string): ConnectError {
  const error = new ConnectError("", Code.Unauthenticated);
  const any = anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason, domain: "firstcome" }));
  error.details = [{ type: "google.rpc.ErrorInfo", value: any.value }];
  return error;
}

function open(chest: MapChest, refresh: (token: string) => Promise<TokenPair>): Session {
  const session = new Session(chest, refresh);
  opened.push(session);
  return session;
}

test("many calls at once refresh once, and a reload goes on with what was kept", async () => {
  const chest = new MapChest();
  open(chest, async () => pair()).begin("ann", pair());
  const spent: string[] = [];
  const reloaded = open(chest, async (token) => {
    spent.push(token);
    return pair();
  });
  assert.equal(reloaded.user.get(), "ann");
  const tokens = await Promise.all([reloaded.access(), reloaded.access(), reloaded.access()]);
  assert.equal(new Set(tokens).size, 1);
  assert.equal(spent.length, 1);
});

test("a token that is about to end is not handed out", async () => {
  const session = open(new MapChest(), async () => pair());
  const soon = pair(20);
  session.begin("ann", soon);
  assert.notEqual(await session.access(), soon.accessToken);
});

test("a lost answer is asked for again with the same refresh token", async () => {
  const spent: string[] = [];
  const session = open(new MapChest(), async (token) => {
    spent.push(token);
    if (spent.length === 1) throw new TypeError("Failed to fetch");
    return pair();
  });
  session.begin("ann", pair(1));
  await session.access();
  assert.equal(spent.length, 2);
  assert.equal(new Set(spent).size, 1);
});

test("a session that the shop ended is over here too", async () => {
  const chest = new MapChest();
  const session = open(chest, async () => {
    throw refused("TOKEN_REVOKED");
  });
  session.begin("ann", pair(1));
  await assert.rejects(session.access(), LoggedOut);
  assert.equal(session.user.get(), undefined);
  assert.equal(chest.length, 0);
  await assert.rejects(session.access(), LoggedOut);
});

test("a tab that shows one user's pages makes no call as another who logged in elsewhere", async () => {
  const chest = new MapChest();
  const session = open(chest, async () => pair());
  session.begin("ann", pair());
  open(chest, async () => pair()).begin("ben", pair());
  await assert.rejects(session.access(), LoggedOut);
  assert.equal(session.user.get(), "ben");
  assert.match(await session.access(), /^access-/);
});

test("nor when the other logs in while a token is being refreshed", async () => {
  const chest = new MapChest();
  const mine = pair(1);
  const session = open(chest, async (token) => {
    if (token === mine.refreshToken) open(chest, async () => pair()).begin("ben", pair());
    return pair();
  });
  session.begin("ann", mine);
  await assert.rejects(session.access(), LoggedOut);
  assert.equal(session.user.get(), "ben");
});

test("a refresh that another tab was faster with does not log anybody out", async () => {
  const chest = new MapChest();
  const later = pair();
  const session = open(chest, async (token) => {
    if (token === later.refreshToken) return pair();
    open(chest, async () => pair()).begin("ann", later);
    throw refused("TOKEN_REVOKED");
  });
  session.begin("ann", pair(1));
  assert.match(await session.access(), /^access-/);
  assert.equal(session.user.get(), "ann");
});
