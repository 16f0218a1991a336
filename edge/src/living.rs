//! A stream that ends with the session whose token opened it, because a token is looked at once and
//! a stream may last for hours after; and with the edge, which would wait for it in vain.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use firstcome_mesh::Shutdown;
use firstcome_proto::{Refusal, SessionId};
use futures::future::BoxFuture;
use http_body::Frame;
use tonic::{Status, body::Body};

use crate::{token::revocations::Revocations, watch, wire};

/// The body, until the session has ended, then TOKEN_REVOKED; or until the edge stops, then
/// OVERLOADED, and another edge goes on. Dropping the body tells the service.
pub fn while_living(
    body: Body,
    revocations: Revocations,
    session: SessionId,
    shutdown: Shutdown,
) -> Body {
    let ended = Box::pin(async move {
        tokio::select! {
            refusal = revocations.ended(session) => refusal,
            () = shutdown.begun() => watch::stopping(),
        }
    });
    Body::new(WhileLiving { body: Some(body), ended })
}

struct WhileLiving {
    /// `None` once it has ended.
    body: Option<Body>,
    ended: BoxFuture<'static, Refusal>,
}

impl http_body::Body for WhileLiving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.body.is_none() {
            return Poll::Ready(None); // and nobody asks how it ended again
        }
        // First, because a stream that is never silent must end too.
        if let Poll::Ready(refusal) = self.ended.as_mut().poll(context) {
            self.body = None;
            return Poll::Ready(Some(Ok(Frame::trailers(wire::trailers(&refusal.into())))));
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(body).poll_frame(context));
        if frame.is_none() {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }
}
