//! The service put together.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use firstcome_events::{Streams, relay};
use firstcome_mesh::{
    Shutdown,
    server::{Listeners, Server},
    upstream,
};
use firstcome_postgres::Pool;
use firstcome_proto::{
    access::Peer,
    order_v1::{
        cart_service_server::CartServiceServer,
        order_intake_service_server::OrderIntakeServiceServer,
        order_service_server::OrderServiceServer, wishlist_service_server::WishlistServiceServer,
    },
};
use firstcome_vault::Vault;
use sqlx::migrate::Migrator;

use crate::{
    attempt::Attempts,
    baskets::Baskets,
    commands::Commands,
    config::{Serve, Upkeep},
    intake::Intake,
    metrics,
    peers::{AddressBooks, Charges, Inventory, Offers},
    rpc::{baskets, order_intake_service, order_service},
    saga::Saga,
    store::{Resealed, Store},
    watch::Watches,
    worker,
};

/// The binary's name, and the health service's word for "ready".
pub const NAME: &str = Peer::Order.program();

/// This service's own schema.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Everything that serving needs, connected.
pub struct App {
    config: Serve,
    server: Server,
    store: Store,
    inventory: Inventory,
    offers: Offers,
    charges: Charges,
    books: AddressBooks,
}

impl App {
    /// Connects to the database; peers are connected to when they are first called.
    pub async fn build(config: &Serve) -> anyhow::Result<Self> {
        let vault = Vault::new(&config.keys.keyring().context("data keys")?);
        let url = &config.database.database_url;
        let store = Store::connect(url, config.database_connections, vault);
        let store = store.await.context("database")?;
        let credentials = config.mesh.tls.open()?;
        let channel = |peer: Peer, endpoint: &str| {
            upstream::channel_to(peer, endpoint, credentials.as_ref())
                .with_context(|| format!("the endpoint of {}: {endpoint}", peer.name()))
        };
        let inventory = channel(Peer::Inventory, &config.inventory_endpoint)?;
        let payment = channel(Peer::Payment, &config.payment_endpoint)?;
        let user = channel(Peer::User, &config.user_endpoint)?;
        Ok(Self {
            server: Server::new(NAME, credentials).injecting(&config.mesh.faults.inject_faults),
            store,
            offers: Offers::new(inventory.clone()),
            inventory: Inventory::new(inventory, config.steps()),
            charges: Charges::new(payment),
            books: AddressBooks::new(user),
            config: config.clone(),
        })
    }

    /// Serves until `shutdown` begins, then finishes what is under way.
    pub async fn serve(
        self,
        listeners: impl Into<Listeners>,
        shutdown: Shutdown,
        drain_timeout: Duration,
    ) -> anyhow::Result<()> {
        let Self { config, mut server, store, inventory, offers, charges, books } = self;
        let intake = Intake::new(
            store.clone(),
            inventory.clone(),
            shutdown.clone(),
            config.placements(),
            config.rows(),
        );
        let clock = config.clock();
        let saga = Saga::new(
            store.clone(),
            inventory.clone(),
            charges,
            shutdown.clone(),
            config.steps(),
            clock,
        );
        let attempts =
            Attempts::new(store.clone(), inventory.clone(), shutdown.clone(), clock.lease);
        let watches = Watches::new(store.clone(), shutdown.clone());
        shutdown.spawn(worker::run(store.clone(), saga.clone(), shutdown.clone(), clock.lease));
        shutdown.spawn(worker::tidy(store.clone(), shutdown.clone()));
        metrics::begin(store.clone(), clock.lease, &shutdown);
        shutdown.spawn(attempts.clone().resume());
        shutdown.spawn(watches.clone().run());
        shutdown.spawn(relay::run(
            store.clone(),
            config.redis_url.clone(),
            Streams::of_the_shop(),
            shutdown.clone(),
        ));

        let lists = Baskets::new(store.clone(), offers);
        let orders = order_service::Service {
            store: store.clone(),
            intake: intake.clone(),
            attempts,
            baskets: lists.clone(),
            commands: Commands::new(store.clone(), books, saga.clone(), shutdown.clone()),
            watches,
            day: clock.day,
        };
        let intakes = order_intake_service::Service::new(intake.clone(), clock.day);
        let lists = baskets::Service(lists);

        server
            .routes()
            .add_service(OrderServiceServer::new(orders))
            .add_service(CartServiceServer::new(lists.clone()))
            .add_service(WishlistServiceServer::new(lists))
            .add_service(OrderIntakeServiceServer::new(intakes));
        server.serve(listeners, shutdown.clone(), drain_timeout).await?;
        let rest = async {
            // Nobody calls any more. What callers left in the intake may still start undos; these,
            // and the payments under way, need the batchers behind them.
            intake.close(drain_timeout).await;
            shutdown.finished().await;
            saga.close(drain_timeout).await;
            inventory.close(drain_timeout).await;
            store.close().await;
        };
        shutdown.within(drain_timeout, rest).await;
        Ok(())
    }
}

/// Brings the schema up to date, and seals what earlier releases wrote in the clear. What cannot be
/// sealed stops no release.
pub async fn migrate(upkeep: &Upkeep) -> anyhow::Result<()> {
    Pool::migrate(&upkeep.database.database_url, &MIGRATIONS).await.context("schema")?;
    let Resealed { addresses, unopened, behind } = seal(upkeep).await.context("seal old rows")?;
    if addresses > 0 {
        tracing::info!(addresses, "sealed the addresses of old orders");
    }
    if unopened > 0 || behind > 0 {
        tracing::warn!(unopened, behind, "some addresses are left as they are");
    }
    Ok(())
}

/// Seals everything under the current key, while others serve, and prints how much it was. Fails
/// at its end when anything is left under another key: then that key is still needed.
pub async fn rotate_keys(upkeep: &Upkeep) -> anyhow::Result<()> {
    let Resealed { addresses, unopened, behind } = seal(upkeep).await?;
    println!("{addresses}");
    ensure!(unopened == 0, "{unopened} addresses do not open and are left as they are");
    ensure!(behind == 0, "{behind} addresses are still being written, maybe under an older key");
    Ok(())
}

async fn seal(upkeep: &Upkeep) -> anyhow::Result<Resealed> {
    let vault = Vault::new(&upkeep.keys.keyring().context("data keys")?);
    let url = &upkeep.database.database_url;
    let store = Store::connect(url, 1, vault).await.context("database")?;
    let resealed = store.seal_addresses().await.context("seal addresses")?;
    store.close().await;
    Ok(resealed)
}
