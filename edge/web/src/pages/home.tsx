// Running and coming drops.
import { useEffect, useState } from "preact/hooks";

import { catalog, options, persist } from "../api";
import { type Phase, phaseOf, readStock } from "../catalogue";
import { moment, money, ms } from "../format";
import type { Product } from "../gen/firstcome/inventory/v1/catalog_service_pb";
import { StockBadge } from "../gen/firstcome/inventory/v1/stock_service_pb";
import { ClockNote, Countdown, Page, Told, useTick } from "../parts";
import { type Refusal, refusalOf } from "../refusal";
import { Sneaker } from "../sneaker";
import { useTexts } from "../texts";

/** Badges are at most a second old where they come from; a page that is only looked at asks less. */
const REFRESH_MS = 10_000;
const PAGE_SIZE = 24;

export function Home() {
  const texts = useTexts();
  const { products, more, refusal, again } = useProducts();
  useTick(1000);
  const groups: [Phase, string][] = [
    ["running", texts.running],
    ["coming", texts.coming],
    ["later", texts.later],
    ["over", texts.over],
  ];
  const coming = products?.some((product) => phaseOf(product) === "coming");
  return (
    <Page title={texts.homeTitle} lead={texts.homeLead} class="wide">
      <Told refusal={products ? undefined : refusal}>
        <button type="button" onClick={again}>{texts.tryAgain}</button>
      </Told>
      {products === undefined && refusal === undefined && <p class="loading">{texts.loading}</p>}
      {products?.length === 0 && <p>{texts.none}</p>}
      {groups.map(([phase, title]) => {
        const here = (products ?? []).filter((product) => phaseOf(product) === phase);
        if (here.length === 0) return null;
        // What can be had stands before what cannot.
        if (phase === "running") here.sort((a, b) => Number(soldOut(a)) - Number(soldOut(b)));
        if (phase === "coming") here.sort((a, b) => (ms(a.drop?.opensAt) ?? 0) - (ms(b.drop?.opensAt) ?? 0));
        return (
          <section aria-labelledby={`drops-${phase}`} key={phase}>
            <h2 id={`drops-${phase}`}>{title}</h2>
            <ul class="cards">
              {here.map((product) => <Card key={product.productId} product={product} phase={phase} />)}
            </ul>
          </section>
        );
      })}
      {more && <button type="button" onClick={more}>{texts.more}</button>}
      {coming && <ClockNote />}
    </Page>
  );
}

const soldOut = (product: Product) => product.badge === StockBadge.SOLD_OUT;

function Card(props: { product: Product; phase: Phase }) {
  const texts = useTexts();
  const { product, phase } = props;
  const prices = product.skus.map((sku) => sku.price).filter((price) => price !== undefined);
  const least = prices.reduce<(typeof prices)[0] | undefined>(
    (least, price) => (least === undefined || price.amountMinor < least.amountMinor ? price : least),
    undefined,
  );
  const several = prices.some((price) => price.amountMinor !== least?.amountMinor);
  const opens = ms(product.drop?.opensAt);
  const spent = phase === "over" || (phase === "running" && soldOut(product));
  return (
    <li class="card">
      <Sneaker seed={product.productId} hint={product.skus[0]?.color || product.skus[0]?.label} spent={spent} />
      <h3><a href={`/products/${product.productId}`}>{product.name}</a></h3>
      <p class="price">{several ? texts.from(money(least)) : money(least)}</p>
      {phase === "running" && <Badge badge={product.badge} />}
      {phase === "coming" && opens !== undefined && (
        <>
          <p class="when">{texts.opensAt(moment(product.drop?.opensAt))}</p>
          <Countdown untilMs={opens} label={texts.opensIn} />
        </>
      )}
    </li>
  );
}

function Badge(props: { badge: StockBadge }) {
  const texts = useTexts();
  switch (props.badge) {
    case StockBadge.SOLD_OUT:
      return <span class="chip over">{texts.badgeSoldOut}</span>;
    case StockBadge.UNDER_TEN:
      return <span class="chip wait">{texts.badgeFew}</span>;
    case StockBadge.TEN_OR_MORE:
      return <span class="chip good">{texts.badgeMany}</span>;
    default:
      return null;
  }
}

function useProducts() {
  const [pages, setPages] = useState(1);
  const [round, setRound] = useState(0);
  const [products, setProducts] = useState<readonly Product[]>();
  const [hasMore, setHasMore] = useState(false);
  const [refusal, setRefusal] = useState<Refusal>();

  useEffect(() => {
    const visit = new AbortController();
    const { signal } = visit;
    async function read() {
      const found: Product[] = [];
      let pageToken = "";
      for (let page = 0; page < pages; page += 1) {
        const request = { pageSize: PAGE_SIZE, pageToken };
        const answer = await persist(() => catalog.listProducts(request, options(signal)), signal);
        found.push(...answer.products);
        pageToken = answer.nextPageToken;
        if (pageToken === "") break;
      }
      if (signal.aborted) return;
      setProducts(found);
      setHasMore(pageToken !== "");
      setRefusal(undefined);
      // Three looks at the shop's clock, for the countdowns.
      const first = found.find((product) => phaseOf(product) === "coming");
      for (let look = 0; first && look < 3 && !signal.aborted; look += 1) {
        await readStock(first.productId, signal).catch(() => undefined);
      }
    }
    const refresh = () => {
      if (document.hidden) return;
      read().catch((thrown) => signal.aborted || setRefusal(refusalOf(thrown)));
    };
    refresh();
    const timer = setInterval(refresh, REFRESH_MS);
    document.addEventListener("visibilitychange", refresh, { signal });
    return () => {
      clearInterval(timer);
      visit.abort();
    };
  }, [pages, round]);

  return {
    products,
    refusal,
    more: hasMore ? () => setPages((count) => count + 1) : undefined,
    again: () => {
      setRefusal(undefined);
      setRound((count) => count + 1);
    },
  };
}
