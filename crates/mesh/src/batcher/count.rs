//! The two numbers of a batcher that an operator may turn. Read from text with their range, so a
//! wrong one is a fault of the configuration and never a batcher that stands still.

use std::{fmt, str::FromStr};

/// Items of one call. The most is what a batched method takes, for one script's sake: Lua's
/// `unpack` is bounded. One item a call is batching off.
pub type ItemsMax = Count<512>;

/// Calls in flight for one key. More than a few only make batches smaller; the range is this wide
/// so that batching off (one item a call) can be measured with as much under way.
pub type InFlightMax = Count<4096>;

/// A number from 1 to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count<const MAX: usize>(usize);

impl<const MAX: usize> Count<MAX> {
    /// The largest.
    pub const MAX: Self = Self::new(MAX);

    /// A number written in the code.
    ///
    /// # Panics
    /// Outside the range; in a constant, when it is compiled.
    pub const fn new(count: usize) -> Self {
        assert!(count >= 1 && count <= MAX, "the count is out of its range");
        Self(count)
    }

    /// The bare number.
    pub const fn get(self) -> usize {
        self.0
    }
}

/// The text is no number from 1 to the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("want a number from 1 to {max}")]
pub struct OutOfRange {
    max: usize,
}

impl<const MAX: usize> FromStr for Count<MAX> {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        match text.parse() {
            Ok(count) if (1..=MAX).contains(&count) => Ok(Self(count)),
            _ => Err(OutOfRange { max: MAX }),
        }
    }
}

impl<const MAX: usize> fmt::Display for Count<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_read_only_inside_its_range() {
        for (text, want) in [("1", Some(1)), ("512", Some(512)), ("0", None), ("513", None)] {
            assert_eq!(text.parse().ok().map(ItemsMax::get), want, "{text}");
        }
        for text in ["", "-1", "many", "1.5"] {
            assert_eq!(text.parse::<ItemsMax>(), Err(OutOfRange { max: 512 }), "{text}");
        }
        assert_eq!("4096".parse(), Ok(InFlightMax::MAX));
    }
}
