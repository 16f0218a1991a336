//! Ordinary methods, passed on as bytes: no message is decoded, streams included. What goes in is
//! one whole message and a few headers that we chose; what comes out is the service's answer.

use std::{
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use firstcome_mesh::{
    Deadline, identity,
    retry::Retry,
    upstream::{self, Channel},
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Version, header};
use http_body::Frame;
use http_body_util::Full;
use tonic::{Status, body::Body};
use tower::Service as _;

use crate::{
    route::{Route, Upstream},
    wire::{self, GRPC, GRPC_STATUS, Response},
};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
/// What a caller may say to the services. Everything else stays outside, whatever its spelling:
/// identities, tokens, cookies, hop-by-hop headers; traces, of which the edge tells what it chose.
const PASSED_INWARD: [HeaderName; 2] = [header::USER_AGENT, header::ACCEPT_LANGUAGE];

/// The channels to the services, and how often each may be called again.
pub struct Forward {
    pub user: Peer,
    pub inventory: Peer,
    pub order: Peer,
    pub payment: Peer,
}

/// One service.
pub struct Peer {
    channel: Channel,
    retry: Retry,
}

impl Peer {
    /// Behind this channel.
    pub fn new(channel: Channel) -> Self {
        Self { channel, retry: Retry::default() }
    }

    /// The channel, for typed clients.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// How its calls are made again.
    pub fn retry(&self) -> &Retry {
        &self.retry
    }
}

impl Forward {
    /// The headers of a call inward: ours, and the few that a caller may set. The client's address
    /// is a person's; it is given for who needs it only.
    pub fn headers_inward(
        outside: &HeaderMap,
        identity: Option<&HeaderValue>,
        client: Option<IpAddr>,
    ) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(header::CONTENT_TYPE, GRPC);
        headers.insert(header::TE, TRAILERS);
        for name in PASSED_INWARD {
            if let Some(value) = outside.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        if let Some(identity) = identity {
            headers.insert(HeaderName::from_static(identity::HEADER), identity.clone());
        }
        if let Some(client) = client {
            let address = HeaderValue::try_from(client.to_canonical().to_string());
            let address = address.expect("an address is made of digits, letters and marks");
            headers.insert(HeaderName::from_static(identity::CLIENT_ADDRESS), address);
        }
        headers
    }

    /// Passes a call on and its answer back.
    pub async fn call(
        &self,
        route: &Route,
        upstream: Upstream,
        headers: HeaderMap,
        message: Bytes,
        deadline: Deadline,
    ) -> Result<Response, Status> {
        let peer = match upstream {
            Upstream::User => &self.user,
            Upstream::Inventory => &self.inventory,
            Upstream::Order => &self.order,
            Upstream::Payment => &self.payment,
        };
        if !route.repeatable {
            return send(peer.channel(), route, headers, message, deadline).await;
        }
        // Only a call without any answer is made again: a service that answers UNAVAILABLE has
        // told the caller when to come back.
        let call = || send(peer.channel(), route, headers.clone(), message.clone(), deadline);
        peer.retry.call(deadline, call).await
    }
}

async fn send(
    mut channel: Channel,
    route: &Route,
    mut headers: HeaderMap,
    message: Bytes,
    deadline: Deadline,
) -> Result<Response, Status> {
    if !route.streaming {
        let left_ms = deadline.left().as_millis().min(99_999_999);
        let timeout = HeaderValue::try_from(format!("{left_ms}m"));
        headers.insert(GRPC_TIMEOUT, timeout.expect("digits and a letter"));
    }
    let mut request = Request::new(Body::new(Full::new(message)));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from(route.path.clone());
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;

    // A channel is always ready; what it cannot carry it refuses.
    match tokio::time::timeout_at(deadline.instant(), channel.call(request)).await {
        Ok(Ok(response)) => outward(response),
        // The channel reads the deadline too, and may be a hair faster.
        Ok(Err(fault)) if upstream::has_timed_out(&fault) => Err(wire::deadline_exceeded().into()),
        Ok(Err(_)) => Err(wire::upstream_unavailable().into()),
        Err(_) => Err(wire::deadline_exceeded().into()),
    }
}

/// The answer as the caller gets it: unchanged, unless it has no end or no reason.
fn outward(mut response: Response) -> Result<Response, Status> {
    if response.status() != StatusCode::OK {
        return Err(wire::upstream_unavailable().into()); // not a gRPC server, or a proxy's word
    }
    *response.version_mut() = Version::default();
    if response.headers().contains_key(GRPC_STATUS) {
        wire::document(response.headers_mut());
        return Ok(response);
    }
    Ok(response.map(|body| Body::new(Ended { body, has_ended: false })))
}

/// A service's answer that always ends with a status: when the service dies in the middle, with
/// ours.
struct Ended {
    body: Body,
    has_ended: bool,
}

impl http_body::Body for Ended {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        let trailers = match frame {
            Some(Ok(frame)) => match frame.into_trailers() {
                Ok(mut trailers) => {
                    wire::document(&mut trailers);
                    trailers
                }
                Err(data) => return Poll::Ready(Some(Ok(data))),
            },
            None | Some(Err(_)) => wire::trailers(&wire::upstream_unavailable().into()),
        };
        self.has_ended = true;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_says_of_itself_stays_outside() {
        let mut outside = HeaderMap::new();
        for (name, value) in [
            (identity::HEADER, "CgQBAgME"),
            (identity::CLIENT_ADDRESS, "198.51.100.1"),
            ("authorization", "Bearer x"),
            ("cookie", "a=b"),
            ("connection", "close"),
            ("grpc-timeout", "99H"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("tracestate", "a=b"),
            ("baggage", "a=b"),
            ("user-agent", "shop/1"),
        ] {
            outside.append(HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        }
        outside.append(identity::HEADER, "CgQBAgMF".parse().unwrap());

        let inward = Forward::headers_inward(&outside, None, None);
        let names: Vec<_> = inward.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-type", "te", "user-agent"]);

        let ours = HeaderValue::from_static("b3Vycw");
        let client = "::ffff:203.0.113.7".parse().ok();
        let inward = Forward::headers_inward(&outside, Some(&ours), client);
        assert_eq!(inward.get_all(identity::HEADER).iter().collect::<Vec<_>>(), [&ours]);
        let addresses = inward.get_all(identity::CLIENT_ADDRESS).iter().collect::<Vec<_>>();
        assert_eq!(addresses, ["203.0.113.7"]);
    }
}
