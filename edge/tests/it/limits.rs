//! How much one address and one user may ask for, and when the edge is full.

use bytes::Bytes;
use firstcome_proto::{
    Reason, Refusal,
    inventory_v1::{
        GetProductRequest, GetProductResponse, catalog_service_client::CatalogServiceClient,
    },
    order_v1::{GetOrderRequest, GetOrderResponse, order_service_client::OrderServiceClient},
    user_v1::{LogInRequest, LogInResponse, account_service_client::AccountServiceClient},
};
use http::HeaderMap;
use tonic::{Code, Status};

use crate::mesh::{Mesh, by, raw, reason, unary, until, with};

const GET_PRODUCT: &str = "inventory.v1.CatalogService/GetProduct";
const GET_ORDER: &str = "order.v1.OrderService/GetOrder";

fn check_limited(status: &Status) {
    assert_eq!(reason(status), Reason::RateLimited);
    assert_eq!(status.code(), Code::ResourceExhausted);
    let wait = Refusal::from_status(status).retry_after.expect("RetryInfo");
    assert!(wait.seconds > 1000, "{wait:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_limited_and_a_trusted_proxy_speaks_for_many() {
    let mesh = Mesh::start_with(|config| {
        // Readiness is asked for from 127.0.0.1, so the tests below come from elsewhere.
        config.address_limit = "1/h burst 300".parse().unwrap();
        config.credentials_limit = "1/h burst 2".parse().unwrap();
        config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    mesh.scripts.on(GET_PRODUCT, |_| async { unary(&GetProductResponse::default()) });
    mesh.scripts.on("user.v1.AccountService/LogIn", |_| async { unary(&LogInResponse::default()) });
    let mut accounts = AccountServiceClient::new(mesh.channel());
    let mut catalog = CatalogServiceClient::new(mesh.channel());
    let log_in = LogInRequest::default;

    for call in 0..3 {
        let from = [("x-forwarded-for", "203.0.113.7")];
        let answer = accounts.log_in(with(log_in(), &from)).await;
        match call {
            0 | 1 => drop(answer.expect("within the burst")),
            _ => check_limited(&answer.expect_err("the burst is spent")),
        }
    }
    let from = [("x-forwarded-for", "203.0.113.7")];
    catalog.get_product(with(GetProductRequest::default(), &from)).await.expect("reads go on");
    // The stranger's own word, left of the proxy's, does not help.
    let from = [("x-forwarded-for", "198.51.100.1, 203.0.113.7")];
    check_limited(&accounts.log_in(with(log_in(), &from)).await.expect_err("still the same"));
    let from = [("x-forwarded-for", "203.0.113.8")];
    accounts.log_in(with(log_in(), &from)).await.expect("another address");
    assert_eq!(mesh.scripts.asked("user.v1.AccountService/LogIn").len(), 3);

    let from = [("x-forwarded-for", "203.0.113.9")];
    let mut refused = 0;
    for _ in 0..310 {
        let answer = catalog.get_product(with(GetProductRequest::default(), &from)).await;
        if let Err(status) = answer {
            check_limited(&status);
            refused += 1;
        }
    }
    assert_eq!(refused, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tries_secrets_or_sends_mails_is_counted_more_closely() {
    let mesh = Mesh::start_with(|config| {
        config.credentials_limit = "1/h burst 7".parse().unwrap();
        config.mails_limit = "1/h burst 3".parse().unwrap();
        config.password_limit = "1/h burst 2".parse().unwrap();
    })
    .await;
    let account = |method: &str| format!("/firstcome.user.v1.AccountService/{method}");
    let call = async |path: &str, token: Option<&str>| {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        raw(mesh.channel(), path, headers, Bytes::from_static(&[0; 5])).await
    };
    // Nobody answers behind the edge: what passes is NO_SUCH_METHOD.
    let table = [
        ("SignUp", true),
        ("ResendVerification", true),
        ("RequestPasswordReset", true),
        ("SignUp", false),
        ("RequestPasswordReset", false),
        ("LogIn", true),
        ("VerifyEmail", true),
        ("ResetPassword", false),
        ("LogIn", false),
        ("RefreshSession", true),
    ];
    for (place, (method, passes)) in table.into_iter().enumerate() {
        let status = call(&account(method), None).await;
        match passes {
            true => assert_eq!(reason(&status), Reason::NoSuchMethod, "{place} {method}"),
            false => check_limited(&status),
        }
    }
    let delete = "/firstcome.user.v1.ProfileService/DeleteAccount";
    let (thief, neighbour) = (mesh.token(), mesh.token());
    for path in [&*account("ChangePassword"), delete] {
        assert_eq!(reason(&call(path, Some(&thief)).await), Reason::NoSuchMethod, "{path}");
    }
    for path in [&*account("ChangePassword"), delete] {
        check_limited(&call(path, Some(&thief)).await);
        assert_eq!(reason(&call(path, Some(&neighbour)).await), Reason::NoSuchMethod, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_cannot_choose_its_address() {
    let mesh = Mesh::start_with(|config| {
        config.credentials_limit = "1/h burst 2".parse().unwrap();
    })
    .await;
    mesh.scripts.on("user.v1.AccountService/LogIn", |_| async { unary(&LogInResponse::default()) });
    let mut accounts = AccountServiceClient::new(mesh.channel());
    for call in 0..5 {
        let address = format!("203.0.113.{call}");
        let request = with(LogInRequest::default(), &[("x-forwarded-for", &address)]);
        match accounts.log_in(request).await {
            Ok(_) => assert!(call < 2),
            Err(status) => check_limited(&status),
        }
    }
    assert_eq!(mesh.scripts.asked("user.v1.AccountService/LogIn").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_limited_from_however_many_connections() {
    let mesh = Mesh::start_with(|config| {
        config.user_limit = "1/h burst 4".parse().unwrap();
    })
    .await;
    mesh.scripts.on(GET_ORDER, |_| async { unary(&GetOrderResponse::default()) });
    let user = uuid::Uuid::new_v4();
    for call in 0..6 {
        let mut orders = OrderServiceClient::new(mesh.channel());
        let token = mesh.signer.token(user);
        match orders.get_order(by(&token, GetOrderRequest::default())).await {
            Ok(_) => assert!(call < 4),
            Err(status) => check_limited(&status),
        }
    }
    let mut orders = OrderServiceClient::new(mesh.channel());
    orders.get_order(by(&mesh.token(), GetOrderRequest::default())).await.expect("another user");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_edge_says_so_at_once() {
    let mesh = Mesh::start_with(|config| config.calls_max = 2).await;
    let (release, held) = tokio::sync::watch::channel(false);
    mesh.scripts.on(GET_PRODUCT, move |_| {
        let mut held = held.clone();
        async move {
            held.wait_for(|released| *released).await.unwrap();
            unary(&GetProductResponse::default())
        }
    });
    let catalog = CatalogServiceClient::new(mesh.channel());
    let inside: Vec<_> = (0..2)
        .map(|_| {
            let mut catalog = catalog.clone();
            tokio::spawn(async move { catalog.get_product(GetProductRequest::default()).await })
        })
        .collect();
    until("both are inside", async || mesh.scripts.asked(GET_PRODUCT).len() == 2).await;
    let status = catalog.clone().get_product(GetProductRequest::default()).await;
    let status = status.expect_err("no place");
    assert_eq!(reason(&status), Reason::Overloaded);
    assert!(Refusal::from_status(&status).retry_after.is_some());
    release.send(true).unwrap();
    for call in inside {
        call.await.unwrap().expect("who was inside is answered");
    }
    catalog.clone().get_product(GetProductRequest::default()).await.expect("places are free");
}
