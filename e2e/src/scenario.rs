//! A small sale that walks every path of an order once, driven by clients that never give up.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use firstcome_proto::{
    Reason, Refusal,
    order_v1::{Order, OrderState},
};
use futures::future::try_join_all;

use crate::{Buyer, Sale, Shop, shop::Terms};

/// A process that dies comes back within a few seconds.
const GIVE_UP: Duration = Duration::from_secs(60);
/// Clients wait this long between tries.
const PAUSE: Duration = Duration::from_millis(100);
/// Short, so that what is abandoned comes back within the story; long enough to pay in.
const HOLD: Duration = Duration::from_secs(4);

/// What a buyer does with an order.
#[derive(Clone, Copy, Debug)]
pub enum Plan {
    /// Pays with this card.
    Pay(&'static str),
    /// Cancels before payment.
    Cancel,
    /// Pays, and cancels before it ships.
    PayAndCancel,
    /// Forgets about it.
    Abandon,
}

/// One buyer for each path.
pub const PLANS: [Plan; 9] = [
    Plan::Pay("pm_card_approve"),
    Plan::Pay("pm_card_decline"),
    Plan::Pay("pm_card_insufficient_funds"),
    Plan::Pay("pm_card_answer_lost"),
    Plan::Pay("pm_card_capture_refused"),
    Plan::Pay("pm_card_approve"),
    Plan::Cancel,
    Plan::PayAndCancel,
    Plan::Abandon,
];

/// Runs the sale; gives the orders in their final states. Services may die meanwhile, if somebody
/// starts them again.
pub async fn small_sale(shop: &Shop) -> Result<Vec<Order>> {
    let terms = Terms { hold: HOLD, limit_per_buyer: 1, ..Terms::of(PLANS.len() as i32) };
    let sale = until_served(|| async { shop.sell(terms.clone()).await.ok() }).await?;
    let buyers = until_served(|| async { shop.buyers(PLANS.len()).await.ok() }).await?;
    let lives = buyers.iter().zip(PLANS).map(|(buyer, plan)| live(buyer, &sale, plan));
    try_join_all(lives).await
}

/// One buyer's purchase, to its end.
async fn live(buyer: &Buyer, sale: &Sale, plan: Plan) -> Result<Order> {
    let placed = until(|| buyer.buy(sale, "the pair")).await?;
    let Ok(order) = placed else {
        anyhow::bail!("{plan:?}: there is a pair for everybody, yet {placed:?}");
    };
    let id = order.order_id.as_str();
    match plan {
        Plan::Pay(card) => drop(until(|| buyer.pay(id, card)).await?),
        Plan::Cancel => drop(until(|| buyer.cancel(id)).await?),
        Plan::PayAndCancel => {
            // Where a restart takes longer than the hold, there is nothing to cancel.
            if until(|| buyer.pay(id, "pm_card_approve")).await?.is_ok() {
                let cancelled = until(|| buyer.cancel(id)).await?;
                ensure!(cancelled.is_ok(), "a paid order that has not shipped: {cancelled:?}");
            }
        }
        Plan::Abandon => {}
    }
    let ended = until_served(|| async {
        buyer.order(id).await.ok().filter(|order| order.state() != OrderState::PendingPayment)
    });
    let ended = ended.await?;
    ensure!(ended.sequence == order.sequence, "an order keeps its place");
    Ok(ended)
}

/// Calls again while the refusal says that a retry helps.
async fn until<T, F, Fut>(mut call: F) -> Result<Result<T, Refusal>>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Refusal>>,
{
    let begun = Instant::now();
    loop {
        let answer = call().await;
        let again = answer.as_ref().is_err_and(|refusal| {
            matches!(
                refusal.reason(),
                Reason::UpstreamUnavailable
                    | Reason::Overloaded
                    | Reason::Fenced
                    | Reason::DeadlineExceeded
                    | Reason::PaymentInProgress
                    | Reason::PlacementInProgress
            )
        });
        if !again {
            return Ok(answer);
        }
        ensure!(begun.elapsed() < GIVE_UP, "still {:?}", answer.err());
        tokio::time::sleep(PAUSE).await;
    }
}

async fn until_served<T, F, Fut>(mut call: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let begun = Instant::now();
    loop {
        if let Some(answer) = call().await {
            return Ok(answer);
        }
        ensure!(begun.elapsed() < GIVE_UP, "not served within {GIVE_UP:?}");
        tokio::time::sleep(PAUSE).await;
    }
}
