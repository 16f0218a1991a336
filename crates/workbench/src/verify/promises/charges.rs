//! G4: no charge without goods, no goods without a charge; each refund exactly once.

use std::collections::{HashMap, HashSet};

use firstcome_proto::{inventory_v1::HoldState, order_v1::OrderState};

use super::Check;
use crate::verify::books::{Books, Charge, Hold, HoldKey, Order};

pub(super) const CHARGE_AND_GOODS: [Check; 7] = [
    ("a paid order was not charged exactly its total, once", paid_order_is_not_charged),
    ("a paid order has no settled hold", paid_order_has_no_goods),
    ("a charge belongs to no paid order", charge_has_no_order),
    ("units are sold without a paid order", goods_have_no_order),
    ("money moved more than once", money_moved_twice),
    ("a payment is still under way", payment_is_unfinished),
    ("payment's record and the provider's ledger differ", records_differ),
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
            let hold = holds.get(&order.hold_key());
            let owns = hold.is_some_and(|hold| hold.state == HoldState::Settled);
            (!owns).then(|| format!("{order:?}, but {hold:?}"))
        })
        .collect()
}

fn charge_has_no_order(books: &Books) -> Vec<String> {
    let paid: HashSet<_> = paid(books).map(|order| order.order.payment().0).collect();
    let orphan = |charge: &&Charge| charge.net_minor() != 0 && !paid.contains(&charge.key);
    books.charges.iter().filter(orphan).map(|charge| format!("{charge:?}")).collect()
}

fn goods_have_no_order(books: &Books) -> Vec<String> {
    let paid: HashSet<HoldKey> = paid(books).map(Order::hold_key).collect();
    let orphan = |hold: &&Hold| hold.state == HoldState::Settled && !paid.contains(&hold.key());
    books.holds.iter().filter(orphan).map(|hold| format!("{hold:?}")).collect()
}

fn money_moved_twice(books: &Books) -> Vec<String> {
    let twice =
        |charge: &&Charge| charge.captures > 1 || charge.refunds > 1 || charge.net_minor() < 0;
    books.charges.iter().filter(twice).map(|charge| format!("{charge:?}")).collect()
}

fn payment_is_unfinished(books: &Books) -> Vec<String> {
    let under_way = |order: &&Order| order.step.as_deref().is_some_and(|step| step != "expire");
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

fn paid(books: &Books) -> impl Iterator<Item = &Order> {
    books.orders.iter().filter(|order| order.state == OrderState::Preparing)
}
