// One purchase, from the press of the button to an order or the refusal that ends it. The key lives
// in the drawer all the while, so another page, another tab or another day goes on with it.
import { stepAfter } from "./advice";
import { delayMs, sleep } from "./backoff";
import type { Order } from "./gen/firstcome/order/v1/order_service_pb";
import type { Keys } from "./keys";
import { holdsOpen, opensAtMs, type Refusal, refusalOf } from "./refusal";
import { Store } from "./store";

export type Stage =
  | { readonly at: "rest" }
  | { readonly at: "asking" }
  | { readonly at: "waiting-for-opening"; readonly opensAtMs: number }
  /** A wait that the server asked for, or the network needs. */
  | { readonly at: "pausing"; readonly refusal: Refusal }
  /** Sold out, and units are held that may come back. */
  | { readonly at: "watching"; readonly holdsOpen: number }
  /** Long without an answer. The key is kept, so that pressing again cannot buy twice. */
  | { readonly at: "unknown"; readonly refusal: Refusal }
  | { readonly at: "refused"; readonly refusal: Refusal }
  | { readonly at: "held"; readonly order: Order };

export interface World {
  readonly keys: Keys;
  /** PlaceOrder; throws what the call throws. */
  place(key: string, signal: AbortSignal): Promise<Order>;
  /** The server's clock. */
  now(): number;
  random?(): number;
  sleep?(ms: number, signal: AbortSignal): Promise<void>;
}

/** Refusals and lost answers in a row, before the buyer is asked to press again. */
const TRIES_MAX = 12;
/** A press that a reload interrupted goes on by itself for this long; later the buyer is asked. */
export const RESUME_MAX_MS = 3 * 60_000;
/** A clock that is a little fast asks a little early; then the shop says so, and we ask again. */
const EARLY_PAUSE_MS = 60;

export class Purchase {
  readonly stage = new Store<Stage>({ at: "rest" });
  #running: AbortController | undefined;

  constructor(
    private readonly slot: string,
    private readonly world: World,
  ) {}

  /** Whether an earlier press still waits for its answer, and since when. */
  pendingSince(): number | undefined {
    return this.world.keys.peek(this.slot)?.sinceMs;
  }

  /** The button. A second press while the first is under way is the first. */
  press(): void {
    if (this.#running !== undefined) return;
    const running = new AbortController();
    this.#running = running;
    void this.#run(running.signal).finally(() => {
      if (this.#running === running) this.#running = undefined;
    });
  }

  /** The buyer leaves the page. The key stays. */
  leave(): void {
    this.#running?.abort();
    this.#running = undefined;
  }

  /** The buyer does not want to wait for the opening. Nothing was placed, so the key may go. */
  giveUp(): void {
    const waits = this.stage.get().at === "waiting-for-opening";
    this.leave();
    if (waits) this.world.keys.abandon(this.slot);
    this.stage.set({ at: "rest" });
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { keys } = this.world;
    const wait = this.world.sleep ?? sleep;
    // One key for the whole run, also when another tab has had the answer meanwhile and dropped it:
    // asked for again, it gives the same order.
    let { key } = keys.take(this.slot);
    let renewed = false;
    for (let tries = 0; tries < TRIES_MAX && !signal.aborted; ) {
      if (this.stage.get().at !== "pausing") this.stage.set({ at: "asking" });
      let refusal: Refusal;
      try {
        const order = await this.world.place(key, signal);
        // Nobody is here to see it: the key stays, and finds the order when the buyer is back.
        if (signal.aborted) return;
        keys.drop(this.slot, key);
        return this.stage.set({ at: "held", order });
      } catch (thrown) {
        if (signal.aborted) return;
        refusal = refusalOf(thrown);
      }
      switch (stepAfter(refusal)) {
        case "wait-for-opening": {
          tries = 0;
          await this.#untilOpening(opensAtMs(refusal), wait, signal);
          if (keys.isAbandoned(this.slot, key)) return this.stage.set({ at: "rest" });
          continue;
        }
        case "retry":
        case "refresh": {
          const pause = delayMs(tries, refusal.retryAfterMs, this.world.random);
          tries += 1;
          this.stage.set({ at: "pausing", refusal });
          if (tries < TRIES_MAX) await wait(pause, signal);
          else this.stage.set({ at: "unknown", refusal });
          continue;
        }
        case "new-key": {
          // The key stands for another purchase; it cannot have bought this one.
          keys.drop(this.slot, key);
          if (!renewed) {
            renewed = true;
            ({ key } = keys.take(this.slot));
            continue;
          }
          break;
        }
        case "log-in":
          // The answer of an earlier try may still be unknown: the key waits for the log-in.
          break;
        case "watch-stock": {
          keys.drop(this.slot, key);
          const open = holdsOpen(refusal);
          if (open > 0) return this.stage.set({ at: "watching", holdsOpen: open });
          break;
        }
        default:
          // What stands between may refuse a call whose like has bought before.
          if (!refusal.isBare) keys.drop(this.slot, key);
      }
      return this.stage.set({ at: "refused", refusal });
    }
  }

  async #untilOpening(
    opens: number,
    wait: (ms: number, signal: AbortSignal) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const left = () => (Number.isNaN(opens) ? 1000 : opens - this.world.now());
    this.stage.set({ at: "waiting-for-opening", opensAtMs: opens });
    if (left() <= 0) return wait(EARLY_PAUSE_MS, signal);
    // In steps: the clock is measured anew meanwhile, and a sleeping laptop stops its timers.
    while (left() > 0 && !signal.aborted) {
      await wait(Math.min(left(), 5_000), signal);
      if (Number.isNaN(opens)) return;
    }
  }
}
