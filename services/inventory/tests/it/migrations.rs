//! Databases that were made elsewhere.

use firstcome_inventory::store::Store;
use firstcome_testkit::stores;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use uuid::Uuid;

/// A database that nobody has prepared but for the schema; gives the owner's address.
async fn bare(administrator: &mut PgConnection, like: &str) -> (String, String) {
    let name = format!("bare_{}", Uuid::new_v4().simple());
    administrator.execute(AssertSqlSafe(format!("create database {name}"))).await.unwrap();
    let database = stores().await.postgres().database();
    let mut inside = database.connect_as_admin(&name).await.unwrap();
    inside.execute("create schema fc_inventory authorization fc_inventory").await.unwrap();
    inside.close().await.unwrap();
    let (server, _) = like.rsplit_once('/').unwrap();
    (format!("{server}/{name}"), name)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_create_the_extension_is_told_what_to_do() {
    let shop = crate::it::app::Shop::open().await;
    let database = stores().await.postgres().database();
    let mut administrator = database.connect_as_admin("postgres").await.unwrap();
    let (url, name) = bare(&mut administrator, &shop.database.url).await;

    let refused = Store::migrate(&url.clone().into()).await.expect_err("may not create");
    let told = format!("{refused:?}");
    assert!(told.contains("inventory needs the extension pg_trgm"), "{told}");
    assert!(told.contains("create extension pg_trgm"), "{told}");

    // The right to create in the database is enough, as it is for any owner.
    let grant = format!("grant create on database {name} to fc_inventory");
    administrator.execute(AssertSqlSafe(grant)).await.unwrap();
    Store::migrate(&url.into()).await.unwrap();
}
