//! The edge put together, and its life: alive at once, ready once it can check tokens, not ready
//! when it is told to stop, and gone when the calls inside have their answers.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use firstcome_mesh::{
    Shutdown, metrics as mesh_metrics, open_files,
    server::{Listeners, probes},
    upstream,
};
use firstcome_proto::access;
use tonic::service::RoutesBuilder;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    config::Config,
    dispatch::Ways,
    forward::{Forward, Peer},
    limiter::SWEEP_INTERVAL,
    listen, metrics,
    place::Place,
    reflection,
    route::Table,
    rush::RushView,
    stack::Stack,
    tally::Tally,
    token::{Verifier, keys::Keys, revocations::Revocations},
    watch::Watches,
};

/// The name by which health knows the edge.
pub const NAME: &str = access::Peer::Edge.program();

/// The edge.
pub struct App {
    stack: Arc<Stack>,
    ways: Arc<Ways>,
    keys: Keys,
    revocations: Revocations,
    health: HealthReporter,
}

impl App {
    /// Puts the edge together; connects to nobody yet. Streams end when `shutdown` begins.
    pub fn build(config: Config, shutdown: &Shutdown) -> anyhow::Result<Self> {
        mesh_metrics::begin(NAME);
        metrics::begin();
        let credentials = config.serve.tls.open()?;
        let peer = |peer: access::Peer, endpoint: &str| {
            let channel = upstream::channel_to(peer, endpoint, credentials.as_ref());
            channel.map(Peer::new).with_context(|| format!("the endpoint of {}", peer.name()))
        };
        let forward = Forward {
            user: peer(access::Peer::User, &config.user_endpoint)?,
            inventory: peer(access::Peer::Inventory, &config.inventory_endpoint)?,
            order: peer(access::Peer::Order, &config.order_endpoint)?,
            payment: peer(access::Peer::Payment, &config.payment_endpoint)?,
        };
        let contract = access::descriptor_pool();
        let table = Table::read(&contract, config.development).context("read the route table")?;

        let (health, health_service) = tonic_health::server::health_reporter();
        let mut local = RoutesBuilder::default();
        local.add_service(health_service);
        reflection::add_to(&mut local, &contract, config.development)?;

        let keys = Keys::new(forward.user.channel());
        let stale_max = config.revocations_stale_max;
        let revocations = Revocations::new(forward.user.channel(), stale_max);
        let watches = Watches::new(
            forward.inventory.channel(),
            config.watchers_max,
            config.watcher_stall,
            shutdown.clone(),
        );
        let tally = config.development.then(Arc::<Tally>::default);
        let rush = tally.as_ref().map(|tally| {
            let stall = config.watcher_stall;
            RushView::new(Arc::clone(tally), watches.clone(), stall, shutdown.clone())
        });
        let ways = Arc::new(Ways {
            place: Place::new(forward.order.channel(), config.gathered()),
            watches,
            rush,
            forward,
            revocations: revocations.clone(),
            shutdown: shutdown.clone(),
            local: local.routes().prepare(),
            call_deadline: config.call_deadline,
        });
        let verifier = Verifier::new(keys.clone(), revocations.clone());
        let stack = Arc::new(Stack::new(&config, table, tally, verifier, Arc::clone(&ways)));
        Ok(Self { stack, ways, keys, revocations, health })
    }

    /// Serves until `shutdown` begins, then drains for at most `drain_timeout`.
    pub async fn serve(
        self,
        listeners: impl Into<Listeners>,
        shutdown: Shutdown,
        drain_timeout: Duration,
    ) -> anyhow::Result<()> {
        let Listeners { calls, probes } = listeners.into();
        let address = calls.local_addr().context("read the listening address")?;
        tracing::info!(service = NAME, %address, "serve");
        if let Err(too_few) = open_files::enough_for(listen::CONNECTIONS_MAX) {
            tracing::warn!("{too_few}");
        }
        self.health.set_service_status(NAME, ServingStatus::NotServing).await;
        // Apart from the public port, which refuses even these when too many call.
        let _probes = probes.map(|listener| probes::answer(listener, self.health.clone()));
        let (keys, revocations) = (self.keys, self.revocations);
        tokio::spawn(become_ready(keys, revocations, self.health.clone(), shutdown.clone()));
        tokio::spawn(sweep(Arc::clone(&self.stack), shutdown.clone()));

        let stop = shutdown.clone();
        let mut health = self.health;
        let serving = listen::serve(calls, self.stack, async move {
            stop.leaving().await;
            health.set_service_status(NAME, ServingStatus::NotServing).await;
            stop.begun().await;
            // Whoever follows our health would never leave by itself.
            health.clear_service_status(NAME).await;
            health.clear_service_status("").await;
        });
        let all = async {
            serving.await;
            self.ways.place.close(drain_timeout).await;
        };
        shutdown.within(drain_timeout, all).await;
        Ok(())
    }
}

/// Ready is who can tell a token from rubbish, and one of a session that goes on from one of a
/// session that has ended.
///
/// It stays so while `user` is silent: every edge would leave at once, and take along the shop
/// window, the payment provider's word, and whatever else asks for no token. [`Revocations`]
/// refuses the rest by itself.
async fn become_ready(
    keys: Keys,
    revocations: Revocations,
    health: HealthReporter,
    shutdown: Shutdown,
) {
    if !keys.fetch_first(&shutdown).await {
        return;
    }
    let tell = async {
        revocations.heard().await;
        health.set_service_status(NAME, ServingStatus::Serving).await;
        tracing::info!("ready");
    };
    // Keys are learned beside the questions about sessions, which must not wait for them.
    let work = async {
        tokio::join!(
            tell,
            revocations.follow(&shutdown),
            keys.keep_fresh(&shutdown),
            keys.learn_each(revocations.newest_key_ids()),
        );
    };
    tokio::select! {
        biased; // no readiness is told after the end
        () = shutdown.leaving() => {}
        () = work => {}
    }
}

async fn sweep(stack: Arc<Stack>, shutdown: Shutdown) {
    while shutdown.sleep(SWEEP_INTERVAL).await {
        stack.sweep();
    }
}
