//! The methods: reading what was sent, and writing answers. No decisions.

pub mod baskets;
pub mod order_intake_service;
pub mod order_service;

use std::time::Duration;

use firstcome_proto::{order_v1, timestamp};

use crate::{
    life::RETURN_WINDOW_DAYS,
    order::{Order, State},
};

/// The contract's form of an order, in a shop with days of this length. What is under way shows as
/// what it still is.
pub fn order_to_wire(order: Order, day: Duration) -> order_v1::Order {
    let return_by = (order.state == State::Delivered)
        .then(|| timestamp::to_wire(order.updated_at + day * RETURN_WINDOW_DAYS));
    let lines = order.lines.into_iter().map(|line| order_v1::OrderLine {
        product_id: line.product.to_string(),
        sku_id: line.sku.to_string(),
        quantity: line.quantity,
        unit_price: Some(line.unit_price.into()),
        sequence: line.sequence,
    });
    order_v1::Order {
        order_id: order.id.to_string(),
        state: state_to_wire(order.state) as i32,
        lines: lines.collect(),
        total: Some(order.total.into()),
        sequence: order.sequence,
        pay_by: Some(timestamp::to_wire(order.pay_by)),
        create_time: Some(timestamp::to_wire(order.created_at)),
        update_time: Some(timestamp::to_wire(order.updated_at)),
        return_by,
        user_id: order.user.to_string(),
    }
}

/// The contract's word for a state.
pub fn state_to_wire(state: State) -> order_v1::OrderState {
    match state {
        State::PendingPayment => order_v1::OrderState::PendingPayment,
        State::Preparing => order_v1::OrderState::Preparing,
        State::Shipping => order_v1::OrderState::Shipping,
        State::Delivered => order_v1::OrderState::Delivered,
        State::Confirmed => order_v1::OrderState::Confirmed,
        State::ReturnRequested => order_v1::OrderState::ReturnRequested,
        State::Returned => order_v1::OrderState::Returned,
        State::Expired => order_v1::OrderState::Expired,
        State::PaymentFailed => order_v1::OrderState::PaymentFailed,
        State::Cancelled => order_v1::OrderState::Cancelled,
    }
}
