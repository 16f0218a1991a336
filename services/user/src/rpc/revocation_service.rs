//! RevocationService: which access tokens the edges are to refuse although they verify.

use std::time::Duration;

use firstcome_proto::{
    timestamp,
    user_v1::{
        ListRevocationsRequest, ListRevocationsResponse,
        revocation_service_server::RevocationService,
    },
};
use tonic::{Request, Response, Status};

use crate::store::Store;

/// The service over what was revoked.
pub struct Service {
    /// Where it is.
    pub store: Store,
    /// How long a revocation matters.
    pub keep: Duration,
}

#[tonic::async_trait]
impl RevocationService for Service {
    async fn list_revocations(
        &self,
        request: Request<ListRevocationsRequest>,
    ) -> Result<Response<ListRevocationsResponse>, Status> {
        // One that no transaction has reached is ahead of this database, and answered as such.
        let cursor = i64::try_from(request.into_inner().cursor).unwrap_or(i64::MAX);
        let revoked = self.store.revoked(cursor, self.keep).await?;
        let newest_key_id = self.store.newest_key_id().await?;
        Ok(Response::new(ListRevocationsResponse {
            session_ids: revoked.sessions.into_iter().map(|session| session.to_wire()).collect(),
            cursor: revoked.cursor.unsigned_abs(),
            keep: Some(timestamp::duration_to_wire(self.keep)),
            newest_key_id,
        }))
    }
}
