//! What a failed statement means for whoever sent it.

/// Who has to do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A value, or a combination of them, that the schema does not take; the same statement
    /// without it may pass.
    Data,
    /// Postgres cannot be reached, is stopping, or lost this one to another transaction; the same
    /// statement may pass later. It may have been carried out.
    Passing,
    /// A fault of ours.
    Fault,
}

impl Trouble {
    /// Sorts an error by what it means.
    pub fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Passing,
            sqlx::Error::Database(fault) => Self::of_sqlstate(&fault.code().unwrap_or_default()),
            _ => Self::Fault,
        }
    }

    /// Data is at fault in the classes 22 and 23. Postgres's own trouble, which passes: a lost
    /// connection (08), a deadlock (40), lack of resources (53), an operator (57), its system
    /// (58), a former primary (25006).
    fn of_sqlstate(sqlstate: &str) -> Self {
        let is_of = |classes: &[&str]| classes.iter().any(|class| sqlstate.starts_with(class));
        if is_of(&["22", "23"]) {
            Self::Data
        } else if is_of(&["08", "40", "53", "57", "58", "25006"]) {
            Self::Passing
        } else {
            Self::Fault
        }
    }
}

/// The name of the constraint that a statement broke, if that is why it failed.
pub fn broken_constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error().and_then(|error| error.constraint())
}

#[cfg(test)]
mod tests {
    use super::Trouble;

    #[test]
    fn sqlstates_say_who_has_to_do_something() {
        let check = |sqlstates: &[&str], want| {
            for sqlstate in sqlstates {
                assert_eq!(Trouble::of_sqlstate(sqlstate), want, "{sqlstate}");
            }
        };
        // a string that is too long, a broken check
        check(&["22001", "23514"], Trouble::Data);
        // a lost connection, a deadlock, a full disk, a cancelled statement, a former primary
        check(&["08006", "40P01", "53100", "57014", "25006"], Trouble::Passing);
        // a table that is not there, a transaction that already failed, nothing at all
        check(&["42P01", "25P02", ""], Trouble::Fault);
    }
}
