// The server's clock, seen from here. Countdowns count by it: a visitor's own clock may be minutes
// off, and a drop opens by the shop's.
//
// Each exchange says that at some moment between question and answer the server's clock stood at a
// given time (a `date` header: within a given second). So the offset lies in an interval, and the
// intervals of several exchanges lie over each other: what they share is what we know.

/** What we know of the server's clock. */
export interface Reading {
  /** Add it to the local clock. */
  readonly offsetMs: number;
  /** The true offset is at most this far away. */
  readonly errorMs: number;
}

interface Interval {
  readonly low: number;
  readonly high: number;
  readonly at: number;
}

/** What is older says little: clocks drift, and a visitor may set theirs. */
const SAMPLE_AGE_MAX_MS = 10 * 60_000;
const SAMPLES_MAX = 64;

export class Clock {
  #samples: Interval[] = [];

  constructor(private readonly local: () => number = () => Date.now()) {}

  /** An answer carried the server's time, exact to `precisionMs` (it is not earlier than said). */
  sample(serverMs: number, sentMs: number, receivedMs: number, precisionMs = 1): void {
    if (!(receivedMs >= sentMs) || !Number.isFinite(serverMs)) return;
    const interval = {
      low: serverMs - receivedMs,
      high: serverMs + precisionMs - sentMs,
      at: receivedMs,
    };
    const fresh = (other: Interval) => Math.abs(receivedMs - other.at) < SAMPLE_AGE_MAX_MS;
    this.#samples = [...this.#samples.filter(fresh), interval].slice(-SAMPLES_MAX);
    // One that contradicts the newest is of another time: the visitor's clock has been set.
    const agrees = (other: Interval) => other.low <= interval.high && other.high >= interval.low;
    this.#samples = this.#samples.filter(agrees);
  }

  /** A `date` header: whole seconds. */
  sampleDate(date: string | null, sentMs: number, receivedMs: number): void {
    if (date !== null) this.sample(Date.parse(date), sentMs, receivedMs, 1000);
  }

  /** What all samples agree on, or undefined before the first. */
  reading(): Reading | undefined {
    if (this.#samples.length === 0) return undefined;
    let low = Math.max(...this.#samples.map((sample) => sample.low));
    let high = Math.min(...this.#samples.map((sample) => sample.high));
    // Pairs agree with the newest but perhaps not with each other; then the truth is between.
    if (low > high) [low, high] = [high, low];
    return { offsetMs: Math.round((low + high) / 2), errorMs: Math.ceil((high - low) / 2) };
  }

  /** The server's time now; the local one until something is known. */
  now(): number {
    return this.local() + (this.reading()?.offsetMs ?? 0);
  }
}

/** The one of this page. */
export const clock = new Clock();
