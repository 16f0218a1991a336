// The rush view: a drop as it sells, for a wall that people read from ten metres away. Only an edge
// in development has what it shows.
import { createClient } from "@connectrpc/connect";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { announce } from "../announce";
import { anybody, catalog, options } from "../api";
import { readProduct, readStock } from "../catalogue";
import { clock } from "../clock";
import { figure } from "../format";
import { RushService, type WatchRushResponse } from "../gen/firstcome/edge/v1/rush_service_pb";
import type { Product } from "../gen/firstcome/inventory/v1/catalog_service_pb";
import { SaleState } from "../gen/firstcome/inventory/v1/stock_service_pb";
import { language } from "../language";
import { Live } from "../live";
import { Countdown, LiveDot, Page, Told, useTick } from "../parts";
import { rationed } from "../ration";
import { Chart } from "../rush/chart";
import { History, type Totals, WINDOW_MS } from "../rush/history";
import { decades, linear } from "../rush/scale";
import "../rush/rush.css";
import { reasonIn, useRushTexts } from "../rush/texts";
import { Shared } from "../shared";
import { useStore } from "../store";
import { useTexts } from "../texts";

/** How often the shop is asked for a newer drop: `rush` schedules one two seconds ahead. */
const LOOK_FOR_DROPS_MS = 1000;
/** A rush's product is the newest; the few before it may have no opening yet. */
const DROPS_LOOKED_THROUGH = 10;
/** A stream that is silent for so long is dead: looks come four times a second. */
const SILENT_MAX_MS = 3000;
/** As often as looks come; people who asked for less motion see a figure change once a second. */
const REDRAW_MS = matchMedia("(prefers-reduced-motion: reduce)").matches ? 1000 : 250;
/** A latency is of calls just answered; after this long it is history. */
const LATENCY_FRESH_MS = 2000;
/** Bars; the other reasons are one. */
const REASONS_SHOWN = 6;
/** Looks at the shop's clock, for the countdown. */
const CLOCK_LOOKS = 3;

const rush = createClient(RushService, anybody);

export function RushPage(props: { productId: string | undefined }) {
  const shop = useTexts();
  const texts = useRushTexts();
  const [history] = useState(() => new History());
  const product = useDrop(props.productId);
  const live = useLooks(product?.productId ?? "", history);
  const line = useStore(live.line);
  useTick(REDRAW_MS);
  useSpoken(line, history);

  if (line === "ended") {
    const isMissing = live.refusal?.reason === "NO_SUCH_METHOD";
    return (
      <Page title={shop.notFoundTitle}>
        {isMissing ? <p>{shop.notFound}</p> : <Told refusal={live.refusal} />}
        <p><a href="/">{shop.backHome}</a></p>
      </Page>
    );
  }
  return (
    <Page title={product?.name ?? texts.title} class="rush">
      <div class="headline">
        <State history={history} />
        <LiveDot line={line} />
      </div>
      <Figures history={history} />
      <Lines history={history} />
      <Reasons totals={history.totals} />
      <p class="note">{history.isWhole ? texts.sinceOpening : texts.sinceStart}</p>
    </Page>
  );
}

/** The product of the address or, without one, the newest that has an opening. */
function useDrop(productId: string | undefined): Product | undefined {
  const [product, setProduct] = useState<Product>();
  useEffect(() => {
    const visit = new AbortController();
    const { signal } = visit;
    const found = (newest: Product | undefined) => {
      if (newest && !signal.aborted) setProduct((known) => (known?.productId === newest.productId ? known : newest));
    };
    async function newest() {
      const { products } = await catalog.listProducts({ pageSize: DROPS_LOOKED_THROUGH }, options(signal));
      found(products.find((product) => product.drop !== undefined));
    }
    if (productId !== undefined) {
      // Its name is all that is wanted; that there is no such product, the stream says.
      readProduct(productId, signal).then(found, () => undefined);
      return () => visit.abort();
    }
    // What cannot be asked now is asked again.
    const look = () => document.hidden || void newest().catch(() => undefined);
    look();
    const timer = setInterval(look, LOOK_FOR_DROPS_MS);
    return () => {
      clearInterval(timer);
      visit.abort();
    };
  }, [productId]);

  const id = product?.productId;
  useEffect(() => {
    const visit = new AbortController();
    void (async () => {
      for (let looks = 0; id && looks < CLOCK_LOOKS && !visit.signal.aborted; looks += 1) {
        await readStock(id, visit.signal).catch(() => undefined);
      }
    })();
    return () => visit.abort();
  }, [id]);
  return product;
}

/** The stream of looks, each of which the history takes in. */
function useLooks(productId: string, history: History): Shared<WatchRushResponse> {
  const live = useMemo(() => {
    const open = (signal: AbortSignal) => rush.watchRush({ productId }, { signal });
    const start = () => new Live((signal) => rationed(open, undefined, signal));
    return new Shared(`rush.${productId}`, start);
  }, [productId]);
  useEffect(() => {
    let heardAt = performance.now();
    const stop = live.latest.subscribe((look) => {
      heardAt = performance.now();
      if (look) history.take(look);
    });
    const timer = setInterval(() => {
      if (live.line.get() === "live" && performance.now() - heardAt > SILENT_MAX_MS) live.renew();
    }, SILENT_MAX_MS);
    return () => {
      stop();
      clearInterval(timer);
      live.close();
    };
  }, [live]);
  return live;
}

/** Says what changed to who does not see it. */
function useSpoken(line: string, history: History) {
  const shop = useTexts();
  const texts = useRushTexts();
  const phase = line === "broken" ? "broken" : phaseOf(history);
  const before = useRef(phase);
  useEffect(() => {
    const was = before.current;
    before.current = phase;
    if (phase === "broken") announce(shop.liveBroken);
    else if (was === "broken") announce(shop.liveHealed);
    else if (phase === "open" && was === "coming") announce(texts.open);
    else if (phase === "soldOut" && was === "open") announce(soldOutWords(history, texts));
  }, [phase]);
}

type Phase = "nothing" | "coming" | "open" | "soldOut" | "closed" | "unscheduled";

function phaseOf({ state, stock, opensAtMs }: History): Phase {
  if (stock === undefined) return "nothing";
  if (state === SaleState.CLOSED) return "closed";
  if (opensAtMs === undefined) return "unscheduled";
  // The shop's word that it is open comes with the next look; its clock is known here.
  if (state === SaleState.NOT_OPEN && clock.now() < opensAtMs) return "coming";
  return stock.available === 0 ? "soldOut" : "open";
}

function soldOutWords(history: History, texts: ReturnType<typeof useRushTexts>): string {
  const after = history.soldOutAfterMs;
  return after === undefined ? texts.soldOut : texts.soldOutAt((after / 1000).toFixed(1));
}

function State(props: { history: History }) {
  const texts = useRushTexts();
  const { history } = props;
  const phase = phaseOf(history);
  const opensAtMs = history.opensAtMs ?? 0;
  if (phase === "coming") {
    return <div class="state coming"><Countdown key={opensAtMs} untilMs={opensAtMs} label={texts.opensIn} /></div>;
  }
  if (phase === "open") {
    const elapsed = `+${Math.max(0, (clock.now() - opensAtMs) / 1000).toFixed(1)} s`;
    return <p class="state open">{texts.open} <span class="elapsed">{elapsed}</span></p>;
  }
  if (phase === "soldOut") {
    const isOver = history.stock?.held === 0;
    return <p class="state gone">{soldOutWords(history, texts)}{isOver && ` · ${texts.allSold}`}</p>;
  }
  return <p class="state">{texts[phase]}</p>;
}

function Figures(props: { history: History }) {
  const texts = useRushTexts();
  const { history } = props;
  const { stock, latency, totals } = history;
  const isFresh = history.nowMs - history.latencyAtMs < LATENCY_FRESH_MS;
  const span = (value: number) => spanWords(value, texts);
  return (
    <dl class="figures">
      <div class="figure units">
        <dt>{texts.left}</dt>
        <dd>
          <strong>{stock ? figure(stock.available) : "–"}</strong>
          {stock && (
            <span>
              {texts.ofTotal(figure(stock.total))} · {figure(stock.held)} {texts.held} · {figure(stock.sold)} {texts.sold}
            </span>
          )}
        </dd>
      </div>
      <div class="figure admitted">
        <dt>{texts.admittedPerS}</dt>
        <dd>
          <strong>{figure(history.admittedPerS)}</strong>
          <span>{texts.inAll} {figure(totals.admitted)} · {texts.peak} {figure(history.peakAdmittedPerS)}</span>
        </dd>
      </div>
      <div class="figure refused">
        <dt>{texts.refusedPerS}</dt>
        <dd>
          <strong>{figure(history.refusedPerS)}</strong>
          <span>{texts.inAll} {figure(totals.refused)} · {texts.peak} {figure(history.peakRefusedPerS)}</span>
        </dd>
      </div>
      <div class={isFresh ? "figure latency" : "figure latency stale"}>
        <dt>{texts.latency}</dt>
        <dd>
          <strong>{latency ? span(latency.p99) : "–"}</strong>
          <span>
            {latency && `p50 ${span(latency.p50)} · p95 ${span(latency.p95)} · ${texts.max} ${span(latency.max)} · `}
            {figure(history.inFlight)} {texts.waiting}
          </span>
        </dd>
      </div>
    </dl>
  );
}

/** Milliseconds as they are read from afar: never more than three digits and a point. */
function spanWords(ms: number, texts: ReturnType<typeof useRushTexts>): string {
  if (ms >= 1000) return texts.seconds(figure(ms / 1000, 1));
  return texts.ms(figure(ms, ms < 10 ? 1 : 0));
}

function Lines(props: { history: History }) {
  const texts = useRushTexts();
  const { history } = props;
  const { points, nowMs } = history;
  const most = (of: (point: History["points"][0]) => number) => points.reduce((top, point) => Math.max(top, of(point)), 0);
  const marks = [];
  if (history.opensAtMs !== undefined) {
    marks.push({ atMs: history.opensAtMs, name: texts.opening });
    if (history.soldOutAfterMs !== undefined) {
      marks.push({ atMs: history.opensAtMs + history.soldOutAfterMs, name: texts.soldOut });
    }
  }
  const said = (name: string, now: number, peak: number) => texts.summary(name, figure(now), figure(peak));
  const stocked = points.filter((point) => point.stock !== undefined);
  const units = (of: "available" | "held" | "sold") =>
    stocked.map((point) => [point.atMs, point.stock?.[of] ?? 0] as const);
  const shared = {
    marks,
    nowMs,
    windowMs: WINDOW_MS,
    told: (value: number) => figure(value),
    began: texts.secondsAgo(WINDOW_MS / 1000),
    now: texts.now,
  };
  return (
    <div class="charts">
      <Chart
        {...shared}
        title={texts.ratesChart}
        summary={[
          `${texts.ratesChart}, ${texts.lastMinute}`,
          said(texts.admitted, history.admittedPerS, most((point) => point.admittedPerS)),
          said(texts.refused, history.refusedPerS, most((point) => point.refusedPerS)),
        ].join(". ")}
        lines={[
          { name: texts.admitted, look: "first", points: points.map((point) => [point.atMs, point.admittedPerS]) },
          { name: texts.refused, look: "second", points: points.map((point) => [point.atMs, point.refusedPerS]) },
        ]}
        scale={decades(most((point) => Math.max(point.admittedPerS, point.refusedPerS)))}
      />
      <Chart
        {...shared}
        title={texts.stockChart}
        summary={[
          `${texts.stockChart}, ${texts.lastMinute}`,
          ...(["available", "held", "sold"] as const).map((of) =>
            said(texts[of], history.stock?.[of] ?? 0, most((point) => point.stock?.[of] ?? 0)),
          ),
        ].join(". ")}
        lines={[
          { name: texts.available, look: "first", points: units("available") },
          { name: texts.held, look: "second", points: units("held") },
          { name: texts.sold, look: "third", points: units("sold") },
        ]}
        scale={linear(history.stock?.total ?? 0)}
      />
    </div>
  );
}

function Reasons(props: { totals: Totals }) {
  const texts = useRushTexts();
  const spoken = useStore(language);
  const { byReason, left } = props.totals;
  const bars = byReason.slice(0, REASONS_SHOWN).map(([reason, count]) => ({ name: reasonIn(spoken, reason), count }));
  const others = byReason.slice(REASONS_SHOWN).reduce((all, [, count]) => all + count, 0);
  if (others > 0) bars.push({ name: texts.others, count: others });
  const most = Math.max(...bars.map(({ count }) => count), 1);
  return (
    <section class="reasons" aria-labelledby="reasons">
      <h2 id="reasons">{texts.reasons}</h2>
      {bars.length === 0 && <p class="note">{texts.noRefusals}</p>}
      <ul>
        {bars.map(({ name, count }) => (
          <li key={name}>
            <span class="name">{name}</span>
            <span class="count">{figure(count)}</span>
            <svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">
              <rect class="room" width="100" height="1" />
              <rect class="bar" width={Math.max(0.5, (100 * count) / most)} height="1" />
            </svg>
          </li>
        ))}
      </ul>
      {left > 0 && <p class="note">{texts.hungUp(figure(left))}</p>}
    </section>
  );
}
