//! The service under test, and what a test says to it.

use std::{
    net::SocketAddr,
    process::{Command, Output},
    time::Duration,
};

use firstcome_mesh::{
    Identity, Shutdown, Tls,
    batcher::{InFlightMax, ItemsMax},
    config::{Faulty, Serve as Mesh, Traces},
    identity, server,
};
use firstcome_order::{
    app::{App, MIGRATIONS},
    config::{Database, Serve},
};
use firstcome_proto::{
    OrderId, Reason, Refusal, SessionId, UserId,
    access::Role,
    address_v1,
    error_v1::SharedRefusal,
    order_v1::{
        self as wire, Order, OrderState, cart_service_client::CartServiceClient,
        order_intake_service_client::OrderIntakeServiceClient,
        order_service_client::OrderServiceClient, pay_order_request::Destination,
    },
};
use firstcome_testkit::{TestDatabase, stores};
use firstcome_vault::{DataKeys, Vault};
use prost::Message as _;
use tokio::{runtime::Runtime, sync::oneshot};
use tonic::{Request, Status, transport::Channel};
use uuid::Uuid;

use super::peers::Peers;

/// Long enough for anything on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);
/// Longer than any step of a test, so that no worker drives beside a call that is alive.
pub const LEASE: Duration = Duration::from_secs(30);

/// Longer than any test, so that nothing ships by itself.
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// What addresses are sealed with.
pub const DATA_KEYS: &str = "1:0101010101010101010101010101010101010101010101010101010101010101";

/// A database and three peers, for any number of replicas of the service.
pub struct Shop {
    pub database: TestDatabase,
    pub peers: Peers,
    /// A day of the shop.
    pub day: Duration,
    /// Where the next replica tells events.
    pub redis_url: String,
    /// What the next replica seals and opens with.
    pub data_keys: String,
    address: SocketAddr,
}

/// One replica, on threads of its own, so that it can be killed between any two instructions.
pub struct Replica {
    runtime: Option<Runtime>,
    channel: Channel,
}

/// A buyer.
#[derive(Clone)]
pub struct Buyer {
    pub id: UserId,
    role: Role,
    orders: OrderServiceClient<Channel>,
    carts: CartServiceClient<Channel>,
}

/// A buyer's cart.
pub struct Cart {
    buyer: Buyer,
    carts: CartServiceClient<Channel>,
}

impl Shop {
    pub async fn open() -> Self {
        Self::open_on(stores().await.database("fc_order", &MIGRATIONS).await).await
    }

    pub async fn open_on(database: TestDatabase) -> Self {
        let (peers, address) = Peers::start().await;
        let redis_url = stores().await.redis_url().to_owned();
        let data_keys = DATA_KEYS.to_owned();
        Self { database, peers, day: DAY, redis_url, data_keys, address }
    }

    /// With days so short that a test sees the whole life of an order.
    pub async fn open_with_days_of(day: Duration) -> Self {
        Self { day, ..Self::open().await }
    }

    pub async fn replica(&self) -> Replica {
        self.replica_with_lease(LEASE).await
    }

    pub async fn replica_with_lease(&self, step_lease: Duration) -> Replica {
        let drain_timeout = Duration::from_secs(1);
        let tls = Tls::default();
        let listen = "127.0.0.1:0".parse().unwrap();
        let mesh = Mesh {
            listen,
            health_listen: None,
            drain_wait: Duration::ZERO,
            drain_timeout,
            tls,
            traces: Traces::default(),
            faults: Faulty::default(),
        };
        let config = Serve {
            database: Database { database_url: self.database.url.clone().into() },
            database_connections: 8,
            keys: DataKeys { data_keys: self.data_keys.clone().into() },
            redis_url: self.redis_url.clone().into(),
            user_endpoint: self.peers_endpoint(),
            inventory_endpoint: self.peers_endpoint(),
            payment_endpoint: self.peers_endpoint(),
            placement_batch_items_max: ItemsMax::MAX,
            placement_batches_in_flight_max: InFlightMax::new(2),
            row_batch_items_max: ItemsMax::MAX,
            row_batches_in_flight_max: InFlightMax::new(2),
            step_lease,
            day: self.day,
            mesh,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (sender, address) = oneshot::channel();
        runtime.spawn(async move {
            let listener = server::bind(config.mesh.listen).await;
            sender.send(listener.local_addr().unwrap()).unwrap();
            let app = App::build(&config).await.unwrap();
            app.serve(listener, Shutdown::new(), drain_timeout).await.unwrap();
        });
        let address = address.await.unwrap();
        let channel = firstcome_mesh::upstream::channel(&format!("http://{address}")).unwrap();
        Replica { runtime: Some(runtime), channel }
    }

    /// Where all peers listen.
    pub fn peers_endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Runs another command of the program to its end.
    pub async fn run(&self, command: &str, data_keys: &str) -> Output {
        let mut program = Command::new(env!("CARGO_BIN_EXE_firstcome-order"));
        program
            .arg(command)
            .env_clear()
            .env("FIRSTCOME_DATABASE_URL", &self.database.url)
            .env("FIRSTCOME_DATA_KEYS", data_keys);
        tokio::task::spawn_blocking(move || program.output().unwrap()).await.unwrap()
    }

    /// What the next replica seals and opens with.
    pub fn vault(&self) -> Vault {
        Vault::new(&self.data_keys.parse().unwrap())
    }

    /// How many rows there are, in any state.
    pub async fn rows(&self) -> i64 {
        let rows: (i64,) = sqlx::query_as("select count(*) from orders")
            .fetch_one(&self.database.pool)
            .await
            .unwrap();
        rows.0
    }

    /// How many statements on this database wait for somebody else's lock.
    pub async fn waiting_for_locks(&self) -> i64 {
        let waiting: (i64,) = sqlx::query_as(
            "select count(*) from pg_stat_activity \
             where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_one(&self.database.pool)
        .await
        .unwrap();
        waiting.0
    }

    /// How many orders still have something to be done, and not only a day to wait for.
    pub async fn unfinished(&self) -> i64 {
        let rows: (i64,) = sqlx::query_as(
            "select count(*) from orders \
             where state = 'pending_payment' or step in ('take_back', 'pay_back')",
        )
        .fetch_one(&self.database.pool)
        .await
        .unwrap();
        rows.0
    }

    /// The states that an order has come to, as its events tell them, in the order of writing.
    pub async fn events(&self, order: Uuid) -> Vec<(String, String)> {
        sqlx::query_as(
            "select from_state, state from outbox where order_id = $1 order by outbox_id",
        )
        .bind(order)
        .fetch_all(&self.database.pool)
        .await
        .unwrap()
    }
}

impl Replica {
    pub fn buyer(&self) -> Buyer {
        self.buyer_of(UserId(Uuid::new_v4()))
    }

    pub fn buyer_of(&self, id: UserId) -> Buyer {
        Buyer::through(self.channel.clone()).with_id(id)
    }

    pub fn intake(&self) -> OrderIntakeServiceClient<Channel> {
        OrderIntakeServiceClient::new(self.channel.clone())
    }

    /// Places many at once, and gives the answers in the order of the items.
    pub async fn place_many(
        &self,
        items: Vec<wire::PlaceOrdersItem>,
    ) -> Vec<Result<Order, Refusal>> {
        let mut outcomes: Vec<Option<Result<Order, Refusal>>> = vec![None; items.len()];
        let request = wire::PlaceOrdersRequest { items };
        let mut answers = self.intake().place_orders(request).await.unwrap().into_inner();
        while let Some(response) = answers.message().await.unwrap() {
            let refused = response.refused.into_iter().flat_map(SharedRefusal::each);
            let refused = refused.map(|(index, refusal)| (index, Err(Refusal::clone(&refusal))));
            let placed = response.placed.into_iter();
            let placed = placed.map(|answer| {
                let response = wire::PlaceOrderResponse::decode(answer.response).unwrap();
                (answer.index, Ok(response.order.unwrap()))
            });
            for (index, outcome) in refused.chain(placed) {
                let before = outcomes[index as usize].replace(outcome);
                assert!(before.is_none(), "item {index} was answered twice");
            }
        }
        outcomes.into_iter().map(|outcome| outcome.expect("every item is answered")).collect()
    }

    /// Dies between two instructions.
    pub fn kill(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Buyer {
    /// Somebody new, at a program that listens on this port.
    pub fn at(port: u16) -> Self {
        let endpoint = format!("http://127.0.0.1:{port}");
        let channel = firstcome_mesh::upstream::channel(&endpoint).unwrap();
        Self::through(channel)
    }

    fn through(channel: Channel) -> Self {
        let (orders, carts) =
            (OrderServiceClient::new(channel.clone()), CartServiceClient::new(channel));
        Self { id: UserId(Uuid::new_v4()), role: Role::User, orders, carts }
    }

    /// One of the shop's own people.
    pub fn admin(self) -> Self {
        Self { role: Role::Admin, ..self }
    }

    /// The same person as somewhere else.
    pub fn with_id(self, id: UserId) -> Self {
        Self { id, ..self }
    }

    pub async fn place(&self, key: &str, lines: &[(Uuid, Uuid, i32)]) -> Result<Order, Refusal> {
        let request = self.says(place_request(key, lines));
        let answer = self.orders.clone().place_order(request).await.map_err(refusal)?;
        Ok(answer.into_inner().order.unwrap())
    }

    /// Places an order of one unit, and gives its id.
    pub async fn placed(&self, product: Uuid) -> Uuid {
        let key = Uuid::new_v4().to_string();
        let order = self.place(&key, &[(product, Uuid::new_v4(), 1)]).await.unwrap();
        order.order_id.parse().unwrap()
    }

    pub async fn pay(&self, order: Uuid) -> Result<Order, Refusal> {
        self.pay_within(order, SOON).await
    }

    pub async fn pay_within(&self, order: Uuid, span: Duration) -> Result<Order, Refusal> {
        let mut request = self.says(pay_request(order));
        request.set_timeout(span);
        let answer = self.orders.clone().pay_order(request).await.map_err(refusal)?;
        Ok(answer.into_inner().order.unwrap())
    }

    pub async fn pay_with(&self, request: wire::PayOrderRequest) -> Result<Order, Refusal> {
        let answer = self.orders.clone().pay_order(self.says(request)).await.map_err(refusal)?;
        Ok(answer.into_inner().order.unwrap())
    }

    pub async fn cancel(&self, order: Uuid) -> Result<Order, Refusal> {
        let request = self.says(wire::CancelOrderRequest { order_id: order.to_string() });
        let answer = self.orders.clone().cancel_order(request).await.map_err(refusal)?;
        Ok(answer.into_inner().order.unwrap())
    }

    /// Pays, and has it sent to an address of the book.
    pub async fn pay_to(&self, order: Uuid, address_id: Uuid) -> Result<Order, Refusal> {
        let mut request = pay_request(order);
        request.destination = Some(Destination::AddressId(address_id.to_string()));
        self.pay_with(request).await
    }

    pub async fn get(&self, order: Uuid) -> Result<Order, Refusal> {
        Ok(self.get_whole(order).await?.order.unwrap())
    }

    /// With where it goes.
    pub async fn get_whole(&self, order: Uuid) -> Result<wire::GetOrderResponse, Refusal> {
        let request = self.says(wire::GetOrderRequest { order_id: order.to_string() });
        Ok(self.orders.clone().get_order(request).await.map_err(refusal)?.into_inner())
    }

    /// Where an order goes.
    pub async fn address_of(&self, order: Uuid) -> Option<address_v1::Address> {
        self.get_whole(order).await.unwrap().address
    }

    pub async fn list(&self, size: i32, token: &str) -> Result<wire::ListOrdersResponse, Refusal> {
        let page_token = token.to_owned();
        let request = self.says(wire::ListOrdersRequest { page_size: size, page_token });
        Ok(self.orders.clone().list_orders(request).await.map_err(refusal)?.into_inner())
    }

    /// Places what is chosen of the cart; nothing means all of it.
    pub async fn place_cart(&self, key: &str, skus: &[Uuid]) -> Result<Order, Refusal> {
        let mut request = place_request(key, &[]);
        request.selection = Some(cart_selection(skus));
        let answer = self.orders.clone().place_order(self.says(request)).await.map_err(refusal)?;
        Ok(answer.into_inner().order.unwrap())
    }

    /// What an order of the whole cart would hold.
    pub async fn preview_cart(&self) -> Result<wire::PreviewOrderResponse, Refusal> {
        let selection = Some(cart_selection(&[]));
        let request = self.says(wire::PreviewOrderRequest { lines: Vec::new(), selection });
        Ok(self.orders.clone().preview_order(request).await.map_err(refusal)?.into_inner())
    }

    pub async fn request_return(&self, order: Uuid) -> Result<Order, Refusal> {
        let request = self.says(wire::RequestReturnRequest { order_id: order.to_string() });
        let answer = self.orders.clone().request_return(request).await.map_err(refusal)?;
        Ok(answer.into_inner().order.unwrap())
    }

    /// The shop's own people, who may see and refund anybody's orders.
    pub async fn refund(&self, order: Uuid) -> Result<Order, Refusal> {
        let request = self.says(wire::RefundOrderRequest { order_id: order.to_string() });
        let answer = self.orders.clone().refund_order(request).await.map_err(refusal)?;
        Ok(answer.into_inner().order.unwrap())
    }

    pub async fn watch(
        &self,
        order: Uuid,
    ) -> Result<tonic::Streaming<wire::WatchOrderResponse>, Refusal> {
        let request = self.says(wire::WatchOrderRequest { order_id: order.to_string() });
        Ok(self.orders.clone().watch_order(request).await.map_err(refusal)?.into_inner())
    }

    /// The buyer's cart.
    pub fn cart(&self) -> Cart {
        Cart { buyer: self.clone(), carts: self.carts.clone() }
    }

    /// This buyer's call among those that an edge gathers.
    pub fn item(&self, key: &str, lines: &[(Uuid, Uuid, i32)]) -> wire::PlaceOrdersItem {
        let request = place_request(key, lines).encode_to_vec().into();
        wire::PlaceOrdersItem { user_id: self.id.to_wire(), request }
    }

    /// The id of this buyer's order of that key.
    pub fn order_id(&self, key: &str) -> Uuid {
        OrderId::of(self.id, key).0
    }

    fn says<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let session = SessionId(Uuid::nil());
        let header = Identity { user: self.id, session, role: self.role }.to_header();
        request.metadata_mut().insert_bin(identity::HEADER, header);
        request
    }
}

impl Cart {
    pub async fn add(
        &self,
        key: &str,
        product: Uuid,
        sku: Uuid,
        quantity: i32,
    ) -> Result<i32, Refusal> {
        let request = self.buyer.says(wire::AddCartItemRequest {
            idempotency_key: key.into(),
            product_id: product.to_string(),
            sku_id: sku.to_string(),
            quantity,
        });
        let answer = self.carts.clone().add_cart_item(request).await.map_err(refusal)?;
        Ok(answer.into_inner().quantity)
    }

    pub async fn set(&self, sku: Uuid, quantity: i32) -> Result<(), Refusal> {
        let request =
            self.buyer.says(wire::UpdateCartItemRequest { sku_id: sku.to_string(), quantity });
        self.carts.clone().update_cart_item(request).await.map_err(refusal).map(drop)
    }

    pub async fn remove(&self, sku: Uuid) -> Result<(), Refusal> {
        let request = self.buyer.says(wire::RemoveCartItemRequest { sku_id: sku.to_string() });
        self.carts.clone().remove_cart_item(request).await.map_err(refusal).map(drop)
    }

    pub async fn clear(&self) -> Result<(), Refusal> {
        let request = self.buyer.says(wire::ClearCartRequest {});
        self.carts.clone().clear_cart(request).await.map_err(refusal).map(drop)
    }

    /// SKU and units of each line.
    pub async fn lines(&self) -> Vec<(Uuid, i32)> {
        let items = self.list().await.items;
        items.into_iter().map(|item| (item.sku_id.parse().unwrap(), item.quantity)).collect()
    }

    pub async fn list(&self) -> wire::ListCartItemsResponse {
        let request = self.buyer.says(wire::ListCartItemsRequest {});
        self.carts.clone().list_cart_items(request).await.unwrap().into_inner()
    }
}

fn cart_selection(skus: &[Uuid]) -> wire::BasketSelection {
    let sku_ids = skus.iter().map(Uuid::to_string).collect();
    wire::BasketSelection { basket: wire::Basket::Cart as i32, sku_ids }
}

pub fn home(line1: &str) -> address_v1::Address {
    address_v1::Address {
        recipient: "Quillon Vexworth".into(),
        phone: "+821099887766".into(),
        line1: line1.into(),
        line2: String::new(),
        city: "Umbramere".into(),
        postal_code: "QX-90210".into(),
        country_code: "KR".into(),
    }
}

pub fn pay_request(order: Uuid) -> wire::PayOrderRequest {
    wire::PayOrderRequest {
        order_id: order.to_string(),
        destination: Some(Destination::Address(home("1 Main"))),
        payment_method: "pm_card_approve".into(),
    }
}

fn place_request(key: &str, lines: &[(Uuid, Uuid, i32)]) -> wire::PlaceOrderRequest {
    let lines = lines.iter().map(|(product, sku, quantity)| wire::NewOrderLine {
        product_id: product.to_string(),
        sku_id: sku.to_string(),
        quantity: *quantity,
    });
    wire::PlaceOrderRequest {
        idempotency_key: key.to_owned(),
        lines: lines.collect(),
        selection: None,
    }
}

fn refusal(status: Status) -> Refusal {
    Refusal::from_status(&status)
}

#[track_caller]
pub fn refused<T: std::fmt::Debug>(outcome: &Result<T, Refusal>, reason: Reason) {
    match outcome {
        Err(refusal) => assert_eq!(refusal.reason(), reason, "{refusal:?}"),
        Ok(answer) => panic!("want {reason:?}, have {answer:?}"),
    }
}

#[track_caller]
pub fn is(outcome: &Result<Order, Refusal>, state: OrderState) {
    match outcome {
        Ok(order) => assert_eq!(order.state(), state),
        Err(refusal) => panic!("want {state:?}, have {refusal:?}"),
    }
}
