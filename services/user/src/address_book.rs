//! Address books: up to 20 addresses of each user, of which exactly one is the default.
//!
//! Here addresses are checked, sealed and opened. That there is one default and no twenty-first
//! address is not decided here: constraints see to it, in `0006_addresses.sql`.

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use firstcome_proto::{
    Address, AddressId, Refusal, UserId, address_v1,
    user_v1::{
        BookAddress, CreateAddressRequest, CreateAddressResponse, DeleteAddressRequest,
        DeleteAddressResponse, ListAddressesResponse, SetDefaultAddressRequest,
        SetDefaultAddressResponse, UpdateAddressRequest, UpdateAddressResponse,
    },
};
use firstcome_vault::{Index, Place, Sealed, Vault};
use tonic::Status;

use crate::{
    error::Error,
    rpc::{Faults, account_service::idempotency_key},
    store::{BOOK_ADDRESS, Entry, NewAddress, Store},
};

/// What tells whether a key comes back with the contents that it came with first.
const FINGERPRINT: &str = "addresses.fingerprint";

/// Address books.
#[derive(Clone)]
pub struct AddressBook {
    /// The rows, sealed.
    pub store: Store,
    /// What they are sealed with.
    pub vault: Vault,
    /// What tells equal contents without keeping them.
    pub index: Index,
}

impl AddressBook {
    /// Adds an address, once for each key.
    pub async fn create(
        &self,
        user: UserId,
        request: CreateAddressRequest,
    ) -> Result<CreateAddressResponse, Status> {
        let mut faults = Faults::default();
        let key = faults.check(idempotency_key(request.idempotency_key));
        let address = faults.check(read(request.address));
        let (Some(key), Some(address)) = (key, address) else {
            return Err(faults.refusal().into());
        };
        let id = AddressId::of(user, &key);
        let new = NewAddress {
            id,
            user,
            sealed: self.seal(id, &address),
            fingerprint: self.fingerprint(id, &address),
        };
        let entry = self.store.add_address(&new).await?;
        Ok(CreateAddressResponse { address: Some(self.to_wire(&entry)?) })
    }

    /// The whole book.
    pub async fn list(&self, user: UserId) -> Result<ListAddressesResponse, Status> {
        let entries = self.store.addresses(user).await?;
        let addresses = entries.iter().map(|entry| self.to_wire(entry));
        Ok(ListAddressesResponse { addresses: addresses.collect::<Result<_, _>>()? })
    }

    /// Replaces an address.
    pub async fn update(
        &self,
        user: UserId,
        request: UpdateAddressRequest,
    ) -> Result<UpdateAddressResponse, Status> {
        let mut faults = Faults::default();
        let id = faults.check(AddressId::from_field("address_id", &request.address_id));
        let address = faults.check(read(request.address));
        let (Some(id), Some(address)) = (id, address) else {
            return Err(faults.refusal().into());
        };
        let entry = self.store.replace_address(user, id, self.seal(id, &address)).await?;
        Ok(UpdateAddressResponse { address: Some(self.to_wire(&entry)?) })
    }

    /// Makes an address the default.
    pub async fn set_default(
        &self,
        user: UserId,
        request: SetDefaultAddressRequest,
    ) -> Result<SetDefaultAddressResponse, Status> {
        let id = AddressId::from_field("address_id", &request.address_id)?;
        let entry = self.store.set_default_address(user, id).await?;
        Ok(SetDefaultAddressResponse { address: Some(self.to_wire(&entry)?) })
    }

    /// Deletes an address that is not the default.
    pub async fn delete(
        &self,
        user: UserId,
        request: DeleteAddressRequest,
    ) -> Result<DeleteAddressResponse, Status> {
        let id = AddressId::from_field("address_id", &request.address_id)?;
        self.store.delete_address(user, id).await?;
        Ok(DeleteAddressResponse {})
    }

    /// One address of this user's book.
    pub async fn find(&self, user: UserId, id: AddressId) -> Result<Address, Error> {
        let sealed = self.store.address(user, id).await?.ok_or(Error::NotFound("address"))?;
        self.open(id, &sealed)
    }

    fn to_wire(&self, entry: &Entry) -> Result<BookAddress, Error> {
        Ok(BookAddress {
            address_id: entry.id.to_string(),
            address: Some(self.open(entry.id, &entry.sealed)?.to_wire()),
            is_default: entry.is_default,
        })
    }

    fn seal(&self, id: AddressId, address: &Address) -> Sealed {
        self.vault.seal(place(id), &address.to_bytes())
    }

    fn open(&self, id: AddressId, sealed: &[u8]) -> Result<Address, Error> {
        let opened = self.vault.open(place(id), sealed);
        let bytes = opened.map_err(|fault| Error::internal("open an address", fault))?;
        Address::from_bytes(&bytes).ok_or_else(|| Error::internal("read an address", id))
    }

    /// Of this address's first contents only, so that equal contents elsewhere do not look equal.
    fn fingerprint(&self, id: AddressId, address: &Address) -> [u8; 32] {
        let contents = BASE64_STANDARD_NO_PAD.encode(address.to_bytes());
        self.index.of(FINGERPRINT, &format!("{id} {contents}"))
    }
}

/// Where an address opens.
pub fn place(id: AddressId) -> Place {
    Place { column: BOOK_ADDRESS, row: id.0 }
}

fn read(address: Option<address_v1::Address>) -> Result<Address, Refusal> {
    Address::try_from(address.ok_or_else(|| Refusal::invalid("address", "want an address"))?)
}
