//! Five times more than can be served, on a shop that was made slow: what it can do it still does,
//! everybody else is told in good time when to come back, and nobody notices anything afterwards.
//!
//! The capacity is small and known, so that the load generator is not what gives in: a commit in
//! Postgres takes a tenth of a second, and a transaction of the ledger carries a handful of orders.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use firstcome_local::Service;
use firstcome_proto::Reason;
use sqlx::Executor as _;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tonic::Status;

use crate::{
    bench::{
        findings::{Findings, Goal},
        ground::Ground,
        heard::{Answer, Explained, Heard, Summary},
        memory::{Resident, most_during, resident},
        schedule::Spread,
        shop::Shop,
    },
    calls::Person,
    rush::sale::Sale,
    verify::{self, VerifySources},
};

const STEP: &str = "overload";

/// Less of everything, so that a small machine can offer five times too much of it. The edge's
/// calls are bounded as loosely as ever: so many at this rate would wait far longer than anybody
/// does.
const EDGE: &[(&str, Option<&str>)] =
    &[("FIRSTCOME_CALLS_MAX", Some("4096")), ("FIRSTCOME_BATCH_ITEMS_MAX", Some("8"))];
const ORDER: &[(&str, Option<&str>)] = &[("FIRSTCOME_PLACEMENT_BATCH_ITEMS_MAX", Some("4"))];
const INVENTORY: &[(&str, Option<&str>)] = &[
    ("FIRSTCOME_GATE_BATCH_ITEMS_MAX", Some("4")),
    ("FIRSTCOME_LEDGER_BATCH_ITEMS_MAX", Some("4")),
];
/// What every commit waits, in microseconds: the most that Postgres takes.
const COMMIT_DELAY_US: u32 = 100_000;

/// Products on sale, each with units for everybody.
const PRODUCTS: usize = 4;
const UNITS: u32 = 1_000_000;
/// People who call; their limits are not what is measured.
const BUYERS: u32 = 2_000;
/// Connections that they share.
const CONNECTIONS: u16 = 16;
/// How long each waits for an answer.
const DEADLINE: Duration = Duration::from_secs(4);
/// An answer on its way at the deadline; the generator shares the machine with what it measures.
const GRACE: Duration = Duration::from_millis(500);

/// The peak: so many at a time, for so long, of which the beginning does not count.
const PEAK_IN_FLIGHT: u32 = 128;
const PEAK_WARM_UP: Duration = Duration::from_secs(1);
const PEAK_SPAN: Duration = Duration::from_secs(8);
/// How much more is offered than the peak.
const TIMES: f64 = 5.0;
/// What must be left of the peak.
const GOOD_SHARE: f64 = 0.9;
/// A generator further behind its schedule offers something else.
const LAG_MAX: Duration = Duration::from_secs(1);
/// Calls one at a time on each product, before and after.
const ALONE: u32 = 100;
/// Afterwards a call takes as long as before, or this at most when that is longer: two commits, a
/// commit of others that both may wait for, and the rest.
const ALONE_TIMES: f64 = 2.0;
const ALONE_MAX_MS: f64 = 600.0;
/// What the load may add to the memory of a service: 4 096 calls that wait at some 4 KiB, their
/// connections' buffers, and what an allocator keeps.
const GROWTH_MIB_MAX: f64 = 96.0;
/// The books come to rest when the last admission is written.
const SETTLE: Duration = Duration::from_secs(30);

/// Whoever cannot be served is told so, and when to come back.
const EXPLAINED: Explained =
    Explained { plainly: &[], with_retry: &[Reason::Overloaded, Reason::RateLimited] };

/// Offers too much for so long, and checks what comes of it.
pub async fn overload(ground: &Ground, span: Duration, findings: &mut Findings) -> Result<()> {
    eprintln!("making the shop slow ...");
    let people = super::gather(ground, BUYERS).await?;
    ground.restart_with(Service::Inventory, INVENTORY).await?;
    ground.restart_with(Service::Order, ORDER).await?;
    ground.restart_with(Service::Edge, EDGE).await?;
    let shop = Shop::without_floor(ground.address(), CONNECTIONS).await?;
    let mut sales = Vec::new();
    for _ in 0..PRODUCTS {
        sales.push(shop.sale(UNITS, 0).await?);
    }
    let run = Arc::new(Run { shop, sales, people });
    delay_commits(ground, COMMIT_DELAY_US).await?;
    let measured = measure(ground, &run, span, findings).await;
    delay_commits(ground, 0).await?;
    measured?;

    let verified = verify::verify(&VerifySources::of(ground.address()), None, SETTLE).await?;
    findings.books(STEP, &verified);
    Ok(())
}

async fn measure(
    ground: &Ground,
    run: &Arc<Run>,
    span: Duration,
    findings: &mut Findings,
) -> Result<()> {
    let before = run.alone("before").await?;
    eprintln!("looking for the most that it can do ...");
    let peak_per_s = run.peak().await?;
    let rate_per_s = peak_per_s * TIMES;
    eprintln!("{peak_per_s:.0} orders/s; offering {rate_per_s:.0}/s for {} s ...", span.as_secs());
    let memory = resident(ground).await?;
    let (offered, most) = most_during(ground, run.offer(rate_per_s, span)).await?;
    let offered = offered?;
    eprintln!("calling alone again ...");
    let after = run.alone("after").await?;

    findings.tell(STEP, "most orders, closed loop", peak_per_s, "/s");
    findings.tell(STEP, "offered", rate_per_s, "/s");
    let lag_ms = offered.lag.as_secs_f64() * 1000.0;
    let goal = Goal::AtMost(LAG_MAX.as_secs_f64() * 1000.0);
    findings.check(STEP, "offered behind schedule, at most", lag_ms, "ms", goal);
    let calls = Goal::Exactly(offered.calls.into());
    findings.check(STEP, "answers", offered.heard.answers() as f64, "", calls);
    let good_per_s = f64::from(offered.good) / span.as_secs_f64();
    let goal = Goal::AtLeast((peak_per_s * GOOD_SHARE * 10.0).round() / 10.0);
    findings.check(STEP, "orders while it lasted", good_per_s, "/s", goal);
    for (reason, count) in &offered.heard.refused {
        findings.tell(STEP, format!("told {reason}, and when to come back"), *count as f64, "");
    }
    findings.unexplained(STEP, &offered.heard);
    findings.check(
        STEP,
        "answers after the deadline",
        f64::from(offered.late),
        "",
        Goal::Exactly(0),
    );
    findings.tell(STEP, "order, p50", offered.heard.orders_ms.p50, "ms");
    findings.tell(STEP, "order, p99", offered.heard.orders_ms.p99, "ms");
    findings.tell(STEP, "answer, p50", offered.heard.answers_ms.p50, "ms");
    findings.tell(STEP, "answer, the latest", offered.heard.answers_ms.max, "ms");
    growth(&memory, &most, findings);
    findings.tell(STEP, "alone before, p99", before, "ms");
    let goal = Goal::AtMost((before * ALONE_TIMES).max(ALONE_MAX_MS).round());
    findings.check(STEP, "alone after, p99", after, "ms", goal);
    Ok(())
}

fn growth(before: &Resident, most: &Resident, findings: &mut Findings) {
    for service in [Service::Edge, Service::Order, Service::Inventory] {
        let what = format!("memory of {service} before");
        findings.tell(STEP, what, before[&service], "MiB");
        let growth = most[&service] - before[&service];
        let what = format!("memory of {service}, more at most");
        findings.check(STEP, what, growth, "MiB", Goal::AtMost(GROWTH_MIB_MAX));
    }
}

/// Makes every commit take this long.
async fn delay_commits(ground: &Ground, delay_us: u32) -> Result<()> {
    let postgres = ground.mesh().stores().postgres().context("a postgres of our own")?;
    let mut admin = postgres.database().connect_as_admin("postgres").await?;
    // Without it a commit waits only for others that are under way.
    admin.execute("alter system set commit_siblings = 0").await?;
    let statement = format!("alter system set commit_delay = {delay_us}");
    admin.execute(sqlx::AssertSqlSafe(statement)).await?;
    admin.execute("select pg_reload_conf()").await?;
    Ok(())
}

/// Who calls, and for what.
struct Run {
    shop: Shop,
    sales: Vec<Sale>,
    people: Vec<Person>,
}

/// What became of an open loop.
struct Offered {
    calls: u32,
    heard: Summary,
    /// Orders that were answered while it lasted.
    good: u32,
    late: u32,
    /// How far the generator was behind its schedule at worst.
    lag: Duration,
}

/// One call.
struct Called {
    answer: Answer,
    latency: Duration,
    answered: Instant,
}

impl Run {
    /// One call; the products and the people take turns.
    async fn call(&self, number: u32, key: &str) -> Called {
        let index = usize::try_from(number).unwrap_or_default();
        let sale = self.sales[index % self.sales.len()];
        // Not in step with the products.
        let buyer = &self.people[index / self.sales.len() % self.people.len()];
        let asked = Instant::now();
        let key = format!("{key}-{number}");
        let place = self.shop.try_place(number, buyer, sale, &key, DEADLINE);
        let answer = timeout(DEADLINE + GRACE, place).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::cancelled("no answer")));
        let answered = Instant::now();
        Called { answer: EXPLAINED.judge(&answer), latency: answered - asked, answered }
    }

    /// The slowest but one of a hundred orders, in milliseconds, when one is placed at a time on
    /// each product.
    async fn alone(self: &Arc<Self>, key: &'static str) -> Result<f64> {
        let mut callers = JoinSet::new();
        let products = u32::try_from(self.sales.len())?;
        for product in 0..products {
            let run = Arc::clone(self);
            callers.spawn(async move {
                let mut own = Vec::new();
                for round in 0..ALONE / products {
                    let called = run.call(round * products + product, key).await;
                    ensure!(called.answer == Answer::Order, "alone: {:?}", called.answer);
                    own.push(called.latency);
                }
                Ok(own)
            });
        }
        let mut heard = Heard::default();
        while let Some(caller) = callers.join_next().await {
            caller??.into_iter().for_each(|latency| heard.add(Answer::Order, latency));
        }
        Ok(heard.summary().orders_ms.p99)
    }

    /// Orders a second when each of a few callers waits for its answer before it calls again.
    async fn peak(self: &Arc<Self>) -> Result<f64> {
        let from = Instant::now() + PEAK_WARM_UP;
        let until = from + PEAK_SPAN;
        let is_over = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for first in 0..PEAK_IN_FLIGHT {
            let (run, is_over) = (Arc::clone(self), Arc::clone(&is_over));
            callers.spawn(async move {
                let (mut number, mut good) = (first, 0_u32);
                while !is_over.load(Ordering::Relaxed) {
                    let called = run.call(number, "peak").await;
                    ensure!(called.answer == Answer::Order, "at the peak: {:?}", called.answer);
                    good += u32::from((from..until).contains(&called.answered));
                    number += PEAK_IN_FLIGHT;
                }
                Ok(good)
            });
        }
        sleep_until(until).await;
        is_over.store(true, Ordering::Relaxed);
        let mut good = 0;
        while let Some(caller) = callers.join_next().await {
            good += caller??;
        }
        ensure!(good > 0, "nobody got an order");
        Ok(f64::from(good) / PEAK_SPAN.as_secs_f64())
    }

    /// Calls at a constant rate, whatever comes of the calls before.
    async fn offer(self: &Arc<Self>, rate_per_s: f64, span: Duration) -> Result<Offered> {
        let calls = (rate_per_s * span.as_secs_f64()) as u32;
        let schedule = Spread::Evenly.over(span, calls);
        let tally = Arc::new(Mutex::new((Heard::default(), 0_u32, 0_u32)));
        let start = Instant::now();
        let end = start + span;
        let mut lag = Duration::ZERO;
        let mut under_way = JoinSet::new();
        for (number, offset) in (0..calls).zip(schedule) {
            // A timer is good for a millisecond, so that calls which are nearer go together.
            if start + offset > Instant::now() + Duration::from_millis(1) {
                sleep_until(start + offset).await;
            }
            lag = lag.max(start.elapsed().saturating_sub(offset));
            let (run, tally) = (Arc::clone(self), Arc::clone(&tally));
            under_way.spawn(async move {
                let Called { answer, latency, answered } = run.call(number, "offered").await;
                let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                let (heard, good, late) = &mut *tally;
                *good += u32::from(answer == Answer::Order && answered <= end);
                *late += u32::from(latency > DEADLINE);
                heard.add(answer, latency);
            });
            while under_way.try_join_next().is_some() {}
        }
        while let Some(call) = under_way.join_next().await {
            call?;
        }
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        let (heard, good, late) = std::mem::take(&mut *tally);
        Ok(Offered { calls, heard: heard.summary(), good, late, lag })
    }
}
