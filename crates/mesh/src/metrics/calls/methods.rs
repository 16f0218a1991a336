//! Every method of the contract with its metrics, for each end of a call.

use std::{
    collections::HashMap,
    sync::{LazyLock, OnceLock},
};

use firstcome_proto::{
    Reason,
    access::{self, Peer},
};
use prometheus_client::metrics::{counter::Counter, family::Family, histogram::Histogram};
use tonic::Code;

use super::super::{Gauge, Labels, SecondsFamily, register, seconds_histogram};

/// gRPC's codes, 0 to 16.
const CODES: usize = 17;
/// More than the enum has; a reason beyond it is counted as unspecified.
const REASONS: usize = 64;
/// Whatever the contract does not list. Strangers may call any path: each would be a series.
const OTHER: &str = "other";

/// How peers watch over each other, and whether that has no end by itself.
const HEALTH: [(&str, bool); 2] = [("Health/Check", false), ("Health/Watch", true)];

/// The metrics of one end of all calls.
struct Families {
    ended: Family<Labels, Counter>,
    seconds: SecondsFamily,
    in_flight: Family<Labels, Gauge>,
    streams: Family<Labels, Counter>,
    refused: Family<Labels, Counter>,
}

pub static SERVED: LazyLock<Methods> = LazyLock::new(|| {
    Methods::of_contract(Vec::new(), &|| Families {
        ended: register(
            "firstcome_rpc_server_requests",
            "Calls that have ended here, by method and gRPC code",
            Family::default(),
        ),
        seconds: register(
            "firstcome_rpc_server_duration_seconds",
            "How long calls took until their last byte, endless streams left out",
            Family::new_with_constructor(seconds_histogram),
        ),
        in_flight: register(
            "firstcome_rpc_server_in_flight",
            "Calls under way here, open streams among them",
            Family::default(),
        ),
        streams: register(
            "firstcome_rpc_server_streams_started",
            "Endless streams that were opened here",
            Family::default(),
        ),
        refused: register(
            "firstcome_rpc_server_refusals",
            "Calls that were refused here, by method and the reason that the caller was told",
            Family::default(),
        ),
    })
});

/// One table for each upstream, in the order of [`Peer::ALL`].
pub static CALLED: LazyLock<[Methods; Peer::ALL.len()]> = LazyLock::new(|| {
    let ended = register(
        "firstcome_rpc_client_requests",
        "Calls of another service that have ended, by upstream, method and gRPC code",
        Family::default(),
    );
    let seconds = register(
        "firstcome_rpc_client_duration_seconds",
        "How long calls of another service took, endless streams left out",
        SecondsFamily::new_with_constructor(seconds_histogram),
    );
    let in_flight = register(
        "firstcome_rpc_client_in_flight",
        "Calls of another service under way, open streams among them",
        Family::default(),
    );
    let streams = register(
        "firstcome_rpc_client_streams_started",
        "Endless streams that were opened at another service",
        Family::default(),
    );
    let refused = register(
        "firstcome_rpc_client_refusals",
        "Calls that another service, or the way to it, refused, by reason",
        Family::default(),
    );
    let families = || Families {
        ended: Family::clone(&ended),
        seconds: Family::clone(&seconds),
        in_flight: Family::clone(&in_flight),
        streams: Family::clone(&streams),
        refused: Family::clone(&refused),
    };
    Peer::ALL
        .map(|peer| Methods::of_contract(vec![("upstream", peer.short_name().into())], &families))
});

/// Every method of the contract, by path.
pub struct Methods {
    by_path: HashMap<String, Method>,
    other: Method,
}

impl Methods {
    fn of_contract(labels: Labels, families: &dyn Fn() -> Families) -> Self {
        let contract = access::descriptor_pool();
        let families = families();
        let method = |name: String, is_endless| Method {
            labels: labels.iter().cloned().chain([("method", name.into())]).collect(),
            is_endless,
            ended: Family::clone(&families.ended),
            seconds: Family::clone(&families.seconds),
            in_flight: Family::clone(&families.in_flight),
            streams: Family::clone(&families.streams),
            refused: Family::clone(&families.refused),
            handles: OnceLock::new(),
        };
        let methods = contract.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        let by_path = methods.map(|of| {
            // The contract has no two services of one name.
            let name = format!("{}/{}", of.parent_service().name(), of.name());
            (access::path_of(&of), method(name, access::is_endless(&of)))
        });
        let standard = HEALTH.map(|(name, is_endless)| {
            (format!("/grpc.health.v1.{name}"), method(name.to_owned(), is_endless))
        });
        Self { by_path: by_path.chain(standard).collect(), other: method(OTHER.to_owned(), false) }
    }

    pub fn find(&self, path: &str) -> &Method {
        self.by_path.get(path).unwrap_or(&self.other)
    }
}

/// One method and, once it was called, what is counted of it.
pub struct Method {
    labels: Labels,
    is_endless: bool,
    ended: Family<Labels, Counter>,
    seconds: SecondsFamily,
    in_flight: Family<Labels, Gauge>,
    streams: Family<Labels, Counter>,
    refused: Family<Labels, Counter>,
    handles: OnceLock<Handles>,
}

pub struct Handles {
    pub in_flight: Gauge,
    /// Of a call that ends by itself.
    pub seconds: Option<Histogram>,
    /// Of one that does not.
    pub streams: Option<Counter>,
    ended: [OnceLock<Counter>; CODES],
    refused: [OnceLock<Counter>; REASONS],
}

impl Method {
    pub fn is_endless(&self) -> bool {
        self.is_endless
    }

    pub fn handles(&self) -> &Handles {
        self.handles.get_or_init(|| Handles {
            in_flight: self.in_flight.get_or_create_owned(&self.labels),
            seconds: (!self.is_endless).then(|| self.seconds.get_or_create_owned(&self.labels)),
            streams: self.is_endless.then(|| self.streams.get_or_create_owned(&self.labels)),
            ended: [const { OnceLock::new() }; CODES],
            refused: [const { OnceLock::new() }; REASONS],
        })
    }

    pub fn ended(&self, code: Code) -> &Counter {
        self.handles().ended[code as usize]
            .get_or_init(|| self.ended.get_or_create_owned(&self.labelled("code", name_of(code))))
    }

    pub fn refused(&self, reason: Reason) -> &Counter {
        let place = usize::try_from(reason as i32).ok().filter(|&place| place < REASONS);
        self.handles().refused[place.unwrap_or_default()].get_or_init(|| {
            self.refused.get_or_create_owned(&self.labelled("reason", reason.name()))
        })
    }

    fn labelled(&self, label: &'static str, value: &'static str) -> Labels {
        self.labels.iter().cloned().chain([(label, value.into())]).collect()
    }
}

/// As gRPC writes them.
fn name_of(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_nobody_knows_is_no_series_of_its_own() {
        let labels = |path: &str| SERVED.find(path).labels.clone();
        let find = "/firstcome.payment.v1.PaymentService/GetPayment";
        assert_eq!(labels("/x/y"), [("method", OTHER.into())]);
        assert_eq!(labels(find), [("method", "PaymentService/GetPayment".into())]);
    }

    #[test]
    fn every_peer_and_every_method_has_a_place() {
        for (place, peer) in Peer::ALL.into_iter().enumerate() {
            assert_eq!(peer as usize, place);
        }
        let mut names: Vec<_> = SERVED.by_path.values().map(|method| &method.labels).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "two services of one name would be one series");
        let last = (0..).map_while(|number| Reason::try_from(number).ok()).count();
        assert!(last < REASONS);
    }
}
