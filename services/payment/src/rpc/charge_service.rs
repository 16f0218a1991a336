//! ChargeService: what the order's saga calls.

use std::time::Duration;

use firstcome_mesh::Deadline;
use firstcome_proto::{
    Money, PaymentId, Refusal, UserId,
    payment_v1::{
        AuthorizeRequest, AuthorizeResponse, CaptureRequest, CaptureResponse, RefundRequest,
        RefundResponse, VoidRequest, VoidResponse, charge_service_server::ChargeService,
    },
};
use tonic::{Request, Response, Status};

use crate::{charge::Charges, payment::Intent};

/// Longest call: a provider that takes longer is not waited for but asked again.
const CALL_LONGEST: Duration = Duration::from_secs(15);
/// Longest payment method: the contract's.
const PAYMENT_METHOD_BYTES_MAX: usize = 100;

/// The service over the four commands.
pub struct Service(pub Charges);

#[tonic::async_trait]
impl ChargeService for Service {
    async fn authorize(
        &self,
        request: Request<AuthorizeRequest>,
    ) -> Result<Response<AuthorizeResponse>, Status> {
        let deadline = Deadline::of(request.metadata(), CALL_LONGEST);
        let intent = Intent::try_from(request.into_inner())?;
        let payment = self.0.authorize(intent, deadline).await?;
        Ok(Response::new(AuthorizeResponse { payment: Some(payment.into()) }))
    }

    async fn capture(
        &self,
        request: Request<CaptureRequest>,
    ) -> Result<Response<CaptureResponse>, Status> {
        let deadline = Deadline::of(request.metadata(), CALL_LONGEST);
        let id = payment_id(&request.get_ref().payment_id)?;
        let payment = self.0.capture(id, deadline).await?;
        Ok(Response::new(CaptureResponse { payment: Some(payment.into()) }))
    }

    async fn void(&self, request: Request<VoidRequest>) -> Result<Response<VoidResponse>, Status> {
        let deadline = Deadline::of(request.metadata(), CALL_LONGEST);
        let request = request.into_inner();
        let id = payment_id(&request.payment_id)?;
        let user = UserId::from_wire("user_id", &request.user_id)?;
        let payment = self.0.void(id, user, deadline).await?;
        Ok(Response::new(VoidResponse { payment: Some(payment.into()) }))
    }

    async fn refund(
        &self,
        request: Request<RefundRequest>,
    ) -> Result<Response<RefundResponse>, Status> {
        let deadline = Deadline::of(request.metadata(), CALL_LONGEST);
        let id = payment_id(&request.get_ref().payment_id)?;
        let payment = self.0.refund(id, deadline).await?;
        Ok(Response::new(RefundResponse { payment: Some(payment.into()) }))
    }
}

fn payment_id(bytes: &[u8]) -> Result<PaymentId, Refusal> {
    PaymentId::from_wire("payment_id", bytes)
}

impl TryFrom<AuthorizeRequest> for Intent {
    type Error = Refusal;

    /// Every fault is reported at once.
    fn try_from(request: AuthorizeRequest) -> Result<Self, Refusal> {
        let payment = payment_id(&request.payment_id);
        let user = UserId::from_wire("user_id", &request.user_id);
        let amount = Money::from_field("amount", request.amount);
        let payment_method = payment_method(request.payment_method);
        match (payment, user, amount, payment_method) {
            (Ok(payment), Ok(user), Ok(amount), Ok(payment_method)) => {
                Ok(Self { payment, user, amount, payment_method })
            }
            (payment, user, amount, payment_method) => {
                let mut refusal = Refusal::because(
                    firstcome_proto::Reason::InvalidArgument,
                    "the request is not valid",
                );
                let faults = [payment.err(), user.err(), amount.err(), payment_method.err()];
                for fault in faults.into_iter().flatten() {
                    refusal.violations.extend(fault.violations);
                }
                Err(refusal)
            }
        }
    }
}

fn payment_method(text: String) -> Result<String, Refusal> {
    let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if text.is_empty() || text.len() > PAYMENT_METHOD_BYTES_MAX || !printable {
        return Err(Refusal::invalid("payment_method", "want 1 to 100 printable ASCII characters"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use firstcome_proto::money_v1;

    use super::*;

    #[test]
    fn every_fault_of_a_charge_is_named() {
        let request = AuthorizeRequest {
            payment_id: "short".into(),
            user_id: vec![0; 17].into(),
            amount: Some(money_v1::Money { currency_code: "KRW".into(), amount_minor: -1 }),
            payment_method: "pm\0".into(),
        };
        let refusal = Intent::try_from(request).expect_err("everything is wrong");
        let fields: Vec<_> = refusal.violations.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["payment_id", "user_id", "amount", "payment_method"]);
    }
}
