//! Answers that are streams.

use futures::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use tonic::{Response, Status};

/// What a method gives that answers with a stream of these.
pub type Streamed<T> = BoxStream<'static, Result<T, Status>>;

/// Answers with a stream whose headers wait for its first message, and leave with it in one
/// packet. Headers that are sent at once wake the caller, who can do nothing with them; between
/// two services that costs as much as the call itself. Not for streams that may be silent for
/// long: a caller sees the headers only with the first message.
///
/// # Errors
/// What the stream gives first, if that is an error.
pub async fn streamed<T: Send + 'static>(
    mut messages: impl Stream<Item = Result<T, Status>> + Send + Unpin + 'static,
) -> Result<Response<Streamed<T>>, Status> {
    let first = messages.next().await.transpose()?;
    Ok(Response::new(stream::iter(first.map(Ok)).chain(messages).boxed()))
}
