//! The operator's side of the shop: makes accounts, logs in, puts demonstration goods on the shelf,
//! schedules.

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

/// What is never sold out on one's own machine: the most that inventory takes.
const ENDLESS_TOTAL: i32 = 10_000_000;
/// Nobody pays what a load generator buys. A minute's worth of holds is what the gate then keeps.
const ENDLESS_HOLD_TTL: Duration = Duration::from_secs(60);

/// Somebody to try things as.
#[derive(Clone, Debug, Deserialize)]
pub struct Account {
    /// Whom the services know.
    pub user_id: String,
    /// To log in with.
    pub email: String,
    /// As long-lived as it was asked for.
    pub access_token: String,
}

/// What lies on the shelf.
#[derive(Clone, Debug)]
pub struct Goods {
    /// Sells now.
    pub open: Product,
    /// Opens in a minute.
    pub opening: Product,
    /// Sells for ever, without a limit per buyer.
    pub endless: Product,
    /// Sells, and has nothing to sell.
    pub sold_out: Product,
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

/// Makes the buyer of this name, the same one each time, with a new token; nothing needs to serve
/// for that.
pub async fn create_buyer(address: &Address, name: &str, token_ttl: &str) -> Result<Account> {
    let file = address.logs.join(format!("{name}-buyer.json"));
    address
        .launch(Service::User, "seed")
        .args(["--count", "1", "--prefix", name, "--token-ttl", token_ttl])
        .arg_path("--out", &file)
        .run(ACCOUNT_TIMEOUT)
        .await?;
    let line = std::fs::read_to_string(&file).context("read the buyer who was made")?;
    std::fs::remove_file(&file)?;
    serde_json::from_str(&line).context("read the buyer who was made")
}

/// Logs the operator in; the answer is an access token.
pub async fn log_in(state: &State) -> Result<String> {
    let mut account = AccountServiceClient::new(connect(&state.address).await?);
    let request = LogInRequest {
        email: state.admin_email.clone(),
        password: state.admin_password.clone(),
        idempotency_key: uuid::Uuid::new_v4().to_string(),
        device: String::new(),
    };
    let response = account.log_in(request).await.context("log the operator in")?;
    Ok(response.into_inner().tokens.context("a log-in answers with tokens")?.access_token)
}

/// Puts the demonstration goods on the shelf, the same ones each time.
pub async fn stock(state: &State, token: &str) -> Result<Goods> {
    let bearer: MetadataValue<Ascii> = format!("Bearer {token}").parse()?;
    let channel = connect(&state.address).await?;
    let mut live = StockServiceClient::new(channel.clone());
    let mut catalog =
        CatalogServiceClient::with_interceptor(channel, move |mut request: Request<()>| {
            request.metadata_mut().insert("authorization", bearer.clone());
            Ok(request)
        });

    let now = SystemTime::now();
    let soon = drop_at(now + SMALL_DROP_OPENS_IN, 1, HOLD_TTL);
    let night_runner = new_product(
        "Night Runner",
        "A running shoe that sells now, two pairs to a buyer.",
        &["250 mm", "260 mm", "270 mm"],
        200,
    );
    let last_pair = new_product("Last Pair", "Ten pairs, one to a buyer.", &["265 mm"], 10);
    let endless = new_product(
        "Endless Runner",
        "Never sold out, as many as you like: for load generators.",
        &["265 mm"],
        ENDLESS_TOTAL,
    );
    let sold_out =
        new_product("Gone Runner", "Sold out from the start: for load generators.", &["265 mm"], 0);

    let mut shelf = Vec::new();
    for (product, drop) in [
        (night_runner, drop_at(now, 2, HOLD_TTL)),
        (last_pair, soon),
        (endless, drop_at(now, 0, ENDLESS_HOLD_TTL)),
        (sold_out, drop_at(now, 0, HOLD_TTL)),
    ] {
        let there = on_the_shelf(catalog.create_product(product).await?.into_inner().product)?;
        // What sells already goes on as it is; the small drop opens anew each time.
        let sells = there.drop.is_some() && drop != soon;
        let product = if sells {
            there
        } else {
            let request = ScheduleDropRequest { product_id: there.product_id, drop: Some(drop) };
            on_the_shelf(catalog.schedule_drop(request).await?.into_inner().product)?
        };
        wait_until_live(&mut live, &product.product_id).await?;
        shelf.push(product);
    }
    let [open, opening, endless, sold_out] = shelf.try_into().expect("one for each of the four");
    Ok(Goods { open, opening, endless, sold_out })
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

fn on_the_shelf(product: Option<Product>) -> Result<Product> {
    product.context("the catalogue answers with the product")
}

fn new_product(name: &str, description: &str, labels: &[&str], total: i32) -> CreateProductRequest {
    CreateProductRequest {
        idempotency_key: format!("up-{}", name.to_lowercase().replace(' ', "-")),
        name: name.to_owned(),
        description: description.to_owned(),
        skus: labels.iter().map(|label| new_sku(label, total)).collect(),
        ..CreateProductRequest::default()
    }
}

fn new_sku(label: &str, total: i32) -> NewSku {
    let price = Money { currency_code: "KRW".to_owned(), amount_minor: 129_000 };
    NewSku { label: label.to_owned(), price: Some(price), total, ..NewSku::default() }
}

/// A limit of 0 is no limit.
fn drop_at(opens_at: SystemTime, limit_per_buyer: i32, hold_ttl: Duration) -> Drop {
    let hold_ttl = prost_types::Duration::try_from(hold_ttl).ok();
    Drop { opens_at: Some(opens_at.into()), closes_at: None, limit_per_buyer, hold_ttl }
}
