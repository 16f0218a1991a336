// Who is logged in. The access token lives in memory; the refresh token in the browser's storage,
// so that a reload in mid-rush does not log a buyer out (README.md weighs it). Tabs refresh one at a
// time and tell each other, because a refresh token is good once.
import { durationMs } from "@bufbuild/protobuf/wkt";

import { stepAfter } from "./advice";
import { delayMs, sleep } from "./backoff";
import type { Chest } from "./keys";
import type { TokenPair } from "./gen/firstcome/user/v1/account_service_pb";
import { LoggedOut, refusalOf } from "./refusal";
import { Store } from "./store";

/** What is kept between visits. */
interface Kept {
  readonly userId: string;
  readonly refreshToken: string;
}

interface Access {
  readonly userId: string;
  readonly token: string;
  readonly untilMs: number;
}

const KEPT_AS = "firstcome.session";
/** Under it one tab refreshes. */
const LOCK = "firstcome.refresh";
/** A token with less than this left is refreshed first: a call must not outlive it. */
const MARGIN_MS = 30_000;
/** A lost answer may be asked for again within 30 s; four tries lie within it. */
const TRIES_MAX = 4;

export class Session {
  /** The user's id, or undefined: what pages look at. */
  readonly user: Store<string | undefined>;
  #access: Access | undefined;
  #refreshing: Promise<Access> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #tabs: BroadcastChannel | undefined;

  constructor(
    private readonly chest: Chest,
    private readonly refresh: (refreshToken: string) => Promise<TokenPair | undefined>,
    private readonly now: () => number = Date.now,
  ) {
    this.user = new Store(this.#kept()?.userId);
    // A page that comes out of the browser's history heard nothing while it lay there.
    if (typeof addEventListener !== "undefined") addEventListener("pageshow", () => void this.#look());
    if (typeof BroadcastChannel === "undefined") return;
    this.#tabs = new BroadcastChannel("firstcome.session");
    this.#tabs.onmessage = ({ data }: MessageEvent<Access | null>) => {
      if (data === null) return this.#forget();
      this.#access = data;
      this.user.set(data.userId);
    };
  }

  /** Somebody logged in here. */
  begin(userId: string, tokens: TokenPair): void {
    this.#keep(userId, tokens);
    this.user.set(userId);
  }

  /** The session is over, here and in the other tabs. */
  end(): void {
    this.chest.removeItem(KEPT_AS);
    this.#forget();
    this.#tabs?.postMessage(null);
  }

  /** A token that is good for a while, of the user whose pages are shown. */
  async access(): Promise<string> {
    const shown = this.user.get();
    // Whoever logged in meanwhile must not make the calls of the one before.
    if (this.#look() !== shown) throw new LoggedOut();
    const access = this.#fresh() ?? (await this.#refreshed());
    if (this.#look() !== shown || access.userId !== shown) throw new LoggedOut();
    return access.token;
  }

  /** The shop says that this token has ended. */
  outdated(token: string): void {
    if (this.#access?.token === token) this.#access = undefined;
  }

  /** Who is logged in in this browser, and from now on in this tab. */
  #look(): string | undefined {
    const userId = this.#kept()?.userId;
    if (userId !== this.user.get()) {
      this.#forget();
      this.user.set(userId);
    }
    return userId;
  }

  #fresh(): Access | undefined {
    const access = this.#access;
    const good = access !== undefined && access.untilMs - this.now() > MARGIN_MS;
    return good && access.userId === this.#kept()?.userId ? access : undefined;
  }

  /** One refresh at a time in this tab, and one tab at a time. */
  #refreshed(): Promise<Access> {
    this.#refreshing ??= locked(() => this.#refreshNow()).finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async #refreshNow(): Promise<Access> {
    // Another tab may have done it while this one waited.
    const fresh = this.#fresh();
    if (fresh !== undefined) return fresh;
    for (let tries = 1; ; tries += 1) {
      const kept = this.#kept();
      if (kept === undefined) {
        this.#forget();
        throw new LoggedOut();
      }
      try {
        const tokens = await this.refresh(kept.refreshToken);
        if (tokens === undefined) throw new LoggedOut();
        // Logged out meanwhile, or logged in as another: these tokens are nobody's.
        if (this.#kept()?.refreshToken !== kept.refreshToken) continue;
        return this.#keep(kept.userId, tokens);
      } catch (thrown) {
        if (thrown instanceof LoggedOut) throw thrown;
        const refusal = refusalOf(thrown);
        const step = stepAfter(refusal);
        if (step === "log-in" || step === "refresh") {
          // Unless another tab has put a newer one there.
          if (this.#kept()?.refreshToken !== kept.refreshToken) continue;
          this.end();
          throw new LoggedOut();
        }
        if (step !== "retry" || tries >= TRIES_MAX) throw thrown;
        await sleep(delayMs(tries, refusal.retryAfterMs));
      }
    }
  }

  #keep(userId: string, tokens: TokenPair): Access {
    const ttlMs = tokens.accessTokenTtl ? durationMs(tokens.accessTokenTtl) : 0;
    const access = { userId, token: tokens.accessToken, untilMs: this.now() + ttlMs };
    this.chest.setItem(KEPT_AS, JSON.stringify({ userId, refreshToken: tokens.refreshToken }));
    this.#access = access;
    this.#tabs?.postMessage(access);
    // Ahead of time, so that no purchase waits for it; spread, for buyers who came together.
    clearTimeout(this.#timer);
    const ahead = ttlMs * (0.7 + Math.random() / 10);
    this.#timer = setTimeout(() => void this.#ahead(access), Math.max(ahead, MARGIN_MS));
    return access;
  }

  async #ahead(access: Access): Promise<void> {
    // A tab that nobody looks at refreshes when it is asked for something.
    if (this.#access !== access || document.hidden) return;
    this.#access = undefined;
    await this.#refreshed().catch(() => undefined);
  }

  #kept(): Kept | undefined {
    try {
      const kept = JSON.parse(this.chest.getItem(KEPT_AS) ?? "null") as Partial<Kept> | null;
      const { userId, refreshToken } = kept ?? {};
      return userId && refreshToken ? { userId, refreshToken } : undefined;
    } catch {
      return undefined;
    }
  }

  #forget(): void {
    clearTimeout(this.#timer);
    this.#access = undefined;
    this.user.set(undefined);
  }
}

/** Web Locks need TLS or localhost; elsewhere two tabs may race, and the shop's 30 s forgive it. */
function locked<T>(run: () => Promise<T>): Promise<T> {
  const locks = globalThis.navigator?.locks as LockManager | undefined;
  return locks === undefined ? run() : locks.request(LOCK, run) as Promise<T>;
}
