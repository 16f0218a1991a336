// A stream that stays: opened again when it breaks, with a pause that grows. Who shares it among the
// tabs of a browser, and whether anybody looks, is shared.ts's business.
import { delayMs, sleep } from "./backoff";
import { stepAfter } from "./advice";
import { type Refusal, refusalOf, refusalOfAddress } from "./refusal";
import { Store } from "./store";

export type Line = "connecting" | "live" | "broken" | "ended";

/** A first message proves that a stream lives; a network that swallows it does not answer at all. */
const FIRST_MESSAGE_MAX_MS = 10_000;
/** Without a network nothing is tried until the browser says that it is back. */
const OFFLINE_MAX_MS = 3600_000;

export class Live<T> {
  readonly latest = new Store<T | undefined>(undefined);
  readonly line = new Store<Line>("connecting");
  /** Why it ended for good. */
  refusal: Refusal | undefined;
  #visit = new AbortController();
  #attempt: AbortController | undefined;
  #pause: AbortController | undefined;
  #left = false;

  /**
   * `open` opens the stream; `final` says after which message its end is no fault.
   */
  constructor(
    private readonly open: (signal: AbortSignal) => AsyncIterable<T>,
    private readonly final: (latest: T | undefined) => boolean = () => false,
  ) {
    const signal = this.#visit.signal;
    addEventListener("online", () => this.#wake(), { signal });
    addEventListener("offline", () => this.#cut(), { signal });
    void this.#run();
  }

  close(): void {
    this.#left = true;
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

  async #run(): Promise<void> {
    for (let failures = 0; !this.#left; failures += 1) {
      const attempt = new AbortController();
      this.#attempt = attempt;
      const late = setTimeout(() => attempt.abort(), FIRST_MESSAGE_MAX_MS);
      let retryAfterMs: number | undefined;
      try {
        for await (const message of this.open(attempt.signal)) {
          clearTimeout(late);
          if (this.#left) return;
          failures = 0;
          this.latest.set(message);
          this.line.set("live");
        }
        // It came to its end: an order that will not change any more, or an edge that stops.
        if (this.final(this.latest.get())) return this.line.set("ended");
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
      this.line.set("broken");
      const pause = new AbortController();
      this.#pause = pause;
      const offline = navigator.onLine === false;
      await sleep(offline ? OFFLINE_MAX_MS : delayMs(failures, retryAfterMs), pause.signal);
    }
  }
}
