//! G5: one effect per idempotency key, and a refusal leaves no trace.

use std::collections::{HashMap, HashSet};

use firstcome_proto::{BuyerId, OrderId, Reason, UserId};

use super::Check;
use crate::{
    receipts::{Acknowledged, Answer, Call, Receipt},
    verify::books::Books,
};

pub(super) const ONE_EFFECT: [Check; 5] = [
    ("an order's id does not come from its buyer and key", id_is_not_the_keys),
    ("one key was answered with different orders", key_has_two_answers),
    ("a key was called reused though its contents were the same", same_contents_were_refused),
    ("an order differs from its hold or from what its buyer was told", order_differs),
    ("a refusal left an order behind", refusal_left_a_trace),
];

fn id_is_not_the_keys(books: &Books) -> Vec<String> {
    let orders = books.receipts.iter().flat_map(|receipts| receipts.orders());
    orders
        .filter(|(receipt, order)| order.order != OrderId::of(receipt.user, &receipt.key))
        .map(|(receipt, _)| format!("{receipt:?}"))
        .collect()
}

fn key_has_two_answers(books: &Books) -> Vec<String> {
    let mut first: HashMap<(UserId, &str), (&Receipt, &Acknowledged)> = HashMap::new();
    let mut rows = Vec::new();
    for (receipt, order) in books.receipts.iter().flat_map(|receipts| receipts.orders()) {
        let key = (receipt.user, &*receipt.key);
        let (other, known) = *first.entry(key).or_insert((receipt, order));
        let facts = |order: &Acknowledged| {
            (order.order, order.sequence, order.total_minor, order.pay_by_ms)
        };
        if facts(order) != facts(known) {
            rows.push(format!("{receipt:?} and {other:?}"));
        }
    }
    rows
}

fn same_contents_were_refused(books: &Books) -> Vec<String> {
    let receipts: Vec<_> = books.receipts.iter().flat_map(|receipts| &receipts.all).collect();
    let contents = |receipt: &Receipt| (receipt.product, receipt.sku, receipt.quantity);
    let mut used: HashMap<(UserId, &str), HashSet<_>> = HashMap::new();
    for receipt in &receipts {
        used.entry((receipt.user, &*receipt.key)).or_default().insert(contents(receipt));
    }
    receipts
        .iter()
        .filter(|receipt| {
            receipt.answer == Answer::Refused(Reason::KeyReused)
                && used[&(receipt.user, &*receipt.key)].len() == 1
        })
        .map(|receipt| format!("{receipt:?}"))
        .collect()
}

fn order_differs(books: &Books) -> Vec<String> {
    let (orders, holds) = (books.orders_by_id(), books.holds_by_key());
    let mut rows = Vec::new();
    for order in &books.orders {
        let holds_of_it = || order.hold_keys().filter_map(|key| holds.get(&key));
        for part in &order.parts {
            let Some(hold) = holds.get(&part.hold) else { continue };
            let mut lines = (part.lines.clone(), hold.lines.clone());
            lines.0.sort();
            lines.1.sort();
            if BuyerId::from(order.user) != hold.buyer || lines.0 != lines.1 {
                rows.push(format!("{order:?}, but {hold:?}"));
            }
        }
        // The first of its holds to end ends the order.
        if holds_of_it().map(|hold| hold.expires_ms).min().is_some_and(|ms| ms != order.pay_by_ms) {
            rows.push(format!("{order:?}, but {:?}", holds_of_it().collect::<Vec<_>>()));
        }
    }
    for (receipt, told) in books.receipts.iter().flat_map(|receipts| receipts.orders()) {
        let Some(order) = orders.get(&told.order) else { continue };
        if (order.user, order.total_minor, order.pay_by_ms)
            != (receipt.user, told.total_minor, told.pay_by_ms)
            || !order.is_of(receipt.product)
        {
            rows.push(format!("{order:?}, but {receipt:?}"));
        }
    }
    rows
}

/// Only keys whose every answer was a plain refusal: where one answer was lost, an order may be.
fn refusal_left_a_trace(books: &Books) -> Vec<String> {
    let orders = books.orders_by_id();
    let mut refused: HashMap<(UserId, &str), (&Receipt, bool)> = HashMap::new();
    let receipts = books.receipts.iter().flat_map(|receipts| &receipts.all);
    for receipt in receipts.filter(|receipt| receipt.call == Call::Place) {
        let key = (receipt.user, &*receipt.key);
        let (last, plainly) = refused.entry(key).or_insert((receipt, true));
        *last = receipt;
        *plainly &= matches!(receipt.answer, Answer::Refused(reason) if leaves_no_trace(reason));
    }
    refused
        .into_iter()
        .filter(|(_, (_, plainly))| *plainly)
        .filter_map(|((user, key), (receipt, _))| {
            let order = orders.get(&OrderId::of(user, key))?;
            Some(format!("{order:?}, but {receipt:?}"))
        })
        .collect()
}

/// Refusals that say that nothing was done, as opposed to those that do not know.
fn leaves_no_trace(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NotOpen
            | Reason::Closed
            | Reason::SoldOut
            | Reason::LimitPerBuyer
            | Reason::RateLimited
            | Reason::InvalidArgument
            | Reason::NotFound
            | Reason::TokenInvalid
            | Reason::TokenExpired
            | Reason::TokenRevoked
    )
}
