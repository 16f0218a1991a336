//! Instants and spans between the contract's form and ours.

use std::time::Duration;

use time::OffsetDateTime;

/// The contract's form of an instant.
pub fn to_wire(instant: OffsetDateTime) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: instant.unix_timestamp(),
        nanos: i32::try_from(instant.nanosecond()).expect("nanoseconds of a second fit"),
    }
}

/// Our form of an instant; `None` outside the years 1 to 9999.
pub fn from_wire(stamp: &prost_types::Timestamp) -> Option<OffsetDateTime> {
    if !(0..1_000_000_000).contains(&stamp.nanos) {
        return None;
    }
    let nanos = i128::from(stamp.seconds) * 1_000_000_000 + i128::from(stamp.nanos);
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()
}

/// The instant that many milliseconds after 1970; `None` outside the years 1 to 9999.
pub fn from_unix_ms(ms: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok()
}

/// Whole milliseconds since 1970.
pub fn unix_ms(instant: OffsetDateTime) -> i64 {
    i64::try_from(instant.unix_timestamp_nanos().div_euclid(1_000_000))
        .expect("milliseconds of the years 1 to 9999 fit")
}

/// The contract's form of a span.
pub fn duration_to_wire(span: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).expect("nanoseconds of a second fit"),
    }
}

/// Our form of a span; `None` when it is negative.
pub fn duration_from_wire(span: &prost_types::Duration) -> Option<Duration> {
    Duration::try_from(*span).ok()
}
