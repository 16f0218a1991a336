//! One app on a port of its own, with its own two databases.

use std::{sync::Arc, time::Duration};

use clap::Parser as _;
use firstcome_mesh::{Identity, Shutdown, config::Validate as _, identity, upstream};
use firstcome_payment::{
    app::{App, MIGRATIONS, SANDBOX_MIGRATIONS},
    config::{Command, Config},
    payment::Intent,
};
use firstcome_proto::{
    PaymentId, Reason, Refusal, SessionId, UserId,
    access::Role,
    money_v1::Money,
    payment_v1::{
        AuthorizeRequest, CaptureRequest, GetPaymentRequest, Payment, PaymentState,
        ReceiveWebhookRequest, RefundRequest, VoidRequest,
        charge_service_client::ChargeServiceClient, payment_service_client::PaymentServiceClient,
        webhook_service_client::WebhookServiceClient,
    },
};
use firstcome_testkit::{TestDatabase, stores};
use sqlx::{PgPool, Row as _};
use tokio::net::TcpListener;
use tonic::{Request, Status, transport::Channel};
use uuid::Uuid;

/// Short, so that nobody waits for the slow card; long enough to get a void in between.
pub const SLOW: Duration = Duration::from_millis(600);

/// What every shop's provider signs with.
pub const SECRET: &str = "whsec_of_these_tests";

/// The databases that a shop's replicas share.
#[derive(Clone)]
pub struct Databases {
    pub payments: Arc<TestDatabase>,
    pub sandbox: Arc<TestDatabase>,
}

impl Databases {
    pub async fn make() -> Self {
        let payments = stores().await.database("fc_payment", &MIGRATIONS).await;
        let sandbox = stores().await.database("fc_sandbox", &SANDBOX_MIGRATIONS).await;
        Self { payments: Arc::new(payments), sandbox: Arc::new(sandbox) }
    }
}

pub struct Shop {
    pub payments: Arc<TestDatabase>,
    pub sandbox: Arc<TestDatabase>,
    pub charges: ChargeServiceClient<Channel>,
    pub own: PaymentServiceClient<Channel>,
    pub webhooks: WebhookServiceClient<Channel>,
    shutdown: Shutdown,
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

impl Shop {
    pub async fn open() -> Self {
        Self::open_on(Databases::make().await, &[]).await
    }

    /// A replica on these databases, with more flags.
    pub async fn open_on(databases: Databases, flags: &[String]) -> Self {
        let Databases { payments, sandbox } = databases;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mut args = vec![
            "firstcome-payment".to_owned(),
            "serve".to_owned(),
            "--listen=127.0.0.1:0".to_owned(),
            format!("--database-url={}", payments.url),
            format!("--sandbox-database-url={}", sandbox.url),
            format!("--sandbox-slow={}ms", SLOW.as_millis()),
            format!("--sandbox-webhook-secret={SECRET}"),
        ];
        args.extend_from_slice(flags);
        let config = Config::parse_from(args);
        assert_eq!(config.faults(), Vec::<String>::new());
        let Command::Serve(serve) = config.command else { unreachable!("asked to serve") };
        let app = App::build(&serve).await.expect("the app starts");
        let shutdown = Shutdown::new();
        tokio::spawn(app.serve(listener, shutdown.clone(), Duration::from_secs(5)));
        let channel = upstream::channel(&format!("http://{address}")).expect("an endpoint");
        Self {
            payments,
            sandbox,
            charges: ChargeServiceClient::new(channel.clone()),
            own: PaymentServiceClient::new(channel.clone()),
            webhooks: WebhookServiceClient::new(channel),
            shutdown,
        }
    }

    /// Passes a webhook on, as the edge does.
    pub async fn hear(&self, signature: &str, body: &[u8]) -> Result<(), Status> {
        self.hear_from("sandbox", signature, body).await
    }

    pub async fn hear_from(
        &self,
        provider: &str,
        signature: &str,
        body: &[u8],
    ) -> Result<(), Status> {
        let request = ReceiveWebhookRequest {
            provider: provider.to_owned(),
            signature: signature.to_owned(),
            body: body.to_vec().into(),
        };
        self.webhooks.clone().receive_webhook(request).await.map(drop)
    }

    /// Events on record, and those of them that are still to be followed up.
    pub async fn events(&self) -> (i64, i64) {
        sqlx::query_as("select count(*), count(due_at) from webhook_events")
            .fetch_one(&self.payments.pool)
            .await
            .expect("the inbox reads")
    }

    pub async fn authorize(&self, charge: &Charge) -> Result<Payment, Status> {
        let answer = self.charges.clone().authorize(charge.request()).await?;
        Ok(answer.into_inner().payment.expect("a payment"))
    }

    pub async fn capture(&self, charge: &Charge) -> Result<Payment, Status> {
        let request = CaptureRequest { payment_id: charge.id.to_wire() };
        let answer = self.charges.clone().capture(request).await?;
        Ok(answer.into_inner().payment.expect("a payment"))
    }

    pub async fn void(&self, charge: &Charge) -> Result<Payment, Status> {
        let (payment_id, user_id) = (charge.id.to_wire(), charge.user.to_wire());
        let answer = self.charges.clone().void(VoidRequest { payment_id, user_id }).await?;
        Ok(answer.into_inner().payment.expect("a payment"))
    }

    pub async fn refund(&self, charge: &Charge) -> Result<Payment, Status> {
        let request = RefundRequest { payment_id: charge.id.to_wire() };
        let answer = self.charges.clone().refund(request).await?;
        Ok(answer.into_inner().payment.expect("a payment"))
    }

    /// How the buyer sees the payment; `None` when there is none.
    pub async fn own_state(&self, charge: &Charge) -> Option<PaymentState> {
        let request = GetPaymentRequest { payment_id: charge.id.to_string() };
        let answer = self.own.clone().get_payment(from_user(charge.user, request)).await.ok()?;
        Some(answer.into_inner().payment?.state())
    }

    pub async fn moved(&self, charge: &Charge) -> String {
        moved(&self.sandbox.pool, charge.id).await
    }
}

/// What the provider's ledger says happened to a charge, in order: `AUTHORIZE 5000 CAPTURE 5000`.
pub async fn moved(sandbox: &PgPool, id: PaymentId) -> String {
    let rows = sqlx::query(
        "select kind, amount_minor from movements where charge_key = $1 order by movement_id",
    )
    .bind(id.0)
    .fetch_all(sandbox)
    .await
    .expect("the ledger reads");
    let movement = |row: &sqlx::postgres::PgRow| {
        format!("{} {}", row.get::<String, _>(0), row.get::<i64, _>(1))
    };
    rows.iter().map(movement).collect::<Vec<_>>().join(" ")
}

#[derive(Clone)]
pub struct Charge {
    pub id: PaymentId,
    pub user: UserId,
    pub amount_minor: i64,
    pub card: &'static str,
}

impl Charge {
    pub fn on(card: &'static str) -> Self {
        let (id, user) = (PaymentId(Uuid::new_v4()), UserId(Uuid::new_v4()));
        Self { id, user, amount_minor: 5000, card }
    }

    /// What payment makes of the request.
    pub fn intent(&self) -> Intent {
        Intent::try_from(self.request()).expect("a good request")
    }

    pub fn request(&self) -> AuthorizeRequest {
        AuthorizeRequest {
            payment_id: self.id.to_wire(),
            user_id: self.user.to_wire(),
            amount: Some(Money { currency_code: "KRW".into(), amount_minor: self.amount_minor }),
            payment_method: self.card.into(),
        }
    }
}

pub fn state(answer: Result<Payment, Status>) -> PaymentState {
    answer.expect("a payment").state()
}

#[track_caller]
pub fn assert_refused(answer: Result<Payment, Status>, reason: Reason) -> Refusal {
    let refusal = Refusal::from_status(&answer.expect_err("a refusal"));
    assert_eq!(refusal.reason(), reason, "{refusal:?}");
    refusal
}

/// A request as the edge sends it on for this user.
pub fn from_user<T>(user: UserId, message: T) -> Request<T> {
    let caller = Identity { user, session: SessionId(Uuid::new_v4()), role: Role::User };
    let mut request = Request::new(message);
    request.metadata_mut().insert_bin(identity::HEADER, caller.to_header());
    request
}
