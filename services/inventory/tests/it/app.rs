//! The service under test: any number of replicas on stores that a test shares with nobody, and
//! what a test says to them.

use std::time::Duration;

use bytes::Bytes;
use firstcome_inventory::{
    app::App,
    catalog::{Drop as Window, Kind, NewProduct, NewSku},
    config::Service,
    gate::Gate,
    keeper::Keeper,
    live::Live,
    reserve::Reservations,
    store::{MIGRATIONS, Store, epoch::Change},
};
use firstcome_mesh::{
    Shutdown, Tls,
    batcher::{InFlightMax, ItemsMax},
    config::{Faulty, Serve, Traces},
    upstream,
};
use firstcome_proto::{
    ProductId, Reason, Refusal, SkuId,
    error_v1::SharedRefusal,
    inventory_v1::{
        self as wire, Hold, HoldAnswer, HoldState, ReleaseCause, ReserveItem,
        catalog_service_client::CatalogServiceClient, hold_answer,
        offer_service_client::OfferServiceClient,
        reservation_service_client::ReservationServiceClient,
        stock_service_client::StockServiceClient,
    },
    money::Currency,
};
use firstcome_redis::RedisPool;
use firstcome_testkit::{TestDatabase, stores};
use time::OffsetDateTime;
use tokio::{net::TcpListener, time::Instant};
use tonic::transport::Channel;
use uuid::Uuid;

/// Long enough for anything on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// The stores of one test.
pub struct Shop {
    pub database: TestDatabase,
    pub redis: RedisPool,
    pub gate: Gate,
}

/// The parts of one replica. Nobody serves them and no duty runs unless a [`Replica`] owns them.
pub struct Parts {
    pub store: Store,
    pub live: Live,
    pub reservations: Reservations,
    pub keeper: Keeper,
    pub shutdown: Shutdown,
}

/// One replica that serves and keeps its duties.
pub struct Replica {
    pub parts: Parts,
    channel: Channel,
}

/// A product to buy.
#[derive(Clone, Debug)]
pub struct Goods {
    pub id: ProductId,
    pub skus: Vec<SkuId>,
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

impl Shop {
    pub async fn open() -> Self {
        let stores = stores().await;
        let database = stores.database("fc_inventory", &MIGRATIONS).await;
        let redis = RedisPool::connect(stores.redis_url()).await.unwrap();
        let gate = Gate::new(&redis);
        Self { database, redis, gate }
    }

    /// A shop whose database was made by somebody who knows other letters.
    pub async fn of_locale(lc_ctype: &str) -> Self {
        let shop = Self::open().await;
        let database = stores().await.postgres().database();
        let name = format!("letters_{}", Uuid::new_v4().simple());
        let sql = format!(
            "create database {name} template template0 lc_collate 'C' lc_ctype '{lc_ctype}'"
        );
        let mut server = database.connect_as_admin("postgres").await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut server).await.unwrap();
        database.prepare_schemas(&name).await.unwrap();
        let (server, _) = shop.database.url.rsplit_once('/').unwrap();
        let url = format!("{server}/{name}");
        Store::migrate(&url.clone().into()).await.unwrap();
        let pool = sqlx::PgPool::connect(&url).await.unwrap();
        Self { database: TestDatabase { pool, url }, ..shop }
    }

    async fn build(&self) -> (App, Parts) {
        let service = Service {
            serve: Serve {
                listen: "127.0.0.1:0".parse().unwrap(),
                health_listen: None,
                drain_wait: Duration::ZERO,
                drain_timeout: Duration::from_secs(1),
                tls: Tls::default(),
                faults: Faulty::default(),
                traces: Traces::default(),
            },
            database_url: self.database.url.clone().into(),
            database_connections: 8,
            redis_url: stores().await.redis_url().to_owned().into(),
            forget_after: Duration::from_secs(3600),
            gate_batch_items_max: ItemsMax::MAX,
            gate_batches_in_flight_max: InFlightMax::new(2),
            ledger_batch_items_max: ItemsMax::MAX,
            ledger_batches_in_flight_max: InFlightMax::new(1),
        };
        let shutdown = Shutdown::new();
        let app = App::build(&service, shutdown.clone()).await.unwrap();
        let parts = Parts {
            store: app.store.clone(),
            live: app.live.clone(),
            reservations: app.reservations.clone(),
            keeper: app.keeper(),
            shutdown,
        };
        (app, parts)
    }

    /// A replica without calls and duties, to be driven by hand.
    pub async fn parts(&self) -> Parts {
        self.build().await.1
    }

    /// A replica that serves.
    pub async fn replica(&self) -> Replica {
        let (app, parts) = self.build().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(app.serve(listener, Duration::from_secs(1)));
        let channel = upstream::channel(&format!("http://{address}")).unwrap();
        Replica { parts, channel }
    }

    /// A replica that serves, and a product that it sells.
    pub async fn selling(total: i32, limit_per_buyer: i32) -> (Self, Replica, Goods) {
        let shop = Self::open().await;
        let replica = shop.replica().await;
        let window = Window { limit_per_buyer, ..open_window() };
        let goods = replica.parts.sell(&[total], window).await;
        (shop, replica, goods)
    }
}

/// Open since an hour, without end or limit.
pub fn open_window() -> Window {
    Window { opens_at: from_now(-3600), closes_at: None, limit_per_buyer: 0, hold_ttl_ms: 300_000 }
}

/// So many seconds from now, in whole milliseconds as the gate counts.
pub fn from_now(seconds: i64) -> OffsetDateTime {
    let then = OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
    then.replace_millisecond(then.millisecond()).unwrap()
}

impl Parts {
    /// Makes a product that nothing is scheduled for.
    pub async fn register(&self, totals: &[i32]) -> Goods {
        let sku = |(place, &total): (usize, &i32)| NewSku {
            label: format!("{place}"),
            price_minor: 9900,
            total,
            ..NewSku::default()
        };
        let new = NewProduct {
            idempotency_key: Uuid::new_v4().to_string(),
            name: format!("goods {}", Uuid::new_v4()),
            description: String::new(),
            category: String::new(),
            kind: Kind::Limited,
            currency: Currency::parse("KRW").unwrap(),
            skus: totals.iter().enumerate().map(sku).collect(),
        };
        let product = self.store.create_product(&new).await.unwrap();
        Goods { id: product.id, skus: product.skus.iter().map(|sku| sku.id).collect() }
    }

    /// Makes a product with a drop.
    pub async fn sell(&self, totals: &[i32], window: Window) -> Goods {
        let goods = self.register(totals).await;
        self.live.change(goods.id, Change::Drop(window)).await.unwrap();
        goods
    }
}

impl Goods {
    /// The first SKU.
    pub fn sku(&self) -> SkuId {
        self.skus[0]
    }

    /// One buyer's wish for one unit of the first SKU.
    pub fn wish(&self) -> ReserveItem {
        wish(&[(self.sku(), 1)])
    }

    /// So many buyers' wishes.
    pub fn wishes(&self, count: usize) -> Vec<ReserveItem> {
        (0..count).map(|_| self.wish()).collect()
    }
}

/// A wish with an id and a buyer of its own.
pub fn wish(lines: &[(SkuId, i32)]) -> ReserveItem {
    let line =
        |&(sku, quantity): &(SkuId, i32)| wire::ReservationLine { sku_id: sku.to_wire(), quantity };
    ReserveItem {
        reservation_id: random_id(),
        buyer_id: random_id(),
        fingerprint: Bytes::from_static(&[7; 16]),
        lines: lines.iter().map(line).collect(),
    }
}

pub fn random_id() -> Bytes {
    Bytes::copy_from_slice(Uuid::new_v4().as_bytes())
}

/// The one reason among some answers.
#[track_caller]
pub fn refused(answer: &Result<Hold, Refusal>) -> Reason {
    answer.as_ref().expect_err("a refusal").reason()
}

impl Replica {
    pub fn catalogue(&self) -> CatalogServiceClient<Channel> {
        CatalogServiceClient::new(self.channel.clone())
    }

    pub fn stock(&self) -> StockServiceClient<Channel> {
        StockServiceClient::new(self.channel.clone())
    }

    pub fn offers(&self) -> OfferServiceClient<Channel> {
        OfferServiceClient::new(self.channel.clone())
    }

    pub fn reservations(&self) -> ReservationServiceClient<Channel> {
        ReservationServiceClient::new(self.channel.clone())
    }

    /// Reserves in one call and gives the answers in the order of the items.
    pub async fn reserve(
        &self,
        goods: &Goods,
        items: Vec<ReserveItem>,
    ) -> Vec<Result<Hold, Refusal>> {
        let mut outcomes = vec![None; items.len()];
        let request = wire::ReserveRequest { product_id: goods.id.to_wire(), items };
        let mut answers = self.reservations().reserve(request).await.unwrap().into_inner();
        while let Some(response) = answers.message().await.unwrap() {
            let refused = response.refused.into_iter().flat_map(SharedRefusal::each);
            let refused = refused.map(|(index, refusal)| (index, Err(Refusal::clone(&refusal))));
            let reserved = response.reserved.into_iter();
            let reserved = reserved.map(|answer| (answer.index, Ok(answer.hold.unwrap())));
            for (index, outcome) in refused.chain(reserved) {
                let before = outcomes[index as usize].replace(outcome);
                assert_eq!(before, None, "each item is answered once");
            }
        }
        outcomes.into_iter().map(|outcome| outcome.expect("each item is answered")).collect()
    }

    pub async fn reserve_one(&self, goods: &Goods, item: ReserveItem) -> Result<Hold, Refusal> {
        self.reserve(goods, vec![item]).await.remove(0)
    }

    /// Asks again, with the same key, for as long as the answer is to come back later.
    pub async fn insist(&self, goods: &Goods, item: ReserveItem) -> Result<Hold, Refusal> {
        let give_up = Instant::now() + SOON;
        loop {
            match self.reserve_one(goods, item.clone()).await {
                Err(refusal) if refusal.retry_after.is_some() && Instant::now() < give_up => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                answer => return answer,
            }
        }
    }

    pub async fn pin(&self, goods: &Goods, ids: &[Bytes]) -> Vec<Result<HoldState, Refusal>> {
        let request =
            wire::PinRequest { product_id: goods.id.to_wire(), reservation_ids: ids.to_vec() };
        states(self.reservations().pin(request).await.unwrap().into_inner().answers)
    }

    pub async fn settle(&self, goods: &Goods, ids: &[Bytes]) -> Vec<Result<HoldState, Refusal>> {
        let request =
            wire::SettleRequest { product_id: goods.id.to_wire(), reservation_ids: ids.to_vec() };
        states(self.reservations().settle(request).await.unwrap().into_inner().answers)
    }

    pub async fn restock(&self, goods: &Goods, ids: &[Bytes]) -> Vec<Result<HoldState, Refusal>> {
        let request =
            wire::RestockRequest { product_id: goods.id.to_wire(), reservation_ids: ids.to_vec() };
        states(self.reservations().restock(request).await.unwrap().into_inner().answers)
    }

    pub async fn release(
        &self,
        goods: &Goods,
        ids: &[Bytes],
        cause: ReleaseCause,
    ) -> Vec<Result<HoldState, Refusal>> {
        let item =
            |id: &Bytes| wire::ReleaseItem { reservation_id: id.clone(), cause: cause as i32 };
        let request = wire::ReleaseRequest {
            product_id: goods.id.to_wire(),
            items: ids.iter().map(item).collect(),
        };
        states(self.reservations().release(request).await.unwrap().into_inner().answers)
    }
}

fn states(answers: Vec<HoldAnswer>) -> Vec<Result<HoldState, Refusal>> {
    let read = |answer: HoldAnswer| match answer.outcome.unwrap() {
        hold_answer::Outcome::State(state) => Ok(HoldState::try_from(state).unwrap()),
        hold_answer::Outcome::Refusal(refusal) => Err(refusal),
    };
    answers.into_iter().map(read).collect()
}
