//! Placing an order: what a good request is, what names it, and what a hold and a row together
//! answer. No I/O; [`crate::intake`] does what is decided here.

use firstcome_proto::{Money, OrderId, ProductId, Refusal, UserId, order_v1};
use sha2::{Digest as _, Sha256};

use crate::{
    basket::Selection,
    hold,
    order::{Fingerprint, Line, NewOrder, State},
    wanted::{Faults, KEY_LENGTH_MAX, Wanted, printable, read_lines, sum},
};

/// Begins every fingerprint, so that a later way to compute it cannot collide with this one.
const LINES_DOMAIN: &[u8] = b"firstcome.order.v1\0";
/// The same, where what was chosen stands for the lines.
const SELECTION_DOMAIN: &[u8] = b"firstcome.selection.v1\0";

/// A good request to place an order, by the way that it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Units of one product: the rush.
    OneProduct(Placement),
    /// Of several, or of whatever stands in a basket: by attempts.
    Several(Plan),
}

/// A wish that is placed by attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The order that buyer and key name.
    pub order: OrderId,
    /// The buyer.
    pub user: UserId,
    /// Over what is asked for.
    pub fingerprint: Fingerprint,
    /// Where its lines are.
    pub source: Source,
}

/// Where the lines of an order come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Written out; sorted by product and SKU, each SKU once.
    Lines(Vec<Wanted>),
    /// In a basket of the buyer's.
    Basket(Selection),
}

/// A wish for units of one product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The order that buyer and key name.
    pub order: OrderId,
    /// The buyer.
    pub user: UserId,
    /// The one product of all lines.
    pub product: ProductId,
    /// Sorted by SKU, each once.
    pub lines: Vec<Wanted>,
    /// Over all of the above but the buyer.
    pub fingerprint: Fingerprint,
}

/// The row that an order id has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// None yet.
    Absent,
    /// One that asked for the same.
    Same,
    /// One that asked for something else.
    Other,
}

/// What to do about a hold and a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Write the row in this state; ORDER_EXPIRED when that is expired, else the order.
    Insert(State),
    /// Answer the row as it is.
    Answer,
    /// KEY_REUSED; first undo what this call newly took, if anything.
    KeyReused {
        /// Whether this call took units.
        undo: bool,
    },
    /// The ledger knows a payment of an order that is not there: a fault of ours.
    Lost,
}

/// What an order becomes, by its hold and by the row that may be there already.
pub fn decide(hold: hold::State, newly_admitted: bool, row: Row) -> Decision {
    use hold::State as Hold;
    match (hold, row) {
        (_, Row::Same) => Decision::Answer,
        // What was there before belongs to whoever took it, perhaps under this very key.
        (_, Row::Other) => Decision::KeyReused { undo: newly_admitted },
        (Hold::Held, Row::Absent) => Decision::Insert(State::PendingPayment),
        // Its process died before it could write the row, and nobody came back in time.
        (Hold::Released | Hold::Expired | Hold::Cancelled | Hold::Returned, Row::Absent) => {
            Decision::Insert(State::Expired)
        }
        // Only a saga pins, and only a row has a saga.
        (Hold::Pinned | Hold::Settled, Row::Absent) => Decision::Lost,
    }
}

impl Wish {
    /// Reads what a buyer sent; the refusal names every faulty field.
    pub fn read(user: UserId, request: &order_v1::PlaceOrderRequest) -> Result<Self, Refusal> {
        let key = &request.idempotency_key;
        let mut faults = Faults::default();
        if !(1..=KEY_LENGTH_MAX).contains(&key.len()) || !printable(key) {
            faults.add("idempotency_key", "want 1 to 64 printable ASCII characters");
        }
        let source = Source::read(&request.lines, request.selection.as_ref());
        let source = match source {
            Ok(source) if faults.is_empty() => source,
            Ok(_) => return Err(faults.refusal()),
            Err(refusal) => {
                faults.join(refusal);
                return Err(faults.refusal());
            }
        };
        let order = OrderId::of(user, key);
        let fingerprint = Fingerprint::of(&source);
        Ok(match source {
            Source::Lines(lines) if lines.iter().all(|line| line.product == lines[0].product) => {
                let product = lines[0].product;
                Self::OneProduct(Placement { order, user, product, lines, fingerprint })
            }
            source => Self::Several(Plan { order, user, fingerprint, source }),
        })
    }
}

impl Source {
    /// Reads lines, or a selection instead of them; the refusal names every faulty field.
    pub fn read(
        lines: &[order_v1::NewOrderLine],
        selection: Option<&order_v1::BasketSelection>,
    ) -> Result<Self, Refusal> {
        match selection {
            None => read_lines(lines).map(Self::Lines),
            Some(_) if !lines.is_empty() => {
                Err(Refusal::invalid("selection", "want lines or a selection, not both"))
            }
            Some(selection) => Selection::read(selection).map(Self::Basket),
        }
    }
}

impl Placement {
    /// The row of this order under this hold; INVALID_ARGUMENT when its sum is no number.
    pub fn order(&self, hold: &hold::Hold, state: State) -> Result<NewOrder, Refusal> {
        let lines = held_lines(self.product, hold);
        let total = total(&lines)?;
        Ok(NewOrder {
            id: self.order,
            user: self.user,
            fingerprint: self.fingerprint,
            product: self.product,
            state,
            lines,
            total,
            sequence: hold.sequence,
            pay_by: hold.expires_at,
        })
    }
}

/// The row of an order under these holds, one for each product in the order of the lines;
/// INVALID_ARGUMENT when they have no common sum.
pub fn order_of_holds(
    order: OrderId,
    user: UserId,
    fingerprint: Fingerprint,
    holds: &[(ProductId, hold::Hold)],
) -> Result<NewOrder, Refusal> {
    let lines: Vec<Line> =
        holds.iter().flat_map(|(product, hold)| held_lines(*product, hold)).collect();
    let total = total(&lines)?;
    let first = lines.first().expect("an order has a line");
    let pay_by = holds.iter().map(|(_, hold)| hold.expires_at).min();
    Ok(NewOrder {
        id: order,
        user,
        fingerprint,
        product: first.product,
        state: State::PendingPayment,
        sequence: first.sequence,
        lines,
        total,
        pay_by: pay_by.expect("an order has a hold"),
    })
}

impl Fingerprint {
    /// Of a basket it is over what was chosen, and not over what stood there: the ordered lines
    /// leave it, and the key must still mean the same.
    fn of(source: &Source) -> Self {
        let hash = match source {
            Source::Lines(lines) => {
                debug_assert!(lines.is_sorted_by_key(|line| (line.product, line.sku)));
                let mut hash = Sha256::new_with_prefix(LINES_DOMAIN);
                for line in lines {
                    hash.update(line.product.0.as_bytes());
                    hash.update(line.sku.0.as_bytes());
                    hash.update(line.quantity.to_be_bytes());
                }
                hash
            }
            Source::Basket(Selection { basket, skus }) => {
                let mut hash = Sha256::new_with_prefix(SELECTION_DOMAIN);
                hash.update(basket.word().as_bytes());
                for sku in skus {
                    hash.update(sku.0.as_bytes());
                }
                hash
            }
        };
        let digest: [u8; 32] = hash.finalize().into();
        let (kept, _) = digest.split_first_chunk().expect("32 bytes have 16 first ones");
        Self(*kept)
    }
}

/// The lines of an order as a product's hold has them.
fn held_lines(product: ProductId, hold: &hold::Hold) -> Vec<Line> {
    let line = |line: &hold::Line| Line {
        product,
        sku: line.sku,
        quantity: line.quantity,
        unit_price: line.unit_price,
        sequence: hold.sequence,
    };
    hold.lines.iter().map(line).collect()
}

/// The sum of the lines; INVALID_ARGUMENT when there is none.
fn total(lines: &[Line]) -> Result<Money, Refusal> {
    let sum = sum(lines.iter().map(|line| (line.unit_price, line.quantity)));
    sum.ok_or_else(|| {
        Refusal::invalid("lines", "want lines of one currency, with a total that fits 63 bits")
    })
}

#[cfg(test)]
mod tests {
    use firstcome_proto::money::Currency;
    use uuid::Uuid;

    use super::*;

    const PRODUCT: &str = "00000000-0000-0000-0000-0000000000a1";
    const SKU: &str = "00000000-0000-0000-0000-0000000000b1";
    const SKU_2: &str = "00000000-0000-0000-0000-0000000000b2";

    fn user() -> UserId {
        UserId(Uuid::from_u128(1))
    }

    fn request(key: &str, lines: &[(&str, &str, i32)]) -> order_v1::PlaceOrderRequest {
        let lines = lines.iter().map(|&(product, sku, quantity)| order_v1::NewOrderLine {
            product_id: product.into(),
            sku_id: sku.into(),
            quantity,
        });
        order_v1::PlaceOrderRequest {
            idempotency_key: key.into(),
            lines: lines.collect(),
            selection: None,
        }
    }

    fn faulty_fields(key: &str, lines: &[(&str, &str, i32)]) -> Vec<String> {
        match Wish::read(user(), &request(key, lines)) {
            Ok(_) => Vec::new(),
            Err(refusal) => refusal.violations.into_iter().map(|fault| fault.field).collect(),
        }
    }

    #[test]
    fn every_hold_meets_every_row() {
        use Decision::*;
        use hold::State::*;
        let pending = Insert(State::PendingPayment);
        let expired = Insert(State::Expired);
        for (hold, absent) in [
            (Held, pending),
            (Pinned, Lost),
            (Settled, Lost),
            (Released, expired),
            (Expired, expired),
            (Cancelled, expired),
            (Returned, expired),
        ] {
            for newly in [false, true] {
                assert_eq!(decide(hold, newly, Row::Absent), absent, "{hold:?}");
                assert_eq!(decide(hold, newly, Row::Same), Answer, "{hold:?}");
                assert_eq!(decide(hold, newly, Row::Other), KeyReused { undo: newly }, "{hold:?}");
            }
        }
    }

    #[test]
    fn hostile_requests_name_their_faulty_fields() {
        let good = (PRODUCT, SKU, 1);
        let long = "k".repeat(65);
        let huge = "k".repeat(1 << 20);
        let eleven = [good; 11];
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str, i32)], &'a [&'a str]);
        let table: &[Case<'_>] = &[
            ("k", &[good], &[]),
            (" ~", &[(PRODUCT, SKU, 1000)], &[]),
            ("", &[good], &["idempotency_key"]),
            (&long, &[good], &["idempotency_key"]),
            (&huge, &[good], &["idempotency_key"]),
            ("k\n", &[good], &["idempotency_key"]),
            ("schlüssel", &[good], &["idempotency_key"]),
            ("k", &[], &["lines"]),
            ("k", &eleven, &["lines"]),
            ("k", &[(PRODUCT, SKU, 0)], &["lines[0].quantity"]),
            ("k", &[(PRODUCT, SKU, -5)], &["lines[0].quantity"]),
            ("k", &[(PRODUCT, SKU, 1001)], &["lines[0].quantity"]),
            ("k", &[(PRODUCT, SKU, i32::MAX)], &["lines[0].quantity"]),
            ("k", &[(PRODUCT, SKU, i32::MIN)], &["lines[0].quantity"]),
            ("k", &[("x", SKU, 1)], &["lines[0].product_id"]),
            ("k", &[(PRODUCT, "x", 1)], &["lines[0].sku_id"]),
            ("k", &[good, good], &["lines[1].sku_id"]),
            ("k", &[good, (SKU, SKU_2, 1)], &[]),
            ("k", &[good, (SKU, SKU, 1)], &["lines[1].sku_id"]),
            (
                "",
                &[("", "", 0)],
                &["idempotency_key", "lines[0].product_id", "lines[0].quantity", "lines[0].sku_id"],
            ),
        ];
        for (key, lines, faults) in table {
            assert_eq!(&faulty_fields(key, lines), faults, "{lines:?}");
        }
    }

    #[test]
    fn a_fingerprint_knows_contents_and_not_their_order() {
        let of =
            |lines: &[(&str, &str, i32)]| match Wish::read(user(), &request("k", lines)).unwrap() {
                Wish::OneProduct(Placement { fingerprint, .. })
                | Wish::Several(Plan { fingerprint, .. }) => fingerprint,
            };
        let both = of(&[(PRODUCT, SKU, 1), (PRODUCT, SKU_2, 2)]);
        assert_eq!(both, of(&[(PRODUCT, SKU_2, 2), (PRODUCT, SKU, 1)]));
        assert_ne!(both, of(&[(PRODUCT, SKU, 2), (PRODUCT, SKU_2, 1)]));
        assert_ne!(both, of(&[(PRODUCT, SKU, 1)]));
        assert_ne!(of(&[(PRODUCT, SKU, 1)]), of(&[(SKU, SKU, 1)]));
        let several = of(&[(PRODUCT, SKU, 1), (SKU, SKU_2, 1)]);
        assert_eq!(several, of(&[(SKU, SKU_2, 1), (PRODUCT, SKU, 1)]));
        assert_ne!(several, of(&[(PRODUCT, SKU, 1), (PRODUCT, SKU_2, 1)]));
    }

    #[test]
    fn one_product_is_the_rush_and_everything_else_goes_by_attempts() {
        let is_rush = |request: &order_v1::PlaceOrderRequest| {
            matches!(Wish::read(user(), request), Ok(Wish::OneProduct(_)))
        };
        assert!(is_rush(&request("k", &[(PRODUCT, SKU, 1), (PRODUCT, SKU_2, 1)])));
        assert!(!is_rush(&request("k", &[(PRODUCT, SKU, 1), (SKU, SKU_2, 1)])));
        let cart = order_v1::BasketSelection { basket: 1, sku_ids: vec![SKU.into()] };
        let mut from_cart = request("k", &[]);
        from_cart.selection = Some(cart.clone());
        let chosen = Wish::read(user(), &from_cart).unwrap();
        assert!(matches!(chosen, Wish::Several(Plan { source: Source::Basket(_), .. })));
        let mut both = request("k", &[(PRODUCT, SKU, 1)]);
        both.selection = Some(cart);
        assert_eq!(Wish::read(user(), &both).unwrap_err().violations[0].field, "selection");
    }

    #[test]
    fn a_total_is_exact_or_absent() {
        let money =
            |amount_minor, code| Money { amount_minor, currency: Currency::parse(code).unwrap() };
        let line = |price, quantity| (money(price, "KRW"), quantity);
        let table = [
            (vec![line(12_900, 3), line(100, 1)], Some(38_800)),
            (vec![line(0, 1)], Some(0)),
            (vec![line(i64::MAX, 1)], Some(i64::MAX)),
            (vec![line(i64::MAX, 2)], None),
            (vec![line(i64::MAX, 1), line(1, 1)], None),
            (vec![line(1, 1), (money(1, "EUR"), 1)], None),
            (vec![], None),
        ];
        for (lines, wanted) in table {
            let have = sum(lines.iter().copied());
            assert_eq!(have, wanted.map(|sum| money(sum, "KRW")), "{lines:?}");
        }
    }
}
