//! The service put together.

use std::time::Duration;

use anyhow::Context as _;
use firstcome_events::{Streams, consumer};
use firstcome_mesh::{Credentials, Shutdown, server::Server};
use firstcome_postgres::Pool;
use firstcome_proto::user_v1::{
    account_service_server::AccountServiceServer, profile_service_server::ProfileServiceServer,
    token_key_service_server::TokenKeyServiceServer,
};
use firstcome_redis::RedisPool;
use firstcome_vault::Vault;
use secrecy::ExposeSecret as _;
use sqlx::migrate::Migrator;
use tokio::net::TcpListener;

use crate::{
    account::{Email, Password},
    address_book::AddressBook,
    code::Codes,
    config::{CreateAdmin, Database, Serve},
    door::Door,
    mail::Mailer,
    order_mail::OrderMails,
    outbox::Outbox,
    password::Hasher,
    postman::Postman,
    profile::Profiles,
    rpc::{account_service, profile_service, token_key_service},
    session::RefreshSecret,
    store::Store,
    token::Signer,
};

/// The binary's name, and the health service's word for "ready".
const NAME: &str = "firstcome-user";

/// The schema.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Everything that serving needs, connected.
pub struct App {
    credentials: Option<Credentials>,
    store: Store,
    redis: RedisPool,
    codes: Codes,
    hasher: Hasher,
    mailer: Mailer,
    letters: Outbox,
    signer: Signer,
    refresh_secret: RefreshSecret,
    refresh_ttl: Duration,
    refresh_replay: Duration,
}

impl App {
    /// Connects, and makes the first signing key where there is none.
    pub async fn build(config: &Serve) -> anyhow::Result<Self> {
        let credentials = config.mesh.tls.open()?;
        let url = &config.database.database_url;
        let store = Store::connect(url, config.database_connections).await.context("database")?;
        let redis = RedisPool::connect(config.redis_url.expose_secret()).await.context("redis")?;
        let codes = Codes::new(&redis, config.code_ttl).await.context("redis functions")?;
        let hasher = Hasher::start();
        let mailer = Mailer::new(&config.mail).await.context("mail")?;
        let vault = Vault::new(&config.data_keys.keyring()?);
        let letters = Outbox::new(store.clone(), vault);
        let signer = Signer::new(&store.signing_key().await?, config.access_token_ttl);
        let refresh_secret = match &config.refresh_secret {
            Some(secret) => secret.expose_secret().as_bytes().to_vec(),
            None => store.refresh_secret().await?,
        };
        Ok(Self {
            credentials,
            store,
            redis,
            codes,
            hasher,
            mailer,
            letters,
            signer,
            refresh_secret: RefreshSecret::new(refresh_secret),
            refresh_ttl: config.refresh_token_ttl,
            refresh_replay: config.refresh_replay,
        })
    }

    /// Serves until `shutdown` begins, then answers what is in flight and lets the mail leave.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: Shutdown,
        drain_timeout: Duration,
    ) -> anyhow::Result<()> {
        let Self { credentials, store, redis, codes, hasher, mailer, letters, signer, .. } = self;
        Postman::new(store.clone(), letters.clone(), mailer).start(&shutdown);
        let order_mails = OrderMails::new(store.clone(), letters.clone());
        let streams = Streams::of_the_shop();
        order_mails.start(&redis, &streams, consumer::Settings::default(), &shutdown);
        let door = Door {
            store: store.clone(),
            codes,
            hasher,
            letters,
            signer,
            refresh_secret: self.refresh_secret,
            refresh_ttl: self.refresh_ttl,
            refresh_replay: self.refresh_replay,
        };
        let mut server = Server::new(NAME, credentials);
        server
            .routes()
            .add_service(AccountServiceServer::new(account_service::Service(door)))
            .add_service(ProfileServiceServer::new(profile_service::Service {
                profiles: Profiles { store: store.clone() },
                addresses: AddressBook { store: store.clone() },
            }))
            .add_service(TokenKeyServiceServer::new(token_key_service::Service(store.clone())));
        server.serve(listener, shutdown.clone(), drain_timeout).await?;
        let rest = async {
            shutdown.finished().await;
            redis.close().await;
            store.close().await;
        };
        shutdown.within(drain_timeout, rest).await;
        Ok(())
    }
}

/// Brings the schema up to date.
pub async fn migrate(database: &Database) -> anyhow::Result<()> {
    Pool::migrate(&database.database_url, &MIGRATIONS).await.context("schema")
}

/// Makes an operator's account, or makes an account an operator's, and prints its id.
pub async fn create_admin(wanted: &CreateAdmin) -> anyhow::Result<()> {
    let email = Email::from_field("email", &wanted.email).expect("the configuration was checked");
    let password = Password::new("password", wanted.password.clone());
    let password = password.expect("the configuration was checked");
    let store = Store::connect(&wanted.database.database_url, 1).await.context("database")?;
    let password_hash = Hasher::start().hash(password).await?;
    let user = store.create_admin(&email, &password_hash).await?;
    store.close().await;
    println!("{user}");
    Ok(())
}
