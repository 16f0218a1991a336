//! PaymentService: people's own payments. Another's does not exist.

use firstcome_mesh::{Identity, page::Page};
use firstcome_proto::{
    PaymentId,
    payment_v1::{
        GetPaymentRequest, GetPaymentResponse, ListPaymentsRequest, ListPaymentsResponse,
        payment_service_server::PaymentService,
    },
};
use tonic::{Request, Response, Status};

use crate::{
    error::Error,
    store::{self, Store},
};

/// The service over the rows.
pub struct Service(pub Store);

#[tonic::async_trait]
impl PaymentService for Service {
    async fn get_payment(
        &self,
        request: Request<GetPaymentRequest>,
    ) -> Result<Response<GetPaymentResponse>, Status> {
        let caller = Identity::of(&request)?;
        let id = PaymentId::from_field("payment_id", &request.get_ref().payment_id)?;
        let payment = self.0.find_own(caller.user, id).await?.ok_or(Error::NotFound)?;
        Ok(Response::new(GetPaymentResponse { payment: Some(payment.into()) }))
    }

    async fn list_payments(
        &self,
        request: Request<ListPaymentsRequest>,
    ) -> Result<Response<ListPaymentsResponse>, Status> {
        let caller = Identity::of(&request)?;
        let request = request.into_inner();
        let page = Page::read(request.page_size, &request.page_token)?;
        let mut payments = self.0.list(caller.user, page).await?;
        let next_page_token = page.cut(&mut payments, store::cursor_of);
        let payments = payments.into_iter().map(Into::into).collect();
        Ok(Response::new(ListPaymentsResponse { payments, next_page_token }))
    }
}
