//! The outbox: a letter that was posted leaves once, whatever happens on the way, and nothing of it
//! can be read while it waits.

use std::{path::Path, sync::Arc, time::Duration};

use firstcome_mesh::Shutdown;
use firstcome_proto::{Money, OrderId, Reason, money::Currency};
use firstcome_testkit::{TestDatabase, eventually, stores};
use firstcome_user::{
    account::Email,
    app::MIGRATIONS,
    code::{Code, Purpose},
    config::Mail,
    language::Language,
    letter::{Letter, Matter, Urgency},
    mail::Mailer,
    news::News,
    outbox::Outbox,
    postman::Postman,
    store::Store,
};
use firstcome_vault::Vault;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    sync::{Barrier, mpsc},
};
use uuid::Uuid;

use super::{
    harness::{
        DATA_KEYS, PASSWORD, Shop, address, assert_refused, code_in, read_mails, store_under,
    },
    mail::listen,
};

/// Long enough for anything on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);
const TTL: Duration = Duration::from_secs(180);
const OTHER_KEY: &str = "2:0202020202020202020202020202020202020202020202020202020202020202";

/// An outbox under the keys of all tests.
pub fn outbox(store: &Store) -> Outbox {
    outbox_under(store, DATA_KEYS)
}

fn outbox_under(store: &Store, keys: &str) -> Outbox {
    Outbox::new(store.clone(), Vault::new(&keys.parse().expect("a ring")))
}

/// Mail to a server of this address.
pub fn over_smtp(url: &str, authority: Option<&Path>) -> Mail {
    Mail {
        smtp_url: Some(url.to_owned().into()),
        smtp_authority: authority.map(Path::to_owned),
        mail_dir: None,
        mail_from: "firstcome <no-reply@firstcome.example>".parse().expect("an address"),
    }
}

/// Rows and a mailbox that outlast every process.
pub struct Office {
    pub database: TestDatabase,
    mailbox: TempDir,
}

/// A process that posts, and may send.
pub struct Process {
    pub store: Store,
    pub outbox: Outbox,
    shutdown: Shutdown,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

impl Process {
    /// Begins to send.
    pub async fn send(&self, mail: &Mail) {
        let mailer = Mailer::new(mail).await.expect("a way out");
        Postman::new(self.store.clone(), self.outbox.clone(), mailer).start(&self.shutdown);
    }

    /// Ends, in good order.
    async fn end(self) {
        self.shutdown.begin();
        self.shutdown.finished().await;
        self.store.close().await;
    }

    pub async fn post(&self, to: &str, matter: Matter) {
        let to = Email::from_field("to", to).expect("an address");
        let letter = Letter { to, language: Language::English, matter };
        self.outbox.post(letter).await.expect("saves");
    }
}

impl Office {
    pub async fn open() -> Self {
        let database = stores().await.database("fc_user", &MIGRATIONS).await;
        Self { database, mailbox: tempfile::tempdir().expect("a folder") }
    }

    pub async fn process(&self) -> Process {
        self.process_with(DATA_KEYS).await
    }

    async fn process_with(&self, keys: &str) -> Process {
        let store = store_under(&self.database, keys).await;
        let outbox = outbox_under(&store, keys);
        Process { store, outbox, shutdown: Shutdown::new() }
    }

    fn folder(&self) -> Mail {
        let mail_dir = Some(self.mailbox.path().to_owned());
        Mail { smtp_url: None, mail_dir, ..over_smtp("", None) }
    }

    fn mails(&self, email: &str) -> Vec<String> {
        read_mails(self.mailbox.path(), email)
    }

    /// Waits for the mails to an address.
    async fn got(&self, email: &str) -> Vec<String> {
        eventually(SOON, || async { !self.mails(email).is_empty() }).await;
        self.mails(email)
    }

    pub async fn waiting(&self) -> i64 {
        self.count("select count(*) from letters where not is_taken").await
    }

    /// All that there are, those included that somebody sends.
    async fn kept(&self) -> i64 {
        self.count("select count(*) from letters").await
    }

    async fn count(&self, what: &'static str) -> i64 {
        sqlx::query_scalar(what).fetch_one(&self.database.pool).await.expect("counts")
    }
}

pub fn sign_up_code(digits: &str) -> Matter {
    let code = Code::from_field(Purpose::Verify, "code", digits).expect("six digits");
    Matter::SignUpCode { code, ttl: TTL }
}

pub fn reset_code(text: &str, ttl: Duration) -> Matter {
    let code = Code::from_field(Purpose::Reset, "code", text).expect("eight characters");
    Matter::ResetCode { code, ttl }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_posted_before_a_restart_leaves_after_it_once() {
    let office = Office::open().await;
    let email = address();
    let before = office.process().await;
    before.post(&email, sign_up_code("123456")).await;
    before.end().await;
    assert_eq!(office.waiting().await, 1);

    for _ in 0..2 {
        let after = office.process().await;
        after.send(&office.folder()).await;
        let mails = office.got(&email).await;
        assert_eq!(mails.len(), 1, "{mails:#?}");
        assert_eq!(code_in(&mails[0]).as_deref(), Some("123456"));
        after.end().await;
    }
    assert_eq!(office.kept().await, 0);
    assert_eq!(office.mails(&email).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_share_one_outbox_and_each_letter_leaves_once() {
    let office = Office::open().await;
    let (one, other) = (office.process().await, office.process().await);
    one.send(&office.folder()).await;
    other.send(&office.folder()).await;
    let readers: Vec<String> = (0..60).map(|_| address()).collect();
    for (number, reader) in readers.iter().enumerate() {
        let process = if number % 2 == 0 { &one } else { &other };
        process.post(reader, sign_up_code(&format!("{number:06}"))).await;
    }
    for (number, reader) in readers.iter().enumerate() {
        let mails = office.got(reader).await;
        assert_eq!(code_in(&mails[0]), Some(format!("{number:06}")));
    }
    one.end().await;
    other.end().await;
    assert_eq!(office.kept().await, 0);
    for reader in &readers {
        assert_eq!(office.mails(reader).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_waits_tells_neither_its_reader_nor_its_code_nor_whether_there_is_one() {
    let office = Office::open().await;
    let process = office.process().await;
    let email = address();
    process.post(&email, sign_up_code("918273")).await;
    process.post("a@b.io", Matter::PasswordChanged).await;
    process.outbox.post_to_nobody(TTL).await.expect("saves");

    let rows: Vec<(Vec<u8>, String)> =
        sqlx::query_as("select letter_sealed, letters::text from letters")
            .fetch_all(&office.database.pool)
            .await
            .unwrap();
    assert_eq!(rows.len(), 3);
    for (sealed, text) in &rows {
        let sealed_text = String::from_utf8_lossy(sealed);
        for secret in [email.as_str(), "a@b.io", "918273", "code"] {
            assert!(!sealed_text.contains(secret), "{secret}");
        }
        for secret in [email.as_str(), "a@b.io", "918273", "code"] {
            assert!(!text.contains(secret), "{secret}");
        }
        assert_eq!(sealed.len(), rows[0].0.len(), "all letters look alike");
    }

    process.send(&office.folder()).await;
    office.got("a@b.io").await;
    assert_eq!(office.got(&email).await.len(), 1);
    eventually(SOON, || async { office.kept().await == 0 }).await;
    let files = std::fs::read_dir(office.mailbox.path()).unwrap().count();
    assert_eq!(files, 2, "nobody gets nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_has_ended_is_never_mailed() {
    let office = Office::open().await;
    let process = office.process().await;
    let (late, fresh) = (address(), address());
    let ttl = Duration::from_millis(1);
    process.post(&late, reset_code("CDFG3467", ttl)).await;
    let ended = "select expires_at < clock_timestamp() from letters";
    eventually(SOON, || async {
        sqlx::query_scalar(ended).fetch_one(&office.database.pool).await.unwrap()
    })
    .await;
    process.post(&fresh, sign_up_code("222222")).await;
    process.send(&office.folder()).await;
    office.got(&fresh).await;
    eventually(SOON, || async { office.waiting().await == 0 }).await;
    process.end().await;
    assert!(office.mails(&late).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_wait_for_a_mail_server_that_is_away_and_arrive_once() {
    let office = Office::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap();
    drop(listener);
    let process = office.process().await;
    process.send(&over_smtp(&format!("smtp://{place}"), None)).await;
    let readers: Vec<String> = (0..20).map(|_| address()).collect();
    for reader in &readers {
        process.post(reader, sign_up_code("123456")).await;
    }
    let knocked = "select exists (select from letters where takings > 0 and not is_taken)";
    eventually(SOON, || async {
        sqlx::query_scalar(knocked).fetch_one(&office.database.pool).await.unwrap()
    })
    .await;
    let (sender, mut mails) = mpsc::unbounded_channel();
    tokio::spawn(listen(TcpListener::bind(place).await.unwrap(), sender));
    let mut got = Vec::new();
    while got.len() < readers.len() {
        let mail = tokio::time::timeout(SOON, mails.recv()).await;
        got.push(mail.expect("a mail in time").expect("a mail"));
    }
    for reader in &readers {
        let to = format!("To: {reader}\n");
        assert_eq!(got.iter().filter(|mail| mail.contains(&to)).count(), 1);
    }
    process.end().await;
    assert!(mails.try_recv().is_err());
    assert_eq!(office.waiting().await, 0);
}

/// Hangs up on each connection when a line begins so, as many times as there are lines; then it is
/// an ordinary mail server.
async fn hang_up_at(
    listener: TcpListener,
    lines: &[&'static str],
    mails: mpsc::UnboundedSender<String>,
) {
    for line in lines {
        let (client, _) = listener.accept().await.expect("a client");
        let mut client = BufReader::new(client);
        client.write_all(b"220 shop\r\n").await.expect("a client");
        let mut said = String::new();
        loop {
            said.clear();
            client.read_line(&mut said).await.expect("a client");
            if said.starts_with(line) {
                break;
            }
            let answer: &[u8] =
                if said.starts_with("DATA") { b"354 go on\r\n" } else { b"250 fine\r\n" };
            client.write_all(answer).await.expect("a client");
            if said.starts_with("DATA") && *line == "." {
                // The content is answered by nothing.
                while said != ".\r\n" {
                    said.clear();
                    client.read_line(&mut said).await.expect("a client");
                }
                break;
            }
        }
    }
    listen(listener, mails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_surely_did_not_leave_is_sent_again() {
    let office = Office::open().await;
    let check = async |line: &'static str, is_sent_again: bool| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let (sender, mut mails) = mpsc::unbounded_channel();
        tokio::spawn(async move { hang_up_at(listener, &[line], sender).await });
        let process = office.process().await;
        process.send(&over_smtp(&url, None)).await;
        let (first, second) = (address(), address());
        process.post(&first, sign_up_code("123456")).await;
        // The first is dealt with: it came back, or is gone.
        let mut next = async || tokio::time::timeout(SOON, mails.recv()).await.unwrap().unwrap();
        if is_sent_again {
            let mail = next().await;
            assert!(mail.contains(&format!("To: {first}\n")), "{line}: {mail}");
        } else {
            eventually(SOON, || async { office.kept().await == 0 }).await;
            process.post(&second, sign_up_code("654321")).await;
            let mail = next().await;
            assert!(mail.contains(&format!("To: {second}\n")), "{line}: {mail}");
        }
        process.end().await;
        assert_eq!(office.kept().await, 0, "{line}");
        assert!(mails.try_recv().is_err(), "{line}");
    };
    for line in ["EHLO", "MAIL", "RCPT", "DATA"] {
        check(line, true).await;
    }
    check(".", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_that_is_lost_is_waited_for_once_and_not_for_each_connection() {
    const AT_ONCE: usize = 4;
    let office = Office::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let (sender, mut mails) = mpsc::unbounded_channel();
    // Letters meet at the mail server, so that each has a connection; then nothing that goes into
    // these is answered, and connections that are opened later are as good as ever.
    tokio::spawn(async move {
        let together = Arc::new(Barrier::new(AT_ONCE));
        for _ in 0..AT_ONCE {
            let (client, _) = listener.accept().await.expect("a client");
            let (together, mails) = (Arc::clone(&together), sender.clone());
            tokio::spawn(async move {
                let mut client = BufReader::new(client);
                client.write_all(b"220 shop\r\n").await.expect("a client");
                let (mut said, mut in_content) = (String::new(), false);
                loop {
                    said.clear();
                    client.read_line(&mut said).await.expect("a client");
                    in_content |= said.starts_with("DATA");
                    let is_whole = said == ".\r\n";
                    let answer: &[u8] = match said.as_str() {
                        "DATA\r\n" => b"354 go on\r\n",
                        _ if in_content && !is_whole => continue,
                        _ => b"250 fine\r\n",
                    };
                    if is_whole {
                        together.wait().await;
                    }
                    client.write_all(answer).await.expect("a client");
                    if is_whole {
                        mails.send(String::new()).expect("somebody counts");
                        std::future::pending::<()>().await;
                    }
                }
            });
        }
        listen(listener, sender).await;
    });
    let process = office.process().await;
    for _ in 0..AT_ONCE {
        process.post(&address(), sign_up_code("123456")).await;
    }
    process.send(&over_smtp(&url, None)).await;
    for _ in 0..AT_ONCE {
        tokio::time::timeout(SOON, mails.recv()).await.expect("in time").expect("a mail");
    }
    eventually(SOON, || async { office.kept().await == 0 }).await;
    let email = address();
    process.post(&email, sign_up_code("654321")).await;
    let mail = tokio::time::timeout(SOON, mails.recv()).await.expect("in time").expect("a mail");
    assert!(mail.contains(&format!("To: {email}\n")), "{mail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_came_back_and_was_taken_again_does_not_come_back_twice() {
    let office = Office::open().await;
    let (one, other) = (office.process().await, office.process().await);
    one.post(&address(), sign_up_code("123456")).await;
    let take = async |process: &Process| {
        let mut taken = process.store.take_letters(Urgency::Awaited, 8).await.expect("an answer");
        assert!(taken.len() <= 1);
        taken.pop()
    };
    let first = take(&one).await.expect("the letter");
    assert!(take(&other).await.is_none(), "it is taken");
    one.store.put_letter_back(&first, Duration::ZERO).await.expect("back");
    let second = take(&other).await.expect("the letter");
    // The answer was lost, so that the first tries again, now and when the letter has left.
    one.store.put_letter_back(&first, Duration::ZERO).await.expect("an answer");
    one.store.delete_letter(&first).await.expect("an answer");
    assert_eq!((office.waiting().await, office.kept().await), (0, 1));
    other.store.delete_letter(&second).await.expect("deleted");
    one.store.put_letter_back(&first, Duration::ZERO).await.expect("an answer");
    assert_eq!(office.kept().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_is_turned_away_again_and_again_still_gets_older() {
    const HOUR: Duration = Duration::from_secs(3600);
    let office = Office::open().await;
    let store = office.process().await.store.clone();
    let letter = |to: &str| Letter {
        to: Email::from_field("to", to).expect("an address"),
        language: Language::English,
        matter: reset_code("CDFG3467", 2 * HOUR),
    };
    outbox(&store).post(letter(&address())).await.expect("saves");
    let age = async || store.backlog().await.expect("a look").letter_seconds;
    assert!(age().await < HOUR.as_secs_f64());
    sqlx::query("update letters set posted_at = posted_at - interval '1 hour'")
        .execute(&office.database.pool)
        .await
        .unwrap();
    for _ in 0..3 {
        let mut taken = store.take_letters(Urgency::Awaited, 1).await.expect("an answer");
        let taken = taken.pop().expect("the letter is due");
        assert_eq!(age().await, 0.0, "it is on its way");
        store.put_letter_back(&taken, Duration::ZERO).await.expect("back");
        assert!(age().await >= HOUR.as_secs_f64());
    }
    let mut taken = store.take_letters(Urgency::Awaited, 1).await.expect("an answer");
    store.put_letter_back(&taken.pop().unwrap(), HOUR).await.expect("back");
    outbox(&store).post(letter(&address())).await.expect("saves");
    let backlog = store.backlog().await.expect("a look");
    assert_eq!(backlog.letters, 1, "one of two has to wait for its next try");
    assert!(backlog.letter_seconds >= HOUR.as_secs_f64(), "and it is the older one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_whose_taker_died_is_never_sent_and_is_deleted_at_its_end() {
    let office = Office::open().await;
    let process = office.process().await;
    process.post(&address(), sign_up_code("123456")).await;
    assert_eq!(process.store.take_letters(Urgency::Awaited, 8).await.expect("taken").len(), 1);
    assert_eq!(process.store.delete_lost_letters(10).await.expect("swept"), 0);
    sqlx::query("update letters set expires_at = clock_timestamp(), due_at = clock_timestamp()")
        .execute(&office.database.pool)
        .await
        .unwrap();
    assert!(process.store.take_letters(Urgency::Awaited, 8).await.expect("an answer").is_empty());
    assert_eq!(process.store.delete_lost_letters(10).await.expect("swept"), 1);
    assert_eq!(office.kept().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_overtakes_news_that_are_stuck() {
    let office = Office::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let (sender, mut mails) = mpsc::unbounded_channel();
    tokio::spawn(listen(listener, sender));
    let process = office.process().await;
    let total = Money { amount_minor: 1, currency: Currency::parse("KRW").unwrap() };
    for _ in 0..20 {
        let (order, news) = (OrderId(Uuid::new_v4()), News::Ordered);
        process.post(&format!("mute-{}", address()), Matter::Order { order, total, news }).await;
    }
    process.send(&over_smtp(&url, None)).await;
    eventually(SOON, || async { office.waiting().await == 16 }).await;
    let email = address();
    process.post(&email, sign_up_code("123456")).await;
    let mail = tokio::time::timeout(SOON, mails.recv()).await.unwrap().unwrap();
    assert!(mail.contains(&format!("To: {email}\n")), "{mail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_waits_for_a_process_that_has_its_key() {
    let office = Office::open().await;
    let both = format!("{OTHER_KEY},{DATA_KEYS}");
    let (old, new) = (office.process().await, office.process_with(&both).await);
    old.send(&office.folder()).await;
    let email = address();
    new.post(&email, sign_up_code("123456")).await;
    eventually(SOON, || async {
        let back = "select count(*) from letters where due_at > clock_timestamp()";
        let back: i64 = sqlx::query_scalar(back).fetch_one(&office.database.pool).await.unwrap();
        back == 1
    })
    .await;
    assert!(office.mails(&email).is_empty());
    old.end().await;
    new.send(&office.folder()).await;
    assert_eq!(office.got(&email).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_up_is_answered_once_its_letter_is_saved_and_not_before() {
    let shop = Shop::open().await;
    sqlx::query("alter table letters add constraint shut check (false)")
        .execute(&shop.database.pool)
        .await
        .unwrap();
    let email = address();
    let answer = shop.sign_up(&email, PASSWORD).await;
    assert_refused(answer, Reason::Internal);
    sqlx::query("alter table letters drop constraint shut")
        .execute(&shop.database.pool)
        .await
        .unwrap();
    shop.sign_up(&email, PASSWORD).await.expect("a sign-up");
    let code = shop.code(&email, 1).await;
    shop.verify(&email, &code).await.expect("the mailed code");
}
