//! ProfileService: what a user tells of itself.

use firstcome_mesh::Identity;
use firstcome_proto::user_v1::{
    CreateAddressRequest, CreateAddressResponse, DeleteAccountRequest, DeleteAccountResponse,
    DeleteAddressRequest, DeleteAddressResponse, GetProfileRequest, GetProfileResponse,
    ListAddressesRequest, ListAddressesResponse, SetDefaultAddressRequest,
    SetDefaultAddressResponse, UpdateAddressRequest, UpdateAddressResponse, UpdateProfileRequest,
    UpdateProfileResponse, profile_service_server::ProfileService,
};
use tonic::{Request, Response, Status};

use crate::{address_book::AddressBook, profile::Profiles};

/// The service over profiles and address books.
pub struct Service {
    /// Profiles.
    pub profiles: Profiles,
    /// Address books.
    pub addresses: AddressBook,
}

#[tonic::async_trait]
impl ProfileService for Service {
    async fn get_profile(
        &self,
        request: Request<GetProfileRequest>,
    ) -> Result<Response<GetProfileResponse>, Status> {
        let caller = Identity::of(&request)?;
        Ok(Response::new(self.profiles.get(caller).await?))
    }

    async fn update_profile(
        &self,
        request: Request<UpdateProfileRequest>,
    ) -> Result<Response<UpdateProfileResponse>, Status> {
        let caller = Identity::of(&request)?;
        Ok(Response::new(self.profiles.update(caller, request.into_inner()).await?))
    }

    async fn delete_account(
        &self,
        request: Request<DeleteAccountRequest>,
    ) -> Result<Response<DeleteAccountResponse>, Status> {
        let caller = Identity::of(&request)?;
        Ok(Response::new(self.profiles.delete(caller, request).await?))
    }

    async fn create_address(
        &self,
        request: Request<CreateAddressRequest>,
    ) -> Result<Response<CreateAddressResponse>, Status> {
        let caller = Identity::of(&request)?;
        Ok(Response::new(self.addresses.create(caller.user, request.into_inner()).await?))
    }

    async fn list_addresses(
        &self,
        request: Request<ListAddressesRequest>,
    ) -> Result<Response<ListAddressesResponse>, Status> {
        let caller = Identity::of(&request)?;
        Ok(Response::new(self.addresses.list(caller.user).await?))
    }

    async fn update_address(
        &self,
        request: Request<UpdateAddressRequest>,
    ) -> Result<Response<UpdateAddressResponse>, Status> {
        let caller = Identity::of(&request)?;
        Ok(Response::new(self.addresses.update(caller.user, request.into_inner()).await?))
    }

    async fn set_default_address(
        &self,
        request: Request<SetDefaultAddressRequest>,
    ) -> Result<Response<SetDefaultAddressResponse>, Status> {
        let caller = Identity::of(&request)?;
        Ok(Response::new(self.addresses.set_default(caller.user, request.into_inner()).await?))
    }

    async fn delete_address(
        &self,
        request: Request<DeleteAddressRequest>,
    ) -> Result<Response<DeleteAddressResponse>, Status> {
        let caller = Identity::of(&request)?;
        Ok(Response::new(self.addresses.delete(caller.user, request.into_inner()).await?))
    }
}
