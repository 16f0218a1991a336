//! Profiles. (Scaffold: filled in by the account part.)

use firstcome_mesh::Identity;
use firstcome_proto::user_v1::{
    DeleteAccountRequest, DeleteAccountResponse, GetProfileResponse, UpdateProfileRequest,
    UpdateProfileResponse,
};
use tonic::{Request, Status};

use crate::store::Store;

/// Profiles.
#[derive(Clone)]
pub struct Profiles {
    /// The rows.
    pub store: Store,
}

#[allow(clippy::unused_async)]
impl Profiles {
    pub async fn get(&self, _: Identity) -> Result<GetProfileResponse, Status> {
        Err(Status::unimplemented("profile"))
    }

    pub async fn update(
        &self,
        _: Identity,
        _: UpdateProfileRequest,
    ) -> Result<UpdateProfileResponse, Status> {
        Err(Status::unimplemented("profile"))
    }

    pub async fn delete(
        &self,
        _: Identity,
        _: Request<DeleteAccountRequest>,
    ) -> Result<DeleteAccountResponse, Status> {
        Err(Status::unimplemented("profile"))
    }
}
