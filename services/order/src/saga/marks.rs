//! How payments begin: the marks of many orders, one statement.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    time::Duration,
};

use firstcome_mesh::{Answers, BatchCall};
use firstcome_proto::{OrderId, UserId};

use crate::{
    order::{Order, PaymentIntent},
    store::{self, Store},
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
    const HOP: &'static str = "saga_marks";

    type Key = ();
    type Item = PaymentIntent;
    /// The order, marked and ours to drive; `None` when it could not be: its row says why.
    type Answer = Result<Option<Order>, store::Error>;

    async fn call(&self, (): (), payments: Vec<PaymentIntent>, mut answers: Answers<Self::Answer>) {
        // One buyer's second payment would break the batch by the constraint that is there for it.
        let mut buyers = HashSet::new();
        let (firsts, others): (Vec<usize>, Vec<usize>) =
            (0..payments.len()).partition(|&place| buyers.insert(payments[place].user));
        let batch: Vec<&PaymentIntent> = firsts.iter().map(|&place| &payments[place]).collect();
        let singly = match self.store.mark_all_paying(&batch, self.lease).await {
            Ok(marked) => {
                let paying = answer_firsts(&payments, firsts, marked, &mut answers);
                let (in_vain, singly): (Vec<usize>, Vec<usize>) =
                    others.iter().partition(|&&place| paying.contains(&payments[place].user));
                for place in in_vain {
                    answers.answer(place, Ok(None));
                }
                singly
            }
            // Each for itself: the one whose other payment has just begun elsewhere is among them.
            Err(store::Error::Data(_)) => (0..payments.len()).collect(),
            Err(fault) => {
                // Left open, and so answered as unknown; the rows say what became of it.
                tracing::warn!(%fault, "cannot save that orders are being paid");
                return;
            }
        };
        for place in singly {
            let marked = self.store.mark_all_paying(&[&payments[place]], self.lease).await;
            let mark = match marked {
                Err(fault) if fault.is_another_payment() => Ok(None),
                marked => marked.map(|mut marked| marked.remove(&payments[place].order)),
            };
            answers.answer(place, mark);
        }
    }
}

/// Answers each buyer's first payment, and gives whose was marked.
fn answer_firsts(
    payments: &[PaymentIntent],
    firsts: Vec<usize>,
    mut marked: HashMap<OrderId, Order>,
    answers: &mut Answers<<Marks as BatchCall>::Answer>,
) -> HashSet<UserId> {
    let mut paying = HashSet::new();
    for place in firsts {
        let PaymentIntent { user, order, .. } = &payments[place];
        // Somebody else may have asked for this order too, and stand before its buyer.
        let mark = match marked.entry(*order) {
            Entry::Occupied(order) if order.get().user == *user => {
                paying.insert(*user);
                Some(order.remove())
            }
            _ => None,
        };
        answers.answer(place, Ok(mark));
    }
    paying
}
