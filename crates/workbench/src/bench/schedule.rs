//! When each of many calls is made, decided before the first: whoever follows a schedule waits for
//! no answer, and so hides no delay.

use std::time::Duration;

/// How calls are spread over a span.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Spread {
    /// At the same distance from each other.
    Evenly,
    /// Each at any instant of the span.
    Randomly,
}

impl Spread {
    /// When so many calls are made, counted from the first moment of the span; in order.
    pub fn over(self, span: Duration, calls: u32) -> Vec<Duration> {
        let mut offsets: Vec<Duration> = match self {
            Self::Evenly => (0..calls).map(|number| part(span, number, calls)).collect(),
            Self::Randomly => {
                (0..calls).map(|_| span.mul_f64(rand::random_range(0.0..1.0))).collect()
            }
        };
        offsets.sort_unstable();
        offsets
    }
}

/// `number / of` of the span.
fn part(span: Duration, number: u32, of: u32) -> Duration {
    let nanos = span.as_nanos() * u128::from(number) / u128::from(of);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn evenly_is_at_a_constant_distance_from_the_first_moment_on() {
        let offsets = Spread::Evenly.over(SECOND, 4);
        assert_eq!(offsets, [0, 250, 500, 750].map(Duration::from_millis));
        let offsets = Spread::Evenly.over(30 * SECOND, 1_000_000);
        assert_eq!(offsets[999_999] - offsets[999_998], Duration::from_micros(30));
        assert!(Spread::Evenly.over(SECOND, 0).is_empty());
    }

    #[test]
    fn randomly_stays_inside_and_in_order() {
        let offsets = Spread::Randomly.over(SECOND, 10_000);
        assert!(offsets.len() == 10_000 && offsets.is_sorted());
        assert!(offsets[9_999] < SECOND);
        let first_half = offsets.iter().filter(|offset| **offset < SECOND / 2).count();
        assert!((4_500..5_500).contains(&first_half), "{first_half}");
    }
}
