//! G6: what was acknowledged survives.

use firstcome_proto::{OrderId, Reason, inventory_v1::HoldState, order_v1::OrderState};

use super::{Check, charges::gives_back};
use crate::{
    receipts::{Answer, Call},
    verify::books::{Books, Order},
};

/// A relay looks ten times a second, and five seconds after another one died; Redis may be away
/// for six.
const STILL_MS_MAX: i64 = 15_000;

pub(super) const SURVIVES: [Check; 5] = [
    ("an acknowledged order is gone", acknowledged_order_is_gone),
    ("an acknowledged state was taken back", acknowledged_state_was_taken_back),
    ("an order's hold is gone", hold_is_gone),
    ("a declined order is not over", declined_order_is_not_over),
    ("an event stands still in the outbox", event_stands_still),
];

fn acknowledged_order_is_gone(books: &Books) -> Vec<String> {
    let orders = books.orders_by_id();
    let told = books.receipts.iter().flat_map(|receipts| receipts.orders());
    told.filter(|(_, told)| !orders.contains_key(&told.order))
        .map(|(receipt, _)| format!("{receipt:?}"))
        .collect()
}

fn acknowledged_state_was_taken_back(books: &Books) -> Vec<String> {
    let orders = books.orders_by_id();
    let told = books.receipts.iter().flat_map(|receipts| receipts.orders());
    told.filter_map(|(receipt, told)| {
        let order = orders.get(&told.order)?;
        (!leads_to(told.state, order.state)).then(|| format!("{order:?}, but {receipt:?}"))
    })
    .collect()
}

/// True when an order that stood at `from` may stand at `to` later.
fn leads_to(from: OrderState, to: OrderState) -> bool {
    use OrderState::{
        Cancelled, Confirmed, Delivered, PendingPayment, Preparing, ReturnRequested, Returned,
        Shipping,
    };
    let next: &[OrderState] = match from {
        PendingPayment => return true,
        Preparing => &[Shipping, Cancelled],
        Shipping => &[Delivered],
        Delivered => &[Confirmed, ReturnRequested],
        ReturnRequested => &[Returned],
        _ => &[],
    };
    from == to || next.iter().any(|&next| leads_to(next, to))
}

/// Rows of the ledger stay for ever, and an order is never written before its hold.
fn hold_is_gone(books: &Books) -> Vec<String> {
    let holds = books.holds_by_key();
    let gone = |order: &&Order| {
        let is_owned = order.is_paid() && !gives_back(order);
        order.hold_keys().any(|key| {
            let hold = holds.get(&key);
            hold.is_none_or(|hold| is_owned && hold.state != HoldState::Settled)
        })
    };
    books.orders.iter().filter(gone).map(|order| format!("{order:?}")).collect()
}

fn declined_order_is_not_over(books: &Books) -> Vec<String> {
    let orders = books.orders_by_id();
    let receipts = books.receipts.iter().flat_map(|receipts| &receipts.all);
    receipts
        .filter(|receipt| {
            receipt.call == Call::Pay && receipt.answer == Answer::Refused(Reason::CardDeclined)
        })
        .filter_map(|receipt| {
            let order = orders.get(&OrderId::of(receipt.user, &receipt.key))?;
            (order.state != OrderState::PaymentFailed)
                .then(|| format!("{order:?}, but {receipt:?}"))
        })
        .collect()
}

fn event_stands_still(books: &Books) -> Vec<String> {
    let still = books.outbox.iter().filter(|event| event.still_ms > STILL_MS_MAX);
    still.map(|event| format!("{event:?}")).collect()
}
