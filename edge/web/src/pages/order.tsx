// One order: where it stands, live, and what its buyer can do about it.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { AddressFields, addressLine, addressOf } from "../address";
import { announce } from "../announce";
import { mine, options, persist, session } from "../api";
import { productOf } from "../catalogue";
import { chest } from "../chest";
import { clock } from "../clock";
import { moment, money, ms } from "../format";
import type { Address } from "../gen/firstcome/address/v1/address_pb";
import type { Product } from "../gen/firstcome/inventory/v1/catalog_service_pb";
import {
  type Order,
  type OrderLine,
  OrderState,
  type PayOrderRequestSchema,
} from "../gen/firstcome/order/v1/order_service_pb";
import type { BookAddress } from "../gen/firstcome/user/v1/profile_service_pb";
import { Live } from "../live";
import { Countdown, Form, LiveDot, OrderChip, Page, Sure, Told } from "../parts";
import { rationed } from "../ration";
import { type Refusal, refusalOf } from "../refusal";
import { go, logInPath } from "../route";
import { Shared } from "../shared";
import { Sneaker } from "../sneaker";
import { useStore } from "../store";
import { useTexts } from "../texts";

/** States after which nothing comes. */
export function isFinal(state: OrderState | undefined): boolean {
  switch (state) {
    case OrderState.EXPIRED:
    case OrderState.PAYMENT_FAILED:
    case OrderState.CANCELLED:
    case OrderState.CONFIRMED:
    case OrderState.RETURNED:
      return true;
    default:
      return false;
  }
}

/** An order that moves by itself. */
export function watchOrder(user: string, orderId: string): Shared<Order> {
  async function* orders(signal: AbortSignal) {
    for await (const { order } of mine.orders.watchOrder({ orderId }, { signal })) {
      if (order !== undefined) yield order;
    }
  }
  async function ask(signal: AbortSignal) {
    const { order } = await mine.orders.getOrder({ orderId }, options(signal));
    if (order === undefined) throw new Error("no order in the answer");
    return order;
  }
  const open = (signal: AbortSignal) => rationed(orders, ask, signal);
  const start = () => new Live(open, (order) => isFinal(order?.state));
  return new Shared(`order.${user}.${orderId}`, start);
}

export function OrderPage(props: { id: string }) {
  const user = useStore(session.user);
  useEffect(() => {
    if (user === undefined) go(logInPath(), "replace");
  }, [user]);
  return user === undefined ? null : <Watched id={props.id} user={user} />;
}

function Watched(props: { id: string; user: string }) {
  const texts = useTexts();
  const live = useMemo(() => watchOrder(props.user, props.id), [props.id]);
  useEffect(() => () => live.close(), [live]);
  const watched = useStore(live.latest);
  const line = useStore(live.line);
  const [answered, setAnswered] = useState<Order>();
  const [refusal, setRefusal] = useState<Refusal>();
  // The stream and the answers tell of one order; the later word counts.
  const order = newest(watched, answered);
  const spoken = useRef<OrderState | undefined>(undefined);
  useEffect(() => {
    if (order === undefined) return;
    const changed = spoken.current !== undefined && spoken.current !== order.state;
    if (changed) announce(`${texts.state}: ${texts.orderState[order.state]}`);
    spoken.current = order.state;
    // What was refused about the state before says nothing about this one.
    if (changed && !isFinal(order.state)) setRefusal(undefined);
  }, [order?.state]);

  const act = (call: () => Promise<{ order?: Order | undefined }>) => {
    setRefusal(undefined);
    persist(call)
      .then((answer) => setAnswered(answer.order))
      .catch((thrown) => setRefusal(refusalOf(thrown)));
  };

  if (order === undefined) {
    const ended = line === "ended" ? live.refusal : undefined;
    return (
      <Page title={texts.orderTitle}>
        <Told refusal={ended} />
        {!ended && <LiveDot line={line} />}
      </Page>
    );
  }
  const request = { orderId: order.orderId };
  const canCancel = order.state === OrderState.PENDING_PAYMENT || order.state === OrderState.PREPARING;
  return (
    <Page title={texts.orderTitle} class="order">
      <div class="summary">
        <p class="state"><OrderChip state={order.state} /></p>
        <LiveDot line={line} />
        <Told refusal={refusal} />
        <Lines order={order} />
        <dl>
          <div><dt>{texts.total}</dt><dd class="price">{money(order.total)}</dd></div>
          <div><dt>{texts.orderNumber}</dt><dd class="id">{order.orderId}</dd></div>
        </dl>
        <Goes order={order} />
        <p class="note">{texts.place(String(order.sequence))} · {texts.placedAt(moment(order.createTime))}</p>
        {order.state === OrderState.DELIVERED && order.returnBy && (
          <>
            <p class="note">{texts.returnBy(moment(order.returnBy))}</p>
            <Sure
              label={texts.returnIt}
              question={texts.returnSure}
              yes={texts.returnYes}
              no={texts.keep}
              act={() => act(() => mine.orders.requestReturn(request, options()))}
            />
          </>
        )}
        {canCancel && (
          <Sure
            label={texts.cancel}
            question={texts.cancelSure}
            yes={texts.cancelYes}
            no={texts.keep}
            act={() => act(() => mine.orders.cancelOrder(request, options()))}
          />
        )}
        {(order.state === OrderState.EXPIRED || order.state === OrderState.PAYMENT_FAILED) && (
          <a class="button primary" href={`/products/${order.lines[0]?.productId}`}>{texts.newOrder}</a>
        )}
      </div>
      {order.state === OrderState.PENDING_PAYMENT && (
        <Pay order={order} paid={setAnswered} refused={setRefusal} />
      )}
    </Page>
  );
}

/** Where the goods go, once the order is paid. */
function Goes(props: { order: Order }) {
  const texts = useTexts();
  const { orderId, state } = props.order;
  const [address, setAddress] = useState<Address>();
  useEffect(() => {
    if (state === OrderState.PENDING_PAYMENT || address !== undefined) return;
    const visit = new AbortController();
    persist(() => mine.orders.getOrder({ orderId }, options(visit.signal)), visit.signal)
      .then((answer) => visit.signal.aborted || setAddress(answer.address))
      .catch(() => undefined);
    return () => visit.abort();
  }, [orderId, state]);
  if (address === undefined) return null;
  return <dl><div><dt>{texts.addressTitle}</dt><dd>{addressLine(address)}</dd></div></dl>;
}

function newest(one: Order | undefined, other: Order | undefined): Order | undefined {
  return (ms(other?.updateTime) ?? 0) > (ms(one?.updateTime) ?? 0) ? other : one;
}

function Lines(props: { order: Order }) {
  return <ul class="lines">{props.order.lines.map((line) => <Line key={line.skuId} line={line} />)}</ul>;
}

function Line(props: { line: OrderLine }) {
  const texts = useTexts();
  const { line } = props;
  const product = useProduct(line.productId);
  const sku = product?.skus.find((sku) => sku.skuId === line.skuId);
  return (
    <li>
      <Sneaker seed={line.productId} hint={sku?.color || sku?.label} />
      <div>
        <p class="name"><a href={`/products/${line.productId}`}>{product?.name ?? texts.loading}</a></p>
        <p class="note">{sku?.label}</p>
        <p>{texts.line(line.quantity, money(line.unitPrice))}</p>
      </div>
    </li>
  );
}

/** A product's name and picture, when they have come. */
export function useProduct(id: string): Product | undefined {
  const [product, setProduct] = useState<Product>();
  useEffect(() => {
    productOf(id).then(setProduct).catch(() => undefined);
  }, [id]);
  return product;
}

const CARDS = {
  pm_card_approve: "cardApprove",
  pm_card_decline: "cardDecline",
  pm_card_insufficient_funds: "cardFunds",
  pm_card_slow: "cardSlow",
} as const;

type Destination = MessageInitShape<typeof PayOrderRequestSchema>["destination"];

function Pay(props: { order: Order; paid: (order: Order | undefined) => void; refused: (refusal: Refusal | undefined) => void }) {
  const texts = useTexts();
  const { order } = props;
  const book = useBook();
  const [chosen, setChosen] = useState<string>();
  const addressId = chosen ?? book[0]?.addressId ?? "";
  const [wrong, setWrong] = useState<readonly string[]>([]);
  const payBy = ms(order.payBy) ?? clock.now();
  // PayOrder is idempotent by its order; what is kept is only that a payment was begun.
  const begun = `firstcome.paying.${order.orderId}`;
  const [before] = useState(() => chest.getItem(begun) !== null);

  async function pay(fields: Record<string, string>) {
    const destination: Destination =
      addressId !== ""
        ? { case: "addressId", value: addressId }
        : { case: "address", value: addressOf(fields) };
    const request = { orderId: order.orderId, paymentMethod: fields.card ?? "", destination };
    props.refused(undefined);
    setWrong([]);
    chest.setItem(begun, "1");
    try {
      const call = () => mine.orders.payOrder(request, options());
      const answer = await persist(call, undefined, 8, props.refused);
      chest.removeItem(begun);
      props.refused(undefined);
      props.paid(answer.order);
    } catch (thrown) {
      const refusal = refusalOf(thrown);
      props.refused(refusal);
      if (refusal.reason === "INVALID_ARGUMENT") {
        chest.removeItem(begun);
        setWrong(refusal.fields);
      }
    }
  }

  return (
    <section class="pay" aria-labelledby="pay-title">
      <h2 id="pay-title">{texts.payTitle}</h2>
      <Countdown untilMs={payBy} label={texts.payIn} />
      {before && <p class="told wait">{texts.payingBefore}</p>}
      <Form label={texts.payTitle} submit={texts.pay(money(order.total))} busy={texts.paying} wrong={wrong} send={pay}>
        {(faults) => (
          <>
            <fieldset>
              <legend>{texts.card}</legend>
              {Object.entries(CARDS).map(([method, name], index) => (
                <label class="choice" key={method}>
                  <input type="radio" name="card" value={method} defaultChecked={index === 0} />
                  <span>{texts[name]} <code>{method}</code></span>
                </label>
              ))}
            </fieldset>
            <fieldset>
              <legend>{texts.addressTitle}</legend>
              {book.map((entry) => (
                <label class="choice" key={entry.addressId}>
                  <input type="radio" name="book" checked={entry.addressId === addressId} onChange={() => setChosen(entry.addressId)} />
                  <span>{addressLine(entry.address)}</span>
                </label>
              ))}
              {book.length > 0 && (
                <label class="choice">
                  <input type="radio" name="book" checked={addressId === ""} onChange={() => setChosen("")} />
                  <span>{texts.addressOther}</span>
                </label>
              )}
              {/* Who writes before the book has come goes on writing. */}
              {addressId === "" && <div onInput={() => setChosen("")}><AddressFields faults={faults} /></div>}
            </fieldset>
          </>
        )}
      </Form>
    </section>
  );
}

/** The address book; empty where the shop has none. */
function useBook(): readonly BookAddress[] {
  const [book, setBook] = useState<readonly BookAddress[]>([]);
  useEffect(() => {
    mine.profile
      .listAddresses({}, options())
      .then((answer) => setBook(answer.addresses))
      .catch(() => undefined);
  }, []);
  return book;
}
