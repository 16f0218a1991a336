// What the rush view remembers of the looks that came: enough for a minute of lines, the totals of
// one drop, and the highest figures. It draws nothing and knows no clock but the looks' own.
import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";

import { ms } from "../format";
import type { RushCounts, RushLatency, RushStock, WatchRushResponse } from "../gen/firstcome/edge/v1/rush_service_pb";
import { Reason } from "../gen/firstcome/error/v1/refusal_pb";
import { SaleState } from "../gen/firstcome/inventory/v1/stock_service_pb";

/** What the lines show. */
export const WINDOW_MS = 60_000;
/** A figure "per second" is of the last second: one look alone is too nervous to be read. */
const SECOND_MS = 1000;

/** One look, as the lines need it. */
export interface Point {
  readonly atMs: number;
  readonly admittedPerS: number;
  readonly refusedPerS: number;
  readonly stock?: Units;
}

export interface Units {
  readonly total: number;
  readonly available: number;
  readonly held: number;
  readonly sold: number;
}

export interface Totals {
  readonly admitted: number;
  readonly refused: number;
  readonly left: number;
  /** Most frequent first. */
  readonly byReason: readonly (readonly [keyof typeof Reason, number])[];
}

/** Milliseconds. */
export interface Latency {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

interface Arrival {
  readonly atMs: number;
  readonly spanMs: number;
  readonly admitted: number;
  readonly refused: number;
}

export class History {
  points: Point[] = [];
  stock: Units | undefined;
  state = SaleState.UNSPECIFIED;
  opensAtMs: number | undefined;
  /** From the opening until the last unit went, in milliseconds. */
  soldOutAfterMs: number | undefined;
  latency: Latency | undefined;
  latencyAtMs = 0;
  inFlight = 0;
  peakAdmittedPerS = 0;
  peakRefusedPerS = 0;
  /** The looks began before this drop opened, so that the totals are this drop's. */
  isWhole = false;
  nowMs = 0;
  #arrivals: Arrival[] = [];
  #now: RushCounts | undefined;
  #before: RushCounts | undefined;
  #productId = "";

  take(look: WatchRushResponse): void {
    const nowMs = ms(look.readTime) ?? this.nowMs;
    if (nowMs < this.nowMs) this.#setBack();
    this.nowMs = nowMs;
    const spanMs = look.interval ? durationMs(look.interval) : 0;
    const interval = look.inInterval;
    if (interval !== undefined && spanMs > 0) {
      const refused = sum(interval);
      this.#arrivals.push({ atMs: this.nowMs, spanMs, admitted: Number(interval.admitted), refused });
    }
    const fresh = (entry: { atMs: number }, ageMs: number) => entry.atMs > this.nowMs - ageMs;
    this.#arrivals = this.#arrivals.filter((arrival) => fresh(arrival, SECOND_MS));
    // An edge that started anew counts from nothing.
    if (this.#now && look.sinceStart && look.sinceStart.admitted < this.#now.admitted) this.#before = undefined;
    this.#now = look.sinceStart;
    if (look.stock) this.#heed(look.stock);
    if (look.latency) {
      this.latency = latencyOf(look.latency);
      this.latencyAtMs = this.nowMs;
    }
    this.inFlight = Number(look.inFlight);

    const { admittedPerS, refusedPerS } = this;
    this.peakAdmittedPerS = Math.max(this.peakAdmittedPerS, admittedPerS);
    this.peakRefusedPerS = Math.max(this.peakRefusedPerS, refusedPerS);
    this.points = this.points.filter((point) => fresh(point, WINDOW_MS));
    this.points.push({ atMs: this.nowMs, admittedPerS, refusedPerS, ...(this.stock && { stock: this.stock }) });
  }

  get admittedPerS(): number {
    return this.#perS((arrival) => arrival.admitted);
  }

  get refusedPerS(): number {
    return this.#perS((arrival) => arrival.refused);
  }

  /** What was told in this drop or, when it was already open, since the edge started. */
  get totals(): Totals {
    const before = this.isWhole ? this.#before : undefined;
    const counts = new Map<Reason, number>();
    for (const { reason, count } of this.#now?.refused ?? []) counts.set(reason, Number(count));
    for (const { reason, count } of before?.refused ?? []) {
      counts.set(reason, (counts.get(reason) ?? 0) - Number(count));
    }
    const byReason = [...counts]
      .filter(([, count]) => count > 0)
      .sort(([, a], [, b]) => b - a)
      .map(([reason, count]) => [(Reason[reason] ?? "UNSPECIFIED") as keyof typeof Reason, count] as const);
    return {
      admitted: Number((this.#now?.admitted ?? 0n) - (before?.admitted ?? 0n)),
      refused: byReason.reduce((all, [, count]) => all + count, 0),
      left: Number((this.#now?.left ?? 0n) - (before?.left ?? 0n)),
      byReason,
    };
  }

  /** The shop's clock was set: what stands ahead of it would never leave. */
  #setBack(): void {
    this.points = [];
    this.#arrivals = [];
    this.latencyAtMs = 0;
  }

  #perS(of: (arrival: Arrival) => number): number {
    let [count, spanMs] = [0, 0];
    for (const arrival of this.#arrivals) {
      count += of(arrival);
      spanMs += arrival.spanMs;
    }
    return spanMs > 0 ? (count * 1000) / spanMs : 0;
  }

  #heed(stock: RushStock): void {
    const opensAtMs = ms(stock.opensAt);
    if (stock.productId !== this.#productId || opensAtMs !== this.opensAtMs) {
      this.#productId = stock.productId;
      this.opensAtMs = opensAtMs;
      this.soldOutAfterMs = undefined;
      // Its units were others.
      this.points = this.points.map(({ stock: _, ...point }) => point);
      this.latency = undefined;
      this.peakAdmittedPerS = 0;
      this.peakRefusedPerS = 0;
      this.#before = this.#now;
      this.isWhole = stock.state === SaleState.NOT_OPEN || stock.state === SaleState.UNSCHEDULED;
    }
    this.state = stock.state;
    this.stock = {
      total: Number(stock.total),
      available: Number(stock.available),
      held: Number(stock.held),
      sold: Number(stock.sold),
    };
    if (stock.soldOutAfter) this.soldOutAfterMs ??= durationMs(stock.soldOutAfter);
  }
}

function sum(counts: RushCounts): number {
  return counts.refused.reduce((all, { count }) => all + Number(count), 0);
}

function latencyOf(latency: RushLatency): Latency {
  const of = (name: "p50" | "p95" | "p99" | "max") => fineMs(latency[name]);
  return { p50: of("p50"), p95: of("p95"), p99: of("p99"), max: of("max") };
}

/** With what is less than a millisecond: half a refusal's time is. */
function fineMs(span: Duration | undefined): number {
  return span === undefined ? 0 : Number(span.seconds) * 1000 + span.nanos / 1e6;
}
