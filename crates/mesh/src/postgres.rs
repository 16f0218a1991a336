//! How a service's sessions in Postgres are set. The mesh speaks no SQL; each service hands these
//! to its pool.

/// Statements here look rows up by key, a batch at a time, and are right to walk indexes however
/// small or new a table is. The planner cannot know: what it learnt of a table is a minute old, a
/// drop's rows are younger, and a plan that is prepared while a table is empty reads all of it
/// when it is full. So the ways that read whole tables are taken last.
pub const LOOKS_UP_BY_KEY: [(&str, &str); 3] =
    [("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off")];
