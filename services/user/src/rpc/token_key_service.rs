//! TokenKeyService: what the edge needs to verify access tokens by itself.

use firstcome_proto::user_v1::{
    ListTokenKeysRequest, ListTokenKeysResponse, TokenKey,
    token_key_service_server::TokenKeyService,
};
use tonic::{Request, Response, Status};

use crate::store::Store;

/// The service over the keys.
pub struct Service(pub Store);

#[tonic::async_trait]
impl TokenKeyService for Service {
    async fn list_token_keys(
        &self,
        _: Request<ListTokenKeysRequest>,
    ) -> Result<Response<ListTokenKeysResponse>, Status> {
        let keys = self.0.public_keys().await?.into_iter();
        let keys =
            keys.map(|(key_id, public_key)| TokenKey { key_id, public_key: public_key.into() });
        Ok(Response::new(ListTokenKeysResponse { keys: keys.collect() }))
    }
}
