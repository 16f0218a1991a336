//! Receipts: what every buyer was told, kept by the buyers themselves, so that the shop's books can
//! be held against it. One JSON object a line.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use anyhow::{Context as _, Result, anyhow};
use firstcome_proto::{OrderId, ProductId, Reason, SkuId, UserId, order_v1::OrderState};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Which call was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// PlaceOrder.
    Place,
    /// PayOrder.
    Pay,
    /// CancelOrder.
    Cancel,
}

/// One answer that one buyer received.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// Which call was answered.
    pub call: Call,
    /// Who called.
    pub user: UserId,
    /// With which idempotency key the order was placed.
    pub key: Arc<str>,
    /// What was wanted.
    pub product: ProductId,
    /// Of which one SKU.
    pub sku: SkuId,
    /// How many of it.
    pub quantity: i32,
    /// When the call was sent, in milliseconds since 1970 by the buyer's clock.
    pub asked_ms: i64,
    /// When the answer arrived, or the buyer hung up, by the same clock.
    pub answered_ms: i64,
    /// What it said.
    pub answer: Answer,
}

/// What a buyer was told.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// An order, as it was then.
    Order(Acknowledged),
    /// Why there is none, or no payment.
    Refused(Reason),
    /// Nothing: the buyer hung up before the answer.
    Unheard,
}

/// An order as the shop described it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Its id.
    pub order: OrderId,
    /// Its place in the order of admissions.
    pub sequence: i64,
    /// Where it stood.
    pub state: OrderState,
    /// What it costs, in minor units.
    pub total_minor: i64,
    /// Until when it is held, in milliseconds since 1970.
    pub pay_by_ms: i64,
}

/// All receipts of one rush.
#[derive(Clone, Debug, Default)]
pub struct Receipts {
    /// In the order in which they arrived.
    pub all: Vec<Receipt>,
}

impl Receipts {
    /// Reads a file that a [`Ledger`] wrote.
    pub fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        let mut keys = Keys::default();
        let mut all = Vec::new();
        for (number, line) in (1..).zip(BufReader::new(file).lines()) {
            let place = || format!("{}, line {number}", path.display());
            let line: Line = serde_json::from_str(&line?).with_context(place)?;
            all.push(line.into_receipt(&mut keys).with_context(place)?);
        }
        Ok(Self { all })
    }

    /// Those that acknowledge an order.
    pub fn orders(&self) -> impl Iterator<Item = (&Receipt, &Acknowledged)> {
        self.all.iter().filter_map(|receipt| match &receipt.answer {
            Answer::Order(order) => Some((receipt, order)),
            Answer::Refused(_) | Answer::Unheard => None,
        })
    }
}

/// Takes receipts from many buyers, keeps them, and writes each to a file as it comes, so that
/// they outlive a rush that does not end well.
pub struct Ledger {
    path: PathBuf,
    sender: mpsc::Sender<Receipt>,
    writer: JoinHandle<Result<Receipts>>,
}

/// A buyer's way to the ledger.
pub type LedgerEntry = mpsc::Sender<Receipt>;

impl Ledger {
    /// Opens a new file; its folder is made when there is none.
    pub fn create(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("create {}", folder.display()))?;
        }
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        let (sender, receipts) = mpsc::channel();
        // Its own thread: writing to a file must not hold up the buyers' runtime.
        let writer = std::thread::Builder::new()
            .name("receipts".to_owned())
            .spawn(move || write_all(file, &receipts))
            .context("start the receipts' writer")?;
        Ok(Self { path: path.to_owned(), sender, writer })
    }

    /// Where receipts are sent; they are lost only with the process.
    pub fn entry(&self) -> LedgerEntry {
        self.sender.clone()
    }

    /// Waits until every entry is dropped and every receipt written.
    pub fn close(self) -> Result<Receipts> {
        let Self { path, sender, writer } = self;
        drop(sender);
        let written = writer.join().map_err(|_| anyhow!("the receipts' writer panicked"))?;
        written.with_context(|| format!("write {}", path.display()))
    }
}

fn write_all(file: File, receipts: &mpsc::Receiver<Receipt>) -> Result<Receipts> {
    let mut file = BufWriter::new(file);
    let mut all = Vec::new();
    for receipt in receipts {
        serde_json::to_writer(&mut file, &Line::from(&receipt))?;
        file.write_all(b"\n")?;
        all.push(receipt);
    }
    file.flush()?;
    Ok(Receipts { all })
}

/// A receipt as it stands in the file.
#[derive(Serialize, Deserialize)]
struct Line {
    call: Call,
    user: Uuid,
    key: String,
    product: Uuid,
    sku: Uuid,
    quantity: i32,
    asked_ms: i64,
    answered_ms: i64,
    #[serde(flatten)]
    answer: LineAnswer,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum LineAnswer {
    Order { order: Uuid, sequence: i64, state: String, total_minor: i64, pay_by_ms: i64 },
    Refused { refused: String },
    Unheard { unheard: bool },
}

/// Keys already seen: a rush has a handful of them, shared by all buyers.
#[derive(Default)]
struct Keys(std::collections::HashSet<Arc<str>>);

impl Keys {
    fn shared(&mut self, key: String) -> Arc<str> {
        if let Some(known) = self.0.get(key.as_str()) {
            return Arc::clone(known);
        }
        let key: Arc<str> = key.into();
        self.0.insert(Arc::clone(&key));
        key
    }
}

impl From<&Receipt> for Line {
    fn from(receipt: &Receipt) -> Self {
        let answer = match &receipt.answer {
            Answer::Order(order) => LineAnswer::Order {
                order: order.order.0,
                sequence: order.sequence,
                state: state_name(order.state).to_owned(),
                total_minor: order.total_minor,
                pay_by_ms: order.pay_by_ms,
            },
            Answer::Refused(reason) => LineAnswer::Refused { refused: reason.name().to_owned() },
            Answer::Unheard => LineAnswer::Unheard { unheard: true },
        };
        Self {
            call: receipt.call,
            user: receipt.user.0,
            key: receipt.key.to_string(),
            product: receipt.product.0,
            sku: receipt.sku.0,
            quantity: receipt.quantity,
            asked_ms: receipt.asked_ms,
            answered_ms: receipt.answered_ms,
            answer,
        }
    }
}

impl Line {
    fn into_receipt(self, keys: &mut Keys) -> Result<Receipt> {
        let answer = match self.answer {
            LineAnswer::Order { order, sequence, state, total_minor, pay_by_ms } => {
                let state = OrderState::from_str_name(&format!("{STATE_PREFIX}{state}"))
                    .with_context(|| format!("no order state {state}"))?;
                let order = OrderId(order);
                Answer::Order(Acknowledged { order, sequence, state, total_minor, pay_by_ms })
            }
            LineAnswer::Refused { refused } => {
                let reason = Reason::from_name(&refused);
                Answer::Refused(reason.with_context(|| format!("no reason {refused}"))?)
            }
            LineAnswer::Unheard { .. } => Answer::Unheard,
        };
        Ok(Receipt {
            call: self.call,
            user: UserId(self.user),
            key: keys.shared(self.key),
            product: ProductId(self.product),
            sku: SkuId(self.sku),
            quantity: self.quantity,
            asked_ms: self.asked_ms,
            answered_ms: self.answered_ms,
            answer,
        })
    }
}

const STATE_PREFIX: &str = "ORDER_STATE_";

/// The state's name without its prefix, as in `PREPARING`.
pub fn state_name(state: OrderState) -> &'static str {
    let name = state.as_str_name();
    name.strip_prefix(STATE_PREFIX).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_read_back_as_they_were_written() {
        let folder = std::env::temp_dir().join(format!("firstcome-receipts-{}", Uuid::new_v4()));
        let path = folder.join("run.jsonl");
        let ledger = Ledger::create(&path).unwrap();
        let order = Acknowledged {
            order: OrderId(Uuid::from_u128(7)),
            sequence: 3,
            state: OrderState::PendingPayment,
            total_minor: 12_900,
            pay_by_ms: 1_900_000_005_000,
        };
        let receipt = |call, answer| Receipt {
            call,
            user: UserId(Uuid::from_u128(1)),
            key: "run-1".into(),
            product: ProductId(Uuid::from_u128(2)),
            sku: SkuId(Uuid::from_u128(3)),
            quantity: 1,
            asked_ms: 1_900_000_000_000,
            answered_ms: 1_900_000_000_012,
            answer,
        };
        let sent = [
            receipt(Call::Place, Answer::Refused(Reason::SoldOut)),
            receipt(Call::Place, Answer::Unheard),
            receipt(Call::Place, Answer::Order(order)),
            receipt(Call::Pay, Answer::Refused(Reason::CardDeclined)),
        ];
        for receipt in &sent {
            ledger.entry().send(receipt.clone()).unwrap();
        }
        let kept = ledger.close().unwrap();
        assert_eq!(kept.all, sent);
        assert_eq!(kept.orders().count(), 1);
        assert_eq!(Receipts::read(&path).unwrap().all, sent);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_broken_line_is_named() {
        let path = std::env::temp_dir().join(format!("firstcome-receipts-{}", Uuid::new_v4()));
        std::fs::write(&path, "{}\n").unwrap();
        let error = Receipts::read(&path).unwrap_err();
        assert!(error.to_string().ends_with("line 1"), "{error}");
        std::fs::remove_file(path).unwrap();
    }
}
