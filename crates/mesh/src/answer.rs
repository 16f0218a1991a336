//! What is left of an answer once its head is there, with somebody who follows it to its end.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};

/// Follows an answer. Dropped before its end, whoever asked has left.
pub trait Follow: Send + Unpin + 'static {
    /// A frame or a fault passes, or the end is reached.
    fn passes(&mut self, frame: Option<Result<&Frame<Bytes>, &Status>>);

    /// Reads on as a part of what the follower stands for.
    fn within<T>(&mut self, read: impl FnOnce() -> T) -> T {
        read()
    }
}

/// The same bytes, followed.
pub fn followed(body: Body, follower: impl Follow) -> Body {
    Body::new(Followed { body, follower })
}

struct Followed<F> {
    body: Body,
    follower: F,
}

impl<F: Follow> http_body::Body for Followed<F> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { body, follower } = &mut *self;
        let frame = ready!(follower.within(|| Pin::new(body).poll_frame(context)));
        follower.passes(frame.as_ref().map(Result::as_ref));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
