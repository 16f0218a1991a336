//! Mail to a real mail server: aiosmtpd, in a process of its own, with TLS and a log-in.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use firstcome_proto::{Money, OrderId, money::Currency};
use firstcome_testkit::eventually;
use firstcome_user::{
    account::Email,
    language::Language,
    letter::{Letter, Matter},
    news::News,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};
use uuid::Uuid;

use super::{
    harness::address,
    letters::{Office, SOON, over_smtp, reset_code, sign_up_code},
};

const TTL: Duration = Duration::from_secs(180);
const LOGIN: &str = "shop";
const PASSWORD: &str = "p@ss/word";
/// The same, as it stands in an address.
const LOGIN_IN_URL: &str = "shop:p%40ss%2Fword";

/// Where the server runs, and what it keeps.
struct Server {
    python: String,
    port: u16,
    folder: TempDir,
    running: Option<Child>,
}

/// What the server kept of a mail.
#[derive(Debug, Deserialize)]
struct Kept {
    to: Vec<String>,
    sender: String,
    headers: HashMap<String, String>,
    parts: HashMap<String, String>,
    in_tls: bool,
    logged_in: bool,
    greeted_as: String,
}

impl Server {
    /// Not running yet; `None` where there is no aiosmtpd.
    fn prepare() -> Option<Self> {
        let python = std::env::var("FIRSTCOME_AIOSMTPD").ok().filter(|path| !path.is_empty());
        let Some(python) = python else {
            eprintln!("skipped: FIRSTCOME_AIOSMTPD names no python with aiosmtpd");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("mails")).expect("a folder");
        certify(folder.path());
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("an address").port();
        Some(Self { python, port, folder, running: None })
    }

    async fn start(&mut self, flags: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/smtp_server.py");
        let mut child = Command::new(&self.python)
            .arg(script)
            .arg(self.folder.path().join("mails"))
            .arg(self.port.to_string())
            .args(flags)
            .arg("--certificate")
            .arg(self.folder.path().join("server.pem"))
            .arg("--key")
            .arg(self.folder.path().join("server.key"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("python starts");
        let mut said = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let ready = tokio::time::timeout(SOON, said.next_line()).await.expect("in time");
        assert_eq!(ready.expect("a line").as_deref(), Some("ready"));
        self.running = Some(child);
    }

    async fn kill(&mut self) {
        self.running.take().expect("it runs").kill().await.expect("it dies");
    }

    fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    fn mails(&self) -> Vec<Kept> {
        let entries = std::fs::read_dir(self.folder.path().join("mails")).expect("the mails");
        let paths = entries.map(|entry| entry.expect("a file").path());
        let mut paths: Vec<_> =
            paths.filter(|path| path.extension().is_some_and(|it| it == "json")).collect();
        paths.sort();
        let read = |path| serde_json::from_slice(&std::fs::read(path).expect("a mail"));
        paths.iter().map(|path| read(path).expect("JSON")).collect()
    }

    async fn got(&self, count: usize) -> Vec<Kept> {
        eventually(SOON, || async { self.mails().len() >= count }).await;
        self.mails()
    }
}

/// An authority that nobody else believes, and its certificate for 127.0.0.1.
fn certify(folder: &Path) {
    let authority_key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let pem = authority.self_signed(&authority_key).expect("signs").pem();
    std::fs::write(folder.join("authority.pem"), pem).expect("writes");
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    let pem = server.signed_by(&key, &issuer).expect("signs").pem();
    std::fs::write(folder.join("server.pem"), pem).expect("writes");
    std::fs::write(folder.join("server.key"), key.serialize_pem()).expect("writes");
}

/// Every letter there is, with what both its parts say.
fn letters() -> Vec<(Matter, Vec<String>)> {
    let order = OrderId(Uuid::new_v4());
    let total = Money { amount_minor: 129_000, currency: Currency::parse("KRW").expect("a code") };
    let mut letters = vec![
        (sign_up_code("012345"), vec!["012345".to_owned()]),
        (Matter::AlreadyHere, vec![]),
        (reset_code("CDFG3467", TTL), vec!["CDFG3467".to_owned()]),
        (Matter::PasswordChanged, vec![]),
    ];
    letters.extend(News::ALL.map(|news| {
        let essentials = vec![order.to_string(), "129,000 KRW".to_owned()];
        (Matter::Order { order, total, news }, essentials)
    }));
    letters
}

#[tokio::test(flavor = "multi_thread")]
async fn every_letter_reaches_a_real_mail_server_whole() {
    let Some(mut server) = Server::prepare() else { return };
    server.start(&["--tls", "start", "--login", LOGIN, PASSWORD]).await;
    let url = format!("smtps://{LOGIN_IN_URL}@127.0.0.1:{}/shop.example", server.port);
    let office = Office::open().await;
    let process = office.process().await;
    let mut sent = HashMap::new();
    for language in Language::ALL {
        for (matter, essentials) in letters() {
            let (to, email) = (address(), matter.clone());
            let email =
                Letter { to: Email::from_field("to", &to).unwrap(), language, matter: email };
            sent.insert(to, (email.write(), essentials));
            process.outbox.post(email).await.unwrap();
        }
    }
    process.send(&over_smtp(&url, Some(&server.authority()))).await;

    let mails = server.got(sent.len()).await;
    assert_eq!(mails.len(), sent.len());
    let mut ids = Vec::new();
    for mail in mails {
        let [to] = mail.to.as_slice() else { panic!("{mail:?}") };
        let (written, essentials) = sent.remove(to).expect("each once");
        assert!(mail.in_tls && mail.logged_in, "{mail:?}");
        assert_eq!(mail.greeted_as, "shop.example");
        assert_eq!(mail.sender, "no-reply@firstcome.example");
        let header = |name: &str| mail.headers.get(name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(header("from"), "firstcome <no-reply@firstcome.example>");
        assert_eq!(header("to"), to);
        assert_eq!(header("subject"), &written.subject);
        assert_eq!(header("auto-submitted"), "auto-generated");
        assert!(header("content-type").starts_with("multipart/alternative"));
        assert!(header("date").contains(':'), "{}", header("date"));
        assert!(header("message-id").ends_with("@firstcome.example>"));
        ids.push(header("message-id").clone());
        let part = |kind: &str| mail.parts[kind].replace("\r\n", "\n").trim_end().to_owned();
        assert_eq!(part("text/plain"), written.text.trim_end());
        assert_eq!(part("text/html"), written.html.trim_end());
        for essential in essentials {
            assert!(part("text/plain").contains(&essential), "{mail:?}");
            assert!(part("text/html").contains(&essential), "{mail:?}");
        }
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 2 * letters().len(), "each mail has an id of its own");
    assert_eq!(office.waiting().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_to_a_mail_server_that_nobody_vouches_for_or_that_knows_no_tls() {
    let Some(mut server) = Server::prepare() else { return };
    let office = Office::open().await;
    let url = format!("smtp://{LOGIN_IN_URL}@127.0.0.1:{}?tls=required", server.port);
    let email = address();
    let login = ["--login", LOGIN, PASSWORD];
    let distrusted = office.process().await;
    distrusted.post(&email, Matter::PasswordChanged).await;

    // Who has another authority, and who speaks no TLS, is not told a word.
    let knocks = async |before: i32| {
        let knocked = "select takings > $1 and not is_taken from letters";
        eventually(SOON, || async {
            let knocked = sqlx::query_scalar(knocked).bind(before);
            knocked.fetch_one(&office.database.pool).await.unwrap()
        })
        .await;
    };
    server.start(&[&["--tls", "asked"], &login[..]].concat()).await;
    distrusted.send(&over_smtp(&url, None)).await;
    knocks(0).await;
    drop(distrusted);
    server.kill().await;
    server.start(&login[..0]).await;
    let trusting = office.process().await;
    trusting.send(&over_smtp(&url, Some(&server.authority()))).await;
    knocks(1).await;
    assert!(server.mails().is_empty());

    server.kill().await;
    server.start(&[&["--tls", "asked"], &login[..]].concat()).await;
    let mails = server.got(1).await;
    assert_eq!(mails[0].to, [email]);
    assert!(mails[0].in_tls && mails[0].logged_in, "{:?}", mails[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_killed_in_mid_letter_gets_no_letter_twice_and_the_others_later() {
    let Some(mut server) = Server::prepare() else { return };
    let office = Office::open().await;
    let url = format!("smtps://127.0.0.1:{}", server.port);
    let process = office.process().await;
    process.send(&over_smtp(&url, Some(&server.authority()))).await;

    server.start(&["--tls", "start"]).await;
    let before = address();
    process.post(&before, Matter::AlreadyHere).await;
    server.got(1).await;
    server.kill().await;

    // The connection that is kept is dead, and nobody has noticed. This one is read whole, and
    // nobody knows what became of it.
    server.start(&["--tls", "start", "--stall"]).await;
    let doubtful = address();
    process.post(&doubtful, Matter::AlreadyHere).await;
    let stalled = server.folder.path().join("stalled");
    eventually(SOON, || async { stalled.exists() }).await;
    server.kill().await;

    let mut after: Vec<String> = (0..20).map(|_| address()).collect();
    for reader in &after {
        process.post(reader, Matter::AlreadyHere).await;
    }
    eventually(SOON, || async { office.waiting().await == 20 }).await;
    server.start(&["--tls", "start"]).await;
    let mails = server.got(21).await;
    let mut got: Vec<&str> = mails.iter().map(|mail| mail.to[0].as_str()).collect();
    got.sort_unstable();
    after.push(before);
    after.sort();
    assert_eq!(got, after, "each once, and {doubtful} never");
    assert_eq!(office.waiting().await, 0);
    assert_eq!(server.mails().len(), 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_loses_no_letter() {
    let Some(mut server) = Server::prepare() else { return };
    server.start(&["--tls", "start", "--login", LOGIN, PASSWORD]).await;
    let office = Office::open().await;
    let wrong = office.process().await;
    let email = address();
    wrong.post(&email, Matter::PasswordChanged).await;
    let url = |login: &str| format!("smtps://{login}@127.0.0.1:{}", server.port);
    wrong.send(&over_smtp(&url("shop:wrong"), Some(&server.authority()))).await;
    let back = "select count(*) from letters where due_at > posted_at + interval '900 ms'";
    eventually(SOON, || async {
        let back: i64 = sqlx::query_scalar(back).fetch_one(&office.database.pool).await.unwrap();
        back == 1
    })
    .await;
    drop(wrong);
    let right = office.process().await;
    right.send(&over_smtp(&url(LOGIN_IN_URL), Some(&server.authority()))).await;
    assert_eq!(server.got(1).await[0].to, [email]);
}
