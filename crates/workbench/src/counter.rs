//! The operator's side of the shop: logs in, puts demonstration goods on the shelf, schedules.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};
use firstcome_local::{Address, Service};
use firstcome_proto::{
    inventory_v1::{
        CreateProductRequest, Drop, GetStockRequest, NewSku, Product, ScheduleDropRequest,
        catalog_service_client::CatalogServiceClient, stock_service_client::StockServiceClient,
    },
    money_v1::Money,
    user_v1::{LogInRequest, account_service_client::AccountServiceClient},
};
use serde::Deserialize;
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use crate::state::State;

/// Making one account costs one password hash.
const ACCOUNT_TIMEOUT: Duration = Duration::from_secs(60);
/// Long enough to read what `up` prints before it opens.
const SMALL_DROP_OPENS_IN: Duration = Duration::from_secs(60);
/// A rebuild takes milliseconds, waiting for a failed Redis node some seconds.
const LIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How often the live stock is asked.
const LIVE_POLL: Duration = Duration::from_millis(100);
/// What inventory takes when nothing is said.
const HOLD_TTL: Duration = Duration::from_secs(5 * 60);

/// Somebody to try things as.
#[derive(Clone, Debug, Deserialize)]
pub struct Demo {
    /// To log in with.
    pub email: String,
    /// Good for an hour.
    pub access_token: String,
}

/// What lies on the shelf.
#[derive(Clone, Debug)]
pub struct Goods {
    /// Sells now.
    pub open: Product,
    /// Opens in a minute.
    pub opening: Product,
}

/// The password that `firstcome-user seed` gives.
pub const DEMO_PASSWORD: &str = "Seeded-buyer-1";

/// Makes the operator's account, also when it is there already.
pub async fn create_admin(address: &Address, email: &str, password: &str) -> Result<()> {
    address
        .launch(Service::User, "create-admin")
        .env([("FIRSTCOME_ADMIN_EMAIL", email), ("FIRSTCOME_ADMIN_PASSWORD", password)])
        .run(ACCOUNT_TIMEOUT)
        .await
}

/// Makes the demonstration buyer, the same one each time, with a new token.
pub async fn create_demo(address: &Address) -> Result<Demo> {
    let file = address.logs.join("demo-buyer.json");
    let path = file.to_str().context("a checkout whose path is text")?;
    let seed = ["seed", "--count", "1", "--prefix", "demo", "--out", path];
    address.run(Service::User, &seed, ACCOUNT_TIMEOUT).await?;
    let line = std::fs::read_to_string(&file).context("read the demonstration buyer")?;
    std::fs::remove_file(&file)?;
    serde_json::from_str(&line).context("read the demonstration buyer")
}

/// Logs the operator in; the answer is an access token.
pub async fn log_in(state: &State) -> Result<String> {
    let mut account = AccountServiceClient::new(connect(&state.address).await?);
    let request = LogInRequest {
        email: state.admin_email.clone(),
        password: state.admin_password.clone(),
        idempotency_key: uuid::Uuid::new_v4().to_string(),
    };
    let response = account.log_in(request).await.context("log the operator in")?;
    Ok(response.into_inner().tokens.context("a log-in answers with tokens")?.access_token)
}

/// Puts two products on the shelf, the same ones each time: one sells now, one opens soon.
pub async fn stock(state: &State, token: &str) -> Result<Goods> {
    let bearer: MetadataValue<Ascii> = format!("Bearer {token}").parse()?;
    let channel = connect(&state.address).await?;
    let mut live = StockServiceClient::new(channel.clone());
    let mut catalog =
        CatalogServiceClient::with_interceptor(channel, move |mut request: Request<()>| {
            request.metadata_mut().insert("authorization", bearer.clone());
            Ok(request)
        });

    let create =
        |name: &str, description: &str, labels: &[&str], total: i32| CreateProductRequest {
            idempotency_key: format!("up-{}", name.to_lowercase().replace(' ', "-")),
            name: name.to_owned(),
            description: description.to_owned(),
            skus: labels.iter().map(|label| new_sku(label, total)).collect(),
        };
    let runner = create(
        "Night Runner",
        "A running shoe that sells now, two pairs to a buyer.",
        &["250 mm", "260 mm", "270 mm"],
        200,
    );
    let last_pair = create("Last Pair", "Ten pairs, one to a buyer.", &["265 mm"], 10);

    let mut open = product(catalog.create_product(runner).await?.into_inner().product)?;
    if open.drop.is_none() {
        let now = drop_at(SystemTime::now(), 2);
        let request = ScheduleDropRequest { product_id: open.product_id, drop: Some(now) };
        open = product(catalog.schedule_drop(request).await?.into_inner().product)?;
    }
    let opening = product(catalog.create_product(last_pair).await?.into_inner().product)?;
    let soon = drop_at(SystemTime::now() + SMALL_DROP_OPENS_IN, 1);
    let request = ScheduleDropRequest { product_id: opening.product_id, drop: Some(soon) };
    let opening = product(catalog.schedule_drop(request).await?.into_inner().product)?;
    for product in [&open, &opening] {
        wait_until_live(&mut live, &product.product_id).await?;
    }
    Ok(Goods { open, opening })
}

/// A restarted Redis makes inventory rebuild the live stock: a moment, but longer than it takes to
/// paste a line.
async fn wait_until_live(live: &mut StockServiceClient<Channel>, product_id: &str) -> Result<()> {
    let started = Instant::now();
    loop {
        let request = GetStockRequest { product_id: product_id.to_owned() };
        match live.get_stock(request).await {
            Ok(_) => return Ok(()),
            Err(status) if started.elapsed() > LIVE_TIMEOUT => return Err(status.into()),
            Err(_) => tokio::time::sleep(LIVE_POLL).await,
        }
    }
}

async fn connect(address: &Address) -> Result<Channel> {
    let endpoint = address.endpoint(Service::Edge).to_owned();
    Channel::from_shared(endpoint)?.connect().await.context("reach the edge")
}

fn product(product: Option<Product>) -> Result<Product> {
    product.context("the catalogue answers with the product")
}

fn new_sku(label: &str, total: i32) -> NewSku {
    let price = Money { currency_code: "KRW".to_owned(), amount_minor: 129_000 };
    NewSku { label: label.to_owned(), price: Some(price), total }
}

fn drop_at(opens_at: SystemTime, limit_per_buyer: i32) -> Drop {
    let hold_ttl = prost_types::Duration::try_from(HOLD_TTL).ok();
    Drop { opens_at: Some(opens_at.into()), closes_at: None, limit_per_buyer, hold_ttl }
}
