//! Order's events become mails: one for each, whatever happens on the way.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use bytes::Bytes;
use firstcome_events::{Streams, consumer::Settings, streams::shard_of};
use firstcome_mesh::Shutdown;
use firstcome_proto::{
    Money as Total, OrderId, UserId,
    event_v1::{Event, OrderChanged, event::Kind},
    money::Currency,
    money_v1::Money,
    order_v1::OrderState,
};
use firstcome_redis::{RedisPool, keys};
use firstcome_testkit::{TestDatabase, eventually, stores};
use firstcome_user::{
    account::Email,
    app::MIGRATIONS,
    config::Mail,
    letter::{Letter, Matter},
    mail::Mailer,
    news::News,
    order_mail::{Notice, OrderMails},
    postman::Postman,
};
use firstcome_vault::Place;
use fred::{clients::Client, interfaces::StreamsInterface as _, types::Value};
use prost::Message as _;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::mpsc};
use uuid::Uuid;

use super::{
    harness::{address, keys as data_keys, read_mails, store},
    letters::outbox,
    mail::listen,
};

/// Long enough for anything on a busy machine.
const SOON: Duration = Duration::from_secs(20);
/// Short, so that a test need not wait for what is left behind.
const QUICK: Settings =
    Settings { idle: Duration::from_millis(200), take_over_every: Duration::from_millis(20) };

/// A mailbox, accounts, and streams of a test's own.
struct Post {
    database: TestDatabase,
    redis: RedisPool,
    streams: Streams,
    mailbox: TempDir,
    shutdown: Shutdown,
}

impl Drop for Post {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

impl Post {
    async fn open() -> Self {
        Self {
            database: stores().await.database("fc_user", &MIGRATIONS).await,
            redis: RedisPool::connect(stores().await.redis_url()).await.expect("connects"),
            streams: Streams::named(format!("events-{}", Uuid::new_v4().simple())),
            mailbox: tempfile::tempdir().expect("a folder"),
            shutdown: Shutdown::new(),
        }
    }

    /// Mails into the folder.
    async fn replica(&self) {
        self.replica_with(None).await;
    }

    async fn replica_with(&self, smtp_url: Option<String>) {
        let mail = Mail {
            smtp_url: smtp_url.map(Into::into),
            smtp_authority: None,
            mail_dir: Some(self.mailbox.path().to_owned()),
            mail_from: "firstcome <no-reply@firstcome.example>".parse().expect("an address"),
        };
        let store = store(&self.database).await;
        let (outbox, mailer) = (outbox(&store), Mailer::new(&mail).await.expect("a way out"));
        Postman::new(store.clone(), outbox.clone(), mailer).start(&self.shutdown);
        let mails = OrderMails::new(store, outbox);
        mails.start(&self.redis, &self.streams, QUICK, &self.shutdown);
    }

    /// Somebody with an account in this state.
    async fn person(&self, state: &str) -> (Uuid, String) {
        let (id, email) = (Uuid::new_v4(), address());
        self.person_at(id, &email, state).await;
        (id, email)
    }

    async fn person_at(&self, id: Uuid, email: &str, state: &str) {
        let seal = |column, text: &str| {
            let sealed = data_keys().vault().seal(Place { column, row: id }, text.as_bytes());
            Some(sealed).filter(|_| state != "DELETED")
        };
        let index = data_keys().index().of("users.email", email).to_vec();
        sqlx::query(
            "insert into users (user_id, email_sealed, email_index, name_sealed, password_hash,
                                state, role, signup_id)
             values ($1, $2, $3, $4, 'none', $5, 'USER', $1)",
        )
        .bind(id)
        .bind(seal("users.email", email))
        .bind(Some(index).filter(|_| state != "DELETED"))
        .bind(seal("users.name", "Ann"))
        .bind(state)
        .execute(&self.database.pool)
        .await
        .expect("saves");
    }

    async fn tell(&self, event: &Event) {
        let Some(Kind::OrderChanged(changed)) = &event.kind else { unreachable!() };
        let order = Uuid::from_slice(&changed.order_id).unwrap_or_default();
        let key = self.streams.key(shard_of(order));
        let append = |client: Client| {
            let (key, bytes) = (key.clone(), Bytes::from(event.encode_to_vec()));
            async move { client.xadd(key, false, None::<()>, "*", ("event", bytes)).await }
        };
        let _id: String = self.redis.on_shard_of(&key, append).await.expect("appends");
    }

    /// Waits until everything that was told has been dealt with.
    async fn at_rest(&self) {
        for shard in 0..keys::EVENT_SHARDS {
            eventually(SOON, || async {
                let key = self.streams.key(shard);
                let look = |client: Client| {
                    let key = key.clone();
                    async move { client.xinfo_groups(key).await }
                };
                let groups: Result<Vec<HashMap<String, Value>>, _> =
                    self.redis.on_shard_of(&key, look).await;
                let zero = |group: &HashMap<String, Value>, what| group[what].as_u64() == Some(0);
                groups.is_ok_and(|groups| {
                    groups.iter().any(|group| zero(group, "lag") && zero(group, "pending"))
                })
            })
            .await;
        }
    }

    async fn got(&self, email: &str, count: usize) {
        eventually(SOON, || async { self.mails(email).len() >= count }).await;
    }

    fn mails(&self, email: &str) -> Vec<String> {
        read_mails(self.mailbox.path(), email)
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.database.pool).await.expect("counts")
    }
}

/// A step in the life of a new order.
fn step(user: Uuid, from: OrderState, to: OrderState) -> Event {
    let changed = OrderChanged {
        order_id: Uuid::new_v4().as_bytes().to_vec().into(),
        user_id: user.as_bytes().to_vec().into(),
        from_state: from.into(),
        state: to.into(),
        total: Some(Money { currency_code: "KRW".into(), amount_minor: 129_000 }),
    };
    Event {
        event_id: Uuid::new_v4().as_bytes().to_vec().into(),
        occur_time: None,
        kind: Some(Kind::OrderChanged(changed)),
    }
}

fn paid(user: Uuid) -> Event {
    step(user, OrderState::PendingPayment, OrderState::Preparing)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_send_one_mail_for_each_event_however_often_it_is_told() {
    let post = Post::open().await;
    post.replica().await;
    post.replica().await;
    let mut readers = Vec::new();
    for _ in 0..30 {
        let (user, email) = post.person("ACTIVE").await;
        let event = paid(user);
        for _ in 0..3 {
            post.tell(&event).await;
        }
        readers.push((email, event));
    }
    eventually(SOON, || async { readers.iter().all(|(email, _)| !post.mails(email).is_empty()) })
        .await;
    // All is told again, as after a loss.
    for (_, event) in &readers {
        post.tell(event).await;
    }
    post.at_rest().await;
    for (email, event) in &readers {
        let mails = post.mails(email);
        assert_eq!(mails.len(), 1, "{mails:#?}");
        let Some(Kind::OrderChanged(changed)) = &event.kind else { unreachable!() };
        let order = Uuid::from_slice(&changed.order_id).unwrap();
        assert!(mails[0].contains("Subject: Your firstcome order\n"), "{}", mails[0]);
        assert!(
            mails[0].contains(&format!("Order: {order}\nTotal: 129,000 KRW\n")),
            "{}",
            mails[0]
        );
    }
    assert_eq!(post.count("select count(*) from letters").await, 0);
    assert_eq!(post.count("select count(*) from order_mails").await, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buyer_is_told_of_four_steps_and_of_no_others() {
    use OrderState as S;
    let post = Post::open().await;
    post.replica().await;
    let (user, email) = post.person("ACTIVE").await;
    for (from, to) in [
        (S::PendingPayment, S::Preparing),
        (S::Preparing, S::Shipping),
        (S::Shipping, S::Delivered),
        (S::Delivered, S::ReturnRequested),
        (S::ReturnRequested, S::Returned),
        (S::Preparing, S::Cancelled),
        (S::PendingPayment, S::Cancelled),
        (S::PendingPayment, S::Expired),
        (S::Delivered, S::Confirmed),
    ] {
        post.tell(&step(user, from, to)).await;
    }
    post.at_rest().await;
    post.got(&email, 5).await;
    let mut said: Vec<String> = post.mails(&email);
    said.sort_by_key(|mail| mail.split_once("\n\n").map(|(_, body)| body.to_owned()));
    let said: Vec<&str> = said.iter().map(|mail| mail.lines().nth(3).unwrap()).collect();
    assert_eq!(
        said,
        [
            "Thank you for your order. 129,000 KRW was paid; we prepare it now.",
            "Your order is cancelled. 129,000 KRW goes back to your card.",
            "Your order is cancelled. Nothing was charged.",
            "Your order is with the carrier.",
            "Your return has arrived. 129,000 KRW goes back to your card.",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_gone_or_never_proved_the_address_gets_no_mail() {
    let post = Post::open().await;
    post.replica().await;
    let (unverified, silent) = post.person("INACTIVE").await;
    let (deleted, forgotten) = post.person("DELETED").await;
    // Shut out of the shop, and still somebody whose money goes back.
    let (banned, told) = post.person("BANNED").await;
    for user in [unverified, deleted, Uuid::new_v4(), banned] {
        post.tell(&step(user, OrderState::Preparing, OrderState::Cancelled)).await;
    }
    post.at_rest().await;
    post.got(&told, 1).await;
    assert_eq!(post.mails(&told).len(), 1);
    assert!(post.mails(&silent).is_empty() && post.mails(&forgotten).is_empty());
    assert_eq!(post.count("select count(*) from order_mails").await, 1);
    assert_eq!(post.count("select count(*) from parked_events").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_sender_died_is_not_sent_twice() {
    let post = Post::open().await;
    let (user, email) = post.person("ACTIVE").await;
    let event = paid(user);
    // On record, and nobody knows whether it left.
    sqlx::query(
        "insert into order_mails (event_id, order_id, news)
         values ($1, gen_random_uuid(), 'ordered')",
    )
    .bind(Uuid::from_slice(&event.event_id).unwrap())
    .execute(&post.database.pool)
    .await
    .unwrap();
    post.tell(&event).await;
    post.replica().await;
    post.at_rest().await;
    assert!(post.mails(&email).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_is_away_gets_each_mail_once_when_it_is_back() {
    let post = Post::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    drop(listener);
    let mut readers = Vec::new();
    for _ in 0..5 {
        let (user, email) = post.person("ACTIVE").await;
        post.tell(&paid(user)).await;
        readers.push(email);
    }
    post.replica_with(Some(format!("smtp://{server}"))).await;
    // All are posted, and one was taken and came back.
    let knocked = "select count(*) from letters where takings > 0 and not is_taken";
    eventually(SOON, || async { post.count(knocked).await > 0 }).await;
    eventually(SOON, || async { post.count("select count(*) from letters").await == 5 }).await;
    let (sender, mut mails) = mpsc::unbounded_channel();
    let listener = TcpListener::bind(server).await.unwrap();
    tokio::spawn(listen(listener, sender));
    let mut got = Vec::new();
    while got.len() < 5 {
        let mail = tokio::time::timeout(SOON, mails.recv()).await;
        got.push(mail.expect("a mail in time").expect("a mail"));
    }
    assert!(mails.try_recv().is_err(), "no more than those");
    for email in readers {
        assert_eq!(got.iter().filter(|mail| mail.contains(&format!("To: {email}\n"))).count(), 1);
    }
    assert_eq!(post.count("select count(*) from parked_events").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_server_turns_mail_away_stops_nobody() {
    let post = Post::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let (sender, mut mails) = mpsc::unbounded_channel();
    tokio::spawn(listen(listener, sender));
    let (gone, busy) = (Uuid::new_v4(), Uuid::new_v4());
    post.person_at(gone, &format!("gone-{}", address()), "ACTIVE").await;
    post.person_at(busy, &format!("busy-{}", address()), "ACTIVE").await;
    let (user, email) = post.person("ACTIVE").await;
    for reader in [gone, busy, user] {
        post.tell(&paid(reader)).await;
    }
    post.replica_with(Some(format!("smtp://{server}"))).await;
    post.at_rest().await;
    let mail = tokio::time::timeout(SOON, mails.recv()).await.expect("in time");
    let mail = mail.expect("the third has its mail");
    assert!(mail.contains(&format!("To: {email}\n")), "{mail}");
    // Who is busy is asked again, who is gone is not.
    let again = "select count(*) from letters where refusals >= 2";
    eventually(SOON, || async { post.count(again).await == 1 }).await;
    assert_eq!(post.count("select count(*) from order_mails").await, 3);
    assert_eq!(post.count("select count(*) from parked_events").await, 0);
    assert!(mails.try_recv().is_err(), "nobody else has");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_mailed_is_parked_once() {
    let post = Post::open().await;
    post.replica().await;
    let (user, email) = post.person("ACTIVE").await;
    let mut poison = paid(user);
    let Some(Kind::OrderChanged(changed)) = &mut poison.kind else { unreachable!() };
    changed.user_id = Bytes::from_static(b"short");
    for _ in 0..2 {
        post.tell(&poison).await;
        post.tell(&paid(user)).await;
        post.at_rest().await;
    }
    assert_eq!(post.mails(&email).len(), 2, "the others are told");
    let parked: Vec<(Option<Uuid>, Vec<u8>, String)> =
        sqlx::query_as("select event_id, event, error from parked_events")
            .fetch_all(&post.database.pool)
            .await
            .unwrap();
    let [(id, bytes, error)] = parked.as_slice() else { panic!("{parked:?}") };
    assert_eq!(id.unwrap().as_bytes(), &poison.event_id[..]);
    assert_eq!(*bytes, poison.encode_to_vec());
    assert!(error.contains("user_id"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_none_loses_its_own_mail_only() {
    let post = Post::open().await;
    let store = store(&post.database).await;
    let broken = Uuid::new_v4();
    post.person_at(broken, &format!("no address {broken}"), "ACTIVE").await;
    let ((one, first), (other, second)) =
        (post.person("ACTIVE").await, post.person("ACTIVE").await);
    let notices = [one, broken, other].map(|user| Notice {
        event_id: Uuid::new_v4(),
        user: UserId(user),
        order: OrderId(Uuid::new_v4()),
        total: Total { amount_minor: 1, currency: Currency::parse("KRW").unwrap() },
        news: News::Shipped,
    });
    let (outbox, to) = (outbox(&store), Mutex::new(Vec::new()));
    let seal = |notice: &Notice, email: Email, language| {
        to.lock().unwrap().push((notice.event_id, email.as_str().to_owned()));
        outbox.seal(notice.event_id, &Letter { to: email, language, matter: Matter::AlreadyHere })
    };
    assert_eq!(store.record_mails(&notices, seal).await.unwrap(), 2);
    let mut want = [(notices[0].event_id, first), (notices[2].event_id, second)];
    want.sort();
    let mut told = to.lock().unwrap().clone();
    told.sort();
    assert_eq!(told, want);
    assert_eq!(store.record_mails(&notices, seal).await.unwrap(), 0, "all three are on record");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_outlast_what_may_be_told_again() {
    let post = Post::open().await;
    sqlx::query(
        "insert into order_mails (event_id, order_id, news, recorded_at)
         select gen_random_uuid(), gen_random_uuid(), 'shipped', now() - n * interval '1 day'
         from generate_series(1, 20) as n",
    )
    .execute(&post.database.pool)
    .await
    .unwrap();
    let store = store(&post.database).await;
    let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
    assert_eq!(store.forget_mails(days(14), 4).await.unwrap(), 4);
    assert_eq!(store.forget_mails(days(14), 4).await.unwrap(), 3);
    assert_eq!(store.forget_mails(days(14), 4).await.unwrap(), 0);
    assert_eq!(post.count("select count(*) from order_mails").await, 13);
}
