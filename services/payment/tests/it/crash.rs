//! The binary, stopped dead between every two steps, and asked again.

use std::{
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use firstcome_mesh::upstream;
use firstcome_payment::{
    app::{MIGRATIONS, SANDBOX_MIGRATIONS},
    payment::State as Ours,
    sandbox::event::{self, Happened},
    signature,
};
use firstcome_proto::payment_v1::{
    CaptureRequest, PaymentState as State, ReceiveWebhookRequest, RefundRequest, VoidRequest,
    charge_service_client::ChargeServiceClient, webhook_service_client::WebhookServiceClient,
};
use firstcome_testkit::{TestDatabase, eventually, stores};
use futures::future::join_all;
use sqlx::migrate::Migrator;
use tonic::transport::Channel;

use super::{
    harness::{Charge, Databases, SECRET, Shop, moved},
    merchant::{Delivery, Merchant},
};

/// Longer than the claim of an event whose worker died.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process of its own; killed when it goes out of scope.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn serve(
    payments: &TestDatabase,
    sandbox: &TestDatabase,
    failpoint: &str,
) -> (Process, ChargeServiceClient<Channel>) {
    let (process, channel) = start(payments, sandbox, failpoint, "").await;
    (process, ChargeServiceClient::new(channel))
}

async fn start(
    payments: &TestDatabase,
    sandbox: &TestDatabase,
    failpoint: &str,
    webhook_url: &str,
) -> (Process, Channel) {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|free| free.local_addr())
        .expect("a free port")
        .port();
    let child = Command::new(env!("CARGO_BIN_EXE_firstcome-payment"))
        .arg("serve")
        .env("FIRSTCOME_LISTEN", format!("127.0.0.1:{port}"))
        .env("FIRSTCOME_DATABASE_URL", &payments.url)
        .env("FIRSTCOME_SANDBOX_DATABASE_URL", &sandbox.url)
        .env("FIRSTCOME_SANDBOX_SLOW", "200ms")
        .env("FIRSTCOME_SANDBOX_WEBHOOK_SECRET", SECRET)
        .env("FIRSTCOME_SANDBOX_WEBHOOK_URL", webhook_url)
        .env("FIRSTCOME_FAILPOINT", failpoint)
        .env("FIRSTCOME_LOG", "warn")
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let process = Process(child);
    eventually(Duration::from_secs(20), || async {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
    })
    .await;
    let channel = upstream::channel(&format!("http://127.0.0.1:{port}")).expect("an endpoint");
    (process, channel)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_between_any_two_steps_charges_once() {
    let payments = stores().await.database("fc_payment", &MIGRATIONS).await;
    let sandbox = stores().await.database("fc_sandbox", &SANDBOX_MIGRATIONS).await;
    // A first hit is the authorisation's, a second the capture's, a third the refund's.
    for failpoint in [
        "payment.after_intent",
        "sandbox.after_commit",
        "payment.after_provider",
        "payment.after_commit",
        "sandbox.after_commit@2",
        "payment.after_provider@2",
        "payment.after_commit@2",
        "sandbox.after_commit@3",
        "payment.after_provider@3",
        "payment.after_commit@3",
    ] {
        let charge = Charge::on("pm_card_approve");
        let capture = CaptureRequest { payment_id: charge.id.to_wire() };
        let refund = RefundRequest { payment_id: charge.id.to_wire() };
        let (process, mut client) = serve(&payments, &sandbox, failpoint).await;
        let died = client.authorize(charge.request()).await.is_err()
            || client.capture(capture.clone()).await.is_err()
            || client.refund(refund.clone()).await.is_err();
        assert!(died, "{failpoint} stops the process");
        drop(process);

        let (_process, mut client) = serve(&payments, &sandbox, "").await;
        client.authorize(charge.request()).await.expect("authorised, or further");
        if !failpoint.ends_with("@3") {
            let captured = client.capture(capture).await.expect("captured").into_inner();
            let state = captured.payment.expect("a payment").state();
            assert_eq!(state, State::Captured, "{failpoint}");
            let movements = moved(&sandbox.pool, charge.id).await;
            assert_eq!(movements, "AUTHORIZE 5000 CAPTURE 5000", "{failpoint}");
        }
        let refunded = client.refund(refund).await.expect("refunded").into_inner();
        assert_eq!(refunded.payment.expect("a payment").state(), State::Refunded, "{failpoint}");
        let movements = moved(&sandbox.pool, charge.id).await;
        assert_eq!(movements, "AUTHORIZE 5000 CAPTURE 5000 REFUND 5000", "{failpoint}");
    }
}

/// A late "paid" arrives, and its webhook is never repeated: what was recorded is enough.
async fn gives_back_although_it_dies(failpoint: &str) {
    let Databases { payments, sandbox } = Databases::make().await;
    let charge = Charge::on("pm_card_paid_late");
    let (process, channel) = start(&payments, &sandbox, failpoint, "").await;
    let mut client = ChargeServiceClient::new(channel.clone());
    client.authorize(charge.request()).await.expect_err("no answer ever");
    let (payment_id, user_id) = (charge.id.to_wire(), charge.user.to_wire());
    client.void(VoidRequest { payment_id, user_id }).await.expect("given up");
    eventually(PATIENCE, || async {
        moved(&sandbox.pool, charge.id).await == "AUTHORIZE 5000 CAPTURE 5000"
    })
    .await;

    let happened = Happened { number: 1, charge: charge.id, state: Ours::Captured };
    let body = event::write(&[happened]);
    let now_s = time::OffsetDateTime::now_utc().unix_timestamp();
    let signature = signature::sign(&SECRET.to_owned().into(), now_s, &body);
    let webhook =
        ReceiveWebhookRequest { provider: "sandbox".into(), signature, body: body.into() };
    // It may die before it has answered, but not before the event is on record.
    let _ = WebhookServiceClient::new(channel.clone()).receive_webhook(webhook).await;
    eventually(PATIENCE, || async {
        let health = ChargeServiceClient::new(channel.clone());
        let (payment_id, user_id) = (charge.id.to_wire(), charge.user.to_wire());
        health.clone().void(VoidRequest { payment_id, user_id }).await.is_err()
    })
    .await;
    drop(process);

    let (_process, _) = start(&payments, &sandbox, "", "").await;
    eventually(PATIENCE, || async {
        let settled: bool = sqlx::query_scalar(
            "select state = 'REFUNDED'
                and not exists (select from webhook_events where due_at is not null)
             from payments",
        )
        .fetch_one(&payments.pool)
        .await
        .expect("an answer");
        settled
    })
    .await;
    let movements = moved(&sandbox.pool, charge.id).await;
    assert_eq!(movements, "AUTHORIZE 5000 CAPTURE 5000 REFUND 5000", "{failpoint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_while_it_follows_an_event_up_gives_back_once() {
    // The hits before are those of the authorisation, the void and the look.
    let points = [
        "webhook.before_effect",
        "sandbox.after_commit@4",
        "payment.after_provider@2",
        "payment.after_commit@2",
        "webhook.after_effect",
    ];
    join_all(points.map(gives_back_although_it_dies)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_told_before_it_died_is_told_again_and_recorded_once() {
    let databases = Databases::make().await;
    let shop = Arc::new(Shop::open_on(databases.clone(), &[]).await);
    let merchant = Merchant::listen(Arc::new(|_| Delivery::Heard)).await;
    merchant.serve(&shop);
    let Databases { payments, sandbox } = databases;
    let charge = Charge::on("pm_card_approve");
    let (process, channel) = start(&payments, &sandbox, "sandbox.after_told", &merchant.url).await;
    let authorized = ChargeServiceClient::new(channel).authorize(charge.request()).await;
    authorized.expect("reserved");
    eventually(PATIENCE, || async { merchant.told().values().sum::<usize>() == 1 }).await;
    let untold = || async {
        let untold: i64 = sqlx::query_scalar("select count(*) from events")
            .fetch_one(&sandbox.pool)
            .await
            .expect("the outbox reads");
        untold
    };
    drop(process);
    assert_eq!(untold().await, 1, "who died has not forgotten it");

    let (_process, _) = start(&payments, &sandbox, "", &merchant.url).await;
    eventually(PATIENCE, || async { untold().await == 0 }).await;
    assert_eq!(merchant.told().values().sum::<usize>(), 2, "one event, told twice");
    assert_eq!(shop.events().await, (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_twice_is_migrating_once() {
    static NOTHING: Migrator = Migrator::DEFAULT;
    let payments = stores().await.database("fc_payment", &NOTHING).await;
    let sandbox = stores().await.database("fc_sandbox", &NOTHING).await;
    for _ in 0..2 {
        let migrated = Command::new(env!("CARGO_BIN_EXE_firstcome-payment"))
            .arg("migrate")
            .env("FIRSTCOME_DATABASE_URL", &payments.url)
            .env("FIRSTCOME_SANDBOX_DATABASE_URL", &sandbox.url)
            .output()
            .expect("the binary runs");
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    }
    for (pool, table) in
        [(&payments.pool, "fc_payment.payments"), (&sandbox.pool, "fc_sandbox.movements")]
    {
        let there = sqlx::query_scalar::<_, bool>("select to_regclass($1) is not null");
        assert!(there.bind(table).fetch_one(pool).await.expect("an answer"), "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_the_configuration_is_named_and_exits_64() {
    let refused = Command::new(env!("CARGO_BIN_EXE_firstcome-payment"))
        .args(["serve", "--listen=nowhere", "--sandbox-slow=soon", "--database-connections=0"])
        .env_remove("FIRSTCOME_DATABASE_URL")
        .output()
        .expect("the binary runs");
    assert_eq!(refused.status.code(), Some(64));
    let complaint = String::from_utf8_lossy(&refused.stderr);
    for flag in ["--listen", "--sandbox-slow", "--database-connections", "--database-url"] {
        assert!(complaint.contains(flag), "{flag} in {complaint}");
    }
}
