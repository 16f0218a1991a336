//! Who is calling, and from where, as the edge saw it: headers that the edge alone may send.

use std::net::IpAddr;

use firstcome_proto::{
    Reason, Refusal, SessionId, UserId,
    access::{Identity as Wire, Role},
};
use prost::Message as _;
use tonic::{
    Request,
    metadata::{BinaryMetadataValue, MetadataMap},
};

/// The header; the edge strips it from whatever comes in from outside.
pub const HEADER: &str = "fc-identity-bin";
/// The client's address; the edge strips it likewise, and sends it to `user` only.
pub const CLIENT_ADDRESS: &str = "fc-client-address";

/// Where the call is from; `None` when the edge did not say.
pub fn client_address(metadata: &MetadataMap) -> Option<IpAddr> {
    metadata.get(CLIENT_ADDRESS)?.to_str().ok()?.parse().ok()
}

/// A verified caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub user: UserId,
    /// The session its token belongs to.
    pub session: SessionId,
    /// What it may do.
    pub role: Role,
}

impl Identity {
    /// Reads who calls; UNAUTHENTICATED when the edge did not say.
    pub fn of<T>(request: &Request<T>) -> Result<Self, Refusal> {
        Self::from_metadata(request.metadata())
    }

    /// Reads who calls from the headers.
    pub fn from_metadata(metadata: &MetadataMap) -> Result<Self, Refusal> {
        let missing = || Refusal::because(Reason::TokenInvalid, "the call carries no identity");
        let value = metadata.get_bin(HEADER).ok_or_else(missing)?;
        let bytes = value.to_bytes().map_err(|_| missing())?;
        let wire = Wire::decode(bytes).map_err(|_| missing())?;
        Ok(Self {
            user: UserId::from_wire(HEADER, &wire.user_id).map_err(|_| missing())?,
            session: SessionId::from_wire(HEADER, &wire.session_id).map_err(|_| missing())?,
            role: wire.role(),
        })
    }

    /// The header's value.
    pub fn to_header(self) -> BinaryMetadataValue {
        let wire = Wire {
            user_id: self.user.to_wire(),
            session_id: self.session.to_wire(),
            role: self.role as i32,
        };
        BinaryMetadataValue::from_bytes(&wire.encode_to_vec())
    }
}
