//! The methods: reading what was sent, and writing answers. No decisions.

pub mod order_intake_service;
pub mod order_service;

use firstcome_proto::{order_v1, timestamp};

use crate::order::{Order, State};

/// The contract's form of an order. What is under way shows as what it still is: pending.
pub fn order_to_wire(order: Order) -> order_v1::Order {
    let product_id = order.product.to_string();
    let lines = order.lines.into_iter().map(|line| order_v1::OrderLine {
        product_id: product_id.clone(),
        sku_id: line.sku.to_string(),
        quantity: line.quantity,
        unit_price: Some(line.unit_price.into()),
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
    }
}

fn state_to_wire(state: State) -> order_v1::OrderState {
    match state {
        State::PendingPayment => order_v1::OrderState::PendingPayment,
        State::Preparing => order_v1::OrderState::Preparing,
        State::Expired => order_v1::OrderState::Expired,
        State::PaymentFailed => order_v1::OrderState::PaymentFailed,
        State::Cancelled => order_v1::OrderState::Cancelled,
    }
}
