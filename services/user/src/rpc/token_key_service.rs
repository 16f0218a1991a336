//! TokenKeyService: what the edge needs to verify access tokens by itself.

use std::time::Duration;

use firstcome_proto::user_v1::{
    ListTokenKeysRequest, ListTokenKeysResponse, TokenKey,
    token_key_service_server::TokenKeyService,
};
use tonic::{Request, Response, Status};

use crate::store::Store;

/// The service over the keys.
pub struct Service {
    /// Where they are.
    pub store: Store,
    /// How long a key is listed after the next one has begun to sign.
    pub keep: Duration,
}

#[tonic::async_trait]
impl TokenKeyService for Service {
    async fn list_token_keys(
        &self,
        _: Request<ListTokenKeysRequest>,
    ) -> Result<Response<ListTokenKeysResponse>, Status> {
        let keys = self.store.public_keys(self.keep).await?.into_iter();
        let keys =
            keys.map(|(key_id, public_key)| TokenKey { key_id, public_key: public_key.into() });
        Ok(Response::new(ListTokenKeysResponse { keys: keys.collect() }))
    }
}
