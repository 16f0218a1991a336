//! G4: no charge without goods, no goods without a charge; each refund exactly once.

use std::collections::{BTreeMap, HashMap, HashSet};

use firstcome_proto::{inventory_v1::HoldState, order_v1::OrderState};

use super::Check;
use crate::verify::books::{Books, Charge, Hold, HoldKey, Order};

/// A step that is due is taken within a look of a worker and a lease; nobody is late for longer
/// while the shop serves.
const STEP_OVERDUE_MAX_MS: i64 = 60_000;

pub(super) const CHARGE_AND_GOODS: [Check; 11] = [
    ("a paid order was not charged exactly its total, once", paid_order_is_not_charged),
    ("a paid order has no settled hold", paid_order_has_no_goods),
    ("a charge belongs to no paid order", charge_has_no_order),
    ("units are sold without a paid order", goods_have_no_order),
    ("money moved more than once", money_moved_twice),
    ("a payment is still under way", payment_is_unfinished),
    ("payment's record and the provider's ledger differ", records_differ),
    ("charges less refunds are not what the paid orders sum up to", sums_differ),
    ("what was taken back has not exactly one refund and one return", give_back_is_not_whole),
    ("an order that is not over has no next step", order_is_forgotten),
    ("an order's step is long overdue", step_is_overdue),
];

fn paid_order_is_not_charged(books: &Books) -> Vec<String> {
    let charges = books.charges_by_key();
    paid(books)
        .filter_map(|order| {
            let charge = charges.get(&order.order.payment().0);
            let is_charged = charge.is_some_and(|charge| {
                charge.captures == 1
                    && charge.net_minor() == order.total_minor
                    && charge.currency == order.currency
            });
            (!is_charged).then(|| format!("{order:?}, but {charge:?}"))
        })
        .collect()
}

fn paid_order_has_no_goods(books: &Books) -> Vec<String> {
    let holds = books.holds_by_key();
    paid(books)
        .filter_map(|order| {
            let mut found = order.hold_keys().map(|key| holds.get(&key));
            let owns = found.all(|hold| hold.is_some_and(|hold| hold.state == HoldState::Settled));
            (!owns).then(|| format!("{order:?}"))
        })
        .collect()
}

fn charge_has_no_order(books: &Books) -> Vec<String> {
    let paid: HashSet<_> = paid(books).map(|order| order.order.payment().0).collect();
    let orphan = |charge: &&Charge| charge.net_minor() != 0 && !paid.contains(&charge.key);
    books.charges.iter().filter(orphan).map(|charge| format!("{charge:?}")).collect()
}

fn goods_have_no_order(books: &Books) -> Vec<String> {
    let paid: HashSet<HoldKey> = paid(books).flat_map(Order::hold_keys).collect();
    let orphan = |hold: &&Hold| hold.state == HoldState::Settled && !paid.contains(&hold.key());
    books.holds.iter().filter(orphan).map(|hold| format!("{hold:?}")).collect()
}

fn money_moved_twice(books: &Books) -> Vec<String> {
    let twice =
        |charge: &&Charge| charge.captures > 1 || charge.refunds > 1 || charge.net_minor() < 0;
    books.charges.iter().filter(twice).map(|charge| format!("{charge:?}")).collect()
}

fn payment_is_unfinished(books: &Books) -> Vec<String> {
    let under_way = |order: &&Order| order.is_under_way();
    let mut rows: Vec<_> =
        books.orders.iter().filter(under_way).map(|order| format!("{order:?}")).collect();
    let reserved = |charge: &&Charge| charge.state == "AUTHORIZED";
    rows.extend(books.charges.iter().filter(reserved).map(|charge| format!("{charge:?}")));
    rows
}

fn records_differ(books: &Books) -> Vec<String> {
    let charges = books.charges_by_key();
    let mut rows = Vec::new();
    for payment in &books.payments {
        let charge = charges.get(&payment.payment.0);
        // A payment that never reached the provider leaves nothing there.
        let theirs = charge.map_or("VOIDED", |charge| charge.state.as_str());
        if payment.state != theirs {
            rows.push(format!("{payment:?}, but {charge:?}"));
        }
    }
    let known: HashMap<_, _> =
        books.payments.iter().map(|payment| (payment.payment.0, payment)).collect();
    let unknown = |charge: &&Charge| !known.contains_key(&charge.key);
    rows.extend(books.charges.iter().filter(unknown).map(|charge| format!("{charge:?}")));
    rows
}

/// What the provider kept, and what paid orders are worth, by currency.
fn sums_differ(books: &Books) -> Vec<String> {
    let mut sums: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for charge in books.charges.iter().filter(|charge| !charge.currency.is_empty()) {
        sums.entry(&charge.currency).or_default().0 += charge.net_minor();
    }
    for order in paid(books) {
        sums.entry(&order.currency).or_default().1 += order.total_minor;
    }
    sums.into_iter()
        .filter(|(_, (kept, owed))| kept != owed)
        .map(|(currency, (kept, owed))| format!("{kept} {currency} kept, {owed} in paid orders"))
        .collect()
}

fn give_back_is_not_whole(books: &Books) -> Vec<String> {
    let (charges, holds) = (books.charges_by_key(), books.holds_by_key());
    let was_charged = |order: &&Order| {
        let charge = charges.get(&order.order.payment().0);
        order.state == OrderState::Returned
            || order.state == OrderState::Cancelled && charge.is_some_and(|c| c.captures > 0)
    };
    let taken_back = books.orders.iter().filter(was_charged);
    taken_back
        .filter_map(|order| {
            let charge = charges.get(&order.order.payment().0);
            let is_refunded = charge.is_some_and(|charge| {
                (charge.captures, charge.refunds) == (1, 1) && charge.net_minor() == 0
            });
            let is_returned = order
                .hold_keys()
                .all(|key| holds.get(&key).is_some_and(|hold| hold.state == HoldState::Returned));
            (!is_refunded || !is_returned).then(|| format!("{order:?}, but {charge:?}"))
        })
        .collect()
}

fn order_is_forgotten(books: &Books) -> Vec<String> {
    let forgotten = |order: &&Order| !order.is_final() && order.step.is_none();
    books.orders.iter().filter(forgotten).map(|order| format!("{order:?}")).collect()
}

fn step_is_overdue(books: &Books) -> Vec<String> {
    let late = |order: &&Order| order.step_overdue_ms.is_some_and(|ms| ms > STEP_OVERDUE_MAX_MS);
    books.orders.iter().filter(late).map(|order| format!("{order:?}")).collect()
}

/// Orders that are paid, and stay so as far as anybody has begun.
fn paid(books: &Books) -> impl Iterator<Item = &Order> {
    books.orders.iter().filter(|order| order.is_paid() && !gives_back(order))
}

/// True when units or money of a paid order may be on their way back at this moment, which is said
/// as such.
pub(super) fn gives_back(order: &Order) -> bool {
    let step = order.step.as_deref();
    step == Some("pay_back")
        || step == Some("take_back")
            && (order.state == OrderState::Preparing
                || order.step_overdue_ms.is_some_and(|overdue_ms| overdue_ms >= 0))
}
