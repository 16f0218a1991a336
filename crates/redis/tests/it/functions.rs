use bytes::Bytes;
use firstcome_mesh::metrics;
use firstcome_redis::{Error, RedisPool};
use firstcome_testkit as testkit;
use fred::{
    interfaces::{FunctionInterface as _, KeysInterface as _},
    types::Value,
};

const LIBRARY: &str = r#"#!lua name=firstcome_redis_test
redis.register_function('redis_test_bump_1', function(keys, args)
    return { redis.call('INCRBY', keys[1], args[1]), args[2] }
end)
redis.register_function('redis_test_fail_1', function(keys, args)
    return redis.error_reply('ERR stock is not a number')
end)
"#;

async fn connect() -> RedisPool {
    let stores = testkit::stores().await;
    let pool = RedisPool::connect(stores.redis_url()).await.expect("the cluster is up");
    pool.with_library(LIBRARY)
}

fn key() -> String {
    format!("fc:{{{}}}:test", uuid::Uuid::new_v4())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_function_is_loaded_where_it_is_called() {
    let pool = connect().await;
    for count in 1..=3_u8 {
        // Sixteen random keys reach every shard; whoever lacks the library gets it.
        for key in (0..16).map(|_| key()) {
            let args = vec![Bytes::from("7"), Bytes::from(vec![0, 255, count])];
            let answer = pool.fcall("redis_test_bump_1", vec![key], args).await.expect("runs");
            let Value::Array(values) = answer else { panic!("{answer:?}") };
            assert_eq!(values[0], Value::Integer(7));
            assert_eq!(values[1].as_bytes(), Some(&[0, 255, count][..]));
        }
        let () = pool.commands().function_flush_cluster(false).await.expect("flushes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_function_is_told_with_its_message() {
    let pool = connect().await;
    pool.load_library().await.expect("loads");
    match pool.fcall("redis_test_fail_1", vec![key()], vec![]).await {
        Err(Error::Script(message)) => assert_eq!(message, "ERR stock is not a number"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_of_no_library_is_told_by_name() {
    let pool = connect().await;
    match pool.fcall("redis_test_unknown_1", vec![key()], vec![]).await {
        Err(Error::MissingFunction(name)) => assert_eq!(name, "redis_test_unknown_1"),
        other => panic!("{other:?}"),
    }
    let counted = "\nfirstcome_redis_call_failures_total{kind=\"missing_function\"} 1\n";
    assert!(metrics::text().contains(counted), "{}", metrics::text());
}

#[tokio::test(flavor = "multi_thread")]
async fn ordinary_commands_go_through_the_same_connections() {
    let pool = connect().await;
    let key = key();
    let () = pool.commands().set(&key, "v", None, None, false).await.expect("sets");
    assert_eq!(pool.commands().get::<String, _>(&key).await.expect("gets"), "v");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_no_cluster_is_refused_at_once() {
    for url in ["redis://127.0.0.1:6379", "nonsense"] {
        let error = RedisPool::connect(url).await.err().expect(url);
        assert!(matches!(error, Error::Address(_)), "{error}");
    }
}
