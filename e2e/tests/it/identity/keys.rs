//! Keys that change while people come in.

use std::time::Duration;

use firstcome_e2e::{
    Shop,
    member::{Member, PASSWORD},
};
use firstcome_local::{Role, Service};
use sqlx::PgPool;
use tokio::time::Instant;

use super::{PATIENCE, profile};

const OLD_KEY: &str = "1:0101010101010101010101010101010101010101010101010101010101010101";
const NEW_KEY: &str = "2:0202020202020202020202020202020202020202020202020202020202020202";

#[tokio::test(flavor = "multi_thread")]
async fn keys_change_while_people_log_in_and_nobody_notices() {
    const KEYS: &str = "FIRSTCOME_DATA_KEYS";
    let shop = Shop::own(&[(Service::User, KEYS, OLD_KEY)]).await.unwrap();
    let members = futures::future::join_all((0..3).map(|_| Member::join(&shop))).await;
    let members: Vec<Member> = members.into_iter().map(Result::unwrap).collect();
    let both = format!("{NEW_KEY},{OLD_KEY}");
    shop.mesh.set_env(Service::User, KEYS, Some(&both));
    shop.mesh.restart(Service::User).await.unwrap();
    assert!(under_old_key(&shop).await >= 3, "who signed up before");
    let stop = tokio_util::sync::CancellationToken::new();
    let busy = members.iter().map(|member| {
        let (shop, stop) = (&shop, stop.clone());
        async move {
            let mut rounds = 0;
            while !stop.is_cancelled() {
                let device = Member::on_device(shop, &member.email, PASSWORD, "").await.unwrap();
                assert_eq!(profile(&device).await.unwrap().email, member.email);
                assert!(profile(member).await.is_ok(), "old tokens live on");
                rounds += 1;
            }
            rounds
        }
    });
    let address = shop.mesh.address();
    let rotate = async {
        let deadline = Duration::from_secs(60);
        address.run(Service::User, &["rotate-signing-key"], deadline).await.unwrap();
        let mut newest = members[0].clone();
        let before = kid(&newest.tokens.access_token);
        let started = Instant::now();
        while kid(&newest.tokens.access_token) == before {
            assert!(started.elapsed() < PATIENCE, "the new key signs");
            tokio::time::sleep(Duration::from_millis(200)).await;
            newest.refresh().await.unwrap();
        }
        assert!(profile(&newest).await.is_ok(), "the edge knows the new key");
        let reseal = address.launch(Service::User, "rotate-keys").env([(KEYS, both.as_str())]);
        reseal.run(deadline).await.unwrap();
        stop.cancel();
    };
    let (rounds, ()) = tokio::join!(futures::future::join_all(busy), rotate);
    assert!(rounds.iter().all(|rounds| *rounds > 0), "{rounds:?}");
    assert_eq!(under_old_key(&shop).await, 0);
}

/// Accounts whose address only the old key opens.
async fn under_old_key(shop: &Shop) -> i64 {
    let url = shop.mesh.address().database_url(Role::User);
    let pool = PgPool::connect(url).await.unwrap();
    let sql = "select count(*) from users
        where substring(email_sealed from 1 for 4) = decode('00000001', 'hex')";
    sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap()
}

/// Which key signed a token.
fn kid(token: &str) -> Option<String> {
    jsonwebtoken::decode_header(token).unwrap().kid
}
