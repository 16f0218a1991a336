//! The user service, which keeps the address books. It knows nothing of orders.

use std::time::Duration;

use firstcome_mesh::{Deadline, retry::Retry, upstream::Channel};
use firstcome_proto::{
    Address, AddressId, Reason, Refusal, UserId,
    user_v1::{GetAddressRequest, address_book_service_client::AddressBookServiceClient},
};
use tonic::{Code, Status};

use crate::error::Error;

/// An address is one row, read by its key; this is many times that, and leaves a payment its time.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(3);

/// User's address books.
#[derive(Clone)]
pub struct AddressBooks {
    client: AddressBookServiceClient<Channel>,
    retry: Retry,
}

impl AddressBooks {
    /// Behind this channel.
    pub fn new(channel: Channel) -> Self {
        Self { client: AddressBookServiceClient::new(channel), retry: Retry::default() }
    }

    /// One address of this user's book, as it is now.
    pub async fn address(
        &self,
        user: UserId,
        id: AddressId,
        deadline: Deadline,
    ) -> Result<Address, Error> {
        let deadline = deadline.min(Deadline::after(ADDRESS_TIMEOUT));
        let request = GetAddressRequest { user_id: user.to_wire(), address_id: id.to_wire() };
        let send = || {
            let (mut client, request) = (self.client.clone(), deadline.request(request.clone()));
            async move { Ok(client.get_address(request).await?.into_inner().address) }
        };
        let address = self.retry.call(deadline, send).await.map_err(|status| refused(&status))?;
        let address = address.and_then(|address| Address::try_from(address).ok());
        address.ok_or_else(|| {
            tracing::error!(%user, address = %id, "user answered without an address");
            Error::Internal
        })
    }
}

/// What the buyer is told. Nothing has begun, so an answer that never came is no more than a part
/// of the shop that cannot be reached.
fn refused(status: &Status) -> Error {
    let refusal = Refusal::from_status(status);
    match refusal.reason() {
        Reason::NotFound => Error::NoSuchAddress,
        Reason::DeadlineExceeded => Error::Unavailable,
        reason if reason.code() == Code::Unavailable => Error::Unavailable,
        reason => {
            tracing::error!(reason = reason.name(), "user does not tell an address");
            Error::Internal
        }
    }
}
