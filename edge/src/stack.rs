//! The layers between the door and the services, top to bottom, and why each stands where it does.

use std::{convert::Infallible, net::IpAddr, sync::Arc};

use axum::Router;
use firstcome_mesh::{
    metrics::calls::ObserveLayer,
    server::{
        inject::InjectLayer,
        shed::{Load, ShedLayer},
    },
};
use http::Request;
use tonic::body::Body;
use tower::{Service, ServiceBuilder, util::BoxCloneService};
use tower_http::cors::CorsLayer;

use crate::{
    address::TrustedProxies,
    config::Config,
    dispatch::{Dispatch, Ways},
    door::{self, Door},
    layer::{
        address_limit::AddressLimitLayer,
        admit::AdmitLayer,
        authenticate::AuthenticateLayer,
        authorize::AuthorizeLayer,
        catch_panic::CatchPanicLayer,
        declared_size::DeclaredSizeLayer,
        trace::{Sampler, TraceLayer},
        user_limit::UserLimitLayer,
    },
    limiter::Limits,
    pages,
    route::{Class, Table},
    tally::Tally,
    token::Verifier,
    webhook::{PlainLayer, Webhooks},
    wire::Response,
};

/// What all connections share.
pub struct Stack {
    cors: CorsLayer,
    pages: Router,
    trace: TraceLayer,
    shed: ShedLayer,
    faults: InjectLayer,
    proxies: TrustedProxies,
    table: Table,
    tally: Option<Arc<Tally>>,
    addresses: AddressLimitLayer,
    tokens: AuthenticateLayer,
    users: UserLimitLayer,
    dispatch: Dispatch,
    webhooks: Webhooks,
}

impl Stack {
    /// The stack in front of these ways. In development, orders are counted.
    pub fn new(
        config: &Config,
        table: Table,
        tally: Option<Arc<Tally>>,
        verifier: Verifier,
        ways: Arc<Ways>,
    ) -> Self {
        Self {
            cors: door::cors(config),
            pages: pages::pages(),
            trace: TraceLayer { sampler: sampler(config), table: table.clone() },
            shed: ShedLayer::new(Load::default(), config.calls_max),
            faults: InjectLayer::new(&config.serve.faults.inject_faults),
            proxies: TrustedProxies::new(config.trusted_proxies.clone()),
            table,
            tally,
            addresses: AddressLimitLayer {
                limits: Limits::new(
                    "address",
                    config.address_limit,
                    [
                        (Class::Credentials, config.credentials_limit),
                        (Class::Mail, config.mails_limit),
                    ],
                ),
            },
            tokens: AuthenticateLayer { verifier },
            users: UserLimitLayer {
                limits: Limits::new(
                    "user",
                    config.user_limit,
                    [(Class::OwnPassword, config.password_limit)],
                ),
                exempt: Arc::new(config.exempt_users.iter().copied().collect()),
            },
            webhooks: Webhooks::new(ways.forward.payment.channel()),
            dispatch: Dispatch::new(ways),
        }
    }

    /// What answers one connection. Above it stands the door ([`crate::door`]), which makes gRPC
    /// of every dialect: whatever a layer below refuses, the caller reads it in its own dialect.
    pub fn door(
        &self,
        peer: IpAddr,
    ) -> Door<
        impl Service<Request<Body>, Response = Response, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + 'static
        + use<>,
    > {
        let admit = AdmitLayer {
            peer,
            proxies: self.proxies.clone(),
            table: self.table.clone(),
            tally: self.tally.clone(),
        };
        let webhooks = ServiceBuilder::new()
            // Outermost: what the layers below say in gRPC, a provider hears in plain HTTP.
            .layer(PlainLayer)
            // The same layers as of a call, in the same order, and the same counts: webhooks take
            // nobody's place for nothing. Who signs needs no token.
            .layer(CatchPanicLayer)
            .layer(self.shed.clone())
            .layer(admit.clone())
            .layer(self.addresses.clone())
            .service(self.webhooks.clone());
        let calls = ServiceBuilder::new()
            // On top: whatever is refused below is a part of the trace too.
            .layer(self.trace.clone())
            // Whatever becomes of a call is counted, a panic's answer too.
            .layer(ObserveLayer)
            // A panic in any layer below is that call's fault, not its connection's.
            .layer(CatchPanicLayer)
            // Costs one look at a header, and what it refuses takes no place below.
            .layer(DeclaredSizeLayer)
            // Before anything that waits or computes: a full edge must refuse at no cost.
            .layer(self.shed.clone())
            // As if all below had failed; a call that is late on purpose has its place.
            .layer(self.faults.clone())
            // From here on a request is a call: it has an address, and a route or none; and what
            // becomes of an order is counted.
            .layer(admit)
            // Before the token: checking one costs more than counting, and strangers pay nothing.
            .layer(self.addresses.clone())
            // After the address, whose limit bounds how many signatures a stranger has us check.
            .layer(self.tokens.clone())
            // Needs the user; before access, so that probing for methods is counted too.
            .layer(self.users.clone())
            // Last, because it needs all of the above; below it everything is allowed.
            .layer(AuthorizeLayer)
            .service(self.dispatch.clone());
        let webhooks = BoxCloneService::new(webhooks);
        Door::new(calls, webhooks, &self.cors, self.pages.clone())
    }

    /// Forgets callers who have not called for a while.
    pub fn sweep(&self) {
        self.addresses.limits.sweep();
        self.users.limits.sweep();
    }
}

/// Where nothing is exported there is nothing to decide.
fn sampler(config: &Config) -> Option<Arc<Sampler>> {
    config.serve.traces.otlp_endpoint.as_ref()?;
    Some(Arc::new(Sampler::new(config.traced_share)))
}
