//! What Prometheus is told of stock: what the gate said, what the ledger committed, how the two
//! agree, and how long what ended takes to be on sale again.
//!
//! Units and counts are over all products: the number of series does not grow with the shop.

use std::sync::LazyLock;

use firstcome_mesh::{
    Shutdown,
    metrics::{self, Gauge, SecondsGauge, counter::Counter, histogram::Histogram},
};

use crate::{
    gate::{Fault, Verdict},
    store::{Store, standing::Standing},
};

/// The one of this process.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::register);

/// Everything that is counted here.
pub struct Metrics {
    verdicts: [Counter; 9],
    faults: [Counter; 6],
    /// Holds that this process committed for admissions of its own.
    pub committed: Counter,
    /// Admissions that a lost call left and the sweeper finished.
    pub swept: Counter,
    /// Holds that ended unpaid.
    pub expired: Counter,
    /// Messages that the gate has taken.
    pub told: Counter,
    /// Times that a product was fenced.
    pub fences: Counter,
    /// Products that this process does not sell from now.
    pub fenced: Gauge,
    /// From the first fault to the open gate.
    pub rebuild_seconds: Histogram,
    /// Products whose gate and ledger were judged to disagree.
    pub disagreements: Counter,
    /// Products that differed at the last look, what is on its way included.
    pub suspects: Gauge,
    /// Entries of admissions not yet confirmed, at the audit's last look.
    pub unconfirmed: Gauge,
    units: [Gauge; 3],
    holds_overdue: Gauge,
    hold_overdue_seconds: SecondsGauge,
    outbox: Gauge,
}

impl Metrics {
    fn register() -> Self {
        let verdicts = metrics::counters(
            "firstcome_gate_verdicts",
            "What the gate said to wishes, one for each",
            "verdict",
            [
                "admitted",
                "replayed",
                "key_reused",
                "not_open",
                "closed",
                "limit_per_buyer",
                "sold_out",
                "unknown_sku",
                "malformed",
            ],
        );
        let faults = metrics::counters(
            "firstcome_gate_faults",
            "Calls that the gate could not serve, by why",
            "fault",
            ["missing", "other_epoch", "loading", "out_of_turn", "redis", "unreadable"],
        );
        let units = metrics::gauges(
            "firstcome_stock_units",
            "Units of all products in the ledger, by who has them",
            "state",
            ["available", "held", "settled"],
        );
        let counter = metrics::counter;
        let gauge = metrics::gauge;
        Self {
            verdicts,
            faults,
            committed: counter(
                "firstcome_admissions_committed",
                "New admissions that the ledger holds; their buyers are told",
            ),
            swept: counter(
                "firstcome_admissions_swept",
                "Admissions of lost calls that somebody else finished",
            ),
            expired: counter("firstcome_holds_expired", "Holds that ended without a payment"),
            told: counter("firstcome_gate_messages_told", "Ends of holds that the gate was told"),
            fences: counter(
                "firstcome_product_fences",
                "Times that a product was fenced because its gate could not be trusted",
            ),
            fenced: gauge("firstcome_products_fenced", "Products that are fenced now"),
            rebuild_seconds: metrics::seconds(
                "firstcome_gate_rebuild_seconds",
                "From the decision to make a gate until it is open",
            ),
            disagreements: counter(
                "firstcome_audit_disagreements",
                "Times that gate and ledger disagreed in the same thing twice",
            ),
            suspects: gauge(
                "firstcome_audit_suspects",
                "Products whose gate and ledger differ at a look, what is on its way included",
            ),
            unconfirmed: gauge(
                "firstcome_unconfirmed_entries",
                "Admissions of the gate that the ledger has not confirmed, by batch",
            ),
            units,
            holds_overdue: gauge(
                "firstcome_holds_overdue",
                "Holds past their time that nobody has ended yet",
            ),
            hold_overdue_seconds: metrics::seconds_gauge(
                "firstcome_hold_oldest_overdue_seconds",
                "How long the longest overdue hold is past its time",
            ),
            outbox: gauge(
                "firstcome_gate_outbox_messages",
                "Ends of holds that the gate has yet to be told",
            ),
        }
    }

    /// Counts a batch's verdicts.
    pub fn judged(&self, verdicts: &[Verdict]) {
        let mut counts = [0_u64; 9];
        for verdict in verdicts {
            counts[place_of(*verdict)] += 1;
        }
        for (counter, count) in self.verdicts.iter().zip(counts) {
            if count > 0 {
                counter.inc_by(count);
            }
        }
    }

    /// Counts a call that the gate could not serve.
    pub fn failed(&self, fault: &Fault) {
        let place = match fault {
            Fault::Missing => 0,
            Fault::OtherEpoch(_) => 1,
            Fault::Loading(_) => 2,
            Fault::OutOfTurn => 3,
            Fault::Redis(_) => 4,
            Fault::Unreadable(_) => 5,
        };
        self.faults[place].inc();
    }

    fn stands(&self, standing: &Standing) {
        let Standing { available, held, settled, overdue, overdue_seconds, outbox } = *standing;
        for (gauge, units) in self.units.iter().zip([available, held, settled]) {
            gauge.set(units);
        }
        self.holds_overdue.set(overdue);
        self.hold_overdue_seconds.set(overdue_seconds);
        self.outbox.set(outbox);
    }
}

fn place_of(verdict: Verdict) -> usize {
    match verdict {
        Verdict::Admitted(_) => 0,
        Verdict::Replayed(_) => 1,
        Verdict::KeyReused => 2,
        Verdict::NotOpen => 3,
        Verdict::Closed => 4,
        Verdict::LimitPerBuyer => 5,
        Verdict::SoldOut => 6,
        Verdict::UnknownSku => 7,
        Verdict::Malformed => 8,
    }
}

/// Tells from now on how the books stand.
pub fn begin(store: Store, shutdown: &Shutdown) {
    LazyLock::force(&METRICS);
    let look = move || {
        let store = store.clone();
        async move {
            let standing = store.standing().await;
            standing
                .inspect_err(|error| tracing::warn!(%error, "tell how the books stand later"))
                .ok()
        }
    };
    metrics::keep_looking(shutdown, look, |standing| METRICS.stands(&standing));
}
