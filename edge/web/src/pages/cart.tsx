// The cart: how many of what, what it costs at this moment, and one order for what is chosen.
import { useEffect, useRef, useState } from "preact/hooks";

import { announce } from "../announce";
import { mine, options, persist, session } from "../api";
import { money } from "../format";
import { Availability } from "../gen/firstcome/inventory/v1/availability_pb";
import { Basket, type BasketItem } from "../gen/firstcome/order/v1/basket_pb";
import type { PreviewOrderResponse } from "../gen/firstcome/order/v1/order_service_pb";
import { focusHeading, Page, Sure, Told } from "../parts";
import { type Refusal, refusalOf } from "../refusal";
import { go, logInPath } from "../route";
import { Sneaker } from "../sneaker";
import { useStore } from "../store";
import { useTexts } from "../texts";
import { canOrder, OrderWords, useBasketOrder } from "./basket";
import { Shown, useRead } from "./own";

/** As the contract bounds a line. */
const QUANTITY_MAX = 1000;
/** Changes in quick succession are priced once. */
const PREVIEW_AFTER_MS = 150;

export function Cart() {
  const texts = useTexts();
  const user = useStore(session.user);
  useEffect(() => {
    if (user === undefined) go(logInPath(), "replace");
  }, [user]);
  return (
    <Page title={texts.own.cartTitle} lead={texts.own.cartLead} class="me">
      {user !== undefined && <Filled user={user} />}
    </Page>
  );
}

function Filled(props: { user: string }) {
  const read = useRead(async (signal) => (await mine.cart.listCartItems({}, options(signal))).items);
  return <Shown read={read}>{(items) => <Lines {...props} items={items} again={read.again} />}</Shown>;
}

function Lines(props: { user: string; items: readonly BasketItem[]; again: () => void }) {
  const texts = useTexts();
  const { items, again } = props;
  /** What the buyer does not want in this order; a line that is new is wanted. */
  const [left, setLeft] = useState<ReadonlySet<string>>(new Set());
  const [refusal, setRefusal] = useState<Refusal>();
  const ordering = useBasketOrder(props.user, Basket.CART, again);
  const wanted = items.filter((item) => canOrder(item) && !left.has(item.skuId));

  /** Whether the shop did it. */
  async function change(call: () => Promise<unknown>): Promise<boolean> {
    setRefusal(undefined);
    const done = await persist(call, undefined, 3).then(
      () => true,
      (thrown) => {
        setRefusal(refusalOf(thrown));
        return false;
      },
    );
    again();
    return done;
  }
  async function remove(call: () => Promise<unknown>, words: string) {
    if (!(await change(call))) return;
    announce(words);
    focusHeading();
  }
  function choose(skuId: string, isWanted: boolean) {
    const next = new Set(left);
    if (isWanted) next.delete(skuId);
    else next.add(skuId);
    setLeft(next);
  }

  if (items.length === 0) {
    return (
      <>
        <OrderWords {...ordering} />
        <p>{texts.own.cartEmpty}</p>
        <p><a href="/">{texts.backHome}</a></p>
      </>
    );
  }
  return (
    <>
      <Told refusal={refusal} />
      <ul class="list cart">
        {items.map((item) => (
          <Line key={item.skuId} item={item} wanted={wanted.includes(item)} choose={(is) => choose(item.skuId, is)} change={change} remove={remove} />
        ))}
      </ul>
      <Checkout wanted={wanted} all={items.length} ordering={ordering} />
      <Sure
        label={texts.own.clear}
        question={texts.own.clearSure}
        yes={texts.own.clearYes}
        no={texts.keep}
        act={() => void remove(() => mine.cart.clearCart({}, options()), texts.own.cartEmpty)}
      />
    </>
  );
}

/** What the chosen lines cost, and the button that orders them. */
function Checkout(props: { wanted: readonly BasketItem[]; all: number; ordering: ReturnType<typeof useBasketOrder> }) {
  const texts = useTexts();
  const { wanted, ordering } = props;
  const preview = usePreview(wanted);
  return (
    <section class="pay" aria-label={texts.total}>
      <p class="note">{wanted.length === 0 ? texts.own.noneChosen : texts.own.chosen(wanted.length, props.all)}</p>
      <dl><div><dt>{texts.own.sum}</dt><dd class="price big">{wanted.length === 0 ? "–" : money(preview?.total)}</dd></div></dl>
      {preview && wanted.length > 0 && !preview.orderable && <p class="told wait">{texts.own.notOrderable}</p>}
      <OrderWords {...ordering} />
      <div class="buy">
        <button
          type="button"
          class="primary"
          aria-disabled={ordering.taken || wanted.length === 0}
          onClick={() => ordering.taken || wanted.length === 0 || ordering.order(wanted.map((item) => item.skuId))}
        >
          {ordering.busy ? texts.own.ordering : texts.own.orderChosen}
        </button>
      </div>
    </section>
  );
}

function Line(props: {
  item: BasketItem;
  wanted: boolean;
  choose: (wanted: boolean) => void;
  change: (call: () => Promise<unknown>) => Promise<boolean>;
  remove: (call: () => Promise<unknown>, words: string) => Promise<void>;
}) {
  const texts = useTexts();
  const { item, change, remove } = props;
  const name = `${item.productName || texts.discontinued} ${item.skuLabel}`.trim();
  const short = item.availability === Availability.AVAILABLE && item.available < item.quantity;
  return (
    <li>
      <input
        type="checkbox"
        aria-label={texts.own.choose(name)}
        checked={props.wanted}
        disabled={!canOrder(item)}
        onChange={(event) => props.choose(event.currentTarget.checked)}
      />
      <Sneaker seed={item.productId} hint={item.skuLabel} spent={!canOrder(item)} />
      <div>
        <p class="name"><a href={`/products/${item.productId}`}>{item.productName || texts.discontinued}</a></p>
        <p class="note">{item.skuLabel}</p>
        <p class="price">{money(item.unitPrice)}</p>
        {short ? (
          <span class="chip wait">{texts.own.onlyLeft(item.available)}</span>
        ) : (
          item.availability !== Availability.AVAILABLE && <span class="chip over">{texts.own.availability[item.availability]}</span>
        )}
      </div>
      <div class="end">
        <Quantity name={name} is={item.quantity} set={(quantity) => change(() => mine.cart.updateCartItem({ skuId: item.skuId, quantity }, options()))} />
        <button
          type="button"
          class="plain"
          aria-label={`${texts.remove}: ${name}`}
          onClick={() => void remove(() => mine.cart.removeCartItem({ skuId: item.skuId }, options()), texts.own.removed(name))}
        >
          {texts.remove}
        </button>
      </div>
    </li>
  );
}

/** How many: what was asked for is shown until the shop's word comes, and asked for in order. */
function Quantity(props: { name: string; is: number; set: (quantity: number) => Promise<boolean> }) {
  const texts = useTexts();
  const [asked, setAsked] = useState<number>();
  const shown = asked ?? props.is;
  const next = useRef<number | undefined>(undefined);
  const sending = useRef(false);
  useEffect(() => {
    if (!sending.current) setAsked(undefined);
  }, [props.is]);

  function set(quantity: number) {
    if (!Number.isInteger(quantity) || quantity < 1 || quantity > QUANTITY_MAX) return setAsked(undefined);
    setAsked(quantity);
    announce(`${texts.own.quantityOf(props.name)}: ${quantity}`);
    next.current = quantity;
    void send();
  }
  /** One at a time, or an older number might come last. */
  async function send() {
    if (sending.current) return;
    sending.current = true;
    for (let wanted = next.current; wanted !== undefined; wanted = next.current) {
      next.current = undefined;
      if (!(await props.set(wanted))) setAsked(undefined);
    }
    sending.current = false;
  }

  return (
    <div class="quantity" role="group" aria-label={texts.own.quantityOf(props.name)}>
      <button type="button" aria-label={texts.own.fewer(props.name)} aria-disabled={shown <= 1} onClick={() => shown > 1 && set(shown - 1)}>−</button>
      <input
        type="number"
        inputMode="numeric"
        min={1}
        max={QUANTITY_MAX}
        aria-label={texts.own.quantity}
        value={shown}
        onChange={(event) => set(event.currentTarget.valueAsNumber)}
      />
      <button type="button" aria-label={texts.own.oneMore(props.name)} aria-disabled={shown >= QUANTITY_MAX} onClick={() => shown < QUANTITY_MAX && set(shown + 1)}>+</button>
    </div>
  );
}

/** What the order would cost at this moment. */
function usePreview(wanted: readonly BasketItem[]): PreviewOrderResponse | undefined {
  const [preview, setPreview] = useState<PreviewOrderResponse>();
  const wish = wanted.map((item) => `${item.skuId} ${item.quantity} ${item.availability}`).join();
  useEffect(() => {
    if (wanted.length === 0) return setPreview(undefined);
    const visit = new AbortController();
    const skuIds = wanted.map((item) => item.skuId);
    const selection = { basket: Basket.CART, skuIds };
    const timer = setTimeout(() => {
      persist(() => mine.orders.previewOrder({ selection }, options(visit.signal)), visit.signal)
        .then((answer) => visit.signal.aborted || setPreview(answer))
        .catch(() => visit.signal.aborted || setPreview(undefined));
    }, PREVIEW_AFTER_MS);
    return () => {
      clearTimeout(timer);
      visit.abort();
    };
  }, [wish]);
  return preview;
}
