//! Who is let in, and what the services hear of it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use firstcome_mesh::Identity;
use firstcome_proto::{
    Reason,
    access::Role,
    inventory_v1::{
        AdjustStockRequest, AdjustStockResponse, GetProductRequest, GetProductResponse,
        catalog_service_client::CatalogServiceClient,
    },
    order_v1::{GetOrderRequest, GetOrderResponse, order_service_client::OrderServiceClient},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tonic::metadata::MetadataMap;
use uuid::Uuid;

use crate::mesh::{Mesh, Signer, by, claims, now_s, reason, unary, with};

const GET_ORDER: &str = "order.v1.OrderService/GetOrder";

fn changed(name: &str, value: Value) -> Value {
    let mut claims = claims(Uuid::from_u128(1), "user");
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims(Uuid::from_u128(1), "user");
    claims.as_object_mut().unwrap().remove(name);
    claims
}

/// A token without a signature, or with one by a symmetric key.
fn forged(signer: &Signer, algorithm: &str, signature: &str) -> String {
    let header = json!({ "alg": algorithm, "typ": "JWT", "kid": signer.id });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(&header), part(&claims(Uuid::from_u128(1), "admin")))
}

/// Signed by a stranger who brings the key along.
fn own_key_in_header(signer: &Signer, stranger: &Signer) -> String {
    let header = json!({
        "alg": "EdDSA", "typ": "JWT", "kid": signer.id,
        "jwk": { "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(stranger.public()) },
    });
    resigned(stranger, &header)
}

/// Names no key, so that whoever checks might try them all.
fn unnamed(signer: &Signer) -> String {
    resigned(signer, &json!({ "alg": "EdDSA", "typ": "JWT" }))
}

fn resigned(signer: &Signer, header: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(&claims(Uuid::from_u128(1), "admin")));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signer.sign_bytes(signed.as_bytes())))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_ours_is_refused_with_its_reason() {
    let mesh = Mesh::start().await;
    mesh.scripts.on(GET_ORDER, |_| async { unary(&GetOrderResponse::default()) });
    let mut orders = OrderServiceClient::new(mesh.channel());
    let signer = &mesh.signer;

    let hs256 = {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(signer.id.clone());
        let key = EncodingKey::from_secret(&signer.public());
        jsonwebtoken::encode(&header, &claims(Uuid::from_u128(1), "admin"), &key).unwrap()
    };
    let hs256_of_text = {
        let public = URL_SAFE_NO_PAD.encode(signer.public());
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(signer.id.clone());
        let key = EncodingKey::from_secret(public.as_bytes());
        jsonwebtoken::encode(&header, &claims(Uuid::from_u128(1), "admin"), &key).unwrap()
    };
    let revoked = Uuid::from_u128(0xdead);
    mesh.ended.lock().sessions.push(revoked);
    let of_revoked = |name: &str, value: Value| {
        let mut claims = changed("sid", json!(revoked));
        claims[name] = value;
        signer.sign(&claims)
    };
    crate::mesh::until("the edge has heard", async || {
        let token = of_revoked("role", json!("user"));
        let status = orders.get_order(by(&token, GetOrderRequest::default())).await;
        status.is_err()
    })
    .await;
    let before = mesh.scripts.asked_in_all();
    let good = signer.token(Uuid::from_u128(1));
    let impostor = Signer::new(&signer.id); // our key's name, another key
    let (invalid, expired) = (Reason::TokenInvalid, Reason::TokenExpired);
    let table = [
        ("rubbish", "rubbish".to_owned(), invalid),
        ("empty", String::new(), invalid),
        ("cut", good[..good.len() - 2].to_owned(), invalid),
        (
            "claims changed",
            {
                let parts: Vec<_> = good.split('.').collect();
                let claims =
                    URL_SAFE_NO_PAD.encode(claims(Uuid::from_u128(1), "admin").to_string());
                format!("{}.{claims}.{}", parts[0], parts[2])
            },
            invalid,
        ),
        ("foreign key", Signer::new("foreign").token(Uuid::from_u128(1)), invalid),
        ("foreign key under our key's name", impostor.token(Uuid::from_u128(1)), invalid),
        ("alg none", forged(signer, "none", ""), invalid),
        ("alg None", forged(signer, "None", "AA"), invalid),
        (
            "alg NONE, two parts",
            forged(signer, "NONE", "").trim_end_matches('.').to_owned(),
            invalid,
        ),
        ("HS256 with the public key", hs256, invalid),
        ("HS256 with the public key's text", hs256_of_text, invalid),
        (
            "another algorithm over our signature",
            forged(signer, "ES256", good.rsplit('.').next().unwrap()),
            invalid,
        ),
        ("a key of its own in the header", own_key_in_header(signer, &impostor), invalid),
        ("no key's name", unnamed(signer), invalid),
        ("a path for a key's name", Signer::new("../../first").token(Uuid::from_u128(1)), invalid),
        ("ended", signer.sign(&changed("exp", json!(now_s() - 1))), expired),
        ("ends now", signer.sign(&changed("exp", json!(now_s()))), expired),
        ("ended in another century", signer.sign(&changed("exp", json!(0))), expired),
        ("not yet", signer.sign(&changed("nbf", json!(now_s() + 60))), invalid),
        ("other issuer", signer.sign(&changed("iss", json!("elsewhere"))), invalid),
        (
            "issuer in a list of many",
            signer.sign(&changed("iss", json!(["elsewhere", "other"]))),
            invalid,
        ),
        ("other audience", signer.sign(&changed("aud", json!("elsewhere"))), invalid),
        ("unknown role", signer.sign(&changed("role", json!("root"))), invalid),
        ("user id is no UUID", signer.sign(&changed("sub", json!("ann"))), invalid),
        ("exp is text", signer.sign(&changed("exp", json!("tomorrow"))), invalid),
        ("exp below zero", signer.sign(&changed("exp", json!(-1))), invalid),
        ("no issuer", signer.sign(&without("iss")), invalid),
        ("no user", signer.sign(&without("sub")), invalid),
        ("no role", signer.sign(&without("role")), invalid),
        ("no exp", signer.sign(&without("exp")), invalid),
        ("no nbf", signer.sign(&without("nbf")), invalid),
        ("no aud", signer.sign(&without("aud")), invalid),
        ("no session", signer.sign(&without("sid")), invalid),
        ("huge", format!("{}.{}", good, "A".repeat(5000)), invalid),
        ("10 kB", "A".repeat(10_000), invalid),
        (
            "10 kB of claims, well signed",
            signer.sign(&changed("x", json!("A".repeat(10_000)))),
            invalid,
        ),
        ("of an ended session", of_revoked("role", json!("user")), Reason::TokenRevoked),
        (
            "an admin's of an ended session",
            of_revoked("role", json!("admin")),
            Reason::TokenRevoked,
        ),
        ("of an ended session, and ended", of_revoked("exp", json!(now_s() - 1)), expired),
    ];
    for (what, token, want) in table {
        let status =
            orders.get_order(by(&token, GetOrderRequest::default())).await.expect_err(what);
        assert_eq!(reason(&status), want, "{what}");
        assert_eq!(status.code(), tonic::Code::Unauthenticated, "{what}");
    }
    for headers in [
        &[][..],
        &[("authorization", "Basic YTpi")],
        &[("authorization", &*good)],
        &[("authorization", &*format!("Bearer {good},Bearer {good}"))],
        &[("authorization", &*format!("Bearer {good}")), ("authorization", "Bearer rubbish")],
        &[("cookie", &*format!("authorization=Bearer {good}"))],
        &[
            ("authorization", &*format!("Bearer {good}")),
            ("authorization", &*format!("Bearer {good}")),
        ],
    ] {
        let status =
            orders.get_order(with(GetOrderRequest::default(), headers)).await.expect_err("");
        assert_eq!(reason(&status), invalid, "{headers:?}");
    }
    assert_eq!(mesh.scripts.asked_in_all(), before, "nothing went inward");
    orders.get_order(by(&good, GetOrderRequest::default())).await.expect("a good token");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_method_takes_an_admin() {
    let mesh = Mesh::start().await;
    mesh.scripts.on("inventory.v1.CatalogService/AdjustStock", |_| async {
        unary(&AdjustStockResponse::default())
    });
    let mut catalog = CatalogServiceClient::new(mesh.channel());
    let request = AdjustStockRequest::default;
    let status = catalog.adjust_stock(by(&mesh.token(), request())).await.expect_err("a user");
    assert_eq!(reason(&status), Reason::PermissionDenied);
    let status = catalog.adjust_stock(request()).await.expect_err("nobody");
    assert_eq!(reason(&status), Reason::TokenInvalid);
    let admin = mesh.signer.sign(&claims(Uuid::new_v4(), "admin"));
    catalog.adjust_stock(by(&admin, request())).await.expect("an admin");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_hear_the_verified_identity_and_never_a_strangers() {
    let mesh = Mesh::start().await;
    mesh.scripts.on(GET_ORDER, |_| async { unary(&GetOrderResponse::default()) });
    let get_product = "inventory.v1.CatalogService/GetProduct";
    mesh.scripts.on(get_product, |_| async { unary(&GetProductResponse::default()) });

    // Header names are lower case in HTTP/2, so other spellings come in by HTTP/1.1: see web.rs.
    let forge = |request: &mut MetadataMap| {
        let forged = Identity {
            user: firstcome_proto::UserId(Uuid::from_u128(666)),
            session: firstcome_proto::SessionId(Uuid::from_u128(666)),
            role: Role::Admin,
        };
        request.append_bin("fc-identity-bin", forged.to_header());
        request.append_bin("fc-identity-bin", forged.to_header());
    };
    let user = Uuid::new_v4();
    let token = mesh.signer.token(user);

    let mut request = by(&token, GetOrderRequest::default());
    forge(request.metadata_mut());
    OrderServiceClient::new(mesh.channel()).get_order(request).await.unwrap();
    let asked = mesh.scripts.asked(GET_ORDER).remove(0);
    assert_eq!(asked.headers.get_all("fc-identity-bin").iter().count(), 1);
    assert!(!asked.headers.contains_key("authorization"), "tokens stay outside");
    let identity = Identity::from_metadata(&MetadataMap::from_headers(asked.headers)).unwrap();
    assert_eq!((identity.user.0, identity.role), (user, Role::User));

    let mut catalog = CatalogServiceClient::new(mesh.channel());
    let mut request = with(GetProductRequest::default(), &[]);
    forge(request.metadata_mut());
    catalog.get_product(request).await.unwrap();
    let mut request = by("rubbish", GetProductRequest::default());
    forge(request.metadata_mut());
    catalog.get_product(request).await.expect("a public method does not mind a bad token");
    for asked in mesh.scripts.asked(get_product) {
        assert!(!asked.headers.contains_key("fc-identity-bin"), "{:?}", asked.headers);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_asked_for_once_however_many_name_it() {
    let mesh = Mesh::start().await;
    mesh.scripts.on(GET_ORDER, |_| async { unary(&GetOrderResponse::default()) });
    let newer = Signer::new("second");
    mesh.keys.lock().push(newer.clone());
    let asked = || mesh.scripts.asked("user.v1.TokenKeyService/ListTokenKeys").len();
    let before = asked();

    let calls = (0..20).map(|_| {
        let mut orders = OrderServiceClient::new(mesh.channel());
        let token = newer.token(Uuid::new_v4());
        async move { orders.get_order(by(&token, GetOrderRequest::default())).await }
    });
    for answer in futures::future::join_all(calls).await {
        answer.expect("the new key was fetched");
    }
    assert_eq!(asked(), before + 1);

    let mut orders = OrderServiceClient::new(mesh.channel());
    for _ in 0..20 {
        let token = Signer::new("nobody's").token(Uuid::new_v4());
        let status = orders.get_order(by(&token, GetOrderRequest::default())).await.expect_err("");
        assert_eq!(reason(&status), Reason::TokenInvalid);
    }
    assert_eq!(asked(), before + 1, "rubbish does not make the edge ask");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remembered_token_still_ends() {
    let mesh = Mesh::start().await;
    mesh.scripts.on(GET_ORDER, |_| async { unary(&GetOrderResponse::default()) });
    let mut orders = OrderServiceClient::new(mesh.channel());
    let token = mesh.signer.sign(&changed("exp", json!(now_s() + 2)));
    orders.get_order(by(&token, GetOrderRequest::default())).await.expect("still good");
    crate::mesh::until("the token has ended", async || {
        match orders.get_order(by(&token, GetOrderRequest::default())).await {
            Ok(_) => false,
            Err(status) => {
                assert_eq!(reason(&status), Reason::TokenExpired);
                true
            }
        }
    })
    .await;
}
