//! Devices: which are logged in, and how they are logged out.

use firstcome_proto::{
    Reason,
    user_v1::{
        ListSessionsRequest, ListSessionsResponse, LogInRequest, LogOutEverywhereRequest,
        RefreshSessionRequest, RevokeSessionRequest, Session, TokenPair,
    },
};
use futures::future::join_all;
use tonic::{Request, Status};
use uuid::Uuid;

use super::harness::{PASSWORD, Shop, address, assert_refused, from, log_in_request};

async fn list(shop: &Shop, tokens: &TokenPair, size: i32, page: &str) -> ListSessionsResponse {
    let request = ListSessionsRequest { page_size: size, page_token: page.into() };
    let request = shop.by(tokens, request).await;
    shop.accounts.clone().list_sessions(request).await.expect("a page").into_inner()
}

async fn revoke(shop: &Shop, tokens: &TokenPair, session: &str) -> Result<(), Status> {
    let request = RevokeSessionRequest { session_id: session.into() };
    let request = shop.by(tokens, request).await;
    shop.accounts.clone().revoke_session(request).await.map(drop)
}

async fn log_in_on(shop: &Shop, device: &str, client: &str, email: &str) -> TokenPair {
    let request = LogInRequest {
        device: device.into(),
        ..log_in_request(email, PASSWORD, &Uuid::new_v4().to_string())
    };
    let request = from(client, Request::new(request));
    let answer = shop.accounts.clone().log_in(request).await.expect("a log-in").into_inner();
    answer.tokens.expect("tokens")
}

fn names(sessions: &[Session]) -> Vec<&str> {
    sessions.iter().map(|session| session.device.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_sees_its_devices_latest_used_first() {
    let shop = Shop::open().await;
    let email = address();
    let first = shop.member(&email).await;
    shop.member(&address()).await;
    let phone = log_in_on(&shop, "Ann's phone", "192.0.2.1", &email).await;
    log_in_on(&shop, "앤의 노트북", "2001:db8::1", &email).await;
    let request = RefreshSessionRequest { refresh_token: phone.refresh_token.clone() };
    let request = from("192.0.2.7", Request::new(request));
    shop.accounts.clone().refresh_session(request).await.expect("a refresh");

    let page = list(&shop, &phone, 0, "").await;
    assert_eq!(names(&page.sessions), ["Ann's phone", "앤의 노트북", ""]);
    let addresses: Vec<_> = page.sessions.iter().map(|it| it.client_address.as_str()).collect();
    assert_eq!(addresses, ["192.0.2.7", "2001:db8::1", ""]);
    let current: Vec<_> = page.sessions.iter().map(|session| session.is_current).collect();
    assert_eq!(current, [true, false, false]);
    assert_eq!(page.next_page_token, "");

    // Page by page they are the same.
    let (mut paged, mut token) = (Vec::new(), String::new());
    loop {
        let page = list(&shop, &phone, 1, &token).await;
        assert_eq!(page.sessions.len(), 1);
        paged.extend(page.sessions);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, page.sessions);

    // Without a client address the last one is unknown again.
    shop.refresh(&first).await.expect("a refresh");
    let page = list(&shop, &phone, 0, "").await;
    assert_eq!(names(&page.sessions), ["", "Ann's phone", "앤의 노트북"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_device_is_logged_out_and_the_others_stay() {
    let shop = Shop::open().await;
    let (email, strange) = (address(), address());
    let laptop = shop.member(&email).await;
    let phone = log_in_on(&shop, "phone", "192.0.2.1", &email).await;
    let stranger = shop.member(&strange).await;
    let lost = shop.claims(&phone.access_token).await.sid;
    assert_refused(revoke(&shop, &stranger, &lost).await, Reason::NotFound);
    assert_refused(revoke(&shop, &laptop, &Uuid::nil().to_string()).await, Reason::NotFound);
    assert_refused(revoke(&shop, &laptop, "phone").await, Reason::InvalidArgument);
    for _ in 0..2 {
        revoke(&shop, &laptop, &lost).await.expect("logged out");
    }
    assert_refused(shop.refresh(&phone).await, Reason::TokenRevoked);
    assert_eq!(list(&shop, &laptop, 0, "").await.sessions.len(), 1);
    shop.refresh(&laptop).await.expect("the other one goes on");

    // What the lost one told of itself is erased.
    let traces = "select count(*) from sessions
         where ended_at is not null and num_nonnulls(device_sealed, address_sealed) > 0";
    let traces = sqlx::query_scalar::<_, i64>(traces).fetch_one(&shop.database.pool).await;
    assert_eq!(traces.expect("a count"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_out_everywhere_ends_this_device_too() {
    let shop = Shop::open().await;
    let email = address();
    let mut devices = vec![shop.member(&email).await];
    for number in 0..4 {
        devices.push(log_in_on(&shop, &format!("device {number}"), "192.0.2.1", &email).await);
    }
    let stranger = shop.member(&address()).await;
    // Two at once end the same sessions, and wait for each other in one order.
    let calls = devices.iter().map(|tokens| async {
        let request = shop.by(tokens, LogOutEverywhereRequest {}).await;
        shop.accounts.clone().log_out_everywhere(request).await
    });
    for answer in join_all(calls).await {
        answer.expect("logged out");
    }
    for tokens in &devices {
        assert_refused(shop.refresh(tokens).await, Reason::TokenRevoked);
    }
    shop.refresh(&stranger).await.expect("nobody else");
    shop.log_in(&email, PASSWORD, "again").await.expect("a new session");
}
