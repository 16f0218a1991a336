// A stream that stays: opened again when it breaks, with a pause that grows; closed while nobody
// looks, because a browser has six connections to a shop without TLS and a stream keeps one.
import { delayMs, sleep } from "./backoff";
import { stepAfter } from "./advice";
import { type Refusal, refusalOf, refusalOfAddress } from "./refusal";
import { Store } from "./store";

export type Line = "connecting" | "live" | "broken" | "ended";

/** A hidden page keeps its streams this long: people look at another tab and come back. */
const HIDDEN_MAX_MS = 3_000;
/** A first message proves that a stream lives; a network that swallows it does not answer at all. */
const FIRST_MESSAGE_MAX_MS = 10_000;

export class Live<T> {
  readonly latest = new Store<T | undefined>(undefined);
  readonly line = new Store<Line>("connecting");
  /** Why it ended for good. */
  refusal: Refusal | undefined;
  #visit = new AbortController();
  #attempt: AbortController | undefined;
  #pause: AbortController | undefined;
  #hiddenTimer: ReturnType<typeof setTimeout> | undefined;
  #final: ((latest: T | undefined) => boolean) | undefined;
  #left = false;

  /**
   * `open` opens the stream; `awake` says that it must live in a hidden page too, as while somebody
   * waits for a freed unit.
   */
  constructor(
    private readonly open: (signal: AbortSignal) => AsyncIterable<T>,
    private readonly awake: () => boolean = () => false,
  ) {
    const signal = this.#visit.signal;
    addEventListener("online", () => this.#wake(), { signal });
    addEventListener("offline", () => this.#cut(), { signal });
    document.addEventListener("visibilitychange", () => this.#looked(), { signal });
    void this.#run();
  }

  close(): void {
    this.#left = true;
    clearTimeout(this.#hiddenTimer);
    this.#visit.abort();
    this.#attempt?.abort();
    this.#pause?.abort();
  }

  /** Closes what may be dead and opens it again. */
  renew(): void {
    this.#cut();
    this.#wake();
  }

  #wake(): void {
    this.#pause?.abort();
  }

  /** The browser says that the network is gone; the stream would find out much later. */
  #cut(): void {
    if (this.line.get() === "live") this.line.set("broken");
    this.#attempt?.abort();
  }

  #looked(): void {
    clearTimeout(this.#hiddenTimer);
    if (!document.hidden) return this.#wake();
    this.#hiddenTimer = setTimeout(() => {
      if (document.hidden && !this.awake()) this.#attempt?.abort();
    }, HIDDEN_MAX_MS);
  }

  async #run(): Promise<void> {
    // A tab that was opened in the background waits until it is looked at.
    if (this.#idle()) await this.#rest(0, undefined);
    for (let failures = 0; !this.#left; ) {
      const attempt = new AbortController();
      this.#attempt = attempt;
      const late = setTimeout(() => attempt.abort(), FIRST_MESSAGE_MAX_MS);
      let retryAfterMs: number | undefined;
      try {
        for await (const message of this.open(attempt.signal)) {
          clearTimeout(late);
          if (this.#left) return;
          failures = 0;
          this.line.set("live");
          this.latest.set(message);
        }
        // It came to its end: an order that will not change any more, or an edge that stops.
        if (this.#final?.(this.latest.get())) return this.line.set("ended");
      } catch (thrown) {
        if (this.#left) return;
        const refusal = refusalOf(thrown);
        retryAfterMs = refusal.retryAfterMs;
        const step = stepAfter(refusal);
        if (!attempt.signal.aborted && step !== "retry" && step !== "refresh") {
          this.refusal = refusalOfAddress(thrown);
          return this.line.set("ended");
        }
      } finally {
        clearTimeout(late);
        attempt.abort();
      }
      if (this.#left) return;
      // Closed on purpose is not broken.
      this.line.set(document.hidden ? "connecting" : "broken");
      await this.#rest(failures, retryAfterMs);
      failures += 1;
    }
  }

  async #rest(failures: number, retryAfterMs: number | undefined): Promise<void> {
    const pause = new AbortController();
    this.#pause = pause;
    await sleep(this.#idle() ? 3600_000 : delayMs(failures, retryAfterMs), pause.signal);
  }

  /** Nobody looks, or there is no network: until that changes, and then at once. */
  #idle(): boolean {
    return (document.hidden && !this.awake()) || navigator.onLine === false;
  }

  /** Says after which message the stream's end is no fault. */
  endsWith(final: (latest: T | undefined) => boolean): this {
    this.#final = final;
    return this;
  }
}
