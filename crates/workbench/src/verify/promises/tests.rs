//! Books in order break nothing; one entry changed breaks exactly the promise that it should.

use std::collections::BTreeSet;

use firstcome_proto::{
    BuyerId, OrderId, ProductId, Reason, SkuId, UserId, inventory_v1::HoldState,
    order_v1::OrderState,
};
use uuid::Uuid;

use super::*;
use crate::{
    receipts::{Acknowledged, Answer, Call, Receipt, Receipts},
    verify::books::{
        Charge, Gate, Hold, Late, Line, Order, Parked, Part, Payment, Product, Stock, Taken, Untold,
    },
};

const PRODUCT: ProductId = ProductId(Uuid::from_u128(1));
const OTHER_PRODUCT: ProductId = ProductId(Uuid::from_u128(3));
const OTHER_SKU: SkuId = SkuId(Uuid::from_u128(4));
const SKU: SkuId = SkuId(Uuid::from_u128(2));
const KEY: &str = "rush-1";
const PRICE: i64 = 189_000;
const HELD_MS: i64 = 5_000;

fn user(number: u128) -> UserId {
    UserId(Uuid::from_u128(100 + number))
}

fn order_id(number: u128) -> OrderId {
    OrderId::of(user(number), KEY)
}

/// When a buyer asked; each comes well after the one before was answered.
fn asked_ms(number: u128) -> i64 {
    i64::try_from(number).unwrap() * 100
}

fn receipt(number: u128, call: Call, answer: Answer) -> Receipt {
    Receipt {
        call,
        user: user(number),
        key: KEY.into(),
        product: PRODUCT,
        sku: SKU,
        quantity: 1,
        asked_ms: asked_ms(number),
        answered_ms: asked_ms(number) + 10,
        answer,
    }
}

fn acknowledged(number: u128, state: OrderState) -> Acknowledged {
    Acknowledged {
        order: order_id(number),
        sequence: i64::try_from(number).unwrap(),
        state,
        total_minor: PRICE,
        pay_by_ms: asked_ms(number) + HELD_MS,
    }
}

impl Books {
    /// Lets a buyer in, up to this state of the hold.
    fn admit(&mut self, number: u128, hold: HoldState) {
        let line = Line { sku: SKU, quantity: 1 };
        let sequence = i64::try_from(number).unwrap();
        let (state, step, charge) = match hold {
            HoldState::Held => (OrderState::PendingPayment, Some("expire"), None),
            HoldState::Settled => (OrderState::Preparing, Some("ship"), Some("CAPTURED")),
            HoldState::Released => (OrderState::PaymentFailed, None, Some("DECLINED")),
            HoldState::Expired => (OrderState::Expired, None, None),
            other => unreachable!("no story has {other:?}"),
        };
        let hold = Hold {
            product: PRODUCT,
            reservation: order_id(number).reservation(),
            buyer: user(number).into(),
            sequence,
            state: hold,
            lines: vec![line],
            expires_ms: asked_ms(number) + HELD_MS,
            overdue_ms: if hold == HoldState::Held { -1_000 } else { 60_000 },
            forgotten: false,
        };
        let is_live = hold.is_live();
        if is_live {
            let gate = self.gates.get_mut(&PRODUCT).unwrap();
            let record = Taken { sequence, buyer: hold.buyer, lines: hold.lines.clone() };
            gate.taken.insert(hold.reservation, record);
            gate.buyers.insert(hold.buyer, 1);
            *gate.available.get_mut(&SKU).unwrap() -= 1;
            let stock = &mut self.stock[0];
            match hold.state {
                HoldState::Settled => stock.settled += 1,
                _ => stock.held += 1,
            }
        }
        self.gates.get_mut(&PRODUCT).unwrap().sequence = sequence;
        self.orders.push(Order {
            order: order_id(number),
            user: user(number),
            state,
            step: step.map(str::to_owned),
            step_overdue_ms: step.map(|_| -1_000),
            parts: vec![Part { hold: hold.key(), sequence, lines: vec![line] }],
            total_minor: PRICE,
            currency: "KRW".into(),
            pay_by_ms: hold.expires_ms,
            overdue_ms: hold.overdue_ms,
        });
        if let Some(state) = charge {
            let payment = order_id(number).payment();
            self.payments.push(Payment { payment, state: state.into() });
            let captures = i64::from(state == "CAPTURED");
            self.charges.push(Charge {
                key: payment.0,
                state: state.into(),
                captures,
                captured_minor: captures * PRICE,
                currency: if captures > 0 { "KRW".into() } else { String::new() },
                ..Charge::default()
            });
        }
        self.holds.push(hold);
        let told = Answer::Order(acknowledged(number, OrderState::PendingPayment));
        self.told().push(receipt(number, Call::Place, told));
    }

    /// Adds a second product and a hold of it under the key of an order of the first, in this state.
    fn use_again(&mut self, number: u128, state: HoldState) {
        let (product, sku) = (OTHER_PRODUCT, OTHER_SKU);
        self.products.push(Product { product, limit_per_buyer: 1, is_scheduled: true });
        let sequence = i64::try_from(number + 10).unwrap();
        let hold = Hold {
            product,
            reservation: order_id(number).reservation(),
            buyer: user(number).into(),
            sequence,
            state,
            lines: vec![Line { sku, quantity: 1 }],
            // It need not agree with the order, nor does its sequence number.
            expires_ms: asked_ms(number) + 2 * HELD_MS,
            overdue_ms: -1_000,
            forgotten: false,
        };
        let settled = i32::from(state == HoldState::Settled);
        self.stock.push(Stock { product, sku, total: 2, held: 0, settled, epoch: 1 });
        let available = [(sku, 2 - i64::from(settled))].into();
        let mut gate = Gate { epoch: 1, sequence, available, ..Gate::default() };
        if hold.is_live() {
            let record = Taken { sequence, buyer: hold.buyer, lines: hold.lines.clone() };
            gate.taken.insert(hold.reservation, record);
            gate.buyers.insert(hold.buyer, 1);
        }
        self.gates.insert(product, gate);
        self.holds.push(hold);
        let mut refused = receipt(number, Call::Place, Answer::Refused(Reason::KeyReused));
        refused.product = product;
        self.told().push(refused);
    }

    fn told(&mut self) -> &mut Vec<Receipt> {
        &mut self.receipts.as_mut().unwrap().all
    }

    fn gate(&mut self) -> &mut Gate {
        self.gates.get_mut(&PRODUCT).unwrap()
    }
}

/// Buyer 1 walked away, 2 paid, 3 was declined, 4 still holds; 5 was refused and 6 hung up.
fn books() -> Books {
    let mut books = Books {
        products: vec![Product { product: PRODUCT, limit_per_buyer: 1, is_scheduled: true }],
        stock: vec![Stock { product: PRODUCT, sku: SKU, total: 2, held: 0, settled: 0, epoch: 1 }],
        gates_were_asked_for: true,
        receipts: Some(Receipts::default()),
        ..Books::default()
    };
    let available = [(SKU, 2)].into();
    books.gates.insert(PRODUCT, Gate { epoch: 1, available, ..Gate::default() });
    books.admit(1, HoldState::Expired);
    books.admit(2, HoldState::Settled);
    let paid = Answer::Order(acknowledged(2, OrderState::Preparing));
    books.told().push(receipt(2, Call::Pay, paid));
    books.admit(3, HoldState::Released);
    let declined = Answer::Refused(Reason::CardDeclined);
    books.told().push(receipt(3, Call::Pay, declined));
    books.admit(4, HoldState::Held);
    books.told().push(receipt(5, Call::Place, Answer::Refused(Reason::SoldOut)));
    books.told().push(receipt(6, Call::Place, Answer::Unheard));
    books
}

/// Changes one thing and names every promise that it must break.
#[track_caller]
fn check(broken: &[Promise], plant: impl FnOnce(&mut Books)) {
    let mut books = books();
    plant(&mut books);
    let violations: Vec<_> =
        Promise::ALL.into_iter().flat_map(|promise| promise.check(&books)).collect();
    let found: BTreeSet<_> = violations.iter().map(|found| found.promise).collect();
    let wanted: BTreeSet<_> = broken.iter().copied().collect();
    assert_eq!(found, wanted, "{violations:#?}");
}

#[test]
fn books_in_order_break_nothing() {
    check(&[], |_| {});
    // Without receipts there is less to compare, not more to complain of.
    check(&[], |books| books.receipts = None);
    // A gate that is not loaded yet is made from the ledger when it is asked.
    check(&[], |books| {
        books.gates.clear();
        books.gates_were_asked_for = false;
    });
    // The record of a settled hold may be forgotten.
    check(&[], |books| {
        books.holds[1].forgotten = true;
        let id = order_id(2).reservation();
        books.gate().taken.remove(&id);
    });
}

#[test]
fn a_key_used_again_with_another_product_breaks_nothing() {
    // Whichever hold is read first.
    for number in [2, 4] {
        check(&[], |books| books.use_again(number, HoldState::Released));
        check(&[], |books| {
            books.use_again(number, HoldState::Released);
            books.holds.reverse();
        });
    }
}

#[test]
fn g4_sees_goods_under_a_key_that_paid_for_another_product() {
    check(&[Promise::G4], |books| books.use_again(2, HoldState::Settled));
    // What was paid for was released.
    check(&[Promise::G4, Promise::G6], |books| {
        books.use_again(2, HoldState::Settled);
        books.holds[1].state = HoldState::Released;
        books.stock[0].settled -= 1;
        *books.gate().available.get_mut(&SKU).unwrap() += 1;
        let (id, buyer) = (order_id(2).reservation(), BuyerId::from(user(2)));
        books.gate().taken.remove(&id);
        books.gate().buyers.remove(&buyer);
    });
}

#[test]
fn g5_sees_an_order_of_another_product_than_its_buyer_asked_for() {
    check(&[Promise::G5], |books| {
        let told = books.told().iter_mut().find(|receipt| receipt.user == user(3)).unwrap();
        told.product = OTHER_PRODUCT;
    });
}

#[test]
fn g1_sees_units_sold_twice() {
    check(&[Promise::G1, Promise::G3], |books| books.stock[0].settled += 1);
    check(&[Promise::G1], |books| {
        books.stock[0].total = 1;
        *books.gate().available.get_mut(&SKU).unwrap() -= 1;
    });
    check(&[Promise::G1, Promise::G3], |books| books.stock[0].held = 0);
    check(&[Promise::G1], |books| {
        let stranger = Line { sku: SkuId(Uuid::from_u128(9)), quantity: 1 };
        for lines in [&mut books.holds[3].lines, &mut books.orders[3].parts[0].lines] {
            lines.push(stranger);
        }
        let id = order_id(4).reservation();
        books.gate().taken.get_mut(&id).unwrap().lines.push(stranger);
        books.products[0].limit_per_buyer = 0;
    });
}

#[test]
fn g2_sees_a_broken_order_of_admission() {
    check(&[Promise::G2], |books| {
        for hold in [0, 2] {
            books.holds[hold].sequence = 7;
            books.orders[hold].parts[0].sequence = 7;
        }
        books.gate().sequence = 7;
        books.told().retain(|receipt| receipt.user == user(2) || receipt.user == user(4));
    });
    check(&[Promise::G2], |books| books.gate().sequence = 2);
    check(&[Promise::G2], |books| books.orders[0].parts[0].sequence = 9);
    check(&[Promise::G2], |books| {
        let Answer::Order(told) = &mut books.told()[0].answer else { unreachable!() };
        told.sequence = 8;
    });
    // Buyer 4 was answered before buyer 1 asked.
    check(&[Promise::G2], |books| {
        let late = books.told().iter_mut().find(|receipt| receipt.user == user(1)).unwrap();
        (late.asked_ms, late.answered_ms) = (9_000, 9_010);
    });
    // Unless buyer 1 had hung up on an earlier call.
    check(&[], |books| {
        let late = books.told().iter_mut().find(|receipt| receipt.user == user(1)).unwrap();
        (late.asked_ms, late.answered_ms) = (9_000, 9_010);
        books.told().push(receipt(1, Call::Place, Answer::Unheard));
    });
}

#[test]
fn g2_sees_a_buyer_with_more_than_the_limit() {
    check(&[Promise::G2], |books| {
        for line in [&mut books.holds[3].lines[0], &mut books.orders[3].parts[0].lines[0]] {
            line.quantity = 2;
        }
        let id = order_id(4).reservation();
        let gate = books.gate();
        gate.taken.get_mut(&id).unwrap().lines[0].quantity = 2;
        gate.buyers.insert(BuyerId::from(user(4)), 2);
        books.stock[0].held += 1;
        books.stock[0].total += 1;
    });
}

#[test]
fn g3_sees_lost_units() {
    check(&[Promise::G3], |books| *books.gate().available.get_mut(&SKU).unwrap() += 1);
    check(&[Promise::G3], |books| books.gate().available.clear());
    check(&[Promise::G3], |books| {
        let id = order_id(4).reservation();
        books.gate().taken.remove(&id);
    });
    check(&[Promise::G3], |books| {
        let id = order_id(1).reservation();
        let record = Taken { sequence: 1, buyer: user(1).into(), lines: Vec::new() };
        books.gate().taken.insert(id, record);
    });
    check(&[Promise::G3], |books| {
        books.gate().buyers.insert(user(5).into(), 1);
    });
    check(&[Promise::G3], |books| books.gate().buyers.clear());
    check(&[Promise::G3], |books| books.holds[3].overdue_ms = 2_001);
    // Buyer 1's hold was freed by the time the books were read, but not soon enough.
    let late = |overdue_ms| Some(Late { hold: (PRODUCT, order_id(1).reservation()), overdue_ms });
    check(&[], |books| books.latest = late(2_500));
    check(&[Promise::G3], |books| books.latest = late(2_501));
    check(&[Promise::G3], |books| {
        books.gate_outbox.push((PRODUCT, order_id(1).reservation()));
    });
    check(&[Promise::G3], |books| books.gate().unconfirmed = 1);
    check(&[Promise::G3], |books| books.gates.clear());
    check(&[Promise::G3], |books| {
        books.orders[0].state = OrderState::PendingPayment;
        books.orders[0].step = Some("expire".into());
    });
}

#[test]
fn g4_sees_charges_without_goods_and_goods_without_charge() {
    check(&[Promise::G4], |books| books.charges[0].captured_minor -= 1);
    check(&[Promise::G4], |books| books.charges[0].currency = "USD".into());
    check(&[Promise::G4], |books| {
        books.charges[0].captures = 2;
        books.charges[0].captured_minor = 2 * PRICE;
    });
    check(&[Promise::G4], |books| {
        books.charges[0].refunds = 1;
        books.charges[0].refunded_minor = PRICE;
    });
    check(&[Promise::G4], |books| {
        books.charges.remove(0);
    });
    // An extra capture of an order that was declined.
    check(&[Promise::G4], |books| {
        books.charges[1].captures = 1;
        books.charges[1].captured_minor = PRICE;
    });
    // A capture that belongs to nobody.
    check(&[Promise::G4], |books| {
        books.charges.push(Charge {
            key: Uuid::from_u128(77),
            state: "MISSING".into(),
            captures: 1,
            captured_minor: PRICE,
            ..Charge::default()
        });
    });
    check(&[Promise::G4], |books| books.orders[3].step = Some("settle".into()));
    check(&[Promise::G4], |books| books.payments[0].state = "VOIDED".into());
    check(&[Promise::G4], |books| books.orders[1].step = None);
    check(&[Promise::G4], |books| books.orders[1].step_overdue_ms = Some(60_001));
}

impl Books {
    /// Takes buyer 2's paid unit back, up to this state of the order.
    fn give_back(&mut self, state: OrderState) {
        self.orders[1].state = state;
        self.orders[1].step = None;
        self.holds[1].state = HoldState::Returned;
        self.stock[0].settled -= 1;
        *self.gate().available.get_mut(&SKU).unwrap() += 1;
        let (id, buyer) = (order_id(2).reservation(), BuyerId::from(user(2)));
        self.gate().taken.remove(&id);
        self.gate().buyers.remove(&buyer);
        self.payments[0].state = "REFUNDED".into();
        let charge = &mut self.charges[0];
        (charge.state, charge.refunds, charge.refunded_minor) = ("REFUNDED".into(), 1, PRICE);
    }
}

#[test]
fn g4_sees_what_was_taken_back_without_its_refund_or_its_return() {
    for state in [OrderState::Cancelled, OrderState::Returned] {
        check(&[], |books| {
            books.give_back(state);
            if state == OrderState::Returned {
                books.told().retain(|receipt| receipt.user != user(2));
            }
        });
        check(&[Promise::G4], |books| {
            books.give_back(state);
            let charge = &mut books.charges[0];
            (charge.state, charge.refunds, charge.refunded_minor) = ("CAPTURED".into(), 0, 0);
            books.payments[0].state = "CAPTURED".into();
        });
        check(&[Promise::G4], |books| {
            books.give_back(state);
            books.charges[0].refunds = 2;
        });
        check(&[Promise::G4], |books| {
            books.give_back(state);
            books.holds[1].state = HoldState::Released;
        });
    }
    // Under way is not yet over, which is said as such.
    check(&[Promise::G4], |books| books.orders[1].step = Some("pay_back".into()));
}

#[test]
fn g3_sees_a_hold_that_was_pinned_and_forgotten() {
    check(&[Promise::G3], |books| books.holds[3].state = HoldState::Pinned);
    // Its payment is under way, which is said as such.
    check(&[Promise::G4], |books| {
        books.holds[3].state = HoldState::Pinned;
        books.orders[3].step = Some("settle".into());
    });
}

#[test]
fn g3_sees_units_of_an_order_that_came_to_nothing() {
    check(&[Promise::G3], |books| {
        books.orders[3].state = OrderState::Cancelled;
        books.orders[3].step = None;
    });
}

#[test]
fn the_parts_of_an_order_are_looked_at_one_by_one() {
    let cart = |books: &mut Books| {
        books.use_again(4, HoldState::Settled);
        books.told().retain(|receipt| receipt.user != user(4));
        let other = books.holds.last_mut().unwrap();
        other.state = HoldState::Held;
        books.stock[1].settled = 0;
        books.stock[1].held = 1;
        let part = Part { hold: other.key(), sequence: other.sequence, lines: other.lines.clone() };
        books.orders[3].parts.push(part);
    };
    check(&[], cart);
    check(&[Promise::G2], |books| {
        cart(books);
        books.orders[3].parts[1].sequence += 1;
    });
    check(&[Promise::G6], |books| {
        cart(books);
        books.orders[3].parts[1].hold.1 = order_id(9).reservation();
    });
    check(&[Promise::G5], |books| {
        cart(books);
        books.orders[3].parts[1].lines[0].quantity = 2;
    });
}

#[test]
fn g5_sees_a_key_with_two_effects() {
    check(&[Promise::G5], |books| {
        // A second order for a key, which the buyer was told of.
        let mut second = acknowledged(2, OrderState::PendingPayment);
        second.pay_by_ms += 1;
        books.told().push(receipt(2, Call::Place, Answer::Order(second)));
    });
    check(&[Promise::G5, Promise::G6], |books| {
        let mut second = acknowledged(2, OrderState::PendingPayment);
        second.order = OrderId(Uuid::from_u128(8));
        books.told().push(receipt(2, Call::Place, Answer::Order(second)));
    });
    check(&[Promise::G5], |books| {
        books.told().push(receipt(2, Call::Place, Answer::Refused(Reason::KeyReused)));
    });
    check(&[], |books| {
        let mut other = receipt(2, Call::Place, Answer::Refused(Reason::KeyReused));
        other.quantity = 2;
        books.told().push(other);
    });
    check(&[Promise::G5], |books| books.orders[0].pay_by_ms += 1);
    // Buyer 4 was only ever refused, and holds a unit.
    check(&[Promise::G5], |books| {
        books.told().retain(|receipt| receipt.user != user(4));
        books.told().push(receipt(4, Call::Place, Answer::Refused(Reason::SoldOut)));
    });
    // Where one answer was lost, an order may be.
    check(&[], |books| {
        books.told().retain(|receipt| receipt.user != user(4));
        books.told().push(receipt(4, Call::Place, Answer::Unheard));
        books.told().push(receipt(4, Call::Place, Answer::Refused(Reason::SoldOut)));
    });
}

#[test]
fn g6_sees_what_was_acknowledged_and_is_gone() {
    check(&[Promise::G6], |books| {
        books.orders.remove(0);
    });
    check(&[Promise::G6], |books| {
        books.holds.remove(0);
    });
    check(&[Promise::G6], |books| {
        let paid = Answer::Order(acknowledged(3, OrderState::Preparing));
        books.told().push(receipt(3, Call::Pay, paid));
    });
    check(&[Promise::G6], |books| books.orders[2].state = OrderState::Expired);
    check(&[Promise::G4, Promise::G6], |books| {
        books.orders.remove(1);
    });
}

#[test]
fn g6_sees_an_event_that_nobody_tells() {
    let untold =
        |still_ms| Untold { outbox_id: 1, order: order_id(2), state: "preparing".into(), still_ms };
    // It moves, or has hardly begun to wait.
    check(&[], |books| books.outbox.push(untold(15_000)));
    check(&[Promise::G6], |books| {
        books.outbox.push(untold(100));
        books.outbox.push(untold(15_001));
    });
}

#[test]
fn a_parked_event_is_shown_and_breaks_nothing() {
    let mut books = books();
    books.parked.push(Parked {
        stream: "fc:events:{1}".into(),
        entry: "17-0".into(),
        event: None,
        deliveries: 1,
        error: "buffer underflow".into(),
    });
    let report = crate::verify::check(&books);
    assert!(report.is_clean(), "{:?}", report.violations);
    assert_eq!(report.warnings.len(), 1);
    assert!(report.warnings[0].contains("buffer underflow"), "{:?}", report.warnings);
    assert!(report.to_string().contains("buffer underflow"), "{report}");
}
