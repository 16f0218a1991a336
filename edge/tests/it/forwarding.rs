//! Ordinary methods: what passes, what does not, and that nothing is changed on the way.

use std::time::Duration;

use bytes::Bytes;
use firstcome_edge::wire;
use firstcome_proto::{
    Reason, Refusal,
    access::{self, Access},
    inventory_v1::{
        CreateProductRequest, GetProductRequest, GetProductResponse, Product,
        catalog_service_client::CatalogServiceClient,
    },
    order_v1::{PayOrderRequest, order_service_client::OrderServiceClient},
    user_v1::{LogInRequest, account_service_client::AccountServiceClient},
};
use http::HeaderMap;
use tonic::Status;
use tonic_reflection::pb::{v1, v1alpha};
use uuid::Uuid;

use crate::mesh::{ASKED_BY_ITSELF, Mesh, by, claims, raw, reason, refused, unary, until, with};

const GET_PRODUCT: &str = "inventory.v1.CatalogService/GetProduct";

fn product() -> GetProductResponse {
    let product_id = Uuid::from_u128(5).to_string();
    let product = Product { product_id, name: "a shoe".into(), ..Product::default() };
    GetProductResponse { product: Some(product) }
}

fn request() -> GetProductRequest {
    GetProductRequest { product_id: Uuid::from_u128(5).to_string() }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_public_path_reaches_its_service_and_no_internal_one_does() {
    let mesh = Mesh::start().await;
    let admin = mesh.signer.sign(&claims(Uuid::new_v4(), "admin"));
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {admin}").parse().unwrap());
    let typed = ["PlaceOrder", "WatchStock", "GetMyPage", "WatchRush"];

    let contract = access::descriptor_pool();
    let methods = contract.services().flat_map(|s| s.methods().collect::<Vec<_>>());
    let mut nowhere = Vec::new();
    for method in methods.filter(|m| !typed.contains(&m.name())) {
        let path = access::path_of(&method);
        let message = Bytes::from_static(&[0, 0, 0, 0, 0]);
        let status = raw(mesh.channel(), &path, headers.clone(), message).await;
        assert_eq!(reason(&status), Reason::NoSuchMethod, "{path}");
        let name = path.trim_start_matches("/firstcome.");
        let internal = access::of_method(&method) == Access::Internal;
        // The script-less service says UNIMPLEMENTED too, but it was asked.
        let asked = mesh.scripts.asked(name).len();
        if !ASKED_BY_ITSELF.iter().any(|of| path.ends_with(of)) {
            assert_eq!(asked, usize::from(!internal), "{path}");
        }
        if internal {
            nowhere.push((path, status));
        }
    }
    assert!(nowhere.len() > 5);
    let unknown = raw(mesh.channel(), "/firstcome.none.v1.None/No", headers, Bytes::new()).await;
    for (path, status) in nowhere {
        assert_eq!(
            (status.code(), status.message()),
            (unknown.code(), unknown.message()),
            "{path}"
        );
        assert_eq!(status.details(), unknown.details(), "{path} is no different");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_passes_unchanged_and_so_does_an_error() {
    let mesh = Mesh::start().await;
    let mut catalog = CatalogServiceClient::new(mesh.channel());
    mesh.scripts.on(GET_PRODUCT, |_| async {
        let mut answer = unary(&product());
        answer.headers_mut().insert("x-of-the-service", "kept".parse().unwrap());
        answer
    });
    let answer = catalog.get_product(request()).await.unwrap();
    assert_eq!(answer.metadata().get("x-of-the-service").unwrap(), "kept");
    assert_eq!(answer.into_inner(), product());
    let asked = mesh.scripts.asked(GET_PRODUCT).remove(0);
    assert_eq!(asked.decode::<GetProductRequest>(), request());
    assert_eq!(asked.message, wire::frame(&request()), "byte for byte");
    assert!(asked.headers.contains_key("grpc-timeout"), "every call inward has a deadline");

    let refusal = Refusal::because(Reason::Fenced, "being rebuilt: 100 % \u{e9}")
        .retry_after(Duration::from_millis(700))
        .with("holds_open", 3);
    let theirs = Status::from(refusal);
    let sent = theirs.clone();
    mesh.scripts.on(GET_PRODUCT, move |_| {
        let answer = refused(&sent);
        async { answer }
    });
    let status = catalog.get_product(request()).await.expect_err("refused");
    assert_eq!((status.code(), status.message()), (theirs.code(), theirs.message()));
    assert_eq!(status.details(), theirs.details(), "byte for byte");
    assert_eq!(mesh.scripts.asked(GET_PRODUCT).len(), 2, "an answer is never asked for again");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_keeps_accounts_hears_from_where_a_call_is() {
    let mesh = Mesh::start_with(|config| {
        config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let forged = [
        ("x-forwarded-for", "198.51.100.9, 203.0.113.7"),
        ("fc-client-address", "198.51.100.1"),
        ("fc-client-address", "198.51.100.2"),
    ];
    let mut accounts = AccountServiceClient::new(mesh.channel());
    accounts.log_in(with(LogInRequest::default(), &forged)).await.expect_err("no script");
    let asked = mesh.scripts.asked("user.v1.AccountService/LogIn").remove(0);
    let heard: Vec<_> = asked.headers.get_all("fc-client-address").iter().collect();
    assert_eq!(heard, ["203.0.113.7"], "the edge's word alone");
    assert!(!asked.headers.contains_key("x-forwarded-for"));

    let mut catalog = CatalogServiceClient::new(mesh.channel());
    catalog.get_product(with(request(), &forged)).await.expect_err("no script");
    let mut orders = OrderServiceClient::new(mesh.channel());
    let mut pay = by(&mesh.token(), PayOrderRequest::default());
    pay.metadata_mut().insert("fc-client-address", "198.51.100.1".parse().unwrap());
    orders.pay_order(pay).await.expect_err("no script");
    for method in [GET_PRODUCT, "order.v1.OrderService/PayOrder"] {
        let asked = mesh.scripts.asked(method).remove(0);
        assert!(!asked.headers.contains_key("fc-client-address"), "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_deadline_travels_inward_and_shrinks() {
    let mesh = Mesh::start().await;
    mesh.scripts.on(GET_PRODUCT, |_| async { unary(&product()) });
    let catalog = CatalogServiceClient::new(mesh.channel());
    let sent_ms = async |asked: Duration| {
        let mut catalog = catalog.clone();
        let mut request = tonic::Request::new(request());
        request.set_timeout(asked);
        catalog.get_product(request).await.unwrap();
        let asked = mesh.scripts.asked(GET_PRODUCT).pop().unwrap();
        let timeout = asked.headers["grpc-timeout"].to_str().unwrap().to_owned();
        timeout.strip_suffix('m').expect("milliseconds").parse::<u64>().unwrap()
    };
    assert!((1..=3000).contains(&sent_ms(Duration::from_secs(3)).await));
    assert!(sent_ms(Duration::from_secs(3600)).await <= 10_000, "ours is the longest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_never_answers_costs_the_caller_no_more_than_the_deadline() {
    // The client sets none: its library would answer in the edge's place.
    let mesh = Mesh::start_with(|config| config.call_deadline = Duration::from_millis(300)).await;
    mesh.scripts.on(GET_PRODUCT, |_| std::future::pending());
    let mut catalog = CatalogServiceClient::new(mesh.channel());
    let status = catalog.get_product(request()).await.expect_err("nobody answers");
    assert_eq!(reason(&status), Reason::DeadlineExceeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_above_64_kib_is_refused_and_goes_nowhere() {
    let mesh = Mesh::start().await;
    let admin = mesh.signer.sign(&claims(Uuid::new_v4(), "admin"));
    let mut catalog = CatalogServiceClient::new(mesh.channel());
    for bytes in [wire::MESSAGE_BYTES_MAX, 1 << 20, 8 << 20] {
        let idempotency_key = "k".repeat(bytes);
        let request = CreateProductRequest { idempotency_key, ..Default::default() };
        let status = catalog.create_product(by(&admin, request)).await.expect_err("too large");
        assert_eq!(reason(&status), Reason::InvalidArgument, "{bytes}");
    }
    assert_eq!(mesh.scripts.asked_in_all(), 0);

    let just_right = "d".repeat(wire::MESSAGE_BYTES_MAX - 4);
    let request = CreateProductRequest { description: just_right, ..Default::default() };
    let status = catalog.create_product(by(&admin, request)).await.expect_err("no script");
    assert_eq!(reason(&status), Reason::NoSuchMethod);
    assert_eq!(mesh.scripts.asked_in_all(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_one_message_goes_nowhere() {
    let mesh = Mesh::start().await;
    let path = format!("/firstcome.{GET_PRODUCT}");
    for body in [&b""[..], b"\0\0\0", b"\0\0\0\0\x05abc", b"\0\0\0\0\x01ab", b"\x01\0\0\0\x01a"] {
        let body = Bytes::from_static(body);
        let status = raw(mesh.channel(), &path, HeaderMap::new(), body.clone()).await;
        assert_eq!(reason(&status), Reason::InvalidArgument, "{body:?}");
    }
    assert_eq!(mesh.scripts.asked_in_all(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_gone_is_unavailable_and_back_when_it_is_back() {
    let mut mesh = Mesh::start().await;
    mesh.scripts.on(GET_PRODUCT, |_| async { unary(&product()) });
    let mut catalog = CatalogServiceClient::new(mesh.channel());
    catalog.get_product(request()).await.unwrap();
    mesh.services.kill();

    let status = catalog.get_product(request()).await.expect_err("nobody is there");
    assert_eq!(reason(&status), Reason::UpstreamUnavailable);
    assert!(Refusal::from_status(&status).retry_after.is_some());
    // A method that is not repeatable is refused the same way.
    let mut orders = OrderServiceClient::new(mesh.channel());
    let status =
        orders.pay_order(by(&mesh.token(), PayOrderRequest::default())).await.expect_err("");
    assert_eq!(reason(&status), Reason::UpstreamUnavailable);

    let address = mesh.services.address.to_string();
    mesh.services = crate::mesh::Services::start(&mesh.scripts, &address);
    until("the service is found again", async || catalog.get_product(request()).await.is_ok())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_what_may_be_called_in_both_versions() {
    let mesh = Mesh::start().await;
    let want = [
        "firstcome.edge.v1.RushService",
        "firstcome.edge.v1.ShopService",
        "firstcome.inventory.v1.CatalogService",
        "firstcome.inventory.v1.StockService",
        "firstcome.order.v1.CartService",
        "firstcome.order.v1.OrderService",
        "firstcome.order.v1.WishlistService",
        "firstcome.payment.v1.PaymentService",
        "firstcome.user.v1.AccountService",
        "firstcome.user.v1.ProfileService",
        "grpc.health.v1.Health",
    ];
    macro_rules! ask {
        ($version:ident, $request:expr) => {{
            let request = $version::ServerReflectionRequest {
                host: String::new(),
                message_request: Some($request),
            };
            let channel = mesh.channel();
            let mut client =
                $version::server_reflection_client::ServerReflectionClient::new(channel);
            let stream = client.server_reflection_info(tokio_stream::iter([request])).await;
            let answer = stream.unwrap().into_inner().message().await;
            answer.map(|answer| answer.unwrap().message_response.unwrap())
        }};
    }
    macro_rules! check {
        ($version:ident) => {{
            use $version::{
                server_reflection_request::MessageRequest,
                server_reflection_response::MessageResponse,
            };
            let answer = ask!($version, MessageRequest::ListServices(String::new()));
            let Ok(MessageResponse::ListServicesResponse(list)) = answer else { panic!("a list") };
            let mut names: Vec<_> = list.service.into_iter().map(|s| s.name).collect();
            names.retain(|name| !name.starts_with("grpc.reflection."));
            names.sort();
            assert_eq!(names, want);
            for (symbol, seen) in [
                ("firstcome.order.v1.OrderService", true),
                ("google.rpc.ErrorInfo", true),
                ("firstcome.inventory.v1.ReservationService", false),
                ("firstcome.order.v1.OrderIntakeService", false),
                ("firstcome.user.v1.TokenKeyService", false),
                ("firstcome.user.v1.RevocationService", false),
                ("firstcome.user.v1.AddressBookService", false),
                ("firstcome.edge.v1.ShopService.GetMyPage", true),
                ("firstcome.payment.v1.ChargeService.Authorize", false),
                ("firstcome.payment.v1.WebhookService", false),
                ("firstcome.inventory.v1.OfferService", false),
                ("firstcome.inventory.v1.Availability", true),
                ("firstcome.inventory.v1.ReserveItem", false),
            ] {
                let request = MessageRequest::FileContainingSymbol(symbol.into());
                let answer = ask!($version, request);
                let found = matches!(answer, Ok(MessageResponse::FileDescriptorResponse(_)));
                assert_eq!(found, seen, "{symbol}");
            }
        }};
    }
    check!(v1);
    check!(v1alpha);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_answers_what_is_inside_and_takes_no_more() {
    let mut mesh = Mesh::start().await;
    let (release, held) = tokio::sync::watch::channel(false);
    mesh.scripts.on(GET_PRODUCT, move |_| {
        let mut held = held.clone();
        async move {
            held.wait_for(|released| *released).await.unwrap();
            unary(&product())
        }
    });
    let mut catalog = CatalogServiceClient::new(mesh.channel());
    let inside = tokio::spawn(async move { catalog.get_product(request()).await });
    until("the call is inside", async || mesh.scripts.asked(GET_PRODUCT).len() == 1).await;
    mesh.shutdown.begin();
    until("the port is closed", async || tokio::net::TcpStream::connect(mesh.edge).await.is_err())
        .await;
    release.send(true).unwrap();
    inside.await.unwrap().expect("what was inside is answered");
    let served = mesh.served.take().unwrap();
    tokio::time::timeout(Duration::from_secs(5), served).await.expect("it ends").unwrap().unwrap();
}
