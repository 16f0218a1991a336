//! What the shop's books say, read once and then only looked at.

use std::collections::{BTreeMap, HashMap};

use firstcome_proto::{
    BuyerId, OrderId, PaymentId, ProductId, ReservationId, SkuId, UserId, inventory_v1::HoldState,
    order_v1::OrderState,
};

use crate::receipts::Receipts;

/// Inventory's, order's and payment's tables, the sandbox provider's ledger, the gates in Redis,
/// and the buyers' receipts when there are any.
#[derive(Clone, Debug, Default)]
pub struct Books {
    pub products: Vec<Product>,
    pub stock: Vec<Stock>,
    pub holds: Vec<Hold>,
    /// Ended holds that the gate has not been told of.
    pub gate_outbox: Vec<HoldKey>,
    /// The hold that was longest overdue in any look at the ledger; `None` also where nobody says
    /// that the shop served all the time.
    pub latest: Option<Late>,
    pub orders: Vec<Order>,
    /// Events of orders that are not published.
    pub outbox: Vec<Untold>,
    /// Events that nobody could act on.
    pub parked: Vec<Parked>,
    pub payments: Vec<Payment>,
    pub charges: Vec<Charge>,
    /// By product; absent where Redis has no open gate of the ledger's epoch.
    pub gates: BTreeMap<ProductId, Gate>,
    /// The shop was asked to make every missing gate from the ledger.
    pub gates_were_asked_for: bool,
    pub receipts: Option<Receipts>,
}

/// An expired hold that was not on sale again when the ledger was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    pub hold: HoldKey,
    /// How long past its expiry that was.
    pub overdue_ms: i64,
}

/// A product's drop.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    pub product: ProductId,
    /// Units one buyer may hold or own; 0: no limit.
    pub limit_per_buyer: i32,
    /// Unscheduled products have no gate.
    pub is_scheduled: bool,
}

/// A SKU's counters.
#[derive(Clone, Copy, Debug)]
pub struct Stock {
    pub product: ProductId,
    pub sku: SkuId,
    pub total: i32,
    pub held: i32,
    pub settled: i32,
    pub epoch: i64,
}

/// A row of the ledger.
#[derive(Clone, Debug)]
pub struct Hold {
    pub product: ProductId,
    pub reservation: ReservationId,
    pub buyer: BuyerId,
    pub sequence: i64,
    pub state: HoldState,
    pub lines: Vec<Line>,
    pub expires_ms: i64,
    /// How long past its expiry it was when it was read; negative before.
    pub overdue_ms: i64,
    /// The gate no longer keeps its record.
    pub forgotten: bool,
}

/// What the ledger tells holds apart by.
pub type HoldKey = (ProductId, ReservationId);

/// Units of one SKU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    pub sku: SkuId,
    pub quantity: i32,
}

/// A row of order's.
#[derive(Clone, Debug)]
pub struct Order {
    pub order: OrderId,
    pub user: UserId,
    pub state: OrderState,
    /// What is under way, or what it waits for.
    pub step: Option<String>,
    /// How long past the time of that step it was when it was read; negative before.
    pub step_overdue_ms: Option<i64>,
    /// One for each product.
    pub parts: Vec<Part>,
    pub total_minor: i64,
    pub currency: String,
    pub pay_by_ms: i64,
    /// How long past its pay-by time it was when it was read; negative before.
    pub overdue_ms: i64,
}

/// What an order has of one product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The key of the hold.
    pub hold: HoldKey,
    pub sequence: i64,
    pub lines: Vec<Line>,
}

/// An event in order's outbox that no stream has yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untold {
    pub outbox_id: i64,
    pub order: OrderId,
    pub state: String,
    /// How long the event and its shard had not moved when it was read.
    pub still_ms: i64,
}

/// An event that was put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    pub stream: String,
    pub entry: String,
    /// Absent when its bytes do not decode.
    pub event: Option<uuid::Uuid>,
    pub deliveries: i32,
    /// Why it failed the last time.
    pub error: String,
}

/// A row of payment's.
#[derive(Clone, Debug)]
pub struct Payment {
    pub payment: PaymentId,
    pub state: String,
}

/// A charge in the provider's ledger, with the money that moved.
#[derive(Clone, Debug, Default)]
pub struct Charge {
    /// The merchant's idempotency key: the payment's id.
    pub key: uuid::Uuid,
    pub state: String,
    pub captures: i64,
    pub captured_minor: i64,
    pub refunds: i64,
    pub refunded_minor: i64,
    /// Of the movements; empty when nothing moved.
    pub currency: String,
}

/// A product's gate in Redis.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    pub epoch: i64,
    /// The last sequence number it gave.
    pub sequence: i64,
    pub available: HashMap<SkuId, i64>,
    pub taken: HashMap<ReservationId, Taken>,
    pub buyers: HashMap<BuyerId, i64>,
    /// Batches that Postgres has not confirmed.
    pub unconfirmed: u64,
}

/// A gate's record of a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub sequence: i64,
    pub buyer: BuyerId,
    pub lines: Vec<Line>,
}

impl Hold {
    /// Its key in the ledger.
    pub fn key(&self) -> HoldKey {
        (self.product, self.reservation)
    }

    /// True while it holds or owns units.
    pub fn is_live(&self) -> bool {
        matches!(self.state, HoldState::Held | HoldState::Pinned | HoldState::Settled)
    }

    /// Units over all lines.
    pub fn units(&self) -> i64 {
        self.lines.iter().map(|line| i64::from(line.quantity)).sum()
    }
}

impl Order {
    /// The keys of its holds.
    pub fn hold_keys(&self) -> impl Iterator<Item = HoldKey> + '_ {
        self.parts.iter().map(|part| part.hold)
    }

    /// True when it has a part of exactly this product and no other.
    pub fn is_of(&self, product: ProductId) -> bool {
        self.parts.iter().all(|part| part.hold.0 == product)
    }

    /// True while its buyer owns the goods, and the shop the money.
    pub fn is_paid(&self) -> bool {
        matches!(
            self.state,
            OrderState::Preparing
                | OrderState::Shipping
                | OrderState::Delivered
                | OrderState::Confirmed
                | OrderState::ReturnRequested
        )
    }

    /// True when nothing may happen to it any more.
    pub fn is_final(&self) -> bool {
        matches!(
            self.state,
            OrderState::Confirmed
                | OrderState::Returned
                | OrderState::Cancelled
                | OrderState::Expired
                | OrderState::PaymentFailed
        )
    }

    /// True when somebody is at work on it: it waits for no day and for no buyer.
    pub fn is_under_way(&self) -> bool {
        match self.step.as_deref() {
            None | Some("expire" | "ship" | "deliver" | "confirm") => false,
            Some("take_back") => self.state == OrderState::Preparing,
            Some(_) => true,
        }
    }
}

impl Charge {
    /// What the buyer has paid in the end.
    pub fn net_minor(&self) -> i64 {
        self.captured_minor - self.refunded_minor
    }
}

impl Books {
    /// The holds by the ledger's key. The id alone is not one: a buyer's key that is used again with
    /// another product leaves a released hold of that product under the same id.
    pub fn holds_by_key(&self) -> HashMap<HoldKey, &Hold> {
        self.holds.iter().map(|hold| (hold.key(), hold)).collect()
    }

    /// The orders by id.
    pub fn orders_by_id(&self) -> HashMap<OrderId, &Order> {
        self.orders.iter().map(|order| (order.order, order)).collect()
    }

    /// The provider's charges by the merchant's key.
    pub fn charges_by_key(&self) -> HashMap<uuid::Uuid, &Charge> {
        self.charges.iter().map(|charge| (charge.key, charge)).collect()
    }
}
