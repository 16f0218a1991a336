//! Address books. (Scaffold: filled in by the address part.)

use firstcome_proto::{
    UserId,
    user_v1::{
        CreateAddressRequest, CreateAddressResponse, DeleteAddressRequest, DeleteAddressResponse,
        ListAddressesResponse, SetDefaultAddressRequest, SetDefaultAddressResponse,
        UpdateAddressRequest, UpdateAddressResponse,
    },
};
use tonic::Status;

use crate::store::Store;

/// Address books.
#[derive(Clone)]
pub struct AddressBook {
    /// The rows.
    pub store: Store,
}

#[allow(clippy::unused_async)]
impl AddressBook {
    pub async fn create(
        &self,
        _: UserId,
        _: CreateAddressRequest,
    ) -> Result<CreateAddressResponse, Status> {
        Err(Status::unimplemented("addresses"))
    }

    pub async fn list(&self, _: UserId) -> Result<ListAddressesResponse, Status> {
        Err(Status::unimplemented("addresses"))
    }

    pub async fn update(
        &self,
        _: UserId,
        _: UpdateAddressRequest,
    ) -> Result<UpdateAddressResponse, Status> {
        Err(Status::unimplemented("addresses"))
    }

    pub async fn set_default(
        &self,
        _: UserId,
        _: SetDefaultAddressRequest,
    ) -> Result<SetDefaultAddressResponse, Status> {
        Err(Status::unimplemented("addresses"))
    }

    pub async fn delete(
        &self,
        _: UserId,
        _: DeleteAddressRequest,
    ) -> Result<DeleteAddressResponse, Status> {
        Err(Status::unimplemented("addresses"))
    }
}
