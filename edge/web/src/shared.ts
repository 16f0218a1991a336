// One stream for all tabs that look at the same thing. The tab that holds the topic's Web Lock leads:
// it keeps the stream and tells the others over a BroadcastChannel. A tab that nobody looks at lets
// go, and the next one leads; so does it when the leader is closed or dies, because the browser frees
// a dead tab's lock. Not a SharedWorker: the page's policy trusts no script address, and phones had
// none for long.
import type { Line, Live } from "./live";
import type { Refusal } from "./refusal";
import { Store } from "./store";

/** A hidden page keeps its place this long: people look at another tab and come back. */
const HIDDEN_MAX_MS = 3_000;
const PREFIX = "firstcome.watch.";

/** What tabs say to each other. Messages of the contract are plain objects, and cross as they are. */
type Word<T> =
  | { readonly say: "state"; readonly line: Line; readonly latest: T | undefined; readonly refusal: Refusal | undefined }
  /** A tab has come and wants to know. */
  | { readonly say: "hello" }
  /** A tab knows that the stream is dead. */
  | { readonly say: "renew" };

export class Shared<T> {
  readonly latest = new Store<T | undefined>(undefined);
  readonly line = new Store<Line>("connecting");
  /** Why it ended for good. */
  refusal: Refusal | undefined;
  /** This tab leads, or waits to. */
  #place: AbortController | undefined;
  #live: Live<T> | undefined;
  #hiddenTimer: ReturnType<typeof setTimeout> | undefined;
  readonly #visit = new AbortController();
  readonly #tabs: BroadcastChannel | undefined;

  /**
   * `topic` is what is watched, and by whom if it is not for everybody; `start` opens it; `awake`
   * says that it must live in a hidden page too, as while somebody waits for a freed unit.
   */
  constructor(
    private readonly topic: string,
    private readonly start: () => Live<T>,
    private readonly awake: () => boolean = () => false,
  ) {
    if (hasLocks() && typeof BroadcastChannel !== "undefined") {
      this.#tabs = new BroadcastChannel(PREFIX + topic);
      this.#tabs.onmessage = ({ data }: MessageEvent<Word<T>>) => this.#hear(data);
    }
    document.addEventListener("visibilitychange", () => this.#looked(), { signal: this.#visit.signal });
    if (this.#wanted()) this.#want();
  }

  close(): void {
    this.#visit.abort();
    this.#letGo();
    this.#tabs?.close();
  }

  /** Opens it again, because it is known to be dead. */
  renew(): void {
    if (this.#live !== undefined) this.#live.renew();
    else this.#say({ say: "renew" });
  }

  #wanted(): boolean {
    return !document.hidden || this.awake();
  }

  #looked(): void {
    clearTimeout(this.#hiddenTimer);
    if (!document.hidden) return this.#want();
    this.#hiddenTimer = setTimeout(() => this.#wanted() || this.#letGo(), HIDDEN_MAX_MS);
  }

  #want(): void {
    if (this.#place !== undefined) return;
    const place = new AbortController();
    this.#place = place;
    if (this.#tabs === undefined) return void this.#lead(place.signal);
    this.#say({ say: "hello" });
    const { signal } = place;
    // Given up before its turn, it throws.
    void navigator.locks.request(PREFIX + this.topic, { signal }, () => this.#lead(signal)).catch(() => undefined);
  }

  #letGo(): void {
    clearTimeout(this.#hiddenTimer);
    this.#place?.abort();
    this.#place = undefined;
    if (this.line.get() !== "ended") this.line.set("connecting");
  }

  /** Until this tab lets go. */
  async #lead(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const live = this.start();
    this.#live = live;
    const tell = () => {
      // Until the new leader knows better, what the last one said holds.
      if (live.line.get() === "connecting") return;
      this.#show(live.line.get(), live.latest.get() ?? this.latest.get(), live.refusal);
      this.#tellState();
    };
    live.latest.subscribe(tell);
    live.line.subscribe(tell);
    await new Promise<void>((done) => signal.addEventListener("abort", () => done(), { once: true }));
    live.close();
    this.#live = undefined;
  }

  #hear(word: Word<T>): void {
    switch (word.say) {
      case "state":
        if (this.#live === undefined) this.#show(word.line, word.latest, word.refusal);
        break;
      case "hello":
        if (this.#live !== undefined && this.line.get() !== "connecting") this.#tellState();
        break;
      case "renew":
        if (this.#live?.line.get() === "live") this.#live.renew();
    }
  }

  #show(line: Line, latest: T | undefined, refusal: Refusal | undefined): void {
    this.refusal = refusal;
    this.latest.set(latest);
    this.line.set(line);
  }

  #tellState(): void {
    this.#say({ say: "state", line: this.line.get(), latest: this.latest.get(), refusal: this.refusal });
  }

  #say(word: Word<T>): void {
    this.#tabs?.postMessage(word);
  }
}

function hasLocks(): boolean {
  return (globalThis.navigator?.locks as LockManager | undefined) !== undefined;
}
