//! The service put together.

use std::{io, time::Duration};

use anyhow::Context as _;
use firstcome_mesh::{
    Shutdown,
    server::{Listeners, Server},
};
use firstcome_proto::{
    access::Peer,
    inventory_v1::{
        catalog_service_server::CatalogServiceServer, offer_service_server::OfferServiceServer,
        reservation_service_server::ReservationServiceServer,
        stock_service_server::StockServiceServer,
    },
};
use firstcome_redis::RedisPool;
use secrecy::ExposeSecret as _;

use crate::{
    badge::Badges,
    config::Service,
    gate::Gate,
    keeper::{Keeper, UNCONFIRMED_MS_MAX},
    live::Live,
    metrics,
    offer::Offers,
    reserve::Reservations,
    rpc::{catalog::Catalog, reservation::Reservation},
    shelf::Shelf,
    stock::Stock,
    store::Store,
    turn::Turns,
};

/// Messages of a full batch fit several times.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Likes at once: those of one product wait for one row anyhow, and each that waits there holds one
/// of the 16 connections that Reserve, Pin and Settle need.
const LIKES_AT_ONCE: usize = 2;
/// Likes that may wait: at some milliseconds each, the last one's turn comes within a second.
const LIKES_WAITING_MAX: usize = 256;

/// The binary's name, and the health service's word for "ready".
pub const NAME: &str = Peer::Inventory.program();

/// A service that is ready to serve.
pub struct App {
    server: Server,
    shutdown: Shutdown,
    /// The truth.
    pub store: Store,
    /// The live stock.
    pub gate: Gate,
    /// Products and their epochs.
    pub live: Live,
    /// The way of a wish.
    pub reservations: Reservations,
    forget_after: Duration,
}

impl App {
    /// Connects to the stores; fails when Redis cannot be reached at all.
    pub async fn build(service: &Service, shutdown: Shutdown) -> anyhow::Result<Self> {
        let server = Server::new(NAME, service.serve.tls.open()?)
            .injecting(&service.serve.faults.inject_faults);
        let store = Store::connect(&service.database_url, service.database_connections);
        let store = store.await.context("database")?;
        let redis = RedisPool::connect(service.redis_url.expose_secret()).await?;
        let gate = Gate::new(&redis);
        gate.install().await.context("the gate's functions cannot be loaded")?;
        let live = Live::new(store.clone(), gate.clone(), shutdown.clone());
        let reservations = Reservations::new(
            live.clone(),
            gate.clone(),
            store.clone(),
            shutdown.clone(),
            service.gathered(),
        );
        let forget_after = service.forget_after;
        Ok(Self { server, shutdown, store, gate, live, reservations, forget_after })
    }

    /// The duties of this replica, to be started or to be done by hand.
    pub fn keeper(&self) -> Keeper {
        Keeper {
            live: self.live.clone(),
            gate: self.gate.clone(),
            store: self.store.clone(),
            reservations: self.reservations.clone(),
            forget_after: self.forget_after,
            unconfirmed_ms_max: UNCONFIRMED_MS_MAX,
        }
    }

    /// Serves until the end begins, then drains.
    pub async fn serve(
        self,
        listeners: impl Into<Listeners>,
        drain_timeout: Duration,
    ) -> io::Result<()> {
        let stock = Stock::new(self.live.clone(), self.gate.clone(), self.shutdown.clone());
        let shelf = Shelf::new(self.store.clone());
        shelf.start(&self.shutdown);
        let catalog = Catalog {
            store: self.store.clone(),
            live: self.live.clone(),
            shelf: shelf.clone(),
            badges: Badges::new(self.gate.clone()),
            likes: Turns::new(LIKES_AT_ONCE, LIKES_WAITING_MAX),
        };
        let offers = Offers { shelf, stock: stock.clone() };
        let reservation =
            Reservation { reservations: self.reservations.clone(), store: self.store.clone() };
        self.keeper().start(&self.shutdown);
        metrics::begin(self.store.clone(), &self.shutdown);

        let mut server = self.server;
        server
            .routes()
            .add_service(CatalogServiceServer::new(catalog))
            .add_service(StockServiceServer::new(stock))
            .add_service(OfferServiceServer::new(offers))
            .add_service(
                ReservationServiceServer::new(reservation)
                    .max_decoding_message_size(MESSAGE_BYTES_MAX),
            );
        server.serve(listeners, self.shutdown.clone(), drain_timeout).await?;
        let rest = async {
            // What is confirmed on the way out is confirmed by tasks.
            self.reservations.close(drain_timeout).await;
            self.shutdown.finished().await;
            self.store.close().await;
        };
        self.shutdown.within(drain_timeout, rest).await;
        Ok(())
    }
}
