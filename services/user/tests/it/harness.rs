//! One app on a port of its own, with its own database and its own mailbox.

use std::{collections::HashMap, path::Path, sync::Mutex, time::Duration};

use clap::Parser as _;
use firstcome_mesh::{Identity, Shutdown, identity, upstream};
use firstcome_proto::{
    Reason, Refusal, SessionId, UserId,
    access::Role,
    user_v1::{
        ListTokenKeysRequest, LogInRequest, LogInResponse, RefreshSessionRequest, SignUpRequest,
        TokenPair, VerifyEmailRequest, account_service_client::AccountServiceClient,
        address_book_service_client::AddressBookServiceClient,
        profile_service_client::ProfileServiceClient,
        revocation_service_client::RevocationServiceClient,
        token_key_service_client::TokenKeyServiceClient,
    },
};
use firstcome_testkit::{TestDatabase, eventually, stores};
use firstcome_user::{
    app::{App, MIGRATIONS},
    config::{Command, Config, Keys},
    store::Store,
    token::{Claims, ISSUER},
};
use firstcome_vault::DataKeys;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::{Request, Status, transport::Channel};
use uuid::Uuid;

pub const PASSWORD: &str = "passw0rd!";
/// The keys of every test, except where keys are what it is about.
pub const DATA_KEYS: &str = "1:0101010101010101010101010101010101010101010101010101010101010101";
pub const INDEX_KEY: &str = "0202020202020202020202020202020202020202020202020202020202020202";

pub struct Shop {
    pub database: TestDatabase,
    pub accounts: AccountServiceClient<Channel>,
    pub keys: TokenKeyServiceClient<Channel>,
    pub profiles: ProfileServiceClient<Channel>,
    pub books: AddressBookServiceClient<Channel>,
    pub revocations: RevocationServiceClient<Channel>,
    mailbox: TempDir,
    shutdown: Shutdown,
    /// Of the newest sign-up of each address.
    tokens: Mutex<HashMap<String, String>>,
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

impl Shop {
    pub async fn open() -> Self {
        Self::open_with(&[]).await
    }

    /// With further flags of `serve`.
    pub async fn open_with(flags: &[&str]) -> Self {
        let database = stores().await.database("fc_user", &MIGRATIONS).await;
        Self::open_on(database, flags).await
    }

    pub async fn open_on(database: TestDatabase, flags: &[&str]) -> Self {
        let mailbox = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let common = [
            "firstcome-user".to_owned(),
            "serve".to_owned(),
            "--listen=127.0.0.1:0".to_owned(),
            format!("--database-url={}", database.url),
            format!("--redis-url={}", stores().await.redis_url()),
            format!("--mail-dir={}", mailbox.path().display()),
            format!("--index-key={INDEX_KEY}"),
        ];
        let keys = format!("--data-keys={DATA_KEYS}");
        let keys = Some(keys).filter(|_| !flags.iter().any(|flag| flag.starts_with("--data-keys")));
        let flags = flags.iter().map(|&flag| flag.to_owned()).chain(keys);
        let config = Config::parse_from(common.into_iter().chain(flags));
        let Command::Serve(serve) = config.command else { unreachable!("asked to serve") };
        let app = App::build(&serve).await.expect("the app starts");
        let shutdown = Shutdown::new();
        tokio::spawn(app.serve(listener, shutdown.clone(), Duration::from_secs(5)));
        let channel = upstream::channel(&format!("http://{address}")).expect("an endpoint");
        Self {
            database,
            accounts: AccountServiceClient::new(channel.clone()),
            keys: TokenKeyServiceClient::new(channel.clone()),
            profiles: ProfileServiceClient::new(channel.clone()),
            books: AddressBookServiceClient::new(channel.clone()),
            revocations: RevocationServiceClient::new(channel),
            mailbox,
            shutdown,
            tokens: Mutex::default(),
        }
    }

    /// Gives how long the code lives, and keeps the token for [`Self::verify`].
    pub async fn sign_up(&self, email: &str, password: &str) -> Result<Duration, Status> {
        let answer = self.accounts.clone().sign_up(sign_up_request(email, password)).await?;
        let answer = answer.into_inner();
        self.tokens.lock().expect("whole").insert(email.to_lowercase(), answer.sign_up_token);
        Ok(answer.code_ttl.expect("a span").try_into().expect("a positive span"))
    }

    /// With the token of the newest sign-up of this address here, or else one that is nobody's.
    pub async fn verify(&self, email: &str, code: &str) -> Result<(), Status> {
        self.verify_with(email, code, &self.token_of(email)).await
    }

    pub fn token_of(&self, email: &str) -> String {
        let token = self.tokens.lock().expect("whole").get(&email.to_lowercase()).cloned();
        token.unwrap_or_else(nobodys_token)
    }

    pub async fn verify_with(&self, email: &str, code: &str, token: &str) -> Result<(), Status> {
        let request = VerifyEmailRequest {
            email: email.into(),
            code: code.into(),
            sign_up_token: token.into(),
        };
        self.accounts.clone().verify_email(request).await.map(drop)
    }

    pub async fn log_in(
        &self,
        email: &str,
        password: &str,
        key: &str,
    ) -> Result<LogInResponse, Status> {
        let request = log_in_request(email, password, key);
        Ok(self.accounts.clone().log_in(request).await?.into_inner())
    }

    /// A log-in that the edge saw coming from there.
    pub async fn log_in_from(
        &self,
        client: &str,
        email: &str,
        password: &str,
    ) -> Result<LogInResponse, Status> {
        let key = Uuid::new_v4().to_string();
        let request = from(client, Request::new(log_in_request(email, password, &key)));
        Ok(self.accounts.clone().log_in(request).await?.into_inner())
    }

    /// A request as the edge sends it on for the owner of these tokens.
    pub async fn by<T>(&self, tokens: &TokenPair, message: T) -> Request<T> {
        carrying(&self.claims(&tokens.access_token).await, message)
    }

    pub async fn refresh(&self, tokens: &TokenPair) -> Result<TokenPair, Status> {
        let request = RefreshSessionRequest { refresh_token: tokens.refresh_token.clone() };
        let answer = self.accounts.clone().refresh_session(request).await?;
        Ok(answer.into_inner().tokens.expect("tokens"))
    }

    /// An active account, and the tokens of its first session.
    pub async fn member(&self, email: &str) -> TokenPair {
        self.sign_up(email, PASSWORD).await.expect("a sign-up");
        let code = self.code(email, 1).await;
        self.verify(email, &code).await.expect("the mailed code");
        self.log_in(email, PASSWORD, "first").await.expect("a log-in").tokens.expect("tokens")
    }

    /// Everything mailed to an address, oldest first, once there are that many.
    pub async fn mails(&self, email: &str, count: usize) -> Vec<String> {
        let mails = || read_mails(self.mailbox.path(), email);
        eventually(Duration::from_secs(10), || async { mails().len() >= count }).await;
        mails()
    }

    /// The code in the newest of that many mails.
    pub async fn code(&self, email: &str, count: usize) -> String {
        let mails = self.mails(email, count).await;
        code_in(mails.last().expect("a mail")).expect("a code in the mail")
    }

    /// What an access token says, once it has verified with the published keys.
    pub async fn claims(&self, access_token: &str) -> Claims {
        let keys = self.keys.clone().list_token_keys(ListTokenKeysRequest {}).await;
        let keys = keys.expect("the keys").into_inner().keys;
        let kid = jsonwebtoken::decode_header(access_token).expect("a JWT").kid;
        let key = keys.iter().find(|key| Some(&key.key_id) == kid.as_ref()).expect("its key");
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[ISSUER]);
        validation.set_issuer(&[ISSUER]);
        let key = DecodingKey::from_ed_der(&key.public_key);
        jsonwebtoken::decode(access_token, &key, &validation).expect("it verifies").claims
    }
}

/// A database that already has rows, or another app serves.
pub fn same(database: &TestDatabase) -> TestDatabase {
    TestDatabase { pool: database.pool.clone(), url: database.url.clone() }
}

/// The keys of every test.
pub fn keys() -> Keys {
    let data_keys = DataKeys { data_keys: DATA_KEYS.into() };
    Keys { data_keys, index_key: INDEX_KEY.into() }
}

/// The rows themselves.
pub async fn store(database: &TestDatabase) -> Store {
    store_under(database, DATA_KEYS).await
}

/// The rows as a process with these keys has them.
pub async fn store_under(database: &TestDatabase, data_keys: &str) -> Store {
    let keys = Keys { data_keys: DataKeys { data_keys: data_keys.into() }, ..keys() };
    Store::connect(&database.url.clone().into(), &keys, 8).await.expect("connects")
}

pub fn log_in_request(email: &str, password: &str, key: &str) -> LogInRequest {
    LogInRequest {
        email: email.into(),
        password: password.into(),
        idempotency_key: key.into(),
        device: String::new(),
    }
}

/// How long a refusal asks to wait.
#[track_caller]
pub fn wait_of<T: std::fmt::Debug>(answer: Result<T, Status>, reason: Reason) -> Duration {
    let refusal = Refusal::from_status(&answer.expect_err("a refusal"));
    assert_eq!(refusal.reason(), reason, "{refusal:?}");
    let wait = refusal.retry_after.expect("a refusal that says when to come again");
    wait.try_into().expect("a positive span")
}

/// A request as the edge sends it on from a client.
pub fn from<T>(client: &str, mut request: Request<T>) -> Request<T> {
    let client = client.parse().expect("an address is ASCII");
    request.metadata_mut().insert(identity::CLIENT_ADDRESS, client);
    request
}

pub fn read_mails(folder: &Path, email: &str) -> Vec<String> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the mailbox")
        .map(|file| file.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    let mails = files.iter().map(|path| std::fs::read_to_string(path).expect("a mail"));
    mails.filter(|mail| mail.starts_with(&format!("To: {email}\n"))).collect()
}

/// Six digits, or eight capitals and digits, in the body: an address may have as many.
pub fn code_in(mail: &str) -> Option<String> {
    let (_, body) = mail.split_once("\n\n").expect("a body");
    let mut words = body.split(|letter: char| !letter.is_ascii_alphanumeric());
    let is_code = |word: &&str| match word.len() {
        6 => word.bytes().all(|byte| byte.is_ascii_digit()),
        8 => word.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()),
        _ => false,
    };
    words.find(is_code).map(str::to_owned)
}

/// A code that this one is not.
pub fn wrong(code: &str, number: u32) -> String {
    if let Ok(code) = code.parse::<u32>()
        && code < 1_000_000
    {
        return format!("{:06}", (code + 1 + number) % 1_000_000);
    }
    // Digits that stand in codes for a password, turned by some places.
    const DIGITS: &[u8] = b"346789CDFGHJKMNPQRTVWXY";
    let (first, rest) = code.split_at(1);
    let place = DIGITS.iter().position(|digit| first.as_bytes()[0] == *digit).expect("a digit");
    let turned = (place + 1 + number as usize) % DIGITS.len();
    format!("{}{rest}", char::from(DIGITS[turned]))
}

/// A token in its form that no sign-up has.
pub fn nobodys_token() -> String {
    "A".repeat(43)
}

pub fn sign_up_request(email: &str, password: &str) -> SignUpRequest {
    SignUpRequest {
        name: "Ann".into(),
        email: email.into(),
        password: password.into(),
        phone: "+821012345678".into(),
    }
}

/// An address that nobody else uses: codes of all tests lie in one Redis.
pub fn address() -> String {
    format!("{}@example.com", Uuid::new_v4().simple())
}

#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(answer: Result<T, Status>, reason: Reason) {
    let refusal = Refusal::from_status(&answer.expect_err("a refusal"));
    assert_eq!(refusal.reason(), reason, "{refusal:?}");
}

/// A request as the edge sends it on for the owner of a token.
pub fn carrying<T>(claims: &Claims, message: T) -> Request<T> {
    let user = UserId(claims.sub.parse().expect("a user's id"));
    let session = SessionId(claims.sid.parse().expect("a session's id"));
    let mut request = Request::new(message);
    let caller = Identity { user, session, role: Role::User };
    request.metadata_mut().insert_bin(identity::HEADER, caller.to_header());
    request
}
