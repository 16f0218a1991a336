//! What other crates' tests rely on.

use std::time::Duration;

use firstcome_testkit as testkit;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("tests/migrations");

#[tokio::test(flavor = "multi_thread")]
async fn each_test_has_a_database_of_its_own() {
    let stores = testkit::stores().await;
    for _ in 0..3 {
        let database = stores.database("fc_order", &MIGRATIONS).await;
        let insert = "insert into things (name) values ('only here')";
        sqlx::query(insert).execute(&database.pool).await.expect("the table is there and empty");
        let other = sqlx::PgPool::connect(&database.url).await.expect("the url works");
        let count: i64 = sqlx::query_scalar("select count(*) from fc_order.things")
            .fetch_one(&other)
            .await
            .expect("the table lies in the service's schema");
        assert_eq!(count, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stores_outlive_the_test_that_started_them() {
    let stores = testkit::stores().await;
    let before = stores.redis().pids().await;
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let after = runtime.block_on(async {
            let stores = testkit::stores().await;
            stores.redis().wait_until_ready().await.expect("ready");
            stores.redis().pids().await
        });
        assert_eq!(after, before);
    })
    .join()
    .expect("the second test passes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_is_waited_for() {
    let mut looks = 0;
    testkit::eventually(Duration::from_secs(5), || {
        looks += 1;
        let holds = looks == 3;
        async move { holds }
    })
    .await;
    assert_eq!(looks, 3);
}
