// Ordering what stands in the cart or on the wishlist: one key for one wish, until its answer is
// known, as with the button of a product.
import { useEffect, useMemo, useState } from "preact/hooks";

import { announce } from "../announce";
import { mine, options } from "../api";
import { chest, keys } from "../chest";
import { clock } from "../clock";
import { Availability } from "../gen/firstcome/inventory/v1/availability_pb";
import { Basket, type BasketItem } from "../gen/firstcome/order/v1/basket_pb";
import { Told } from "../parts";
import { Purchase, type Stage } from "../purchase";
import { go } from "../route";
import { useStore } from "../store";
import { useTexts } from "../texts";

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
  const wishKept = `firstcome.wish.${slot}`;
  const purchase = useMemo(
    () =>
      new Purchase(slot, {
        keys,
        now: () => clock.now(),
        async place(idempotencyKey, signal) {
          const selection = { basket, skuIds: readWish(chest.getItem(wishKept)) };
          const answer = await mine.orders.placeOrder({ idempotencyKey, selection }, options(signal));
          if (answer.order === undefined) throw new Error("no order in the answer");
          return answer.order;
        },
      }),
    [slot],
  );
  const stage = useStore(purchase.stage);
  const [resumed, setResumed] = useState(false);
  useEffect(() => {
    if (keys.peek(slot) !== undefined) {
      setResumed(true);
      purchase.press();
    }
    return () => purchase.leave();
  }, [purchase]);
  useEffect(() => {
    if (stage.at === "held") go(`/orders/${stage.order.orderId}`);
    // What could not be had is shown as it is now.
    if (stage.at === "refused" || stage.at === "watching") changed();
  }, [stage]);

  function order(skuIds: readonly string[]) {
    if (keys.peek(slot) === undefined) chest.setItem(wishKept, JSON.stringify(skuIds));
    setResumed(false);
    purchase.press();
  }
  const busy = stage.at === "asking" || stage.at === "pausing" || stage.at === "held";
  return { stage, resumed, busy, order, stop: () => purchase.giveUp() };
}

function readWish(text: string | null): string[] {
  try {
    const wish: unknown = JSON.parse(text ?? "[]");
    return Array.isArray(wish) ? wish.filter((id) => typeof id === "string") : [];
  } catch {
    return [];
  }
}

/** How the order goes. */
export function OrderWords(props: { stage: Stage; resumed: boolean; stop: () => void }) {
  const texts = useTexts();
  const { stage } = props;
  useEffect(() => {
    if (stage.at === "waiting-for-opening") announce(texts.own.orderWaits);
  }, [stage.at]);
  switch (stage.at) {
    case "asking":
      return props.resumed ? <p class="told wait">{texts.own.orderResumed}</p> : null;
    case "waiting-for-opening":
      return (
        <div class="told good">
          <p>{texts.own.orderWaits}</p>
          <button type="button" onClick={props.stop}>{texts.stopWaiting}</button>
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
      return <Told refusal={stage.refusal}><p>{texts.own.orderUnknown}</p></Told>;
    case "refused":
      return <Told refusal={stage.refusal} />;
    default:
      return null;
  }
}
