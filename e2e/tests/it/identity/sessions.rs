//! Sessions: how they go on, and how they end.

use std::time::Duration;

use firstcome_e2e::{
    Shop,
    member::{Member, PASSWORD},
    shop::Terms,
};
use firstcome_local::{
    Replica, Role, Service,
    process::{self, Signal},
};
use firstcome_proto::{
    Reason, Refusal,
    user_v1::{
        ListSessionsRequest, LogOutEverywhereRequest, LogOutRequest, RefreshSessionRequest,
        RevokeSessionRequest,
    },
};
use firstcome_testkit::eventually;
use sqlx::PgPool;
use tokio::time::Instant;

use super::{PATIENCE, QUICK, REVOKED_WITHIN, profile, until_refused};

/// Instead of a minute.
const STALE_MAX: Duration = Duration::from_secs(4);

/// A process that is there and answers nobody, until this is dropped.
struct Hanging(u32);

impl Hanging {
    async fn of(shop: &Shop, service: Service) -> Self {
        let pid = shop.mesh.replica(service, 1).unwrap().pid().await.unwrap();
        process::signal(pid, Signal::STOP);
        Self(pid)
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        process::signal(self.0, Signal::CONT);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_spent_once_and_its_theft_ends_the_session() {
    let shop = Shop::own(&QUICK).await.unwrap();
    let mut member = Member::join(&shop).await.unwrap();
    let spent = member.tokens.refresh_token.clone();
    // Two at once with one token are one rotation, told twice.
    let mut twin = member.clone();
    let (one, two) = tokio::join!(member.refresh(), twin.refresh());
    one.unwrap();
    two.unwrap();
    assert_eq!(member.tokens.refresh_token, twin.tokens.refresh_token);
    assert!(profile(&member).await.is_ok());

    // A lost answer is told again for a while; afterwards the token is a thief's.
    let spend = || async {
        let request = RefreshSessionRequest { refresh_token: spent.clone() };
        let answer = member.accounts().refresh_session(request).await;
        answer.map_err(|status| Refusal::from_status(&status).reason())
    };
    eventually(PATIENCE, || async { spend().await.is_err() }).await;
    assert_eq!(spend().await.unwrap_err(), Reason::TokenRevoked);
    let refusal = twin.refresh().await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::TokenRevoked, "the whole family is dead");
    let took = until_refused(&member).await;
    assert!(took <= REVOKED_WITHIN, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_logged_out_within_a_second_and_nothing_brings_it_back() {
    let shop = Shop::own(&[]).await.unwrap();
    let phone = Member::join(&shop).await.unwrap();
    let on = |device: &'static str| Member::on_device(&shop, &phone.email, PASSWORD, device);
    let (laptop, tablet) = (on("laptop").await.unwrap(), on("tablet").await.unwrap());

    let list = || async {
        let request = laptop.call(ListSessionsRequest::default());
        laptop.accounts().list_sessions(request).await.unwrap().into_inner().sessions
    };
    let sessions = list().await;
    let devices: Vec<_> = sessions.iter().map(|session| session.device.as_str()).collect();
    assert_eq!(devices, ["tablet", "laptop", "first device"]);
    let current: Vec<_> = sessions.iter().filter(|session| session.is_current).collect();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0].client_address, laptop.address);

    // One's own, then another one's by its id.
    let other_edge = Replica::start(shop.mesh.address(), Service::Edge, 2).await.unwrap();
    let beside = phone.through(other_edge.endpoint()).unwrap();
    assert!(profile(&beside).await.is_ok());
    phone.accounts().log_out(phone.call(LogOutRequest {})).await.unwrap();
    let (here, there) = tokio::join!(until_refused(&phone), until_refused(&beside));
    assert!(here.max(there) <= REVOKED_WITHIN, "on every edge: {here:?}, {there:?}");
    let session_id = sessions[0].session_id.clone();
    let revoke = RevokeSessionRequest { session_id };
    laptop.accounts().revoke_session(laptop.call(revoke.clone())).await.unwrap();
    laptop.accounts().revoke_session(laptop.call(revoke)).await.unwrap();
    let took = until_refused(&tablet).await;
    assert!(took <= REVOKED_WITHIN, "{took:?}");
    assert_eq!(list().await.len(), 1);
    assert!(profile(&laptop).await.is_ok());

    // Neither the loss of Redis nor a new edge knows less.
    shop.mesh.stores().redis().unwrap().flush_all().await.unwrap();
    shop.mesh.restart(Service::Edge).await.unwrap();
    for gone in [&phone, &tablet] {
        let refusal = profile(gone).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::TokenRevoked);
    }
    assert!(profile(&laptop).await.is_ok(), "nobody is logged out by it");
    let mut laptop = laptop;
    laptop.refresh().await.unwrap();
    let mut gone = phone.clone();
    let refusal = gone.refresh().await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::TokenRevoked, "no refresh token comes back to life");
    assert!(profile(&laptop).await.is_ok(), "the session goes on");

    laptop.accounts().log_out_everywhere(laptop.call(LogOutEverywhereRequest {})).await.unwrap();
    let took = until_refused(&laptop).await;
    assert!(took <= REVOKED_WITHIN, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_cannot_hear_of_ends_believes_tokens_for_its_time_and_no_longer() {
    let stale_max = format!("{}s", STALE_MAX.as_secs());
    let stale = (Service::Edge, "FIRSTCOME_REVOCATIONS_STALE_MAX", stale_max.as_str());
    let shop = Shop::own(&[stale]).await.unwrap();
    let sale = shop.sell(Terms::of(1)).await.unwrap();
    let lost = Member::join(&shop).await.unwrap();
    let kept = Member::on_device(&shop, &lost.email, PASSWORD, "kept").await.unwrap();
    // `order` answers these; of `user`, only the edge's word on the token is asked.
    let orders = async |member: &Member| member.buyer().newest_orders().await;
    for member in [&lost, &kept] {
        orders(member).await.unwrap();
    }

    // As another replica of `user` would: the row is there, and this edge does not hear of it.
    let pool = PgPool::connect(shop.mesh.address().database_url(Role::User)).await.unwrap();
    let hanging = Hanging::of(&shop, Service::User).await;
    let since = Instant::now();
    let end = "update sessions set ended_at = clock_timestamp()
        where session_id = (select session_id from sessions where user_id = $1
                            order by created_at limit 1)";
    let ended = sqlx::query(end).bind(lost.user.0).execute(&pool).await.unwrap();
    assert_eq!(ended.rows_affected(), 1);
    if since.elapsed() < STALE_MAX / 2 {
        orders(&kept).await.unwrap();
    }

    // In its time both are refused: it cannot tell the one from the other.
    for member in [&lost, &kept] {
        let shut = || async {
            let refused = orders(member).await.err();
            refused.is_some_and(|refusal| refusal.reason() == Reason::UpstreamUnavailable)
        };
        eventually(PATIENCE, shut).await;
    }
    let took = since.elapsed();
    assert!(took <= STALE_MAX + REVOKED_WITHIN, "{took:?}");
    let refusal = orders(&kept).await.unwrap_err();
    assert!(refusal.retry_after.is_some(), "and says when to come again: {refusal:?}");
    assert!(shop.stock(&sale).await.is_ok(), "what anybody may ask goes on");

    drop(hanging);
    eventually(PATIENCE, || async { orders(&kept).await.is_ok() }).await;
    let refusal = orders(&lost).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::TokenRevoked, "at the first word that is heard");
}
