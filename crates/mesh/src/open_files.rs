//! How many files a process may have open; each connection is one. The usual soft limit of 1 024
//! is there for programs of another age, and the hard limit is what the machine's owner allows:
//! every binary takes all of it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside the counted ones: stores, peers, logs, the runtime's own.
const OTHERS: u64 = 256;

/// What the owner of the machine would have to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{connections} connections need {needed} open files and this process may have {allowed}: \
     raise the hard limit where it is started, with `ulimit -n {needed}`, LimitNOFILE={needed} in \
     its systemd unit, or the container's ulimits"
)]
pub struct TooFew {
    connections: u64,
    needed: u64,
    allowed: u64,
}

/// Raises the limit as far as it may be, and gives it. A process that may not even do that keeps
/// what it has.
pub fn raise() -> u64 {
    let before = getrlimit(Resource::Nofile);
    let most = Rlimit { current: before.maximum, maximum: before.maximum };
    let allowed = match setrlimit(Resource::Nofile, most) {
        Ok(()) => most.current,
        Err(error) => {
            tracing::debug!(%error, "raise the limit of open files");
            before.current
        }
    };
    allowed.unwrap_or(u64::MAX) // none is no limit
}

/// Raises the limit, and checks that this many connections fit below it.
pub fn enough_for(connections: usize) -> Result<(), TooFew> {
    judge(connections as u64, raise())
}

fn judge(connections: u64, allowed: u64) -> Result<(), TooFew> {
    let needed = connections.saturating_add(OTHERS);
    if allowed < needed { Err(TooFew { connections, needed, allowed }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_all_that_it_may_have() {
        let allowed = raise();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(allowed, limit.maximum.unwrap_or(u64::MAX));
    }

    #[test]
    fn what_is_missing_is_said_with_the_way_to_it() {
        assert_eq!(judge(10_000, 10_256), Ok(()));
        assert_eq!(judge(10_000, u64::MAX), Ok(()));
        let words = judge(10_000, 1024).unwrap_err().to_string();
        for part in ["10256", "1024", "ulimit -n 10256", "LimitNOFILE=10256"] {
            assert!(words.contains(part), "{part} in {words}");
        }
    }
}
