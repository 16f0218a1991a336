//! How payments begin: the marks of many orders, one statement.

use std::{collections::HashSet, time::Duration};

use firstcome_mesh::{Answers, BatchCall};

use crate::{
    order::PaymentIntent,
    store::{self, Mark, Store},
};

/// Saves of many orders that they are being paid.
pub struct Marks {
    store: Store,
    lease: Duration,
}

impl Marks {
    /// Into this store; what is marked belongs to its driver for the lease.
    pub fn new(store: Store, lease: Duration) -> Self {
        Self { store, lease }
    }
}

impl BatchCall for Marks {
    type Key = ();
    type Item = PaymentIntent;
    type Answer = Result<Mark, store::Error>;

    async fn call(&self, (): (), payments: Vec<PaymentIntent>, mut answers: Answers<Self::Answer>) {
        // One buyer's second payment would break the batch by the constraint that is there for it.
        let mut buyers = HashSet::new();
        let firsts: Vec<&PaymentIntent> =
            payments.iter().filter(|payment| buyers.insert(payment.user)).collect();
        match self.store.mark_all_paying(&firsts, self.lease).await {
            Ok(mut marked) => {
                for (place, payment) in payments.iter().enumerate() {
                    if let Some(order) = marked.remove(&payment.order) {
                        answers.answer(place, Ok(Mark::Marked(order)));
                    }
                }
            }
            // Each for itself: the one whose other payment has just begun elsewhere is among them.
            Err(store::Error::Data(_)) => {}
            Err(fault) => {
                // Left open, and so answered as unknown; the rows say what became of it.
                tracing::warn!(%fault, "cannot save that orders are being paid");
                return;
            }
        }
        // Whoever was not marked hears why, which only a statement of its own can tell.
        for place in answers.waiting() {
            let PaymentIntent { user, order, address, method } = &payments[place];
            let marked = self.store.mark_paying(*user, *order, address, method, self.lease).await;
            answers.answer(place, marked);
        }
    }
}
