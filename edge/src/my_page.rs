//! GetMyPage: the caller's profile, wishlist and newest orders, asked for all at once. A part that
//! does not come in time is left out and named; what comes is not kept waiting for it.

use std::{future::Future, time::Duration};

use firstcome_mesh::Deadline;
use firstcome_proto::{
    Reason, Refusal,
    edge_v1::{GetMyPageResponse, MissingPart, MyPagePart},
    order_v1::{
        BasketItem, ListOrdersRequest, ListWishlistItemsRequest, Order,
        order_service_client::OrderServiceClient, wishlist_service_client::WishlistServiceClient,
    },
    user_v1::{GetProfileRequest, Profile, profile_service_client::ProfileServiceClient},
};
use http::HeaderMap;
use tonic::{Request, Response, Status, metadata::MetadataMap};

use crate::{
    forward::{Forward, Peer},
    wire,
};

/// Each part takes milliseconds; a person who waits for the page would rather see the rest of it.
const PART_TIMEOUT: Duration = Duration::from_secs(2);
/// Of a caller in a hurry, the parts get this share of the time: the rest is for the answer.
const SHARE_OF_PARTS: f64 = 0.8;
/// Orders on the page.
const ORDERS: i32 = 10;

/// Asks for the parts as the caller whom the headers name. Without a single part there is no page:
/// that is UPSTREAM_UNAVAILABLE, which says when to ask again.
pub async fn gather(
    forward: &Forward,
    headers: &HeaderMap,
    deadline: Deadline,
) -> Result<GetMyPageResponse, Refusal> {
    let deadline = deadline_of_parts(deadline);
    let (profile, wishlist, orders) = tokio::join!(
        profile(&forward.user, headers, deadline),
        wishlist(&forward.order, headers, deadline),
        orders(&forward.order, headers, deadline),
    );
    let mut missing = Vec::new();
    let page = GetMyPageResponse {
        profile: part(MyPagePart::Profile, profile, &mut missing),
        wishlist: part(MyPagePart::Wishlist, wishlist, &mut missing).unwrap_or_default(),
        orders: part(MyPagePart::Orders, orders, &mut missing).unwrap_or_default(),
        missing: Vec::new(),
    };
    if missing.len() == PARTS {
        return Err(wire::upstream_unavailable());
    }
    Ok(GetMyPageResponse { missing, ..page })
}

/// Parts of the page.
const PARTS: usize = 3;

fn deadline_of_parts(callers: Deadline) -> Deadline {
    Deadline::after(callers.left().mul_f64(SHARE_OF_PARTS).min(PART_TIMEOUT))
}

async fn profile(user: &Peer, headers: &HeaderMap, deadline: Deadline) -> Result<Profile, Refusal> {
    let ask = || {
        let mut client = ProfileServiceClient::new(user.channel());
        let request = request(headers, deadline, GetProfileRequest {});
        async move { client.get_profile(request).await }
    };
    let answer = asked(user, deadline, ask).await?;
    answer.profile.ok_or_else(|| {
        tracing::error!("user answers without a profile");
        Refusal::internal()
    })
}

async fn wishlist(
    order: &Peer,
    headers: &HeaderMap,
    deadline: Deadline,
) -> Result<Vec<BasketItem>, Refusal> {
    let ask = || {
        let mut client = WishlistServiceClient::new(order.channel());
        let request = request(headers, deadline, ListWishlistItemsRequest {});
        async move { client.list_wishlist_items(request).await }
    };
    Ok(asked(order, deadline, ask).await?.items)
}

async fn orders(
    order: &Peer,
    headers: &HeaderMap,
    deadline: Deadline,
) -> Result<Vec<Order>, Refusal> {
    let ask = || {
        let mut client = OrderServiceClient::new(order.channel());
        let page = ListOrdersRequest { page_size: ORDERS, page_token: String::new() };
        let request = request(headers, deadline, page);
        async move { client.list_orders(request).await }
    };
    Ok(asked(order, deadline, ask).await?.orders)
}

fn request<T>(headers: &HeaderMap, deadline: Deadline, message: T) -> Request<T> {
    let mut request = Request::new(message);
    *request.metadata_mut() = MetadataMap::from_headers(headers.clone());
    request.set_timeout(deadline.left());
    request
}

/// Asks, within the peer's retries, until the deadline.
async fn asked<T, F, Fut>(peer: &Peer, deadline: Deadline, ask: F) -> Result<T, Refusal>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Response<T>, Status>>,
{
    let answer = peer.retry().call(deadline, ask);
    match tokio::time::timeout_at(deadline.instant(), answer).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        // The channel reads the deadline too, and may be a hair faster.
        Ok(Err(_)) | Err(_) if deadline.has_passed() => Err(wire::deadline_exceeded()),
        Ok(Err(status)) => Err(Refusal::from_status(&wire::documented(status))),
        Err(_) => Err(wire::deadline_exceeded()),
    }
}

fn part<T>(
    part: MyPagePart,
    answer: Result<T, Refusal>,
    missing: &mut Vec<MissingPart>,
) -> Option<T> {
    let refusal = match answer {
        Ok(answer) => return Some(answer),
        Err(refusal) => refusal,
    };
    let reason: Reason = refusal.reason();
    missing.push(MissingPart { part: part as i32, reason: reason.name().to_owned() });
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn parts_end_before_their_caller_gives_up() {
        for (callers_ms, parts_ms) in [(15_000, 2_000), (1_000, 800), (0, 0)] {
            let callers = Deadline::after(Duration::from_millis(callers_ms));
            let left = deadline_of_parts(callers).left();
            assert_eq!(left, Duration::from_millis(parts_ms), "{callers_ms}");
        }
    }
}
