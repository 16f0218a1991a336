use std::time::{Duration, Instant};

use firstcome_redis::RedisPool;
use firstcome_testkit as testkit;
use fred::{
    interfaces::{KeysInterface as _, StreamsInterface as _},
    types::Value,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_waits_delays_nobody_else() {
    let stores = testkit::stores().await;
    let pool = RedisPool::connect(stores.redis_url()).await.expect("the cluster is up");
    let key = format!("fc:{{{}}}:test", uuid::Uuid::new_v4());
    let apart = pool.apart();
    let wait = apart.on_shard_of(&key, |client| {
        let key = format!("{key}:stream");
        async move { client.xread(None, Some(800), key, "$").await }
    });
    let started = Instant::now();
    let (nothing, quickest) = tokio::join!(wait, async {
        let asked = Instant::now();
        let key = key.as_str();
        let _: i64 = pool
            .on_shard_of(key, |client| async move { client.incr(key).await })
            .await
            .expect("answers");
        asked.elapsed()
    });
    let nothing: Value = nothing.expect("ends without an entry");
    assert!(nothing.is_null(), "{nothing:?}");
    assert!(started.elapsed() >= Duration::from_millis(800), "it waited");
    assert!(quickest < Duration::from_millis(400), "the other was answered after {quickest:?}");
    apart.close().await;
}
