//! The shop and its operator.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result};
use firstcome_local::{Mesh, Service};
use firstcome_proto::{
    inventory_v1::{
        CreateProductRequest, Drop, GetStockRequest, NewSku, Product, ProductStock,
        ScheduleDropRequest, catalog_service_client::CatalogServiceClient,
        stock_service_client::StockServiceClient,
    },
    money_v1::Money,
    timestamp,
    user_v1::{LogInRequest, account_service_client::AccountServiceClient},
};
use firstcome_workbench::verify::{self, VerifySources};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::sync::OnceCell;
use tonic::{Request, transport::Channel};
use uuid::Uuid;

use crate::{Buyer, load};

/// The operator of every test shop.
pub const ADMIN_EMAIL: &str = "operator@example.com";
/// See [`ADMIN_EMAIL`].
pub const ADMIN_PASSWORD: &str = "first-come-1st";
/// A password hash in a debug build, many tests at once, two cores.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);

/// A running mesh and the way in.
pub struct Shop {
    /// The processes, to look at or to break.
    pub mesh: Mesh,
    /// To the edge.
    pub channel: Channel,
    admin_token: String,
    folder: PathBuf,
    seeds: AtomicU32,
}

/// Books that are not at rest by then never will be.
const SETTLE: Duration = Duration::from_secs(30);

/// A product on sale.
#[derive(Clone, Debug)]
pub struct Sale {
    /// Its id.
    pub product: String,
    /// Its SKUs, in the order in which they were given.
    pub skus: Vec<String>,
}

/// What a story sells.
#[derive(Clone, Debug)]
pub struct Terms {
    /// One SKU for each.
    pub stock: Vec<i32>,
    /// Relative to now; negative: has been open.
    pub opens_in_ms: i64,
    /// Relative to now.
    pub closes_in_ms: Option<i64>,
    /// 0: no limit.
    pub limit_per_buyer: i32,
    /// How long a hold waits.
    pub hold: Duration,
}

impl Terms {
    /// One SKU of so many units, on sale since a second ago, holds of five minutes.
    pub fn of(stock: i32) -> Self {
        Self {
            stock: vec![stock],
            opens_in_ms: -1000,
            closes_in_ms: None,
            limit_per_buyer: 0,
            hold: Duration::from_secs(300),
        }
    }
}

impl Shop {
    /// The shop that stories share which break nothing.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Shop> = OnceCell::const_new();
        let start = || async { Self::start_aside().await.expect("the shop opens") };
        SHARED.get_or_init(start).await
    }

    /// A shop of a story's own, to break.
    pub async fn own(env: &[(Service, &str, &str)]) -> Result<Self> {
        let mut all = vec![(None, "FIRSTCOME_LOG".to_owned(), "info".to_owned())];
        all.extend(env.iter().map(|(service, name, value)| {
            (Some(*service), (*name).to_owned(), (*value).to_owned())
        }));
        Self::open(Mesh::start_throwaway(programs()?, all).await?).await
    }

    /// The shop of a mesh that serves.
    pub async fn open(mesh: Mesh) -> Result<Self> {
        let endpoint = mesh.address().endpoint(Service::Edge).to_owned();
        let channel = Channel::from_shared(endpoint)?.tcp_nodelay(true).connect_lazy();
        let folder = mesh.address().logs.clone();
        let mut shop =
            Self { mesh, channel, admin_token: String::new(), folder, seeds: AtomicU32::new(0) };
        let args = ["create-admin", "--email", ADMIN_EMAIL, "--password", ADMIN_PASSWORD];
        shop.mesh.address().run(Service::User, &args, COMMAND_DEADLINE).await?;
        shop.admin_token = shop.log_in(ADMIN_EMAIL, ADMIN_PASSWORD).await?;
        Ok(shop)
    }

    /// Opens the shared shop on a runtime of its own: that of the first test ends with the test.
    async fn start_aside() -> Result<Self> {
        let (sender, started) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a runtime starts");
            runtime.block_on(async {
                let shop = Box::pin(Self::own(&[])).await;
                let at = shop
                    .as_ref()
                    .ok()
                    .map(|shop| (shop.mesh.address().clone(), shop.folder.clone()));
                drop(sender.send(shop));
                // The channel's connection and the processes live on this runtime.
                match at {
                    Some((mesh, folder)) if load::IS_ON => load::carry(&mesh, &folder).await,
                    _ => std::future::pending::<()>().await,
                }
            });
        });
        started.await.context("the thread that opens the shop panicked")?
    }

    /// The files of this shop's runs: logs, and what was made in bulk.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A token of somebody who has an account.
    pub async fn log_in(&self, email: &str, password: &str) -> Result<String> {
        let response = AccountServiceClient::new(self.channel.clone())
            .log_in(LogInRequest {
                email: email.into(),
                password: password.into(),
                idempotency_key: Uuid::new_v4().to_string(),
                device: String::new(),
            })
            .await?;
        Ok(response.into_inner().tokens.context("tokens")?.access_token)
    }

    /// A call by the operator.
    pub fn as_admin<T>(&self, message: T) -> Request<T> {
        authorized(message, &self.admin_token)
    }

    /// The catalogue.
    pub fn catalog(&self) -> CatalogServiceClient<Channel> {
        CatalogServiceClient::new(self.channel.clone())
    }

    /// Registers a product and schedules its drop.
    pub async fn sell(&self, terms: Terms) -> Result<Sale> {
        let skus = terms.stock.iter().enumerate().map(|(number, total)| NewSku {
            label: format!("{} mm", 250 + 5 * number),
            price: Some(Money { currency_code: "KRW".into(), amount_minor: 129_000 }),
            total: *total,
            ..NewSku::default()
        });
        let name = format!("Runner {}", Uuid::new_v4());
        let request = CreateProductRequest {
            idempotency_key: Uuid::new_v4().to_string(),
            name,
            description: "a limited pair".into(),
            skus: skus.collect(),
            ..CreateProductRequest::default()
        };
        let mut catalog = self.catalog();
        let created = catalog.create_product(self.as_admin(request)).await?;
        let product: Product = created.into_inner().product.context("a product")?;
        let now = OffsetDateTime::now_utc();
        let at = |ms: i64| timestamp::to_wire(now + time::Duration::milliseconds(ms));
        let drop = Drop {
            opens_at: Some(at(terms.opens_in_ms)),
            closes_at: terms.closes_in_ms.map(at),
            limit_per_buyer: terms.limit_per_buyer,
            hold_ttl: Some(timestamp::duration_to_wire(terms.hold)),
        };
        let request =
            ScheduleDropRequest { product_id: product.product_id.clone(), drop: Some(drop) };
        catalog.schedule_drop(self.as_admin(request)).await?;
        Ok(Sale {
            product: product.product_id,
            skus: product.skus.into_iter().map(|sku| sku.sku_id).collect(),
        })
    }

    /// Verified buyers, made in bulk; the answer is the file that lists them.
    pub async fn seed(&self, count: usize) -> Result<PathBuf> {
        let number = self.seeds.fetch_add(1, Ordering::Relaxed);
        let file = self.folder.join(format!("buyers-{number}.jsonl"));
        let path = file.to_str().context("a path that is text")?;
        let count = count.to_string();
        let prefix = format!("buyer{number}");
        let args = ["seed", "--count", &count, "--out", path, "--prefix", &prefix];
        self.mesh.address().run(Service::User, &args, COMMAND_DEADLINE).await?;
        Ok(file)
    }

    /// Verified buyers, each with an address of its own.
    pub async fn buyers(&self, count: usize) -> Result<Vec<Buyer>> {
        let lines = std::fs::read_to_string(self.seed(count).await?)?;
        lines
            .lines()
            .map(|line| {
                let seeded: Value = serde_json::from_str(line)?;
                let text = |field: &str| seeded[field].as_str().map(str::to_owned);
                let user = text("user_id").context("a user id")?;
                let token = text("access_token").context("a token")?;
                Buyer::new(self.channel.clone(), user.parse()?, token)
            })
            .collect()
    }

    /// One buyer.
    pub async fn buyer(&self) -> Result<Buyer> {
        Ok(self.buyers(1).await?.remove(0))
    }

    /// Where the books are.
    pub fn sources(&self) -> VerifySources {
        VerifySources::of(self.mesh.address())
    }

    /// Fails with the offending rows when a promise is broken.
    pub async fn verify(&self) -> Result<()> {
        let report = verify::verify(&self.sources(), None, SETTLE).await?;
        anyhow::ensure!(report.is_clean(), "{:?} {:#?}", report.fault, report.violations);
        Ok(())
    }

    /// The live stock.
    pub async fn stock(&self, sale: &Sale) -> Result<ProductStock, tonic::Status> {
        let request = GetStockRequest { product_id: sale.product.clone() };
        let response = StockServiceClient::new(self.channel.clone()).get_stock(request).await?;
        Ok(response.into_inner().stock.expect("an answer carries the stock"))
    }
}

/// A call with a token.
pub fn authorized<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().expect("tokens are ASCII");
    request.metadata_mut().insert("authorization", value);
    request
}

/// The folder of the five programs, built as this one was.
pub fn programs() -> Result<PathBuf> {
    static BUILT: std::sync::OnceLock<Result<PathBuf, String>> = std::sync::OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

/// `cargo test` builds no programs of other crates; a build that is fresh costs a moment. Release
/// programs are those that `up` runs, and `cargo xtask test --release` has built them.
fn build() -> Result<PathBuf> {
    let us = std::env::current_exe()?;
    let folder = us.parent().context("a program lies in a folder")?;
    // Tests lie in target/debug/deps, programs beside it.
    let is_test = folder.file_name().is_some_and(|name| name == "deps");
    let folder = if is_test { folder.parent().context("target/debug")? } else { folder };
    let folder = folder.to_owned();
    if !cfg!(debug_assertions) {
        return Ok(folder);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = std::process::Command::new(cargo);
    cargo.args(["build", "--quiet", "--workspace", "--bins"]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    // What cargo tells a test of its package: some third parties (ring) are built anew when it
    // changes, and with them all that needs them.
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    let built = cargo.status().context("run cargo")?;
    anyhow::ensure!(built.success(), "the programs do not build");
    Ok(folder)
}
