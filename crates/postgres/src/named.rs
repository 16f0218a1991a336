//! Statements as parts of traced calls. They go by what they do and to which table, as in
//! `insert holds`: neither the text nor a value of a statement is told.

use firstcome_mesh::telemetry::traces::{Span, SpanKind};
use sqlx::{
    Execute, Postgres, SqlStr,
    error::BoxDynError,
    postgres::{PgArguments, PgStatement},
};

/// A statement whose text can be looked at before it runs, which sqlx's own give away only to run.
pub struct Named {
    sql: SqlStr,
    arguments: Result<Option<PgArguments>, BoxDynError>,
    is_persistent: bool,
}

impl Named {
    /// What this statement is made of.
    pub fn of<'q>(mut statement: impl Execute<'q, Postgres>) -> Self {
        let arguments = statement.take_arguments();
        let is_persistent = statement.persistent();
        Self { sql: statement.sql(), arguments, is_persistent }
    }

    /// Begins it, if the call that wants it is traced.
    pub fn span(&self) -> Span {
        let does = || What::of(self.sql.as_str());
        let span = Span::start(SpanKind::Client, || does().to_string());
        span.tell("db.system", || "postgresql");
        span.tell("db.operation.name", || does().operation);
        span.tell("db.collection.name", || does().table.to_owned());
        span
    }
}

impl<'q> Execute<'q, Postgres> for Named {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&PgStatement> {
        None
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        std::mem::replace(&mut self.arguments, Ok(None))
    }

    fn persistent(&self) -> bool {
        self.is_persistent
    }
}

/// What a statement does: its first write, or else its first read.
#[derive(Debug, PartialEq, Eq)]
struct What<'q> {
    operation: &'static str,
    table: &'q str,
}

impl<'q> What<'q> {
    fn of(sql: &'q str) -> Self {
        let is_between = |letter: char| letter.is_whitespace() || "(),;".contains(letter);
        let words: Vec<&str> = sql.split(is_between).filter(|word| !word.is_empty()).collect();
        let write = words.windows(3).find_map(|words| match *words {
            ["insert", "into", table] => Some(Self { operation: "insert", table }),
            ["delete", "from", table] => Some(Self { operation: "delete", table }),
            // Neither a lock nor what an insert does in a conflict.
            ["for" | "do" | "key", "update", _] => None,
            [_, "update", table] => Some(Self { operation: "update", table }),
            _ => None,
        });
        let first = || match *words.first_chunk()? {
            ["update", table] => Some(Self { operation: "update", table }),
            _ => None,
        };
        let read = || {
            let table = words.windows(2).find_map(|words| match *words {
                ["from" | "join", "unnest" | "select"] => None,
                ["from" | "join", table] => Some(table),
                _ => None,
            });
            Self { operation: "select", table: table.unwrap_or_default() }
        };
        first().or(write).unwrap_or_else(read)
    }
}

impl std::fmt::Display for What<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.operation, self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::What;

    #[test]
    fn a_statement_goes_by_its_first_write_or_else_its_first_read() {
        let table = [
            ("select a, b from holds where id = $1", "select holds"),
            ("select count(*) from (select 1 from orders) as o", "select orders"),
            ("select a from unnest($1) as wanted (id) join holds using (id)", "select holds"),
            ("insert into payments (a) select 1 on conflict do nothing", "insert payments"),
            ("insert into a select 1 on conflict (b) do update set c = 1", "insert a"),
            ("update orders set step = $1 from unnest($2) as move", "update orders"),
            ("with gone as (\n  delete from codes where a\n) select 1", "delete codes"),
            (
                "with due as (select id from orders for update skip locked) select 1 from due",
                "select orders",
            ),
            (
                "with due as materialized ( select id from orders for no key update ) \
              update orders set a = 1",
                "update orders",
            ),
            (
                "with i as (insert into holds (a) values (1)), m as (update stock set b = 1) select 1",
                "insert holds",
            ),
            ("select pg_notify($1, '')", "select "),
        ];
        for (sql, name) in table {
            assert_eq!(What::of(sql).to_string(), name, "{sql}");
        }
    }
}
