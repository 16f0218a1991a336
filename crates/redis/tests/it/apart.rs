use firstcome_redis::{Apart, RedisPool};
use firstcome_testkit as testkit;
use fred::{interfaces::StreamsInterface as _, types::Value};

/// On a busy machine an entry may come too late for a read that waits a second.
const TRIES_MAX: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_waits_delays_nobody_else() {
    let stores = testkit::stores().await;
    let pool = RedisPool::connect(stores.redis_url()).await.expect("the cluster is up");
    let apart = pool.apart();
    let block_ms = u64::try_from(Apart::BLOCK_MAX.as_millis()).expect("a second");
    for _ in 0..TRIES_MAX {
        let key = format!("fc:{{{}}}:test", uuid::Uuid::new_v4());
        let key = key.as_str();
        // It begins to wait first, and ends early only if the other gets past it.
        let (read, written) = tokio::join!(
            apart.on_shard_of(key, |client| async move {
                client.xread(None, Some(block_ms), key, "0").await
            }),
            pool.on_shard_of(key, |client| async move {
                client.xadd(key, false, None::<()>, "*", ("field", "value")).await
            }),
        );
        if let (Ok(Value::Array(_)), Ok(Value::String(_))) = (read, written) {
            apart.close().await;
            return;
        }
    }
    panic!("every read waited to its end");
}
