//! The service put together.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use firstcome_mesh::{Credentials, Shutdown, server::Server};
use firstcome_postgres::Pool;
use firstcome_proto::payment_v1::{
    charge_service_server::ChargeServiceServer, payment_service_server::PaymentServiceServer,
};
use sqlx::migrate::Migrator;
use tokio::net::TcpListener;

use crate::{
    charge::Charges,
    config::{Databases, Serve},
    rpc::{charge_service, payment_service},
    sandbox::{Ledger, Sandbox},
    store::Store,
};

/// The binary's name, and the health service's word for "ready".
const NAME: &str = "firstcome-payment";

/// Payment's own schema.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");
/// The sandbox provider's schema.
pub static SANDBOX_MIGRATIONS: Migrator = sqlx::migrate!("./sandbox-migrations");

/// Everything that serving needs, connected.
pub struct App {
    credentials: Option<Credentials>,
    store: Store,
    sandbox: Sandbox,
}

impl App {
    /// Connects.
    pub async fn build(config: &Serve) -> anyhow::Result<Self> {
        let credentials = config.mesh.tls.open()?;
        let connections = config.database_connections;
        let store = Store::connect(&config.databases.database_url, connections);
        let store = store.await.context("database")?;
        let ledger = Ledger::connect(&config.databases.sandbox_database_url, connections);
        let ledger = ledger.await.context("sandbox provider's database")?;
        let sandbox = Sandbox::new(ledger, config.sandbox_slow);
        Ok(Self { credentials, store, sandbox })
    }

    /// Serves until `shutdown` begins, then answers what is in flight.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: Shutdown,
        drain_timeout: Duration,
    ) -> anyhow::Result<()> {
        let Self { credentials, store, sandbox } = self;
        let charges = Charges::new(store.clone(), Arc::new(sandbox.clone()));
        let mut server = Server::new(NAME, credentials);
        server
            .routes()
            .add_service(ChargeServiceServer::new(charge_service::Service(charges)))
            .add_service(PaymentServiceServer::new(payment_service::Service(store.clone())));
        server.serve(listener, shutdown.clone(), drain_timeout).await?;
        let rest = async {
            store.close(drain_timeout).await;
            sandbox.close(drain_timeout).await;
            shutdown.finished().await;
        };
        shutdown.within(drain_timeout, rest).await;
        Ok(())
    }
}

/// Brings both schemas up to date.
pub async fn migrate(databases: &Databases) -> anyhow::Result<()> {
    Pool::migrate(&databases.database_url, &MIGRATIONS).await.context("payment's schema")?;
    let sandbox = Pool::migrate(&databases.sandbox_database_url, &SANDBOX_MIGRATIONS);
    sandbox.await.context("sandbox provider's schema")
}
