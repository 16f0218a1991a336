//! G1 and G3: units are never sold twice and never lost.

use std::collections::{BTreeMap, HashMap, HashSet};

use firstcome_proto::{BuyerId, ProductId, SkuId, inventory_v1::HoldState, order_v1::OrderState};

use super::Check;
use crate::verify::books::{Books, Hold, HoldKey, Order, Product, Stock, Taken};

/// An expired hold is on sale again by then.
const OVERDUE_MAX_MS: i64 = 2_000;
/// What a look at the ledger may itself add to how late a hold seems.
const LOOK_MAX_MS: i64 = 500;

pub(super) const NO_OVERSELL: [Check; 3] = [
    ("held + settled exceed the total", counters_exceed_the_total),
    ("the counters are not the sums of the holds", counters_differ_from_holds),
    ("more units are in paid orders than exist", paid_orders_exceed_the_total),
];

pub(super) const NO_LOST_STOCK: [Check; 11] = [
    ("a scheduled product gets no gate", scheduled_product_has_no_gate),
    ("total is not available + held + settled", units_are_missing),
    ("the gate and the ledger know different holds", gate_differs_from_holds),
    ("the gate counts a buyer's units wrongly", gate_miscounts_a_buyer),
    ("an expired hold is not on sale again", hold_is_overdue),
    ("a hold is pinned and nobody pays for it", hold_is_pinned_for_nobody),
    ("an order that came to nothing still has units", ended_order_has_units),
    ("an expired hold was on sale again too late", hold_was_late),
    ("an ended hold never reached the gate", outbox_is_not_empty),
    ("an admission is neither committed nor undone", admission_is_unconfirmed),
    ("an order waits for a hold that ended", order_waits_for_nothing),
];

fn counters_exceed_the_total(books: &Books) -> Vec<String> {
    let exceeds = |stock: &&Stock| {
        let committed = i64::from(stock.held) + i64::from(stock.settled);
        stock.held < 0 || stock.settled < 0 || committed > i64::from(stock.total)
    };
    books.stock.iter().filter(exceeds).map(|stock| format!("{stock:?}")).collect()
}

fn counters_differ_from_holds(books: &Books) -> Vec<String> {
    let mut sums: HashMap<(ProductId, SkuId), (i64, i64)> = HashMap::new();
    for hold in books.holds.iter().filter(|hold| hold.is_live()) {
        for line in &hold.lines {
            let (held, settled) = sums.entry((hold.product, line.sku)).or_default();
            let sum = if hold.state == HoldState::Settled { settled } else { held };
            *sum += i64::from(line.quantity);
        }
    }
    let mut rows = Vec::new();
    for stock in &books.stock {
        let (held, settled) = sums.remove(&(stock.product, stock.sku)).unwrap_or_default();
        if (i64::from(stock.held), i64::from(stock.settled)) != (held, settled) {
            rows.push(format!("{stock:?}, but the holds sum up to {held} held, {settled} settled"));
        }
    }
    let strangers = sums
        .keys()
        .map(|(product, sku)| format!("holds of {product} name {sku}, which has no stock row"));
    rows.extend(strangers);
    rows
}

fn paid_orders_exceed_the_total(books: &Books) -> Vec<String> {
    let mut paid: HashMap<SkuId, i64> = HashMap::new();
    // Not those whose goods are coming back: their units may be on sale again.
    let keeps = |order: &&Order| order.is_paid() && order.state != OrderState::ReturnRequested;
    for order in books.orders.iter().filter(keeps) {
        for line in order.parts.iter().flat_map(|part| &part.lines) {
            *paid.entry(line.sku).or_default() += i64::from(line.quantity);
        }
    }
    let row = |stock: &Stock| {
        let units = paid.get(&stock.sku).copied().unwrap_or_default();
        (units > i64::from(stock.total)).then(|| format!("{stock:?}, but {units} are paid for"))
    };
    books.stock.iter().filter_map(row).collect()
}

/// A gate that is missing is made when the product is asked for; one that is still missing is not
/// on sale.
fn scheduled_product_has_no_gate(books: &Books) -> Vec<String> {
    let missing = |product: &&Product| {
        let has_gate = books.gates.contains_key(&product.product);
        books.gates_were_asked_for && product.is_scheduled && !has_gate
    };
    books.products.iter().filter(missing).map(|product| format!("{product:?}")).collect()
}

fn units_are_missing(books: &Books) -> Vec<String> {
    let row = |stock: &Stock| {
        let gate = books.gates.get(&stock.product)?;
        let available = gate.available.get(&stock.sku).copied();
        let sum = available.unwrap_or(0) + i64::from(stock.held) + i64::from(stock.settled);
        (available.is_none() || sum != i64::from(stock.total))
            .then(|| format!("{stock:?}, but {available:?} are available"))
    };
    books.stock.iter().filter_map(row).collect()
}

fn gate_differs_from_holds(books: &Books) -> Vec<String> {
    let mut rows = Vec::new();
    let mut records: HashMap<HoldKey, &Taken> = HashMap::new();
    for (&product, gate) in &books.gates {
        records.extend(gate.taken.iter().map(|(&id, record)| ((product, id), record)));
    }
    let kept = |hold: &&Hold| hold.is_live() && books.gates.contains_key(&hold.product);
    for hold in books.holds.iter().filter(kept) {
        let record = records.remove(&hold.key());
        let same = record.is_some_and(|record| {
            let mut lines = (record.lines.clone(), hold.lines.clone());
            lines.0.sort();
            lines.1.sort();
            record.sequence == hold.sequence && record.buyer == hold.buyer && lines.0 == lines.1
        });
        let was_forgotten = record.is_none() && hold.forgotten;
        if !same && !was_forgotten {
            rows.push(format!("{hold:?}, but the gate has {record:?}"));
        }
    }
    rows.extend(records.iter().map(|((product, id), record)| {
        format!("the gate of {product} keeps {id} as {record:?}, but it is not held")
    }));
    rows
}

fn gate_miscounts_a_buyer(books: &Books) -> Vec<String> {
    let mut rows = Vec::new();
    let limited = books.products.iter().filter(|product| product.limit_per_buyer > 0);
    for product in limited.map(|product| product.product) {
        let Some(gate) = books.gates.get(&product) else { continue };
        let mut units: BTreeMap<BuyerId, i64> = BTreeMap::new();
        for hold in books.holds.iter().filter(|hold| hold.product == product && hold.is_live()) {
            *units.entry(hold.buyer).or_default() += hold.units();
        }
        for (buyer, held) in &units {
            let counted = gate.buyers.get(buyer).copied().unwrap_or(0);
            if counted != *held {
                rows.push(format!("{product}: {buyer} has {held}, the gate counts {counted}"));
            }
        }
        for (buyer, counted) in &gate.buyers {
            if *counted != 0 && !units.contains_key(buyer) {
                rows.push(format!("{product}: {buyer} has none, the gate counts {counted}"));
            }
        }
    }
    rows
}

fn hold_is_overdue(books: &Books) -> Vec<String> {
    let overdue = |hold: &&Hold| hold.state == HoldState::Held && hold.overdue_ms > OVERDUE_MAX_MS;
    books.holds.iter().filter(overdue).map(|hold| format!("{hold:?}")).collect()
}

/// A pin lasts as long as the payment that made it, and no longer.
fn hold_is_pinned_for_nobody(books: &Books) -> Vec<String> {
    let paying: HashSet<HoldKey> = books
        .orders
        .iter()
        .filter(|order| order.is_under_way())
        .flat_map(Order::hold_keys)
        .collect();
    let stuck = |hold: &&Hold| hold.state == HoldState::Pinned && !paying.contains(&hold.key());
    books.holds.iter().filter(stuck).map(|hold| format!("{hold:?}")).collect()
}

fn ended_order_has_units(books: &Books) -> Vec<String> {
    let holds = books.holds_by_key();
    let came_to_nothing = |order: &&Order| order.is_final() && !order.is_paid();
    let has_units = |order: &&Order| {
        let mut keys = order.hold_keys();
        keys.any(|key| holds.get(&key).is_some_and(|hold| hold.is_live()))
    };
    let ended = books.orders.iter().filter(came_to_nothing).filter(has_units);
    ended.map(|order| format!("{order:?}")).collect()
}

/// However soon it was on sale again after that.
fn hold_was_late(books: &Books) -> Vec<String> {
    let late = books.latest.filter(|late| late.overdue_ms > OVERDUE_MAX_MS + LOOK_MAX_MS);
    late.iter().map(|late| format!("{late:?}")).collect()
}

fn outbox_is_not_empty(books: &Books) -> Vec<String> {
    books.gate_outbox.iter().map(|(product, id)| format!("{id} of {product}")).collect()
}

fn admission_is_unconfirmed(books: &Books) -> Vec<String> {
    let unconfirmed = books.gates.iter().filter(|(_, gate)| gate.unconfirmed > 0);
    unconfirmed.map(|(product, gate)| format!("{product}: {} batches", gate.unconfirmed)).collect()
}

fn order_waits_for_nothing(books: &Books) -> Vec<String> {
    let holds = books.holds_by_key();
    let waits = |order: &&Order| {
        let mut keys = order.hold_keys();
        order.state == OrderState::PendingPayment
            && order.overdue_ms > OVERDUE_MAX_MS
            && keys.any(|key| holds.get(&key).is_none_or(|hold| !hold.is_live()))
    };
    books.orders.iter().filter(waits).map(|order| format!("{order:?}")).collect()
}
