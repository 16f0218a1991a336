//! What a caller can do about a failed call decides its kind.

use fred::error::{Error as FredError, ErrorKind};

/// Why a call of Redis failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The address in the configuration cannot be used; nothing was sent.
    #[error("unusable Redis address: {0}")]
    Address(String),
    /// No answer from the node that owns the key: down, loading, failing over, or late. The call
    /// may have run or not.
    #[error("redis is unavailable: {0}")]
    Unavailable(String),
    /// The node has no such function; nothing ran.
    #[error("redis has no function {0}")]
    MissingFunction(&'static str),
    /// Redis ran the command or function, and it failed with this message.
    #[error("redis refused: {0}")]
    Script(String),
}

/// Words with which a node says that it cannot serve now, though the request is in order.
const NOT_NOW: [&str; 11] = [
    "LOADING",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "TRYAGAIN",
    "READONLY",
    "MOVED",
    "ASK",
    "BUSY",
    "MISCONF",
    "NOREPLICAS",
    "OOM",
];

impl Error {
    /// True when the same call may succeed a little later.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl From<FredError> for Error {
    fn from(error: FredError) -> Self {
        let details = error.details();
        let first_word = details.split_whitespace().next().unwrap_or_default();
        match error.kind() {
            ErrorKind::Url | ErrorKind::Config | ErrorKind::Tls => Self::Address(error.to_string()),
            ErrorKind::IO
            | ErrorKind::Timeout
            | ErrorKind::Canceled
            | ErrorKind::Routing
            | ErrorKind::Cluster
            | ErrorKind::Backpressure
            | ErrorKind::Auth => Self::Unavailable(error.to_string()),
            _ if NOT_NOW.contains(&first_word) => Self::Unavailable(details.to_owned()),
            _ => Self::Script(details.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_cannot_serve_now_is_told_from_a_failed_call() {
        let check = |kind: ErrorKind, details: &'static str, unavailable: bool| {
            let error = Error::from(FredError::new(kind, details));
            assert_eq!(error.is_unavailable(), unavailable, "{error}");
        };
        check(ErrorKind::Unknown, "LOADING Redis is loading the dataset in memory", true);
        check(ErrorKind::Cluster, "CLUSTERDOWN The cluster is down", true);
        check(ErrorKind::Unknown, "READONLY You can't write against a read only replica.", true);
        check(ErrorKind::Timeout, "Request timed out.", true);
        check(ErrorKind::Unknown, "OOM command not allowed", true);
        check(ErrorKind::Unknown, "ERR user_script:1: attempt to index a nil value", false);
        check(ErrorKind::InvalidArgument, "WRONGTYPE Operation against a key", false);
    }
}
