//! WebhookService: what the edge passes on as it came.

use firstcome_proto::payment_v1::{
    ReceiveWebhookRequest, ReceiveWebhookResponse, webhook_service_server::WebhookService,
};
use tonic::{Request, Response, Status};

use crate::webhook::Webhooks;

/// The service over the inbox.
pub struct Service(pub Webhooks);

#[tonic::async_trait]
impl WebhookService for Service {
    async fn receive_webhook(
        &self,
        request: Request<ReceiveWebhookRequest>,
    ) -> Result<Response<ReceiveWebhookResponse>, Status> {
        let request = request.into_inner();
        self.0.receive(&request.provider, &request.signature, &request.body).await?;
        Ok(Response::new(ReceiveWebhookResponse {}))
    }
}
