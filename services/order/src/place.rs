//! Placing an order: what a good request is, what names it, and what a hold and a row together
//! answer. No I/O; [`crate::intake`] does what is decided here.

use firstcome_proto::{Money, OrderId, ProductId, Refusal, SkuId, UserId, order_v1};
use sha2::{Digest as _, Sha256};

use crate::{
    hold,
    order::{Fingerprint, Line, NewOrder, State},
};

/// Lines of one order: what one hold may carry.
pub const LINES_MAX: usize = 10;
/// Units of one line.
pub const QUANTITY_MAX: i32 = 1000;
/// Characters of a key: room for a UUID with a prefix.
pub const KEY_LENGTH_MAX: usize = 64;

/// Begins every fingerprint, so that a later way to compute it cannot collide with this one.
const FINGERPRINT_DOMAIN: &[u8] = b"firstcome.order.v1\0";

/// Units of one SKU that somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The variant.
    pub sku: SkuId,
    /// 1 to 1 000.
    pub quantity: i32,
}

/// A good request to place an order.
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

impl Placement {
    /// Reads what a buyer sent; the refusal names every faulty field.
    pub fn read(user: UserId, request: &order_v1::PlaceOrderRequest) -> Result<Self, Refusal> {
        let mut faults = Faults::default();
        let key = &request.idempotency_key;
        if !(1..=KEY_LENGTH_MAX).contains(&key.len()) || !printable(key) {
            faults.add("idempotency_key", "want 1 to 64 printable ASCII characters");
        }
        if !(1..=LINES_MAX).contains(&request.lines.len()) {
            faults.add("lines", "want 1 to 10 lines");
            return Err(faults.refusal());
        }
        let mut product = None;
        let mut lines: Vec<Wanted> = Vec::with_capacity(request.lines.len());
        for (place, line) in request.lines.iter().enumerate() {
            // The names are made only for a fault: this is the path of every loser.
            let field = |name| format!("lines[{place}].{name}");
            match ProductId::from_field("product_id", &line.product_id) {
                // Orders of several products come with carts.
                Ok(id) if product.is_some_and(|first| first != id) => {
                    faults.add(field("product_id"), "want one product in all lines");
                }
                Ok(id) => product = Some(id),
                Err(refusal) => faults.join(refusal.within(&format!("lines[{place}]"))),
            }
            if !(1..=QUANTITY_MAX).contains(&line.quantity) {
                faults.add(field("quantity"), "want 1 to 1000");
            }
            match SkuId::from_field("sku_id", &line.sku_id) {
                Ok(sku) if lines.iter().any(|other| other.sku == sku) => {
                    faults.add(field("sku_id"), "want each SKU once");
                }
                Ok(sku) => lines.push(Wanted { sku, quantity: line.quantity }),
                Err(refusal) => faults.join(refusal.within(&format!("lines[{place}]"))),
            }
        }
        match product {
            Some(product) if faults.is_empty() => {
                lines.sort_unstable_by_key(|line| line.sku);
                let fingerprint = Fingerprint::of(product, &lines);
                Ok(Self { order: OrderId::of(user, key), user, product, lines, fingerprint })
            }
            _ => Err(faults.refusal()),
        }
    }

    /// The row of this order under this hold; INVALID_ARGUMENT when its sum is no number.
    pub fn order(&self, hold: &hold::Hold, state: State) -> Result<NewOrder, Refusal> {
        Ok(NewOrder {
            id: self.order,
            user: self.user,
            fingerprint: self.fingerprint,
            product: self.product,
            state,
            lines: hold.lines.clone(),
            total: total(&hold.lines)
                .ok_or_else(|| Refusal::invalid("lines", "want a total that fits 63 bits"))?,
            sequence: hold.sequence,
            pay_by: hold.expires_at,
        })
    }
}

impl Fingerprint {
    /// Over lines that are sorted by SKU.
    fn of(product: ProductId, lines: &[Wanted]) -> Self {
        debug_assert!(lines.is_sorted_by_key(|line| line.sku), "the order of lines means nothing");
        let mut hash = Sha256::new_with_prefix(FINGERPRINT_DOMAIN);
        for line in lines {
            hash.update(product.0.as_bytes());
            hash.update(line.sku.0.as_bytes());
            hash.update(line.quantity.to_be_bytes());
        }
        let digest: [u8; 32] = hash.finalize().into();
        let (kept, _) = digest.split_first_chunk().expect("32 bytes have 16 first ones");
        Self(*kept)
    }
}

/// Printable ASCII, space included.
pub fn printable(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// The sum of the lines; `None` on overflow.
fn total(lines: &[Line]) -> Option<Money> {
    let mut sums = lines.iter().map(|line| line.unit_price.times(line.quantity));
    let first = sums.next()??;
    sums.try_fold(first, |sum, line| sum.plus(line?))
}

/// All faults of one request.
#[derive(Default)]
struct Faults(Option<Refusal>);

impl Faults {
    fn add(&mut self, field: impl Into<String>, description: &str) {
        self.join(Refusal::invalid(field, description));
    }

    fn join(&mut self, refusal: Refusal) {
        match &mut self.0 {
            Some(first) => first.violations.extend(refusal.violations),
            none => *none = Some(refusal),
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn refusal(self) -> Refusal {
        self.0.expect("only what has a fault is refused")
    }
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
        order_v1::PlaceOrderRequest { idempotency_key: key.into(), lines: lines.collect() }
    }

    fn faulty_fields(key: &str, lines: &[(&str, &str, i32)]) -> Vec<String> {
        match Placement::read(user(), &request(key, lines)) {
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
            ("k", &[good, (SKU, SKU_2, 1)], &["lines[1].product_id"]),
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
        let of = |lines: &[(&str, &str, i32)]| {
            Placement::read(user(), &request("k", lines)).unwrap().fingerprint
        };
        let both = of(&[(PRODUCT, SKU, 1), (PRODUCT, SKU_2, 2)]);
        assert_eq!(both, of(&[(PRODUCT, SKU_2, 2), (PRODUCT, SKU, 1)]));
        assert_ne!(both, of(&[(PRODUCT, SKU, 2), (PRODUCT, SKU_2, 1)]));
        assert_ne!(both, of(&[(PRODUCT, SKU, 1)]));
        assert_ne!(of(&[(PRODUCT, SKU, 1)]), of(&[(SKU, SKU, 1)]));
    }

    #[test]
    fn a_total_is_exact_or_absent() {
        let money =
            |amount_minor, code| Money { amount_minor, currency: Currency::parse(code).unwrap() };
        let line = |price, quantity| Line {
            sku: SkuId(Uuid::nil()),
            quantity,
            unit_price: money(price, "KRW"),
        };
        let table = [
            (vec![line(12_900, 3), line(100, 1)], Some(38_800)),
            (vec![line(0, 1)], Some(0)),
            (vec![line(i64::MAX, 1)], Some(i64::MAX)),
            (vec![line(i64::MAX, 2)], None),
            (vec![line(i64::MAX, 1), line(1, 1)], None),
            (vec![], None),
        ];
        for (lines, sum) in table {
            assert_eq!(total(&lines), sum.map(|sum| money(sum, "KRW")), "{lines:?}");
        }
    }
}
