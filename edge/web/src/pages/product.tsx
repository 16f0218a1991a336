// One product: variants, live stock, countdown, and the button.
import { create } from "@bufbuild/protobuf";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { announce } from "../announce";
import { mine, options, persist, session, stocks } from "../api";
import { phaseOf, readProduct, readStock } from "../catalogue";
import { chest, keys } from "../chest";
import { clock } from "../clock";
import { duration, moment, money, ms } from "../format";
import { type Product, ProductStatus, type Sku } from "../gen/firstcome/inventory/v1/catalog_service_pb";
import { type SkuStock, type WatchStockResponse, WatchStockResponseSchema } from "../gen/firstcome/inventory/v1/stock_service_pb";
import { newKey } from "../keys";
import { Live } from "../live";
import { ClockNote, Countdown, LiveDot, Page, Told } from "../parts";
import { rationed } from "../ration";
import { type Refusal, refusalOf, refusalOfAddress } from "../refusal";
import { logInPath, go } from "../route";
import { Shared } from "../shared";
import { Sneaker } from "../sneaker";
import { useStore } from "../store";
import { useTexts } from "../texts";
import { BuyPanel } from "./buy";

/** Looks at the shop's clock: some at once, because the best of several is much better than one. */
const CLOCK_LOOKS = 5;
/** Then one now and then; it also finds a stream that died without a word. */
const CHECK_MS = 30_000;

export function ProductPage(props: { id: string }) {
  const texts = useTexts();
  const [product, setProduct] = useState<Product>();
  const [refusal, setRefusal] = useState<Refusal>();
  const [round, setRound] = useState(0);
  useEffect(() => {
    const visit = new AbortController();
    readProduct(props.id, visit.signal)
      .then(setProduct)
      .catch((thrown) => visit.signal.aborted || setRefusal(refusalOfAddress(thrown)));
    return () => visit.abort();
  }, [props.id, round]);

  if (product !== undefined) return <Goods product={product} reload={() => setRound((n) => n + 1)} />;
  return (
    <Page title={refusal ? texts.notFoundTitle : texts.loading}>
      <Told refusal={refusal}>
        <p><a href="/">{texts.backHome}</a></p>
      </Told>
    </Page>
  );
}

function Goods(props: { product: Product; reload: () => void }) {
  const texts = useTexts();
  const { product } = props;
  const [skuId, setSkuId] = useState(() => firstChoice(product));
  const sku = product.skus.find((sku) => sku.skuId === skuId) ?? product.skus[0];
  const awake = useRef(false);
  const live = useLive(product.productId, awake);
  const stock = useStore(live.latest)?.stock;
  const line = useStore(live.line);
  const mineLeft = stock?.skus.find((entry) => entry.skuId === sku?.skuId);
  const [, redraw] = useState(0);
  const phase = phaseOf(product);
  const opens = ms(product.drop?.opensAt);
  // A drop that is moved while the page is open moves here too.
  const moved = stock !== undefined && ms(stock.opensAt) !== opens;
  useEffect(() => {
    if (!moved) return;
    // Until the catalogue, which may be a second old, says it too.
    const timer = setInterval(props.reload, 1000);
    return () => clearInterval(timer);
  }, [moved]);
  const gone = product.status === ProductStatus.DISCONTINUED;

  useEffect(() => {
    chest.setItem(`firstcome.choice.${product.productId}`, skuId);
  }, [skuId]);
  useSpokenLine(line);
  useSpokenOpening(opens);

  return (
    <Page title={product.name} class="product">
      <div class="picture">
        <Sneaker seed={product.productId} hint={sku?.color || sku?.label} spent={mineLeft?.available === 0} />
        <Likes product={product} />
      </div>
      <div class="about">
        <p class="price big">{money(sku?.price)}</p>
        {product.description && <p class="description">{product.description}</p>}
        <ul class="facts">
          {product.drop && product.drop.limitPerBuyer > 0 && <li>{texts.limit(product.drop.limitPerBuyer)}</li>}
          {product.drop?.holdTtl && <li>{texts.holdFor(duration(Number(product.drop.holdTtl.seconds)))}</li>}
          {product.drop?.closesAt && <li>{texts.until(moment(product.drop.closesAt))}</li>}
        </ul>
        <Variants product={product} chosen={sku?.skuId} choose={setSkuId} left={stock?.skus ?? []} />
        <StockLine left={phase === "running" ? mineLeft : undefined} shown={phase === "running"} />
        <LiveDot line={line} />
        {phase === "coming" && opens !== undefined && (
          <div class="opening">
            <p class="when">{texts.opensAt(moment(product.drop?.opensAt))}</p>
            <Countdown untilMs={opens} label={texts.opensIn} onEnd={() => redraw((n) => n + 1)} />
            <ClockNote />
          </div>
        )}
        {gone || sku === undefined ? (
          <p class="told">{texts.discontinued}</p>
        ) : (
          <BuyPanel key={sku.skuId} product={product} sku={sku} phase={phase} left={mineLeft} awake={awake} keys={keys} />
        )}
        {sku && !gone && <Keep product={product} sku={sku} />}
      </div>
    </Page>
  );
}

/** What the buyer looked at last, so that a reload does not change it. */
function firstChoice(product: Product): string {
  const kept = chest.getItem(`firstcome.choice.${product.productId}`);
  return product.skus.find((sku) => sku.skuId === kept)?.skuId ?? product.skus[0]?.skuId ?? "";
}

function watchStock(productId: string): Live<WatchStockResponse> {
  const ask = async (signal: AbortSignal) => {
    const { stock } = await stocks.getStock({ productId }, options(signal));
    return create(WatchStockResponseSchema, stock && { stock });
  };
  const open = (signal: AbortSignal) => stocks.watchStock({ productId }, { signal });
  return new Live((signal) => rationed(open, ask, signal));
}

function useLive(productId: string, awake: { current: boolean }): Shared<WatchStockResponse> {
  const live = useMemo(
    () => new Shared(`stock.${productId}`, () => watchStock(productId), () => awake.current),
    [productId],
  );
  useEffect(() => {
    const visit = new AbortController();
    const { signal } = visit;
    async function look() {
      const stock = await readStock(productId, signal).catch(() => undefined);
      if (signal.aborted) return;
      // The shop cannot be reached while the stream says that all is well: the stream is dead too.
      if (stock === undefined && live.line.get() === "live") live.renew();
    }
    void (async () => {
      for (let looks = 0; looks < CLOCK_LOOKS && !signal.aborted; looks += 1) await look();
    })();
    const timer = setInterval(() => document.hidden || void look(), CHECK_MS);
    return () => {
      clearInterval(timer);
      visit.abort();
      live.close();
    };
  }, [live]);
  return live;
}

/** Says that the live view broke, and that it healed; not that it began. */
function useSpokenLine(line: string) {
  const texts = useTexts();
  const before = useRef(line);
  useEffect(() => {
    if (line === "broken" && before.current === "live") announce(texts.liveBroken);
    if (line === "live" && before.current === "broken") announce(texts.liveHealed);
    before.current = line;
  }, [line]);
}

/** Says the opening to who does not see the countdown. */
function useSpokenOpening(opens: number | undefined) {
  const texts = useTexts();
  useEffect(() => {
    if (opens === undefined) return;
    const marks: [number, string][] = [[60_000, texts.announceMinute], [10_000, texts.announceTen], [0, texts.announceOpen]];
    const timers = marks.map(([before, words]) => {
      const left = opens - before - clock.now();
      // A timer holds 24 days; a page that is open longer says nothing.
      return left > 0 && left < 2 ** 31 ? setTimeout(() => announce(words), left) : undefined;
    });
    return () => timers.forEach((timer) => clearTimeout(timer));
  }, [opens, texts]);
}

function Variants(props: {
  product: Product;
  chosen: string | undefined;
  choose: (skuId: string) => void;
  left: readonly SkuStock[];
}) {
  const texts = useTexts();
  if (props.product.skus.length < 2) return <p class="single">{props.product.skus[0]?.label}</p>;
  return (
    <fieldset class="variants">
      <legend>{texts.variant}</legend>
      {props.product.skus.map((sku: Sku) => {
        const out = props.left.find((entry) => entry.skuId === sku.skuId)?.available === 0;
        return (
          <label key={sku.skuId} class={out ? "variant out" : "variant"}>
            <input
              type="radio"
              name="variant"
              value={sku.skuId}
              checked={sku.skuId === props.chosen}
              onChange={() => props.choose(sku.skuId)}
            />
            <span>{sku.label}{out && phaseOf(props.product) === "running" ? ` · ${texts.badgeSoldOut}` : ""}</span>
          </label>
        );
      })}
    </fieldset>
  );
}

function StockLine(props: { left: SkuStock | undefined; shown: boolean }) {
  const texts = useTexts();
  const { left } = props;
  const spoken = useRef<boolean | undefined>(undefined);
  const out = left === undefined ? undefined : left.available === 0;
  // Each sale would be a sentence; only the two that change what a buyer can do are said.
  useEffect(() => {
    if (out === undefined) return;
    if (spoken.current !== undefined && spoken.current !== out) announce(out ? texts.badgeSoldOut : texts.badgeFew);
    spoken.current = out;
  }, [out]);
  if (!props.shown) return null;
  // Each line has its place before it has words: nothing that comes moves the button away from under
  // a finger.
  const words = left === undefined ? texts.stockUnknown : texts.stockLeft(left.available, left.total);
  const held = left !== undefined && left.holdsOpen > 0 && texts.stockHeld(left.holdsOpen);
  return (
    <div class="stock">
      <p><strong>{words}</strong></p>
      <meter min={0} max={Math.max(left?.total ?? 0, 1)} value={left?.available ?? 0} aria-label={words} />
      <p class="note">{held}</p>
    </div>
  );
}

function Likes(props: { product: Product }) {
  const texts = useTexts();
  const user = useStore(session.user);
  // The shop tells the count and not whose; what this browser liked is kept here.
  const kept = `firstcome.liked.${user}.${props.product.productId}`;
  const [liked, setLiked] = useState(() => user !== undefined && chest.getItem(kept) !== null);
  const [count, setCount] = useState(props.product.likeCount);
  async function toggle() {
    if (user === undefined) return go(logInPath());
    const request = { productId: props.product.productId };
    const call = (): Promise<{ likeCount: number }> =>
      liked ? mine.catalog.unlikeProduct(request, options()) : mine.catalog.likeProduct(request, options());
    try {
      const answer = await persist(call, undefined, 3);
      setCount(answer.likeCount);
      setLiked(!liked);
      if (liked) chest.removeItem(kept);
      else chest.setItem(kept, "1");
    } catch (thrown) {
      if (refusalOf(thrown).reason === "TOKEN_INVALID") go(logInPath());
    }
  }
  return (
    <div class="likes">
      <button type="button" class="plain" aria-pressed={liked} onClick={toggle}>
        <span aria-hidden="true">{liked ? "♥" : "♡"}</span> {texts.like}
      </button>
      <span>{texts.likes(count)}</span>
    </div>
  );
}

/** What is kept for another day, in one of the two lists. */
function Keep(props: { product: Product; sku: Sku }) {
  const texts = useTexts();
  const user = useStore(session.user);
  const [words, setWords] = useState("");
  const [inCart, setInCart] = useState(false);
  const [refusal, setRefusal] = useState<Refusal>();
  useEffect(() => {
    setWords("");
    setInCart(false);
  }, [props.sku.skuId]);
  if (user === undefined) return null;

  async function add(list: "cart" | "wishlist") {
    // A press that is made twice adds twice; only its retries are one.
    const request = {
      idempotencyKey: newKey(),
      productId: props.product.productId,
      skuId: props.sku.skuId,
      quantity: 1,
    };
    setRefusal(undefined);
    try {
      let said = texts.wished;
      if (list === "cart") {
        const { quantity } = await persist(() => mine.cart.addCartItem(request, options()), undefined, 3);
        said = texts.own.inCart(quantity);
        setInCart(true);
      } else {
        await persist(() => mine.wishlist.addWishlistItem(request, options()), undefined, 3);
      }
      setWords(said);
      announce(said);
    } catch (thrown) {
      setRefusal(refusalOf(thrown));
    }
  }
  return (
    <div class="keep">
      <Told refusal={refusal} />
      {words && <p class="note">{words} {inCart && <a href="/cart">{texts.own.toCart}</a>}</p>}
      <div class="row">
        <button type="button" onClick={() => void add("cart")}>{texts.own.addToCart}</button>
        <button type="button" class="plain" onClick={() => void add("wishlist")}>{texts.wish}</button>
      </div>
    </div>
  );
}
