//! G2: first come, and no more than the limit.

use std::collections::{BTreeMap, HashMap};

use firstcome_proto::{BuyerId, OrderId, ProductId};

use super::Check;
use crate::verify::books::{Books, Hold, Order, Part};

pub(super) const FIRST_COME: [Check; 6] = [
    ("two admissions have one sequence number", sequence_is_given_twice),
    ("a sequence number in the ledger was never given", sequence_was_never_given),
    ("an order and its hold have different sequence numbers", order_differs_from_hold),
    ("a buyer was told another sequence number", receipt_differs_from_hold),
    ("who came later was admitted earlier", later_was_admitted_earlier),
    ("a buyer has more than the limit", buyer_exceeds_the_limit),
];

fn sequence_is_given_twice(books: &Books) -> Vec<String> {
    let mut given: HashMap<(ProductId, i64), &Hold> = HashMap::new();
    let mut rows = Vec::new();
    for hold in &books.holds {
        if let Some(other) = given.insert((hold.product, hold.sequence), hold) {
            rows.push(format!("{hold:?} and {other:?}"));
        }
    }
    rows
}

fn sequence_was_never_given(books: &Books) -> Vec<String> {
    let never = |hold: &&Hold| {
        let gate = books.gates.get(&hold.product);
        hold.sequence < 1 || gate.is_some_and(|gate| hold.sequence > gate.sequence)
    };
    books.holds.iter().filter(never).map(|hold| format!("{hold:?}")).collect()
}

fn order_differs_from_hold(books: &Books) -> Vec<String> {
    let holds = books.holds_by_key();
    let row = |order: &Order, part: &Part| {
        let hold = holds.get(&part.hold)?;
        (hold.sequence != part.sequence).then(|| format!("{order:?}, but {hold:?}"))
    };
    let parts =
        books.orders.iter().flat_map(|order| order.parts.iter().map(move |part| (order, part)));
    parts.filter_map(|(order, part)| row(order, part)).collect()
}

fn receipt_differs_from_hold(books: &Books) -> Vec<String> {
    let holds = books.holds_by_key();
    let orders = books.receipts.iter().flat_map(|receipts| receipts.orders());
    orders
        .filter_map(|(receipt, order)| {
            let hold = holds.get(&(receipt.product, order.order.reservation()))?;
            let differs =
                hold.sequence != order.sequence || hold.buyer != BuyerId::from(receipt.user);
            differs.then(|| format!("{receipt:?}, but {hold:?}"))
        })
        .collect()
}

/// An order that was acknowledged before another was first asked for was admitted before it.
fn later_was_admitted_earlier(books: &Books) -> Vec<String> {
    let Some(receipts) = &books.receipts else { return Vec::new() };
    // When each order was first asked for, whatever the answer; and when first acknowledged.
    let mut asked: HashMap<(ProductId, OrderId), i64> = HashMap::new();
    for receipt in &receipts.all {
        let order = OrderId::of(receipt.user, &receipt.key);
        let first = asked.entry((receipt.product, order)).or_insert(i64::MAX);
        *first = receipt.asked_ms.min(*first);
    }
    let mut seen: BTreeMap<(ProductId, OrderId), (i64, i64)> = BTreeMap::new();
    for (receipt, order) in receipts.orders() {
        let first = seen.entry((receipt.product, order.order)).or_insert((i64::MAX, 0));
        *first = (receipt.answered_ms.min(first.0), order.sequence);
    }
    let mut products: BTreeMap<ProductId, Vec<(i64, i64, i64, OrderId)>> = BTreeMap::new();
    for ((product, order), (answered, sequence)) in seen {
        let asked = asked.get(&(product, order)).copied().unwrap_or(answered);
        products.entry(product).or_default().push((asked, answered, sequence, order));
    }

    let mut rows = Vec::new();
    for orders in products.values() {
        let mut by_asking: Vec<_> = orders.iter().collect();
        by_asking.sort_by_key(|(asked, ..)| *asked);
        let mut by_answer: Vec<_> = orders.iter().collect();
        by_answer.sort_by_key(|(_, answered, ..)| *answered);
        let mut answered_before = by_answer.into_iter().peekable();
        let mut latest = None;
        for &(asked, _, sequence, order) in by_asking {
            let before = |other: &&(i64, i64, i64, OrderId)| other.1 < asked;
            while let Some(&(_, _, earlier, id)) = answered_before.next_if(|other| before(other)) {
                latest = latest.max(Some((earlier, id)));
            }
            if let Some((earlier, id)) = latest.filter(|(earlier, _)| *earlier > sequence) {
                rows.push(format!(
                    "{order} with {sequence} was first asked for after {id} had {earlier}"
                ));
            }
        }
    }
    rows
}

fn buyer_exceeds_the_limit(books: &Books) -> Vec<String> {
    let limits: HashMap<ProductId, i64> = books
        .products
        .iter()
        .filter(|product| product.limit_per_buyer > 0)
        .map(|product| (product.product, i64::from(product.limit_per_buyer)))
        .collect();
    let mut units: BTreeMap<(ProductId, BuyerId), Vec<&Hold>> = BTreeMap::new();
    for hold in books.holds.iter().filter(|hold| hold.is_live()) {
        units.entry((hold.product, hold.buyer)).or_default().push(hold);
    }
    units
        .iter()
        .filter(|((product, _), holds)| {
            let sum: i64 = holds.iter().map(|hold| hold.units()).sum();
            limits.get(product).is_some_and(|limit| sum > *limit)
        })
        .map(|((_, buyer), holds)| format!("{buyer}: {holds:?}"))
        .collect()
}
