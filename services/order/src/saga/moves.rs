//! How sagas write: the moves of many orders, one statement.

use std::collections::HashSet;

use firstcome_mesh::{Answers, BatchCall};
use time::OffsetDateTime;

use crate::store::{self, Move, Store};

/// Writes the moves of many orders as one statement.
pub struct Moves {
    store: Store,
}

impl Moves {
    /// Into this store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl BatchCall for Moves {
    const HOP: &'static str = "saga_moves";

    type Key = ();
    type Item = Move;
    /// When the order's state last changed; `None` when the order is no longer at that step.
    type Answer = Option<OffsetDateTime>;

    async fn call(&self, (): (), moves: Vec<Move>, mut answers: Answers<Self::Answer>) {
        // Two drivers of one order may meet in a batch. The first one moves it; the other sees
        // that it did not, as if it had come later. Sorted, so that the rows of two batches are
        // locked in one order.
        let mut orders = HashSet::new();
        let mut first: Vec<(usize, Move)> = Vec::with_capacity(moves.len());
        for (place, step) in moves.into_iter().enumerate() {
            if orders.insert(step.order) {
                first.push((place, step));
            }
        }
        first.sort_unstable_by_key(|(_, step)| step.order);
        let moves: Vec<Move> = first.iter().map(|&(_, step)| step).collect();
        match self.store.make(&moves).await {
            Ok(moved) => {
                for (place, step) in first {
                    answers.answer(place, moved.get(&step.order).copied());
                }
                answers.answer_rest(|_| None);
            }
            // Left open, and so answered as unknown; the rows say what became of it.
            Err(store::Error::Unavailable(fault)) => tracing::warn!(%fault, "cannot save steps"),
            Err(fault) => tracing::error!(%fault, "cannot save steps"),
        }
    }
}
