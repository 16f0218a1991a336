//! A shop as the last release left it when everything died at once: its schemas and their rows, as
//! SQL. What is to run next must take it over.
//!
//! The instants in it move along when it is loaded, so that what was open then is open again.

use std::{collections::BTreeMap, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use firstcome_local::{Checkout, Role, Service, Stores, secret, tools::Programs};
use firstcome_proto::order_v1::OrderState;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use time::{OffsetDateTime, UtcOffset, format_description::FormatItem, macros::format_description};

use crate::{Buyer, Sale, Shop, shop::Terms};

/// The committed one.
const COMMITTED: &str = include_str!("../baseline/v1.sql");
/// What it is called in the repository.
pub const FILE: &str = "e2e/baseline/v1.sql";

/// Marks when it was taken, in milliseconds since 1970.
const TAKEN: &str = "-- taken at ";
/// Marks a secret that opens what is sealed in it; nobody ever sold anything with these.
const SECRET: &str = "-- secret ";
/// Marks the begin of a role's schema.
const ROLE: &str = "-- role ";
/// What else than rows the new programs must find.
const SECRETS: [&str; 3] = ["user-data-key", "user-index-key", "order-data-key"];

/// How Postgres writes an instant, in UTC.
const INSTANT: &[FormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second][optional [.[subsecond]]]");
const INSTANT_END: &str = "+00'";

/// Long enough to wait for, short enough to be over when it is loaded.
const DAY: &str = "8s";
/// Outlasts whatever the new programs do first.
const LONG_HOLD: Duration = Duration::from_secs(1800);
/// Ends while they serve already, or a little before.
const SHORT_HOLD: Duration = Duration::from_secs(20);
/// Shipping takes a day, and a debug build its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who is where in the dump, by the number of the buyer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Paid, shipped, there.
    Delivered,
    /// Paid, and under way.
    Shipping,
    /// Paid.
    Preparing,
    /// Paid, and nobody was told.
    Untold,
    /// Their payment was under way, the goods already theirs.
    Paying,
    /// Held for half an hour more.
    Pending,
    /// Held, and nobody comes back.
    Overdue,
    /// Their card was declined.
    Declined,
    /// They changed their mind.
    Cancelled,
}

impl Part {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::Delivered,
        Self::Shipping,
        Self::Preparing,
        Self::Untold,
        Self::Paying,
        Self::Pending,
        Self::Overdue,
        Self::Declined,
        Self::Cancelled,
    ];

    /// Under this key each has an order.
    pub const KEY: &'static str = "of the last release";
}

/// Opens a shop, lets nine buyers get as far as they do, kills everything, and writes it down.
pub async fn take() -> Result<String> {
    let shop = Shop::own(&[(Service::Order, "FIRSTCOME_DAY", DAY)]).await?;
    play(&shop).await?;
    for service in Service::ALL.into_iter().rev() {
        shop.mesh.kill9(service).await;
    }
    let taken_ms = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
    let mut text = format!("{TAKEN}{taken_ms}\n");
    for name in SECRETS {
        let secret = std::fs::read_to_string(shop.folder().with_file_name("secrets").join(name))?;
        text += &format!("{SECRET}{name} {}\n", secret.trim());
    }
    let postgres = Programs::find(&Checkout::here())?.postgres;
    for role in Role::ALL {
        let mut dump = Command::new(postgres.path("pg_dump"));
        dump.args(["--inserts", "--no-owner", "--no-privileges", "--schema", role.name()]);
        dump.arg(shop.mesh.address().database_url(role)).envs(postgres.env());
        let output = dump.output().context("run pg_dump")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        text += &format!("\n{ROLE}{role}\n");
        // The schema is there already, commands of psql are not ours, and the rest is noise.
        let noise = ["\\", "--", "CREATE SCHEMA"];
        let dumped = String::from_utf8(output.stdout)?;
        let lines = dumped
            .lines()
            .filter(|line| !line.is_empty() && !noise.iter().any(|noise| line.starts_with(noise)));
        lines.for_each(|line| text.extend([line, "\n"]));
    }
    Ok(text)
}

async fn play(shop: &Shop) -> Result<()> {
    let buyers = shop.buyers(Part::ALL.len()).await?;
    let of = |part: Part| &buyers[part as usize];
    let long = shop.sell(Terms { hold: LONG_HOLD, ..Terms::of(50) }).await?;
    let short = shop.sell(Terms { hold: SHORT_HOLD, ..Terms::of(5) }).await?;
    let place = async |part: Part, sale: &Sale| {
        let order = of(part).buy(sale, Part::KEY).await;
        order.map(|order| order.order_id).map_err(|refusal| anyhow::anyhow!("{refusal:?}"))
    };
    let pay = async |part: Part, order: &str, card: &str| of(part).pay(order, card).await;

    let delivered = place(Part::Delivered, &long).await?;
    ensure!(pay(Part::Delivered, &delivered, "pm_card_approve").await.is_ok(), "a good card");
    wait_for(of(Part::Delivered), &delivered, OrderState::Shipping).await?;
    let shipping = place(Part::Shipping, &long).await?;
    ensure!(pay(Part::Shipping, &shipping, "pm_card_approve").await.is_ok(), "a good card");
    let declined = place(Part::Declined, &long).await?;
    ensure!(pay(Part::Declined, &declined, "pm_card_decline").await.is_err(), "a bad card");
    let cancelled = place(Part::Cancelled, &long).await?;
    ensure!(of(Part::Cancelled).cancel(&cancelled).await.is_ok(), "nothing was paid");
    place(Part::Pending, &long).await?;
    let untold = place(Part::Untold, &long).await?;
    let paying = place(Part::Paying, &long).await?;
    wait_for(of(Part::Shipping), &shipping, OrderState::Shipping).await?;
    let preparing = place(Part::Preparing, &long).await?;
    ensure!(pay(Part::Preparing, &preparing, "pm_card_approve").await.is_ok(), "a good card");

    // The last two payments follow so closely that the first one's event is not told yet when the
    // second one ends the process.
    shop.mesh.set_env(Service::Order, "FIRSTCOME_FAILPOINT", Some("pay.after_pin@2"));
    shop.mesh.restart(Service::Order).await?;
    place(Part::Overdue, &short).await?;
    ensure!(pay(Part::Untold, &untold, "pm_card_approve").await.is_ok(), "a good card");
    ensure!(pay(Part::Paying, &paying, "pm_card_approve").await.is_err(), "order dies");
    shop.mesh.wait_until_ended(Service::Order, PATIENCE).await?;
    ensure!(untold_events(shop.mesh.stores()).await? > 0, "every event was told; try again");
    Ok(())
}

async fn wait_for(buyer: &Buyer, order: &str, state: OrderState) -> Result<()> {
    let reached = || async { buyer.order(order).await.is_ok_and(|order| order.state() >= state) };
    firstcome_testkit::eventually(PATIENCE, reached).await;
    Ok(())
}

/// Events that no stream has.
pub async fn untold_events(stores: &Stores) -> Result<i64> {
    let mut order = PgConnection::connect(&stores.database_url(Role::Order)).await?;
    let sql = "select count(*) from outbox where published_at is null";
    Ok(sqlx::query_scalar(sql).fetch_one(&mut order).await?)
}

/// How many migrations each schema has had, by its own record.
pub async fn migrations(stores: &Stores) -> Result<BTreeMap<Role, i64>> {
    let mut counts = BTreeMap::new();
    for role in Role::ALL {
        let mut connection = PgConnection::connect(&stores.database_url(role)).await?;
        let sql = "select count(*) from _sqlx_migrations where success";
        counts.insert(role, sqlx::query_scalar(sql).fetch_one(&mut connection).await?);
    }
    Ok(counts)
}

/// How many migrations the tree has for each schema.
pub fn migrations_here() -> Result<BTreeMap<Role, i64>> {
    let root = Checkout::here().root().join("services");
    let count = |role| {
        let folder = match role {
            Role::User => "user/migrations",
            Role::Inventory => "inventory/migrations",
            Role::Order => "order/migrations",
            Role::Payment => "payment/migrations",
            Role::Sandbox => "payment/sandbox-migrations",
        };
        let entries = std::fs::read_dir(root.join(folder)).context(folder)?;
        Ok((role, i64::try_from(entries.count())?))
    };
    Role::ALL.into_iter().map(count).collect()
}

/// Loads the committed one into empty schemas, as if it had been taken now, and leaves its secrets
/// where a mesh finds them.
pub async fn load(stores: &Stores, secrets: &Path) -> Result<()> {
    secret::Secrets::open(secrets)?;
    let mut taken = None;
    for line in COMMITTED.lines().take_while(|line| !line.starts_with(ROLE)) {
        if let Some(ms) = line.strip_prefix(TAKEN) {
            let nanos = ms.parse::<i128>()? * 1_000_000;
            taken = Some(OffsetDateTime::from_unix_timestamp_nanos(nanos)?);
        } else if let Some((name, value)) =
            line.strip_prefix(SECRET).and_then(|rest| rest.split_once(' '))
        {
            secret::write_private(&secrets.join(name), value)?;
        }
    }
    let age = OffsetDateTime::now_utc() - taken.context("a dump says when it was taken")?;
    for section in COMMITTED.split(ROLE).skip(1) {
        let (name, sql) = section.split_once('\n').context("a section has a name")?;
        let Some(role) = Role::named(name) else { bail!("no role {name}") };
        let mut connection = PgConnection::connect(&stores.database_url(role)).await?;
        let moved = moved(sql, age);
        connection.execute(AssertSqlSafe(moved)).await.with_context(|| format!("load {role}"))?;
        connection.close().await?;
    }
    Ok(())
}

/// The same text with every instant moved by so much.
fn moved(text: &str, by: time::Duration) -> String {
    let mut moved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(end) = rest.find(INSTANT_END) {
        let start = rest[..end].rfind('\'').map_or(0, |quote| quote + 1);
        moved += &rest[..start];
        let literal = &rest[start..end];
        match time::PrimitiveDateTime::parse(literal, INSTANT) {
            Ok(instant) => {
                let instant = (instant + by).assume_offset(UtcOffset::UTC);
                moved += &instant.format(INSTANT).expect("what was read can be written");
            }
            Err(_) => moved += literal,
        }
        moved += INSTANT_END;
        rest = &rest[end + INSTANT_END.len()..];
    }
    moved + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_move_and_nothing_else_does() {
        let text =
            "VALUES ('a+00', '2026-11-22 23:59:59.5+00', 'it''s', '2026-11-22 04:00:00+00');";
        let later = moved(text, time::Duration::seconds(2));
        let wanted =
            "VALUES ('a+00', '2026-11-23 00:00:01.5+00', 'it''s', '2026-11-22 04:00:02.0+00');";
        assert_eq!(later, wanted);
    }
}
