// The buyer's own page: profile, orders as they move, and what is kept for later.
import { useEffect, useMemo, useState } from "preact/hooks";

import { announce } from "../announce";
import { mine, options, persist, session } from "../api";
import { moment, money } from "../format";
import { MyPagePart } from "../gen/firstcome/edge/v1/shop_service_pb";
import { Availability } from "../gen/firstcome/inventory/v1/availability_pb";
import { Basket, type BasketItem } from "../gen/firstcome/order/v1/basket_pb";
import type { Order } from "../gen/firstcome/order/v1/order_service_pb";
import type { Profile } from "../gen/firstcome/user/v1/profile_service_pb";
import { focusHeading, OrderChip, Told, useSending } from "../parts";
import { type Refusal, refusalOf } from "../refusal";
import { Sneaker } from "../sneaker";
import { Store, useStore } from "../store";
import { useTexts } from "../texts";
import { canOrder, OrderWords, useBasketOrder } from "./basket";
import { isFinal, useProduct, watchOrder } from "./order";
import { Own } from "./own";

/** Streams that this page keeps: without TLS a browser has six connections to a shop. */
const WATCHED_MAX = 2;

/** A part of the page: there, not there now, or nothing that this shop has. */
type Part<T> = { readonly is: T } | "missing" | "hidden";

interface Parts {
  readonly profile: Part<Profile | undefined>;
  readonly wishlist: Part<readonly BasketItem[]>;
  readonly orders: Part<readonly Order[]>;
  /** What ListOrders takes for the rest; undefined when there is none. */
  readonly rest: string | undefined;
}

/** As many orders as GetMyPage carries; with so many there may be older ones. */
const ORDERS_OF_PAGE = 10;

/** In one call where the edge has it, else each part by itself. */
async function read(signal: AbortSignal): Promise<Parts> {
  try {
    const page = await persist(() => mine.shop.getMyPage({}, options(signal)), signal);
    const lacks = (part: MyPagePart) => page.missing.some((missing) => missing.part === part);
    return {
      profile: lacks(MyPagePart.PROFILE) ? "missing" : { is: page.profile },
      wishlist: lacks(MyPagePart.WISHLIST) ? "missing" : { is: page.wishlist },
      orders: lacks(MyPagePart.ORDERS) ? "missing" : { is: page.orders },
      // It gives no token: the list begins anew, and what is known already is left out.
      rest: page.orders.length < ORDERS_OF_PAGE ? undefined : "",
    };
  } catch (thrown) {
    if (refusalOf(thrown).reason !== "NO_SUCH_METHOD") throw thrown;
  }
  const [profile, wishlist, orders] = await Promise.all([
    part(async () => (await mine.profile.getProfile({}, options(signal))).profile),
    part(async () => (await mine.wishlist.listWishlistItems({}, options(signal))).items),
    part(() => mine.orders.listOrders({}, options(signal))),
  ]);
  const listed = typeof orders === "string" ? orders : { is: orders.is.orders };
  const rest = typeof orders === "string" ? undefined : orders.is.nextPageToken || undefined;
  return { profile, wishlist, orders: listed, rest };
}

async function part<T>(call: () => Promise<T>): Promise<Part<T>> {
  try {
    return { is: await persist(call, undefined, 3) };
  } catch (thrown) {
    const { reason } = refusalOf(thrown);
    if (reason === "TOKEN_INVALID") throw thrown;
    return reason === "NO_SUCH_METHOD" ? "hidden" : "missing";
  }
}

export function Me() {
  const texts = useTexts();
  const user = useStore(session.user);
  const [parts, setParts] = useState<Parts>();
  const [refusal, setRefusal] = useState<Refusal>();
  useEffect(() => {
    if (user === undefined) return;
    const visit = new AbortController();
    read(visit.signal)
      .then(setParts)
      .catch((thrown) => visit.signal.aborted || setRefusal(refusalOf(thrown)));
    return () => visit.abort();
  }, [user]);

  return (
    <Own title={texts.meTitle}>
      {(user) => (
        <>
          <Told refusal={refusal} />
          {parts === undefined && refusal === undefined && <p class="loading">{texts.loading}</p>}
          {parts && <Sections user={user} parts={parts} />}
        </>
      )}
    </Own>
  );
}

function Sections(props: { user: string; parts: Parts }) {
  const texts = useTexts();
  const { user, parts } = props;
  return (
    <>
      <Section title={texts.orders} part={parts.orders}>
        {(orders) => <Orders user={user} orders={orders} rest={parts.rest} />}
      </Section>
      <Section title={texts.wishlist} part={parts.wishlist}>
        {(items) => <Wishes user={user} items={items} />}
      </Section>
      <Section title={texts.profile} part={parts.profile}>
        {(profile) => <Facts profile={profile} />}
      </Section>
    </>
  );
}

function Section<T>(props: { title: string; part: Part<T>; children: (is: T) => preact.ComponentChildren }) {
  const texts = useTexts();
  const { part, title } = props;
  if (part === "hidden") return null;
  return (
    <section aria-label={title}>
      <h2>{title}</h2>
      {part === "missing" ? <p class="note">{texts.partMissing}</p> : props.children(part.is)}
    </section>
  );
}

function Orders(props: { user: string; orders: readonly Order[]; rest: string | undefined }) {
  const texts = useTexts();
  const [orders, setOrders] = useState(props.orders);
  const [rest, setRest] = useState(props.rest);
  // The newest that may still change.
  const moving = useMemo(
    () => new Set(props.orders.filter((order) => !isFinal(order.state)).slice(0, WATCHED_MAX).map((order) => order.orderId)),
    [props.orders],
  );
  const { refusal, send } = useSending();
  if (orders.length === 0) return <p>{texts.noOrders}</p>;
  async function more() {
    const request = { pageToken: rest ?? "", pageSize: 2 * ORDERS_OF_PAGE };
    const answer = await persist(() => mine.orders.listOrders(request, options()), undefined, 3);
    const known = new Set(orders.map((order) => order.orderId));
    setOrders([...orders, ...answer.orders.filter((order) => !known.has(order.orderId))]);
    setRest(answer.nextPageToken || undefined);
  }
  return (
    <>
      <ul class="list">
        {orders.map((order) => <OrderRow key={order.orderId} user={props.user} order={order} watched={moving.has(order.orderId)} />)}
      </ul>
      <Told refusal={refusal} />
      {rest !== undefined && <button type="button" onClick={() => void send(more)}>{texts.more}</button>}
    </>
  );
}

const STILL = new Store<Order | undefined>(undefined);

function OrderRow(props: { user: string; order: Order; watched: boolean }) {
  const texts = useTexts();
  const live = useMemo(() => (props.watched ? watchOrder(props.user, props.order.orderId) : undefined), []);
  useEffect(() => () => live?.close(), []);
  const order = useStore(live?.latest ?? STILL) ?? props.order;
  const line = order.lines[0];
  const product = useProduct(line?.productId ?? "");
  const sku = product?.skus.find((sku) => sku.skuId === line?.skuId);
  return (
    <li>
      <Sneaker seed={line?.productId ?? ""} hint={sku?.color || sku?.label} />
      <div>
        <p class="name"><a href={`/orders/${order.orderId}`}>{product?.name ?? texts.orderTitle}{order.lines.length > 1 ? ` +${order.lines.length - 1}` : ""}</a></p>
        <p class="note">{[sku?.label, texts.placedAt(moment(order.createTime))].filter(Boolean).join(" · ")}</p>
      </div>
      <div class="end">
        <OrderChip state={order.state} />
        <p class="price">{money(order.total)}</p>
      </div>
    </li>
  );
}

function Wishes(props: { user: string; items: readonly BasketItem[] }) {
  const texts = useTexts();
  const [items, setItems] = useState(props.items);
  const ordering = useBasketOrder(props.user, Basket.WISHLIST, () => undefined);
  const { refusal, send } = useSending();
  if (items.length === 0) return <><OrderWords {...ordering} /><p>{texts.noWishes}</p></>;
  async function remove(skuId: string, name: string) {
    await persist(() => mine.wishlist.removeWishlistItem({ skuId }, options()), undefined, 3);
    setItems(items.filter((item) => item.skuId !== skuId));
    announce(texts.own.removed(name));
    focusHeading();
  }
  return (
    <>
      <OrderWords {...ordering} />
      <Told refusal={refusal} />
      <ul class="list">
        {items.map((item) => {
          const name = `${item.productName} ${item.skuLabel}`;
          return (
            <li key={item.skuId}>
              <Sneaker seed={item.productId} hint={item.skuLabel} />
              <div>
                <p class="name"><a href={`/products/${item.productId}`}>{item.productName || texts.discontinued}</a></p>
                <p class="note">{item.skuLabel}</p>
                {item.availability !== Availability.AVAILABLE && <span class="chip over">{texts.own.availability[item.availability]}</span>}
              </div>
              <div class="end">
                <p class="price">{money(item.unitPrice)}</p>
                {canOrder(item) && (
                  <button type="button" aria-label={`${texts.own.order}: ${name}`} aria-disabled={ordering.taken} onClick={() => ordering.taken || ordering.order([item.skuId])}>
                    {texts.own.order}
                  </button>
                )}
                <button type="button" class="plain" aria-label={`${texts.remove}: ${name}`} onClick={() => void send(() => remove(item.skuId, name))}>
                  {texts.remove}
                </button>
              </div>
            </li>
          );
        })}
      </ul>
    </>
  );
}

function Facts(props: { profile: Profile | undefined }) {
  const texts = useTexts();
  const { profile } = props;
  if (profile === undefined) return <p class="note">{texts.partMissing}</p>;
  return (
    <dl>
      <div><dt>{texts.name}</dt><dd>{profile.name}</dd></div>
      <div><dt>{texts.email}</dt><dd>{profile.email}</dd></div>
      {profile.phone && <div><dt>{texts.phone}</dt><dd>{profile.phone}</dd></div>}
      {profile.greeting && <div><dt>{texts.own.greetingHead}</dt><dd>{profile.greeting}</dd></div>}
    </dl>
  );
}
