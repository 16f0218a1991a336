//! Holds the shop's books against each other and against what the buyers were told: G1 to G6 from
//! Postgres, Redis, the sandbox provider's own ledger and the receipts.
//!
//! It reads and never writes. Books that say nothing at all are a failure, not a success.

mod books;
mod gate;
mod promises;
mod store;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use firstcome_local::{Address, Role, Service};
use firstcome_mesh::upstream;
use firstcome_proto::{
    ProductId,
    inventory_v1::{GetStockRequest, stock_service_client::StockServiceClient},
};
use firstcome_redis::RedisPool;
use tokio::time::Instant;
use tonic::{Request, transport::Channel};

pub use promises::{Promise, Violation};

use crate::receipts::Receipts;
use books::{Books, Late};
use store::Store;

/// How often books that still move are looked at.
const SETTLE_POLL: Duration = Duration::from_millis(200);
/// An edge that does not answer in this time cannot help.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// Which receipts, and how long to wait.
#[derive(Clone, Debug, clap::Args)]
pub struct VerifyArgs {
    /// A file of receipts that a rush wrote
    #[arg(long)]
    pub receipts: Option<PathBuf>,
    /// How long to wait for the books to come to rest
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub settle: Duration,
    /// Print one JSON object and nothing else
    #[arg(long)]
    pub json: bool,
}

impl VerifyArgs {
    /// The receipts to look at, if any were named.
    pub fn receipts(&self) -> Result<Option<Receipts>> {
        self.receipts.as_deref().map(Receipts::read).transpose()
    }
}

/// Where the books are: each schema as its own role.
#[derive(Clone)]
pub struct VerifySources {
    pub user_url: String,
    pub inventory_url: String,
    pub order_url: String,
    pub payment_url: String,
    pub sandbox_url: String,
    /// `redis-cluster://…` with every node.
    pub redis_url: String,
    /// Where missing gates are asked for, as in `http://127.0.0.1:8080`; without it they are only
    /// not looked at.
    pub edge_url: Option<String>,
    /// Inventory and its stores served all the time, so that a hold which is seen overdue for too
    /// long is their fault.
    pub served: bool,
}

impl VerifySources {
    /// Those of a mesh on this machine, of which nobody says that it served all the time.
    pub fn of(mesh: &Address) -> Self {
        let url = |role| mesh.database_url(role).to_owned();
        Self {
            user_url: url(Role::User),
            inventory_url: url(Role::Inventory),
            order_url: url(Role::Order),
            payment_url: url(Role::Payment),
            sandbox_url: url(Role::Sandbox),
            redis_url: mesh.redis_url.clone(),
            edge_url: Some(mesh.endpoint(Service::Edge).to_owned()),
            served: false,
        }
    }
}

impl std::fmt::Debug for VerifySources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The addresses carry passwords.
        f.debug_struct("VerifySources").finish_non_exhaustive()
    }
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// What was looked at.
    pub examined: Examined,
    /// Everything that breaks a promise.
    pub violations: Vec<Violation>,
    /// What breaks no promise, and wants somebody to look at it all the same.
    pub warnings: Vec<String>,
    /// Why this is not a verification at all, if it is not one.
    pub fault: Option<String>,
    /// Units by product.
    sold: Vec<(ProductId, Sold)>,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Examined {
    pub products: usize,
    pub gates: usize,
    pub holds: usize,
    pub orders: usize,
    pub charges: usize,
    pub receipts: usize,
}

/// A product's units in the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sold {
    /// Held or being paid.
    pub held: i64,
    /// Sold.
    pub settled: i64,
}

impl VerifyReport {
    /// True when nothing that was examined breaks this promise.
    pub fn is_kept(&self, promise: Promise) -> bool {
        self.fault.is_none() && self.violations.iter().all(|found| found.promise != promise)
    }

    /// True when every promise is kept.
    pub fn is_clean(&self) -> bool {
        Promise::ALL.into_iter().all(|promise| self.is_kept(promise))
    }

    /// A product's units in the ledger.
    pub fn sold(&self, product: ProductId) -> Sold {
        let found = self.sold.iter().find(|(other, _)| *other == product);
        found.map(|(_, sold)| *sold).unwrap_or_default()
    }
}

/// Waits until the books are at rest, at most for `settle`, and checks them. What has not come to
/// rest by then is a violation itself.
pub async fn verify(
    sources: &VerifySources,
    receipts: Option<&Receipts>,
    settle: Duration,
) -> Result<VerifyReport> {
    let store = Store::connect(sources).await?;
    let redis = RedisPool::connect(&sources.redis_url).await.context("reach Redis")?;
    let edge = sources.edge_url.as_deref().map(upstream::channel).transpose();
    let edge = edge.context("read the edge's address")?;
    let read = read_at_rest(&store, &redis, edge.as_ref(), settle).await;
    redis.close().await;
    let mut books = read?;
    books.latest = books.latest.filter(|_| sources.served);
    books.receipts = receipts.cloned();
    Ok(check(&books))
}

/// Reads books between two looks that show the same, when there is time for it. Books at rest no
/// longer show how late a hold was freed, so that is looked at on the way.
async fn read_at_rest(
    store: &Store,
    redis: &RedisPool,
    edge: Option<&Channel>,
    settle: Duration,
) -> Result<Books> {
    let give_up = Instant::now() + settle;
    let mut latest: Option<Late> = None;
    loop {
        latest = latest.into_iter().chain(store.latest().await?).max_by_key(|late| late.overdue_ms);
        let before = store.pulse().await?;
        let is_late = Instant::now() >= give_up;
        if before.unfinished == 0 || is_late {
            let mut books = store.read().await?;
            books.gates_were_asked_for = edge.is_some();
            books.latest = latest;
            let missing = read_gates(redis, &mut books).await?;
            let is_confirmed = books.gates.values().all(|gate| gate.unconfirmed == 0);
            let is_whole = missing.is_empty() || edge.is_none();
            if is_late || is_confirmed && is_whole && store.pulse().await? == before {
                return Ok(books);
            }
            if let Some(edge) = edge {
                ask_for_gates(edge, &missing).await;
            }
        }
        tokio::time::sleep(SETTLE_POLL).await;
    }
}

/// Adds the open gates; gives the scheduled products that have none.
async fn read_gates(redis: &RedisPool, books: &mut Books) -> Result<Vec<ProductId>> {
    let mut missing = Vec::new();
    for product in &books.products {
        let gate = gate::read(redis, product.product).await?;
        // A gate of another epoch admits nobody; the ledger is about to replace it.
        let of_product = |stock: &&books::Stock| stock.product == product.product;
        let is_current = |gate: &books::Gate| {
            books.stock.iter().filter(of_product).all(|stock| stock.epoch == gate.epoch)
        };
        match gate.filter(is_current) {
            Some(gate) => drop(books.gates.insert(product.product, gate)),
            None if product.is_scheduled => missing.push(product.product),
            None => {}
        }
    }
    Ok(missing)
}

/// Whoever asks for the stock of a product whose gate is missing has it made from the ledger.
async fn ask_for_gates(edge: &Channel, products: &[ProductId]) {
    let mut client = StockServiceClient::new(edge.clone());
    for product in products {
        let mut request = Request::new(GetStockRequest { product_id: product.to_string() });
        request.set_timeout(ASK_TIMEOUT);
        // What became of it is seen in Redis.
        if let Err(status) = client.get_stock(request).await {
            tracing::debug!(%product, %status, "ask for a gate");
        }
    }
}

fn check(books: &Books) -> VerifyReport {
    let receipts = books.receipts.as_ref().map(|receipts| receipts.all.len());
    let examined = Examined {
        products: books.products.len(),
        gates: books.gates.len(),
        holds: books.holds.len(),
        orders: books.orders.len(),
        charges: books.charges.len(),
        receipts: receipts.unwrap_or(0),
    };
    let nothing = [
        ("products", examined.products == 0),
        ("holds", examined.holds == 0),
        ("orders", examined.orders == 0),
        ("receipts", receipts == Some(0)),
    ];
    let nothing: Vec<_> =
        nothing.into_iter().filter(|(_, is_empty)| *is_empty).map(|(name, _)| name).collect();
    let fault = (!nothing.is_empty())
        .then(|| format!("nothing was examined: there are no {}", nothing.join(", no ")));

    let mut sold: std::collections::BTreeMap<ProductId, Sold> = Default::default();
    for stock in &books.stock {
        let sold = sold.entry(stock.product).or_default();
        sold.held += i64::from(stock.held);
        sold.settled += i64::from(stock.settled);
    }
    let violations = Promise::ALL.into_iter().flat_map(|promise| promise.check(books)).collect();
    // The mail about an order is not promised, and what is parked is not lost.
    let warnings = books.parked.iter().map(|event| format!("a parked event: {event:?}")).collect();
    VerifyReport { examined, violations, warnings, fault, sold: sold.into_iter().collect() }
}
