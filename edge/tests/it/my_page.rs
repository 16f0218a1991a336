//! GetMyPage: three parts from two services, and what is shown when some do not come.

use std::time::{Duration, Instant};

use firstcome_mesh::Identity;
use firstcome_proto::{
    Reason, Refusal,
    edge_v1::{
        GetMyPageRequest, GetMyPageResponse, MyPagePart, shop_service_client::ShopServiceClient,
    },
    order_v1::{
        BasketItem, ListOrdersRequest, ListOrdersResponse, ListWishlistItemsResponse, Order,
    },
    user_v1::{GetProfileResponse, Profile},
};
use tonic::{Request, Status, metadata::MetadataMap};
use uuid::Uuid;

use crate::mesh::{Mesh, by, reason, refused, unary};

const PROFILE: &str = "user.v1.ProfileService/GetProfile";
const WISHLIST: &str = "order.v1.WishlistService/ListWishlistItems";
const ORDERS: &str = "order.v1.OrderService/ListOrders";
const PARTS: [&str; 3] = [PROFILE, WISHLIST, ORDERS];

/// A shop where every part comes.
async fn shop() -> Mesh {
    let mesh = Mesh::start().await;
    mesh.scripts.on(PROFILE, |_| async {
        let profile = Profile { name: "Ann".into(), ..Profile::default() };
        unary(&GetProfileResponse { profile: Some(profile) })
    });
    mesh.scripts.on(WISHLIST, |_| async {
        let item = BasketItem { sku_id: "a sku".into(), ..BasketItem::default() };
        unary(&ListWishlistItemsResponse { items: vec![item], total: None })
    });
    mesh.scripts.on(ORDERS, |_| async {
        let order = |id: &str| Order { order_id: id.into(), ..Order::default() };
        let orders = vec![order("newest"), order("older")];
        unary(&ListOrdersResponse { orders, next_page_token: "more".into() })
    });
    mesh
}

async fn page(
    mesh: &Mesh,
    request: Request<GetMyPageRequest>,
) -> Result<GetMyPageResponse, Status> {
    let answer = ShopServiceClient::new(mesh.channel()).get_my_page(request).await;
    answer.map(tonic::Response::into_inner)
}

fn missing(page: &GetMyPageResponse) -> Vec<(MyPagePart, &str)> {
    page.missing.iter().map(|missing| (missing.part(), &*missing.reason)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_has_all_its_parts_of_the_one_who_asks() {
    let mesh = shop().await;
    let user = Uuid::new_v4();
    let mut request = by(&mesh.signer.token(user), GetMyPageRequest {});
    request.metadata_mut().insert("traceparent", "00-1-2-01".parse().unwrap());
    let page = page(&mesh, request).await.expect("a page");
    assert_eq!(missing(&page), []);
    assert_eq!(page.profile.expect("a profile").name, "Ann");
    assert_eq!(page.wishlist[0].sku_id, "a sku");
    assert_eq!(page.orders.iter().map(|it| &*it.order_id).collect::<Vec<_>>(), ["newest", "older"]);
    for part in PARTS {
        let asked = mesh.scripts.asked(part).remove(0);
        // Where nothing is exported no call is traced, whatever a stranger asks.
        assert!(!asked.headers.contains_key("traceparent"), "{part}");
        assert!(!asked.headers.contains_key("authorization"), "{part}");
        let caller = Identity::from_metadata(&MetadataMap::from_headers(asked.headers));
        assert_eq!(caller.expect("an identity").user.0, user, "{part}");
    }
    let asked = mesh.scripts.asked(ORDERS).remove(0).decode::<ListOrdersRequest>();
    assert_eq!(asked, ListOrdersRequest { page_size: 10, page_token: String::new() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_refused_is_named_and_the_others_are_there() {
    let mesh = shop().await;
    let table = [
        (PROFILE, MyPagePart::Profile, Reason::Internal),
        (WISHLIST, MyPagePart::Wishlist, Reason::UpstreamUnavailable),
        (ORDERS, MyPagePart::Orders, Reason::Overloaded),
    ];
    for (method, part, reason) in table {
        let mesh = shop().await;
        let status = Status::from(Refusal::because(reason, "not now"));
        mesh.scripts.on(method, move |_| {
            let answer = refused(&status);
            async { answer }
        });
        let page = page(&mesh, by(&mesh.token(), GetMyPageRequest {})).await.expect("a page");
        assert_eq!(missing(&page), [(part, reason.name())]);
        assert_eq!(page.profile.is_some(), part != MyPagePart::Profile);
        assert_eq!(page.wishlist.len(), usize::from(part != MyPagePart::Wishlist));
        assert_eq!(page.orders.len(), if part == MyPagePart::Orders { 0 } else { 2 });
    }
    // An answer without what was asked for is none.
    mesh.scripts.on(PROFILE, |_| async { unary(&GetProfileResponse { profile: None }) });
    let empty = page(&mesh, by(&mesh.token(), GetMyPageRequest {})).await.expect("a page");
    assert_eq!(missing(&empty), [(MyPagePart::Profile, "INTERNAL")]);
    assert!(empty.profile.is_none() && empty.orders.len() == 2);
    // Two at once, in the order of the page.
    for method in [WISHLIST, PROFILE] {
        mesh.scripts.on(method, |_| async { refused(&Refusal::internal().into()) });
    }
    let page = page(&mesh, by(&mesh.token(), GetMyPageRequest {})).await.expect("a page");
    let parts = [MyPagePart::Profile, MyPagePart::Wishlist].map(|part| (part, "INTERNAL"));
    assert_eq!(missing(&page), parts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_slow_is_not_waited_for_longer_than_its_deadline() {
    let mesh = shop().await;
    mesh.scripts.on(WISHLIST, |_| std::future::pending());
    for (asked, at_most) in [(None, 4_000), (Some(1_000), 1_000)] {
        let mut request = by(&mesh.token(), GetMyPageRequest {});
        if let Some(asked_ms) = asked {
            request.set_timeout(Duration::from_millis(asked_ms));
        }
        let started = Instant::now();
        let page = page(&mesh, request).await.expect("a page, before the caller gives up");
        let took = started.elapsed();
        assert!(took < Duration::from_millis(at_most), "{took:?}");
        assert_eq!(missing(&page), [(MyPagePart::Wishlist, "DEADLINE_EXCEEDED")]);
        assert!(page.profile.is_some() && page.orders.len() == 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_part_there_is_no_page() {
    let mut mesh = shop().await;
    page(&mesh, by(&mesh.token(), GetMyPageRequest {})).await.expect("a page");
    mesh.services.kill();
    let token = mesh.token();
    let status = page(&mesh, by(&token, GetMyPageRequest {})).await.expect_err("nobody is there");
    assert_eq!(reason(&status), Reason::UpstreamUnavailable);
    assert!(Refusal::from_status(&status).retry_after.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_no_page() {
    let mesh = shop().await;
    let anonymous = page(&mesh, Request::new(GetMyPageRequest {})).await;
    let rubbish = page(&mesh, by("rubbish", GetMyPageRequest {})).await;
    for answer in [anonymous, rubbish] {
        assert_eq!(reason(&answer.expect_err("no token")), Reason::TokenInvalid);
    }
    assert_eq!(mesh.scripts.asked_in_all(), 0);
}
