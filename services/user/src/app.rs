//! The service put together.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use firstcome_events::{Streams, consumer};
use firstcome_mesh::{
    Shutdown,
    server::{Listeners, Server},
};
use firstcome_postgres::Pool;
use firstcome_proto::{
    access::Peer,
    user_v1::{
        account_service_server::AccountServiceServer,
        address_book_service_server::AddressBookServiceServer,
        profile_service_server::ProfileServiceServer,
        revocation_service_server::RevocationServiceServer,
        token_key_service_server::TokenKeyServiceServer,
    },
};
use firstcome_redis::RedisPool;
use secrecy::ExposeSecret as _;
use sqlx::migrate::Migrator;
use uuid::Uuid;

use crate::{
    account::{Email, Password},
    address_book::AddressBook,
    code::Codes,
    config::{CreateAdmin, Serve, Upkeep},
    door::Door,
    dormancy,
    guard::Guard,
    mail::Mailer,
    metrics,
    order_mail::OrderMails,
    outbox::Outbox,
    password::Hasher,
    postman::Postman,
    profile::Profiles,
    revocation,
    rpc::{
        account_service, address_book_service, profile_service, revocation_service,
        token_key_service,
    },
    session::RefreshSecret,
    signing,
    store::{Resealed, SEALED, Store},
    throttle::Throttle,
    tidy,
    token::{self, Signer},
};

/// The binary's name, and the health service's word for "ready".
pub const NAME: &str = Peer::User.program();

/// The schema.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Everything that serving needs, connected.
pub struct App {
    server: Server,
    guard: Guard,
    addresses: AddressBook,
    redis: RedisPool,
    codes: Codes,
    mailer: Mailer,
    letters: Outbox,
    signer: Signer,
    refresh_secret: RefreshSecret,
    refresh_ttl: Duration,
    refresh_replay: Duration,
    dormant_after: Duration,
}

impl App {
    /// Connects, and makes the first signing key where there is none.
    pub async fn build(config: &Serve) -> anyhow::Result<Self> {
        let server =
            Server::new(NAME, config.mesh.tls.open()?).injecting(&config.mesh.faults.inject_faults);
        let url = &config.database.database_url;
        let (keys, connections) = (&config.keys, config.database_connections);
        let vault = keys.vault();
        let store = Store::connect(url, keys, connections).await.context("database")?;
        let addresses =
            AddressBook { store: store.clone(), vault: vault.clone(), index: keys.index() };
        let redis = RedisPool::connect(config.redis_url.expose_secret()).await.context("redis")?;
        let codes = Codes::new(&redis, keys.index(), config.code_ttl, config.code_cooldown);
        let codes = codes.await.context("redis functions")?;
        let throttle = Throttle::new(&redis, keys.index()).await.context("redis functions")?;
        let mailer = Mailer::new(&config.mail).await.context("mail")?;
        let signer = Signer::new(&store.signing_key().await?, config.access_token_ttl);
        let letters = Outbox::new(store.clone(), vault);
        let refresh_secret = match &config.refresh_secret {
            Some(secret) => secret.expose_secret().as_bytes().to_vec(),
            None => store.refresh_secret().await?.to_vec(),
        };
        Ok(Self {
            server,
            guard: Guard { store, hasher: Hasher::start(), throttle },
            addresses,
            redis,
            codes,
            mailer,
            letters,
            signer,
            refresh_secret: RefreshSecret::new(refresh_secret),
            refresh_ttl: config.refresh_token_ttl,
            refresh_replay: config.refresh_replay,
            dormant_after: config.dormant_after,
        })
    }

    /// Serves until `shutdown` begins, then answers what is in flight and lets the mail leave.
    pub async fn serve(
        self,
        listeners: impl Into<Listeners>,
        shutdown: Shutdown,
        drain_timeout: Duration,
    ) -> anyhow::Result<()> {
        let Self { mut server, guard, addresses, redis, codes, .. } = self;
        let Self { mailer, letters, signer, .. } = self;
        let store = guard.store.clone();
        let keep = token::outlived_after(signer.ttl());
        shutdown.spawn(signing::follow(store.clone(), signer.clone(), shutdown.clone()));
        shutdown.spawn(revocation::forget(store.clone(), keep, shutdown.clone()));
        dormancy::start(store.clone(), self.dormant_after, &shutdown);
        tidy::start(store.clone(), keep, &shutdown);
        Postman::new(store.clone(), letters.clone(), mailer).start(&shutdown);
        metrics::begin(store.clone(), &shutdown);
        let order_mails = OrderMails::new(store.clone(), letters.clone());
        let streams = Streams::of_the_shop();
        order_mails.start(&redis, &streams, consumer::Settings::default(), &shutdown);
        let door = Door {
            guard: guard.clone(),
            codes,
            letters,
            signer,
            refresh_secret: self.refresh_secret,
            refresh_ttl: self.refresh_ttl,
            refresh_replay: self.refresh_replay,
        };
        server
            .routes()
            .add_service(AccountServiceServer::new(account_service::Service(door)))
            .add_service(ProfileServiceServer::new(profile_service::Service {
                profiles: Profiles { guard },
                addresses: addresses.clone(),
            }))
            .add_service(AddressBookServiceServer::new(address_book_service::Service(addresses)))
            .add_service(RevocationServiceServer::new(revocation_service::Service {
                store: store.clone(),
                keep,
            }))
            .add_service(TokenKeyServiceServer::new(token_key_service::Service {
                store: store.clone(),
                keep,
            }));
        server.serve(listeners, shutdown.clone(), drain_timeout).await?;
        let rest = async {
            shutdown.finished().await;
            redis.close().await;
            store.close().await;
        };
        shutdown.within(drain_timeout, rest).await;
        Ok(())
    }
}

/// Brings the schema up to date, and seals what the last release left in the clear. Once the last
/// process of that release is gone, it is worth running again.
///
/// # Errors
/// After all that can be done is done: accounts that are left in the clear, because another one has
/// their address. They are named by their ids; an operator decides.
pub async fn migrate(upkeep: &Upkeep) -> anyhow::Result<()> {
    let Upkeep { database, keys } = upkeep;
    Pool::migrate(&database.database_url, &MIGRATIONS).await.context("schema")?;
    let store = Store::connect(&database.database_url, keys, 1).await.context("database")?;
    store.seal_keys().await.context("seal keys")?;
    store.erase_clear().await.context("erase what is deleted")?;
    let (mut sealed, mut deleted, mut left, mut after) = (0, 0, Vec::new(), Uuid::nil());
    while let Some(batch) = store.seal_clear(after).await.context("seal what is clear")? {
        sealed += batch.sealed;
        deleted += batch.deleted;
        left.extend(batch.left.iter().map(Uuid::to_string));
        after = batch.last;
    }
    store.close().await;
    tracing::info!(accounts = sealed, twins = deleted, "sealed what was clear");
    for account in &left {
        tracing::warn!(account, "an account is left in the clear: another has its address");
    }
    let left = left.join(", ");
    ensure!(left.is_empty(), "left in the clear, because another account has the address: {left}");
    Ok(())
}

/// Makes the next signing key, and prints its id.
pub async fn rotate_signing_key(upkeep: &Upkeep) -> anyhow::Result<()> {
    let Upkeep { database, keys } = upkeep;
    let store = Store::connect(&database.database_url, keys, 1).await.context("database")?;
    let next = signing::rotate(&store).await?;
    store.close().await;
    println!("{}", next.key_id);
    Ok(())
}

/// Seals anew what is under older keys, and prints how many fields of rows that were.
///
/// # Errors
/// After all that can be done is done: fields that stay under an older key, and those that do not
/// open.
pub async fn rotate_keys(upkeep: &Upkeep) -> anyhow::Result<()> {
    let Upkeep { database, keys } = upkeep;
    let store = Store::connect(&database.database_url, keys, 1).await.context("database")?;
    // One that does not open keeps nobody's data under an older key.
    let keys_sealed = store.seal_keys().await.context("seal keys");
    let mut sealed = *keys_sealed.as_ref().unwrap_or(&0);
    let (mut unopened_of_all, mut in_use) = (0, Vec::new());
    for (column, key) in SEALED {
        let Resealed { fields, unopened, older } =
            store.reseal(column, key).await.context(*column)?;
        tracing::info!(column, fields, unopened, older, "sealed anew");
        sealed += fields;
        unopened_of_all += unopened;
        if older > 0 {
            in_use.push(format!("{older} of {column}"));
        }
    }
    store.close().await;
    println!("{sealed}");
    let in_use = in_use.join(", ");
    ensure!(
        in_use.is_empty(),
        "somebody still seals under an older key, or holds on to rows: {in_use}"
    );
    ensure!(unopened_of_all == 0, "{unopened_of_all} fields do not open and are left as they are");
    keys_sealed.map(drop)
}

/// Makes an operator's account, or makes an account an operator's, and prints its id.
pub async fn create_admin(wanted: &CreateAdmin) -> anyhow::Result<()> {
    let email = Email::from_field("email", &wanted.email).expect("the configuration was checked");
    let password = Password::new("password", wanted.password.clone());
    let password = password.expect("the configuration was checked");
    let url = &wanted.database.database_url;
    let store = Store::connect(url, &wanted.keys, 1).await.context("database")?;
    let password_hash = Hasher::start().hash(password).await?;
    let user = store.create_admin(&email, &password_hash).await?;
    store.close().await;
    println!("{user}");
    Ok(())
}
