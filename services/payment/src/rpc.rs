//! The contract: requests become domain types once, here, and answers leave from here.

pub mod charge_service;
pub mod payment_service;
pub mod webhook_service;

use firstcome_proto::{payment_v1 as wire, timestamp};

use crate::payment::{Payment, State};

impl From<Payment> for wire::Payment {
    fn from(payment: Payment) -> Self {
        Self {
            payment_id: payment.id.to_string(),
            state: wire::PaymentState::from(payment.state) as i32,
            amount: payment.asked.map(|(amount, _)| amount.into()),
            decline_code: payment.decline_code.unwrap_or_default(),
            create_time: Some(timestamp::to_wire(payment.created_at)),
            update_time: Some(timestamp::to_wire(payment.updated_at)),
        }
    }
}

impl From<State> for wire::PaymentState {
    fn from(state: State) -> Self {
        match state {
            State::Authorizing => Self::Authorizing,
            State::Authorized => Self::Authorized,
            State::Declined => Self::Declined,
            State::Captured => Self::Captured,
            State::Voided => Self::Voided,
            State::Refunded => Self::Refunded,
        }
    }
}
