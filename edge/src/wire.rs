//! gRPC on the wire, as far as the edge writes and reads it by itself: one message with its five
//! bytes in front, and a status in trailers or, alone, in headers.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use firstcome_proto::{Reason, Refusal};
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::BodyExt as _;
use prost::Message;
use tonic::{Code, Status, body::Body};

/// The largest request message. The largest honest one is a product's description.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// What is read past after a refusal; beyond it, the connection is the client's loss.
const SKIPPED_BYTES_MAX: usize = 4 << 20;
/// One byte of flags, four of length.
const PREFIX_BYTES: usize = 5;

pub const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub const GRPC_STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

const OK: HeaderValue = HeaderValue::from_static("0");

/// How long a caller should wait for a service behind the edge to come back.
const UPSTREAM_RETRY: Duration = Duration::from_secs(1);

pub type Response = http::Response<Body>;

/// Reads the one message of a unary call, its prefix included. What is too large is never kept.
pub async fn read_message(mut body: Body) -> Result<Bytes, Refusal> {
    let mut whole = Bytes::new();
    let mut gathered = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| malformed("the body broke off or is not well formed"))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.is_empty() {
            whole = data; // nearly always all there is
        } else {
            if gathered.is_empty() {
                gathered.extend_from_slice(&whole);
            }
            gathered.extend_from_slice(&data);
        }
        if let Err(refusal) = check_start(if gathered.is_empty() { &whole } else { &gathered }) {
            skip(body).await;
            return Err(refusal);
        }
    }
    let message = if gathered.is_empty() { whole } else { gathered.freeze() };
    match declared_bytes(&message) {
        Some(declared) if message.len() == PREFIX_BYTES + declared => Ok(message),
        _ => Err(malformed("want one message whose length is as declared")),
    }
}

/// Reads past what was refused, within reason: an HTTP/1.1 client that is still sending when its
/// connection closes never sees why.
pub async fn skip(mut body: Body) {
    let mut skipped = 0;
    while let Some(Ok(frame)) = body.frame().await {
        skipped += frame.data_ref().map_or(0, Bytes::len);
        if skipped > SKIPPED_BYTES_MAX {
            return;
        }
    }
}

/// The message of a unary call, without its prefix.
pub fn body(message: &Bytes) -> Bytes {
    message.slice(PREFIX_BYTES..)
}

/// The message of a unary call, decoded.
pub fn decode<M: Message + Default>(message: &Bytes) -> Result<M, Refusal> {
    M::decode(body(message)).map_err(|_| undecodable())
}

/// The refusal of bytes that are not the message they should be.
pub fn undecodable() -> Refusal {
    malformed("the message does not decode")
}

fn check_start(start: &[u8]) -> Result<(), Refusal> {
    let Some(declared) = declared_bytes(start) else { return Ok(()) };
    if start[0] != 0 {
        return Err(Refusal::invalid("grpc-encoding", "want messages that are not compressed"));
    }
    if declared > MESSAGE_BYTES_MAX || start.len() > PREFIX_BYTES + MESSAGE_BYTES_MAX {
        return Err(too_large());
    }
    Ok(())
}

fn declared_bytes(start: &[u8]) -> Option<usize> {
    let length = start.get(1..PREFIX_BYTES)?;
    Some(u32::from_be_bytes(length.try_into().expect("four bytes")) as usize)
}

/// The refusal of a message above the limit.
pub fn too_large() -> Refusal {
    Refusal::invalid("message", format!("want at most {MESSAGE_BYTES_MAX} bytes"))
}

fn malformed(description: &str) -> Refusal {
    Refusal::invalid("message", description)
}

/// A message with its prefix.
pub fn frame(message: &impl Message) -> Bytes {
    let mut frame = prefixed(message.encoded_len());
    message.encode(&mut frame).expect("the buffer was made to fit");
    frame.freeze()
}

/// A prefix with room for so many bytes behind it.
fn prefixed(bytes: usize) -> BytesMut {
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + bytes);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(bytes).expect("our messages are far below 4 GiB"));
    frame
}

/// The answer to a unary call that went well, of a message that is encoded already.
pub fn answer_with(message: &[u8]) -> Response {
    let trailers = HeaderMap::from_iter([(GRPC_STATUS, OK)]);
    let mut framed = prefixed(message.len());
    framed.put_slice(message);
    let message = Some(framed.freeze());
    streaming(Body::new(OneMessage { message, trailers: Some(trailers) }))
}

/// An answer whose status comes in its body's trailers.
pub fn streaming(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

/// The answer of a call that was refused: the status alone, in the headers.
pub fn refused(status: &Status) -> Response {
    let mut response = streaming(Body::empty());
    write_status(status, response.headers_mut());
    response
}

/// The same, for a reason that is known: whoever counts refusals need not read it again.
pub fn refused_because(refusal: Refusal) -> Response {
    let reason = refusal.reason();
    let mut response = refused(&refusal.into());
    response.extensions_mut().insert(reason);
    response
}

/// The same, of headers that [`trailers`] made for many.
pub fn refused_with(reason: Reason, status: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(reason);
    *response.headers_mut() = status.clone();
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

/// The trailers of a stream that ends with this status.
pub fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(4);
    write_status(status, &mut trailers);
    trailers
}

fn write_status(status: &Status, headers: &mut HeaderMap) {
    if status.add_header(headers).is_err() {
        headers.insert(GRPC_STATUS, HeaderValue::from(Code::Internal as i32));
    }
}

/// A service behind the edge cannot be reached, or went away in the middle.
pub fn upstream_unavailable() -> Refusal {
    Refusal::because(Reason::UpstreamUnavailable, "a service behind the edge cannot be reached")
        .retry_after(UPSTREAM_RETRY)
}

/// The caller waited as long as it wanted, or as long as we allow.
pub fn deadline_exceeded() -> Refusal {
    Refusal::because(Reason::DeadlineExceeded, "the deadline passed before the answer")
}

/// A status in which the connection, not the service, speaks: the service's own carry details.
pub fn is_transport_fault(status: &Status) -> bool {
    let code = status.code();
    status.details().is_empty()
        && matches!(code, Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal)
}

/// A status that has one of our reasons: itself, or the nearest.
pub fn documented(status: Status) -> Status {
    if is_transport_fault(&status) {
        return upstream_unavailable().into();
    }
    if status.details().is_empty() { Refusal::from_status(&status).into() } else { status }
}

/// Gives a failed call a reason if the server that made its status (tonic itself, for a deadline
/// or an unknown method) did not; leaves every other answer as it is, byte for byte.
pub fn document(headers: &mut HeaderMap) {
    let failed = headers.get(GRPC_STATUS).is_some_and(|code| code != OK);
    if !failed || headers.contains_key(GRPC_STATUS_DETAILS) {
        return;
    }
    if let Some(status) = Status::from_header_map(headers) {
        // An answer did come: what it says is not the connection's fault.
        write_status(&Refusal::from_status(&status).into(), headers);
    }
}

/// One message and its trailers. Its size is not told: a browser's trailers come in the body.
struct OneMessage {
    message: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for OneMessage {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(message) = self.message.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.trailers.is_none()
    }
}

/// A body that is nothing but trailers.
pub fn only_trailers(trailers: HeaderMap) -> Body {
    Body::new(OneMessage { message: None, trailers: Some(trailers) })
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};

    use super::*;

    fn prefixed(flag: u8, declared: usize, bytes: usize) -> Vec<u8> {
        let mut message = vec![flag];
        message.extend_from_slice(&u32::try_from(declared).unwrap().to_be_bytes());
        message.resize(PREFIX_BYTES + bytes, 7);
        message
    }

    #[tokio::test]
    async fn one_well_formed_message_passes_and_nothing_else() {
        let most = MESSAGE_BYTES_MAX;
        let table: [(Vec<u8>, Option<&str>); 9] = [
            (prefixed(0, 0, 0), None),
            (prefixed(0, 3, 3), None),
            (prefixed(0, most, most), None),
            (prefixed(0, most + 1, most + 1), Some("at most 65536 bytes")),
            (prefixed(0, u32::MAX as usize, 0), Some("at most 65536 bytes")),
            (prefixed(1, 3, 3), Some("not compressed")),
            (prefixed(0, 3, 4), Some("as declared")),
            (prefixed(0, 4, 3), Some("as declared")),
            (Vec::new(), Some("as declared")),
        ];
        for (bytes, fault) in table {
            let bytes = Bytes::from(bytes);
            let whole = read_message(Body::new(Full::new(bytes.clone()))).await;
            let pieces: Vec<_> = bytes
                .chunks(2)
                .map(|piece| Ok::<_, Status>(Frame::data(Bytes::copy_from_slice(piece))))
                .collect();
            let piecemeal =
                read_message(Body::new(StreamBody::new(futures::stream::iter(pieces)))).await;
            for read in [whole, piecemeal] {
                match (read, fault) {
                    (Ok(read), None) => assert_eq!(read, bytes),
                    (Err(refusal), Some(fault)) => {
                        assert_eq!(refusal.reason(), Reason::InvalidArgument);
                        assert!(refusal.violations[0].description.contains(fault), "{refusal:?}");
                    }
                    (read, _) => panic!("{read:?}, want {fault:?}"),
                }
            }
        }
    }

    #[test]
    fn a_status_without_a_reason_gets_one_and_others_stay() {
        let mut bare = trailers(&Status::new(Code::Unimplemented, "x"));
        document(&mut bare);
        let refusal = Refusal::from_status(&Status::from_header_map(&bare).unwrap());
        assert_eq!(refusal.reason(), Reason::NoSuchMethod);
        assert!(bare.contains_key(GRPC_STATUS_DETAILS));

        let own = trailers(&Refusal::because(Reason::SoldOut, "none left").into());
        let mut same = own.clone();
        document(&mut same);
        assert_eq!(own, same);
    }
}
