use std::time::{Duration, Instant};

use firstcome_local::{Checkout, Stores, checkout};
use firstcome_redis::RedisPool;
use fred::interfaces::KeysInterface as _;

/// Five seconds until the others agree that a node is gone, an election, and the way back.
const FAILOVER_MAX: Duration = Duration::from_secs(15);

/// Works until it succeeds; says how long that took.
async fn bump(pool: &RedisPool, key: &str) -> Duration {
    let started = Instant::now();
    while started.elapsed() < FAILOVER_MAX {
        let bumped: Result<i64, _> =
            pool.on_shard_of(key, |client| async move { client.incr(key).await }).await;
        if bumped.is_ok() {
            return started.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{key} cannot be written after {FAILOVER_MAX:?}");
}

async fn start() -> Stores {
    let folder = checkout::create_throwaway_folder().expect("a folder");
    Stores::start_throwaway(&Checkout::here(), &folder, true).await.expect("starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_primary_stops_its_own_shard_only() {
    let stores = start().await;
    let redis = stores.redis().expect("private");
    let pool = RedisPool::connect(stores.redis_url()).await.expect("connects");
    let (mine, other) = ("fc:{a}:test", "fc:{b}:test");
    let dead = redis.node_serving(mine).await.expect("served");
    assert_ne!(dead, redis.node_serving(other).await.expect("served"));

    bump(&pool, mine).await;
    bump(&pool, other).await;
    redis.kill9(dead).await;
    let longest_of_other = async {
        let mut longest = Duration::ZERO;
        while redis.node_serving(mine).await.ok().is_none_or(|place| place == dead) {
            longest = longest.max(bump(&pool, other).await);
        }
        longest
    };
    let (longest, mine) = tokio::join!(longest_of_other, bump(&pool, mine));
    println!("the other shard at most {longest:?}, its own {mine:?}");
    assert!(longest < Duration::from_secs(1), "the other shard waited {longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_moves_is_followed() {
    let stores = start().await;
    let redis = stores.redis().expect("private");
    let pool = RedisPool::connect(stores.redis_url()).await.expect("connects");
    let key = "fc:{a}:test";
    let before = redis.node_serving(key).await.expect("served");
    bump(&pool, key).await;
    redis.hand_over(key).await.expect("a replica takes over");
    let mut bumped = 1;
    while redis.node_serving(key).await.expect("served") == before {
        bump(&pool, key).await;
        bumped += 1;
    }
    // The old primary lives on as a replica and sends everybody away.
    bump(&pool, key).await;
    let count: i64 = pool
        .on_shard_of(key, |client| async move { client.get(key).await })
        .await
        .expect("the successor answers at once");
    assert_eq!(count, bumped + 1);
}
