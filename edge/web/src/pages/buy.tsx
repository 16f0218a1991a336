// The button, and everything that may come of it.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { announce } from "../announce";
import { mine, options, session } from "../api";
import type { Phase } from "../catalogue";
import { chest } from "../chest";
import { clock } from "../clock";
import { ms } from "../format";
import type { Product, Sku } from "../gen/firstcome/inventory/v1/catalog_service_pb";
import type { SkuStock } from "../gen/firstcome/inventory/v1/stock_service_pb";
import { type Order, OrderState } from "../gen/firstcome/order/v1/order_service_pb";
import { type Keys, purchaseSlot } from "../keys";
import { Told } from "../parts";
import { Purchase, RESUME_MAX_MS, type Stage } from "../purchase";
import { go, logInPath } from "../route";
import { useStore } from "../store";
import { useTexts } from "../texts";

interface Props {
  product: Product;
  sku: Sku;
  phase: Phase;
  left: SkuStock | undefined;
  /** Set while the stream must live in a hidden page. */
  awake: { current: boolean };
  keys: Keys;
}

export function BuyPanel(props: Props) {
  const texts = useTexts();
  const user = useStore(session.user);
  // A press without an answer may have bought before the drop was over.
  const slot = purchaseSlot(user ?? "", props.product.productId, props.sku.skuId);
  const asks = props.keys.peek(slot) !== undefined;
  if ((props.phase === "over" || props.phase === "later") && !asks) {
    return <p class="told">{props.phase === "over" ? texts.over : texts.later}</p>;
  }
  if (user === undefined) {
    return <a class="button primary" href={logInPath()}>{texts.logInToBuy}</a>;
  }
  return <Press {...props} key={user} user={user} />;
}

function Press(props: Props & { user: string }) {
  const texts = useTexts();
  const { product, sku, user } = props;
  const slot = purchaseSlot(user, product.productId, sku.skuId);
  const purchase = useMemo(() => {
    const lines = [{ productId: product.productId, skuId: sku.skuId, quantity: 1 }];
    return new Purchase(slot, {
      keys: props.keys,
      now: () => clock.now(),
      async place(idempotencyKey, signal) {
        const answer = await mine.orders.placeOrder({ idempotencyKey, lines }, options(signal));
        if (answer.order === undefined) throw new Error("no order in the answer");
        return answer.order;
      },
    });
  }, [slot]);
  const stage = useStore(purchase.stage);
  const [resumed, setResumed] = useState(false);
  const [unfinished, setUnfinished] = useState(false);
  const held = useHeld(user, product.productId, stage);

  useEffect(() => {
    const since = purchase.pendingSince();
    if (since !== undefined) {
      const recent = Date.now() - since < RESUME_MAX_MS || props.phase === "coming";
      if (recent) purchase.press();
      setResumed(recent);
      setUnfinished(!recent);
    }
    return () => purchase.leave();
  }, [purchase]);

  // A drop that is moved: who waits, waits for the new opening.
  const opens = ms(product.drop?.opensAt);
  const waitedFor = useRef(opens);
  useEffect(() => {
    if (waitedFor.current === opens) return;
    waitedFor.current = opens;
    if (purchase.stage.get().at !== "waiting-for-opening") return;
    purchase.leave();
    purchase.press();
  }, [opens]);

  const free = stage.at === "watching" && (props.left?.available ?? 0) > 0;
  props.awake.current = stage.at === "watching" || stage.at === "waiting-for-opening";
  useSpoken(stage, free);

  useEffect(() => {
    if (stage.at !== "held") return;
    go(`/orders/${stage.order.orderId}`);
  }, [stage]);

  const press = () => {
    setUnfinished(false);
    purchase.press();
  };
  const busy = stage.at === "asking" || stage.at === "pausing" || stage.at === "held";
  return (
    <div class="buy">
      {held && (
        <div class="told good">
          <p>{texts.holding}</p>
          <a class="button primary" href={`/orders/${held}`}>{texts.payNow}</a>
        </div>
      )}
      <Words stage={stage} free={free} left={props.left} resumed={resumed} unfinished={unfinished} />
      {stage.at === "waiting-for-opening" ? (
        <button type="button" onClick={() => purchase.giveUp()}>{texts.stopWaiting}</button>
      ) : (
        <button
          type="button"
          class={held || (stage.at === "watching" && !free) ? "" : "primary"}
          aria-disabled={busy}
          onClick={() => busy || press()}
        >
          {label()}
        </button>
      )}
      {stage.at === "refused" && stage.refusal.reason === "LIMIT_PER_BUYER" && <a href="/me">{texts.me}</a>}
      {stage.at === "refused" && stage.refusal.reason.startsWith("TOKEN") && <a href={logInPath()}>{texts.logIn}</a>}
    </div>
  );

  function label(): string {
    if (busy) return texts.asking;
    if (free) return texts.buyFreed;
    if (unfinished) return texts.finish;
    if (stage.at === "unknown" || stage.at === "watching") return texts.tryAgain;
    if (props.phase === "coming") return texts.buyAtOpening;
    return held ? texts.buyAgain : texts.buy;
  }
}

function Words(props: {
  stage: Stage;
  free: boolean;
  left: SkuStock | undefined;
  resumed: boolean;
  unfinished: boolean;
}) {
  const texts = useTexts();
  const { stage } = props;
  switch (stage.at) {
    case "rest":
      return props.unfinished ? <p class="told wait">{texts.unfinished}</p> : null;
    case "asking":
      return props.resumed ? <p class="told wait">{texts.resumed}</p> : null;
    case "waiting-for-opening":
      return <p class="told good">{texts.waitingForOpening}</p>;
    case "pausing":
      return <Told refusal={stage.refusal}><p>{texts.pausing}</p></Told>;
    case "watching": {
      if (props.free) return <p class="told good strong">{texts.freed}</p>;
      const open = props.left?.holdsOpen ?? stage.holdsOpen;
      return <p class="told wait">{open > 0 ? texts.watching(open) : texts.soldOutForGood}</p>;
    }
    case "unknown":
      return <Told refusal={stage.refusal}><p>{texts.unknown}</p></Told>;
    case "refused":
      return <Told refusal={stage.refusal} />;
    case "held":
      return null;
  }
}

/** What who does not see the page must hear, and who looks at another tab must see. */
function useSpoken(stage: Stage, free: boolean) {
  const texts = useTexts();
  useEffect(() => {
    if (stage.at === "waiting-for-opening") announce(texts.waitingForOpening);
    if (stage.at === "watching") announce(texts.watching(stage.holdsOpen));
  }, [stage.at]);
  useEffect(() => {
    if (!free) return;
    announce(texts.freed, "urgent");
    const title = document.title;
    document.title = `● ${texts.buyFreed}`;
    return () => {
      document.title = title;
    };
  }, [free]);
}

/** A unit that this buyer holds and has not paid: shown before another one is sold. */
function useHeld(user: string, productId: string, stage: Stage): string | undefined {
  const kept = `firstcome.held.${user}.${productId}`;
  const [held, setHeld] = useState<string>();
  const order = stage.at === "held" ? stage.order : undefined;
  const seen = useRef<Order | undefined>(undefined);
  useEffect(() => {
    if (order === undefined || seen.current === order) return;
    seen.current = order;
    const payBy = ms(order.payBy) ?? 0;
    if (order.state !== OrderState.PENDING_PAYMENT) return;
    chest.setItem(kept, JSON.stringify({ orderId: order.orderId, payBy }));
  }, [order]);
  useEffect(() => {
    const visit = new AbortController();
    void (async () => {
      const { orderId, payBy } = readHeld(chest.getItem(kept));
      if (orderId === "" || payBy < clock.now()) return chest.removeItem(kept);
      const answer = await mine.orders.getOrder({ orderId }, options(visit.signal));
      if (visit.signal.aborted) return;
      if (answer.order?.state === OrderState.PENDING_PAYMENT) setHeld(orderId);
      else chest.removeItem(kept);
    })().catch(() => undefined);
    return () => visit.abort();
  }, [kept]);
  return held;
}

function readHeld(text: string | null): { orderId: string; payBy: number } {
  try {
    const { orderId, payBy } = JSON.parse(text ?? "{}") as { orderId?: unknown; payBy?: unknown };
    if (typeof orderId === "string" && typeof payBy === "number") return { orderId, payBy };
  } catch {
    // What is not ours is nothing.
  }
  return { orderId: "", payBy: 0 };
}
