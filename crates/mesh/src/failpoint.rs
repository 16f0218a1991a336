//! Places where a test may stop the process dead, as a power cut would.
//!
//! `FIRSTCOME_FAILPOINT=order.before_insert` aborts at the first hit of that point,
//! `order.before_insert@3` at the third. Release builds have no failpoints.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

struct Armed {
    name: String,
    hits_left: AtomicU64,
}

static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

/// Aborts the process when this point is armed and its turn has come.
#[inline]
pub fn hit(name: &str) {
    if !cfg!(debug_assertions) {
        return;
    }
    let armed = ARMED.get_or_init(|| std::env::var("FIRSTCOME_FAILPOINT").ok().and_then(parse));
    let Some(armed) = armed else { return };
    if armed.name == name && armed.hits_left.fetch_sub(1, Ordering::Relaxed) == 1 {
        eprintln!("failpoint {name} aborts the process");
        std::process::abort();
    }
}

fn parse(text: String) -> Option<Armed> {
    let (name, hits) = match text.split_once('@') {
        Some((name, hits)) => (name, hits.parse().ok()?),
        None => (text.as_str(), 1),
    };
    (!name.is_empty() && hits > 0)
        .then(|| Armed { name: name.to_owned(), hits_left: AtomicU64::new(hits) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_may_name_the_hit_at_which_it_fires() {
        let armed = parse("a.b@3".into()).unwrap();
        assert_eq!((armed.name.as_str(), armed.hits_left.into_inner()), ("a.b", 3));
        assert!(parse("a.b@x".into()).is_none());
        assert!(parse(String::new()).is_none());
    }
}
