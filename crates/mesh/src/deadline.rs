//! Deadlines travel inward and shrink: each hop gets what the caller has left.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;

const GRPC_TIMEOUT: &str = "grpc-timeout";

/// The instant after which nobody waits for the answer any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// That long from now.
    pub fn after(span: Duration) -> Self {
        Self(Instant::now() + span)
    }

    /// The caller's `grpc-timeout`, or this longest span when it is absent, unreadable or longer.
    pub fn of(metadata: &MetadataMap, longest: Duration) -> Self {
        let asked = timeout_of(metadata.as_ref());
        Self::after(asked.map_or(longest, |asked| asked.min(longest)))
    }

    /// What is left; zero once it has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// True once nobody waits any more.
    pub fn has_passed(self) -> bool {
        self.0 <= Instant::now()
    }

    /// The instant itself.
    pub fn instant(self) -> Instant {
        self.0
    }

    /// A request that carries what is left to the next hop.
    pub fn request<T>(self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(self.left());
        request
    }
}

/// The `grpc-timeout` of a call, if it has one that can be read.
pub(crate) fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    headers.get(GRPC_TIMEOUT)?.to_str().ok().and_then(parse_grpc_timeout)
}

/// Reads the gRPC form: at most eight digits and one unit.
fn parse_grpc_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts_read_as_the_protocol_says() {
        let table = [
            ("1S", Some(Duration::from_secs(1))),
            ("250m", Some(Duration::from_millis(250))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("2H", Some(Duration::from_secs(7200))),
            ("", None),
            ("S", None),
            ("-1S", None),
            ("1", None),
            ("123456789S", None),
            ("1s", None),
            ("1\u{e9}", None),
        ];
        for (text, span) in table {
            assert_eq!(parse_grpc_timeout(text), span, "{text:?}");
        }
    }

    #[test]
    fn the_longest_span_bounds_what_a_caller_asks_for() {
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", "5H".parse().unwrap());
        assert!(Deadline::of(&metadata, Duration::from_secs(3)).left() <= Duration::from_secs(3));
    }
}
