//! The service put together.

use std::{str::FromStr as _, sync::Arc, time::Duration};

use anyhow::Context as _;
use firstcome_mesh::{Credentials, Shutdown, postgres::LOOKS_UP_BY_KEY, server::Server};
use firstcome_proto::payment_v1::{
    charge_service_server::ChargeServiceServer, payment_service_server::PaymentServiceServer,
};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{
    PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::net::TcpListener;

use crate::{
    charge::Charges,
    config::{Databases, Serve},
    rpc::{charge_service, payment_service},
    sandbox::Sandbox,
    store::Store,
};

/// The binary's name, and the health service's word for "ready".
const NAME: &str = "firstcome-payment";
/// A database that gives no connection in this time counts as unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// Payment's own schema.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");
/// The sandbox provider's schema.
pub static SANDBOX_MIGRATIONS: Migrator = sqlx::migrate!("./sandbox-migrations");

/// No statement here takes longer, unless it waits for a lock that nobody will give back.
const STATEMENT_TIMEOUT_MS: &str = "5000";

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
        let own = pool(&config.databases.database_url, connections).await.context("database")?;
        let provider = pool(&config.databases.sandbox_database_url, connections)
            .await
            .context("sandbox provider's database")?;
        let sandbox = Sandbox::new(provider, config.sandbox_slow);
        Ok(Self { credentials, store: Store::new(own), sandbox })
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
    let own = pool(&databases.database_url, 1).await.context("database")?;
    MIGRATIONS.run(&own).await.context("payment's schema")?;
    own.close().await;
    let sandbox = pool(&databases.sandbox_database_url, 1).await.context("sandbox database")?;
    SANDBOX_MIGRATIONS.run(&sandbox).await.context("sandbox's schema")?;
    sandbox.close().await;
    Ok(())
}

async fn pool(url: &SecretString, connections_max: u32) -> Result<PgPool, sqlx::Error> {
    let options = PgConnectOptions::from_str(url.expose_secret())?;
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(
            options.options([("statement_timeout", STATEMENT_TIMEOUT_MS)]).options(LOOKS_UP_BY_KEY),
        )
        .await
}
