// Ordering what stands in the cart or on the wishlist: one key for one wish, until its answer is
// known, as with the button of a product.
import { useEffect, useMemo, useState } from "preact/hooks";

import { announce } from "../announce";
import { mine, options } from "../api";
import { keys } from "../chest";
import { clock } from "../clock";
import { Availability } from "../gen/firstcome/inventory/v1/availability_pb";
import { Basket, type BasketItem } from "../gen/firstcome/order/v1/basket_pb";
import { focusHeading, Told } from "../parts";
import { Purchase, RESUME_MAX_MS, type Stage } from "../purchase";
import { go } from "../route";
import { useStore } from "../store";
import { useTexts } from "../texts";
import { Wish } from "../wish";

/** Whether a line could be part of an order at this moment, or once its drop opens. */
export function canOrder(item: BasketItem): boolean {
  switch (item.availability) {
    case Availability.CLOSED:
    case Availability.DISCONTINUED:
    case Availability.UNKNOWN_SKU:
      return false;
    default:
      return true;
  }
}

/**
 * Orders a selection. While an answer is missing, what was wished then is asked for again, whatever
 * is chosen now: the lines of an order that was placed are no longer in the list.
 */
export function useBasketOrder(user: string, basket: Basket, changed: () => void) {
  const slot = `basket.${user}.${Basket[basket]}`;
  const wish = useMemo(() => new Wish(slot), [slot]);
  const purchase = useMemo(
    () =>
      new Purchase(slot, {
        keys,
        now: () => clock.now(),
        async place(idempotencyKey, signal) {
          const skuIds = wish.of(idempotencyKey);
          // A key that took the place of one that was refused is found after a reload, too.
          if (keys.peek(slot)?.key === idempotencyKey) wish.keep(idempotencyKey, skuIds);
          const selection = { basket, skuIds: [...skuIds] };
          const answer = await mine.orders.placeOrder({ idempotencyKey, selection }, options(signal));
          if (answer.order === undefined) throw new Error("no order in the answer");
          return answer.order;
        },
      }),
    [slot],
  );
  const stage = useStore(purchase.stage);
  const [before, setBefore] = useState<Before>();
  useEffect(() => {
    const kept = keys.peek(slot);
    if (kept !== undefined && wish.knows(kept.key)) {
      const isRecent = Date.now() - kept.sinceMs < RESUME_MAX_MS;
      if (isRecent) purchase.press();
      setBefore(isRecent ? "resumed" : "unfinished");
    }
    return () => purchase.leave();
  }, [purchase]);
  useEffect(() => {
    if (stage.at === "held") go(`/orders/${stage.order.orderId}`);
    // What could not be had is shown as it is now.
    if (stage.at === "refused" || stage.at === "watching") changed();
  }, [stage]);

  function order(skuIds: readonly string[]) {
    const isNew = keys.peek(slot) === undefined;
    const { key } = keys.take(slot);
    if (isNew || !wish.knows(key)) wish.keep(key, skuIds);
    finish();
  }
  function finish() {
    setBefore(undefined);
    purchase.press();
  }
  const busy = stage.at === "asking" || stage.at === "pausing" || stage.at === "held";
  /** Another wish has to wait until it is known what became of this one. */
  const taken =
    busy || stage.at === "waiting-for-opening" || stage.at === "unknown" || (stage.at === "rest" && before === "unfinished");
  return { stage, before, busy, taken, order, finish, stop: () => purchase.giveUp() };
}

/** A press before this page was shown: it went on by itself, or is old and waits for the buyer. */
type Before = "resumed" | "unfinished" | undefined;

/** How the order goes. */
export function OrderWords(props: { stage: Stage; before: Before; finish: () => void; stop: () => void }) {
  const texts = useTexts();
  const { stage, before } = props;
  // Each of the two buttons goes when it is pressed.
  const finish = () => (focusHeading(), props.finish());
  const stop = () => (focusHeading(), props.stop());
  useEffect(() => {
    if (stage.at === "waiting-for-opening") announce(texts.own.orderWaits);
  }, [stage.at]);
  switch (stage.at) {
    case "rest":
      return before === "unfinished" ? (
        <div class="told wait">
          <p>{texts.own.orderUnfinished}</p>
          <button type="button" onClick={finish}>{texts.finish}</button>
        </div>
      ) : null;
    case "asking":
      return before === "resumed" ? <p class="told wait">{texts.own.orderResumed}</p> : null;
    case "waiting-for-opening":
      return (
        <div class="told good">
          <p>{texts.own.orderWaits}</p>
          <button type="button" onClick={stop}>{texts.stopWaiting}</button>
        </div>
      );
    case "pausing":
      return <Told refusal={stage.refusal}><p>{texts.pausing}</p></Told>;
    case "watching":
      return (
        <div class="told wait" role="alert">
          <p>{texts.badgeSoldOut}</p>
          <p>{texts.own.orderHeldByOthers(stage.holdsOpen)}</p>
        </div>
      );
    case "unknown":
      return (
        <Told refusal={stage.refusal}>
          <p>{texts.own.orderUnknown}</p>
          <button type="button" onClick={finish}>{texts.finish}</button>
        </Told>
      );
    case "refused":
      return <Told refusal={stage.refusal} />;
    case "held":
      return null;
  }
}
