//! A call on its way through the layers, with what is known of it so far.

use std::{net::IpAddr, sync::Arc};

use firstcome_proto::Refusal;
use http::Request;
use tonic::body::Body;

use crate::{route::Route, tally::Counted, token::Verified};

/// A call, and what the layers found out about it.
pub struct Call {
    /// As it came in.
    pub request: Request<Body>,
    /// Where it is from.
    pub client: IpAddr,
    /// What it calls; `None` when there is no such method for the world.
    pub route: Option<Arc<Route>>,
    /// Who calls.
    pub caller: Caller,
    /// Told how the call ends, where that is counted.
    pub counted: Option<Counted>,
}

/// Who calls, as far as the token says.
pub enum Caller {
    /// No token.
    Anonymous,
    /// A token that does not verify: no identity, and why. A public method does not mind.
    Rejected(Box<Refusal>),
    /// A token of ours.
    Known(Arc<Verified>),
}

impl Caller {
    /// The verified caller.
    pub fn known(&self) -> Option<&Arc<Verified>> {
        match self {
            Self::Known(verified) => Some(verified),
            Self::Anonymous | Self::Rejected(_) => None,
        }
    }
}
