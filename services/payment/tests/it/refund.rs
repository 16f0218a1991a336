//! Refunds, given back exactly once whatever is lost on the way.

use std::{sync::Arc, time::Duration};

use firstcome_mesh::Deadline;
use firstcome_payment::{
    charge::Charges,
    error::Error,
    payment::{Payment, State},
    store::Store,
};
use firstcome_testkit::rounds;
use futures::future::join_all;

use super::{
    harness::{Charge, Databases, moved},
    provider::{Lossy, sandbox},
};

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

/// Gives the command again, as its caller does, while the answer is unknown.
async fn until_known<F>(mut command: impl FnMut() -> F) -> State
where
    F: Future<Output = Result<Payment, Error>>,
{
    loop {
        match command().await {
            Ok(payment) => return payment.state,
            Err(Error::ProviderUnknown) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_retried_after_lost_answers_gives_back_once() {
    let databases = Databases::make().await;
    let store = Store::connect(&databases.payments.url.clone().into(), 4).await.unwrap();
    let lossy = Lossy::new(sandbox(&databases).await);
    let charges = Charges::new(store, Arc::new(lossy.clone()));
    for round in 0..rounds() {
        let charge = Charge::on("pm_card_approve");
        charges.authorize(charge.intent(), soon()).await.unwrap();
        charges.capture(charge.id, soon()).await.unwrap();

        // Some rounds lose several answers in a row, and two callers want the same refund.
        lossy.lose(1 + round as u32 % 3);
        let first = charges.refund(charge.id, soon()).await;
        assert!(matches!(first, Err(Error::ProviderUnknown)), "round {round}: {first:?}");
        let both = join_all((0..2).map(|_| until_known(|| charges.refund(charge.id, soon()))));
        assert_eq!(both.await, [State::Refunded; 2], "round {round}");
        lossy.lose(0);
        assert_eq!(
            moved(&databases.sandbox.pool, charge.id).await,
            "AUTHORIZE 5000 CAPTURE 5000 REFUND 5000",
            "round {round}"
        );
    }
}
