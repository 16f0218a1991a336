//! How much of a pool is in use, as Prometheus is told. Two additions for each statement.

use std::sync::LazyLock;

use firstcome_mesh::metrics::{Gauge, Labels, counter::Counter, family::Family, register};

struct Families {
    max: Family<Labels, Gauge>,
    in_use: Family<Labels, Gauge>,
    waiting: Family<Labels, Gauge>,
    gave_up: Family<Labels, Counter>,
}

static FAMILIES: LazyLock<Families> = LazyLock::new(|| Families {
    max: register(
        "firstcome_postgres_connections_max",
        "Connections to Postgres that may be lent at once, by login",
        Family::default(),
    ),
    in_use: register(
        "firstcome_postgres_connections_in_use",
        "Connections to Postgres that are lent",
        Family::default(),
    ),
    waiting: register(
        "firstcome_postgres_connections_waiting",
        "Statements that wait for a connection to Postgres",
        Family::default(),
    ),
    gave_up: register(
        "firstcome_postgres_acquire_timeouts",
        "Statements that waited for a connection in vain",
        Family::default(),
    ),
});

/// Of one pool. Pools of one login share it.
#[derive(Debug)]
pub struct Usage {
    in_use: Gauge,
    waiting: Gauge,
    gave_up: Counter,
}

/// One more, until it is dropped.
#[derive(Debug)]
pub struct Used(Gauge);

impl Usage {
    /// Of this login's pool, with so many connections at most.
    pub fn of(login: &str, connections_max: u32) -> Self {
        let labels: Labels = vec![("login", login.to_owned().into())];
        FAMILIES.max.get_or_create_owned(&labels).set(connections_max.into());
        Self {
            in_use: FAMILIES.in_use.get_or_create_owned(&labels),
            waiting: FAMILIES.waiting.get_or_create_owned(&labels),
            gave_up: FAMILIES.gave_up.get_or_create_owned(&labels),
        }
    }

    /// Somebody waits for a connection.
    pub fn wait(&self) -> Used {
        Used::one_more(&self.waiting)
    }

    /// Somebody has one.
    pub fn lend(&self) -> Used {
        Used::one_more(&self.in_use)
    }

    /// Somebody waited in vain.
    pub fn gave_up(&self) {
        self.gave_up.inc();
    }
}

impl Used {
    fn one_more(of: &Gauge) -> Self {
        of.inc();
        Self(of.clone())
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        self.0.dec();
    }
}
