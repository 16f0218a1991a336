//! A body that says it is too large is refused before anything is spent on it. A body that does
//! not say is caught where it is read: see [`crate::wire::read_message`].

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures::future::Either;
use http::{Request, header::CONTENT_LENGTH};
use tower::{Layer, Service};

use super::{Verdict, refuse};
use crate::wire::{self, MESSAGE_BYTES_MAX, Response};

/// The message with its prefix.
const BODY_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 5;

/// Makes [`DeclaredSize`].
#[derive(Clone)]
pub struct DeclaredSizeLayer;

impl<S> Layer<S> for DeclaredSizeLayer {
    type Service = DeclaredSize<S>;
    fn layer(&self, inner: S) -> DeclaredSize<S> {
        DeclaredSize { inner }
    }
}

/// Looks at `content-length`.
#[derive(Clone)]
pub struct DeclaredSize<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for DeclaredSize<S>
where
    S: Service<Request<B>, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Verdict<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let declared: Option<usize> = declared.and_then(|value| value.parse().ok());
        if declared.is_some_and(|declared| declared > BODY_BYTES_MAX) {
            return refuse(wire::too_large());
        }
        Either::Right(self.inner.call(request))
    }
}

#[cfg(test)]
mod tests {
    use firstcome_proto::Reason;
    use tower::ServiceExt as _;

    use super::{super::mock, *};

    #[tokio::test]
    async fn what_says_it_is_too_large_is_refused() {
        let table = [
            (None, None),
            (Some(0), None),
            (Some(BODY_BYTES_MAX), None),
            (Some(BODY_BYTES_MAX + 1), Some(Reason::InvalidArgument)),
            (Some(usize::MAX), Some(Reason::InvalidArgument)),
        ];
        for (declared, reason) in table {
            let mut request = Request::new(());
            if let Some(declared) = declared {
                request.headers_mut().insert(CONTENT_LENGTH, declared.into());
            }
            let answer =
                DeclaredSizeLayer.layer(mock::passes()).oneshot(request).await.expect("infallible");
            assert_eq!(mock::reason(&answer), reason, "{declared:?}");
        }
    }
}
