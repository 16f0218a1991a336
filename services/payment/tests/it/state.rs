//! The statement that lets a row follow the provider, against the table that it copies.

use std::time::Duration;

use firstcome_mesh::Deadline;
use firstcome_payment::{
    app::MIGRATIONS,
    payment::{Intent, State},
    provider::Standing,
    store::Store,
};
use firstcome_proto::{Money, PaymentId, UserId, money::Currency};
use firstcome_testkit::stores;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn rows_follow_exactly_where_the_table_says() {
    let database = stores().await.database("fc_payment", &MIGRATIONS).await;
    let store = Store::connect(&database.url.clone().into(), 4).await.unwrap();
    let deadline = Deadline::after(Duration::from_secs(30));
    let standings = [
        Standing::Authorized,
        Standing::Declined("card_declined".into()),
        Standing::Captured,
        Standing::Voided,
        Standing::Refunded,
    ];
    for from in State::ALL {
        for standing in &standings {
            let intent = Intent {
                payment: PaymentId(Uuid::new_v4()),
                user: UserId(Uuid::nil()),
                amount: Money { amount_minor: 1, currency: Currency::parse("KRW").unwrap() },
                payment_method: "pm_card_approve".into(),
            };
            let begun = store.begin(intent.clone(), deadline).await.unwrap();
            assert_eq!(begun.state, State::Authorizing);
            let code = (from == State::Declined).then_some("card_declined");
            sqlx::query("update payments set state = $2, decline_code = $3 where payment_id = $1")
                .bind(intent.payment.0)
                .bind(from.name())
                .bind(code)
                .execute(&database.pool)
                .await
                .unwrap();
            let to = standing.state().unwrap();
            let followed = store.follow(intent.payment, standing.clone(), deadline).await.unwrap();
            let want = if from.may_become(to) { to } else { from };
            assert_eq!(followed.state, want, "{from:?} told {to:?}");
        }
    }
}
