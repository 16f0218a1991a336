//! The service put together.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use firstcome_mesh::{
    Shutdown,
    server::{Listeners, Server},
};
use firstcome_postgres::Pool;
use firstcome_proto::{
    access::Peer,
    payment_v1::{
        charge_service_server::ChargeServiceServer, payment_service_server::PaymentServiceServer,
        webhook_service_server::WebhookServiceServer,
    },
};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::migrate::Migrator;
use tokio::sync::Notify;

use crate::{
    charge::Charges,
    config::{Databases, ProviderKind, Serve},
    metrics,
    provider::{Provider, Reader},
    rpc::{charge_service, payment_service, webhook_service},
    sandbox::{self, Habits, Ledger, Sandbox, teller::Merchant},
    store::Store,
    stripe::{self, Stripe},
    webhook::{Sender, Webhooks, worker::Worker},
};

/// The binary's name, and the health service's word for "ready".
pub const NAME: &str = Peer::Payment.program();

/// Payment's own schema.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");
/// The sandbox provider's schema.
pub static SANDBOX_MIGRATIONS: Migrator = sqlx::migrate!("./sandbox-migrations");

/// Everything that serving needs, connected.
pub struct App {
    server: Server,
    store: Store,
    partner: Partner,
}

/// Who moves the money.
struct Partner {
    name: &'static str,
    provider: Arc<dyn Provider>,
    /// How its webhooks are known; without a secret anybody could sign, and nobody is believed.
    sender: Option<Sender>,
    /// The sandbox has a life of its own here, and perhaps somebody to tell of it.
    sandbox: Option<(Sandbox, Option<Merchant>)>,
}

impl App {
    /// Connects.
    pub async fn build(config: &Serve) -> anyhow::Result<Self> {
        let server =
            Server::new(NAME, config.mesh.tls.open()?).injecting(&config.mesh.faults.inject_faults);
        let connections = config.database_connections;
        let store = Store::connect(&config.databases.database_url, connections);
        let store = store.await.context("database")?;
        let partner = match config.partner.provider {
            ProviderKind::Sandbox => Partner::sandbox(config).await?,
            ProviderKind::Stripe => Partner::stripe(config, &store),
        };
        Ok(Self { server, store, partner })
    }

    /// Serves until `shutdown` begins, then answers what is in flight.
    pub async fn serve(
        self,
        listeners: impl Into<Listeners>,
        shutdown: Shutdown,
        drain_timeout: Duration,
    ) -> anyhow::Result<()> {
        let Self { mut server, store, partner } = self;
        let Partner { name, provider, sender, sandbox } = partner;
        if let Some((sandbox, merchant)) = &sandbox {
            sandbox.start(merchant.clone(), &shutdown);
        }
        let charges = Charges::new(store.clone(), provider);
        let recorded = Arc::new(Notify::new());
        let webhooks = Webhooks::new(sender, store.clone(), Arc::clone(&recorded));
        Worker { provider: name, store: store.clone(), charges: charges.clone(), recorded }
            .start(&shutdown);
        metrics::begin(store.clone(), &shutdown);
        server
            .routes()
            .add_service(ChargeServiceServer::new(charge_service::Service(charges)))
            .add_service(PaymentServiceServer::new(payment_service::Service(store.clone())))
            .add_service(WebhookServiceServer::new(webhook_service::Service(webhooks)));
        server.serve(listeners, shutdown.clone(), drain_timeout).await?;
        let rest = async {
            // The duties use the queues that are closed next.
            shutdown.finished().await;
            store.close(drain_timeout).await;
            if let Some((sandbox, _)) = sandbox {
                sandbox.close(drain_timeout).await;
            }
        };
        shutdown.within(drain_timeout, rest).await;
        Ok(())
    }
}

impl Partner {
    async fn sandbox(config: &Serve) -> anyhow::Result<Self> {
        let told = &config.partner;
        let merchant = told.merchant();
        let habits = Habits { slow: told.sandbox_slow, tells: merchant.is_some() };
        let url = config.databases.sandbox_database_url.as_ref();
        let url = url.context("the sandbox provider needs a database")?;
        let ledger = Ledger::connect(url, config.database_connections, habits);
        let ledger = ledger.await.context("sandbox provider's database")?;
        let sandbox = Sandbox::new(ledger);
        Ok(Self {
            name: sandbox::NAME,
            provider: Arc::new(sandbox.clone()),
            sender: sender(sandbox::NAME, &told.sandbox_webhook_secret, sandbox::event::read),
            sandbox: Some((sandbox, merchant)),
        })
    }

    fn stripe(config: &Serve, store: &Store) -> Self {
        let told = &config.partner;
        let key = told.stripe_secret_key.clone();
        let stripe = Stripe::new(&told.stripe_base_url, key, store.clone());
        Self {
            name: stripe::NAME,
            provider: Arc::new(stripe),
            sender: sender(stripe::NAME, &told.stripe_webhook_secret, stripe::read),
            sandbox: None,
        }
    }
}

fn sender(name: &'static str, secret: &SecretString, read: Reader) -> Option<Sender> {
    let is_signed = !secret.expose_secret().is_empty();
    is_signed.then(|| Sender { name, secret: secret.clone(), read })
}

/// Brings the schemas up to date: payment's, and the sandbox provider's where there is one.
pub async fn migrate(databases: &Databases) -> anyhow::Result<()> {
    Pool::migrate(&databases.database_url, &MIGRATIONS).await.context("payment's schema")?;
    let Some(url) = &databases.sandbox_database_url else { return Ok(()) };
    Pool::migrate(url, &SANDBOX_MIGRATIONS).await.context("sandbox provider's schema")
}
