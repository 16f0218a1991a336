//! The statement that lets a row follow the provider, against the table that it copies.

use std::time::Duration;

use firstcome_mesh::Deadline;
use firstcome_payment::{
    app::MIGRATIONS,
    payment::{Intent, State},
    provider::{Event, Standing},
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

#[tokio::test(flavor = "multi_thread")]
async fn events_are_due_exactly_where_the_table_says() {
    let database = stores().await.database("fc_payment", &MIGRATIONS).await;
    let store = Store::connect(&database.url.clone().into(), 4).await.unwrap();
    let mut number = 0;
    for ours in State::ALL {
        for told in State::ALL.into_iter().filter(|told| *told != State::Authorizing) {
            let id = PaymentId(Uuid::new_v4());
            let code = (ours == State::Declined).then_some("card_declined");
            sqlx::query(
                "insert into payments (payment_id, user_id, amount_minor, currency,
                                       payment_method, state, decline_code)
                 values ($1, $1, 1, 'KRW', 'pm_card_approve', $2, $3)",
            )
            .bind(id.0)
            .bind(ours.name())
            .bind(code)
            .execute(&database.pool)
            .await
            .unwrap();
            number += 1;
            let event = Event {
                id: format!("evt_{number}"),
                told: "charge".into(),
                about: Some((id, told)),
                reference: None,
            };
            let is_due = store.record_events("sandbox", vec![event.clone()]).await.unwrap();
            assert_eq!(is_due, ours.is_news(told), "{ours:?} told {told:?}");
            let again = store.record_events("sandbox", vec![event]).await.unwrap();
            assert!(!again, "{ours:?} told {told:?} is on record once");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_about_nothing_of_ours_is_recorded_and_needs_nothing() {
    let database = stores().await.database("fc_payment", &MIGRATIONS).await;
    let store = Store::connect(&database.url.clone().into(), 4).await.unwrap();
    let event = |id: &str, about| Event {
        id: id.into(),
        told: "charge".into(),
        about,
        reference: Some("pi_1".into()),
    };
    let unknown = Some((PaymentId(Uuid::new_v4()), State::Captured));
    let events = vec![event("evt_1", None), event("evt_2", unknown), event("evt_2", unknown)];
    assert!(!store.record_events("stripe", events).await.unwrap());
    assert!(store.claim_events("stripe", 10).await.unwrap().is_empty());
    let recorded: i64 = sqlx::query_scalar("select count(*) from webhook_events")
        .fetch_one(&database.pool)
        .await
        .unwrap();
    assert_eq!(recorded, 2);
}
