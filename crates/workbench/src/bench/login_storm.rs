//! A thousand people log in at once while a drop sells at half of what it can: hashing passwords is
//! the dearest thing that a stranger can ask of us, and those who are in already must not notice.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use firstcome_local::Checkout;
use firstcome_proto::{
    Reason, Refusal,
    user_v1::{LogInRequest, account_service_client::AccountServiceClient},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tonic::Status;

use super::{
    findings::{Findings, Goal},
    ground::Ground,
    load::{self, Load},
    shop::Shop,
};
use crate::{
    calls::{ANSWER_TIMEOUT, Person},
    rush::{crowd, sale::Sale},
    verify::{self, VerifySources},
};

const STEP: &str = "login-storm";

/// Who buys; their own limits are not what is measured.
const BUYERS: u32 = 4_000;
const CONNECTIONS: u16 = 16;
/// More than any machine of ours sells in the time.
const UNITS: u32 = 2_000_000;
/// The peak: so many at a time, for so many orders, after a warm-up of as many again.
const PEAK_IN_FLIGHT: u16 = 256;
const PEAK_ORDERS: u32 = 20_000;
/// Orders are placed for so long at a time, until everybody is in.
const SLICE: Duration = Duration::from_secs(1);
/// What of the peak goes on beside the log-ins.
const LOAD_SHARE: f64 = 0.5;
/// How much slower the slowest hundredth may become.
const P99_TIMES_MAX: f64 = 2.0;
/// Somebody who cannot come in for so long is told to come another day.
const LOG_IN_PATIENCE: Duration = Duration::from_secs(300);
const SETTLE: Duration = Duration::from_secs(30);

/// How many come, and for how long the drop sells meanwhile.
#[derive(Clone, Debug, clap::Args)]
pub struct LoginStormArgs {
    /// People who log in at once
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=4_000))]
    pub log_ins: u32,
    /// How long orders are placed without log-ins, half of it before them and half after
    #[arg(long, default_value = "20s", value_parser = humantime::parse_duration)]
    pub span: Duration,
    /// Print one JSON array and nothing else
    #[arg(long)]
    pub json: bool,
}

/// Measures and says what was found; false when a goal was missed.
pub async fn login_storm(checkout: &Checkout, args: &LoginStormArgs) -> Result<bool> {
    let ground = Ground::start(checkout, &[]).await?;
    let mut findings = Findings::default();
    let ran = measure(&ground, args, &mut findings).await;
    ground.stop().await;
    ran?;
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(findings.rows())?),
        false => println!("{findings}"),
    }
    Ok(findings.is_good())
}

async fn measure(ground: &Ground, args: &LoginStormArgs, findings: &mut Findings) -> Result<()> {
    let mesh = ground.address();
    eprintln!("making {BUYERS} buyers ...");
    let (file, count) = (ground.files().join("tokens"), usize::try_from(BUYERS)?);
    crowd::seed(mesh, count, &file).await?;
    let people = crowd::sign(mesh, count, &file).await?;
    let shop = Shop::without_floor(mesh, CONNECTIONS).await?;
    let sale = shop.sale(UNITS, 0).await?;
    let run = Arc::new(Run { shop, sale, people });

    eprintln!("looking for the most that it can do ...");
    run.orders_in_flight("warm-up").await?;
    let peak_per_s = run.orders_in_flight("peak").await?.rate_per_s();
    let rate_per_s = peak_per_s * LOAD_SHARE;
    eprintln!("{peak_per_s:.0} orders/s; placing {rate_per_s:.0}/s ...");
    ground.come_to_rest().await?;
    let before = run.orders_at(rate_per_s, args.span / 2, "before").await?;
    eprintln!("the same while {} log in ...", args.log_ins);
    ground.come_to_rest().await?;
    let storm = tokio::spawn(Arc::clone(&run).log_all_in(args.log_ins));
    // For as long as it lasts: afterwards it would be calm again.
    let (mut slices, started) = (Vec::new(), Instant::now());
    while !storm.is_finished() {
        let key = format!("stormy-{}", slices.len());
        slices.push(run.orders_at(rate_per_s, SLICE, &key).await?);
    }
    let stormy = Load::sum(&slices, started.elapsed());
    let storm = storm.await??;
    ground.come_to_rest().await?;
    let after = run.orders_at(rate_per_s, args.span / 2, "after").await?;
    // From both sides, because a shared machine is not as fast in one minute as in the next.
    let calm = Load::sum(&[before, after], args.span);

    findings.tell(STEP, "most orders, closed loop", peak_per_s, "/s");
    findings.tell(STEP, "orders meanwhile", rate_per_s, "/s");
    findings.tell(STEP, "order without log-ins, p50", calm.quantile_ms(0.5), "ms");
    findings.tell(STEP, "order without log-ins, p99", calm.quantile_ms(0.99), "ms");
    findings.tell(STEP, "order with log-ins, p50", stormy.quantile_ms(0.5), "ms");
    let goal = Goal::AtMost(calm.quantile_ms(0.99) * P99_TIMES_MAX);
    findings.check(STEP, "order with log-ins, p99", stormy.quantile_ms(0.99), "ms", goal);
    let all = Goal::Exactly(args.log_ins.into());
    findings.check(STEP, "people who came in", f64::from(storm.came_in), "", all);
    findings.tell(STEP, "times that somebody was told to come back", storm.told_later as f64, "");
    findings.tell(STEP, "until half were in", storm.half.as_secs_f64(), "s");
    findings.tell(STEP, "until all were in", storm.all.as_secs_f64(), "s");

    let verified = verify::verify(&VerifySources::of(mesh), None, SETTLE).await?;
    findings.books(STEP, &verified);
    Ok(())
}

/// The sale, and who comes to it.
struct Run {
    shop: Shop,
    sale: Sale,
    people: Vec<Person>,
}

/// What became of the log-ins.
struct Storm {
    came_in: u32,
    told_later: u64,
    half: Duration,
    all: Duration,
}

impl Run {
    async fn order(&self, number: u32, key: &str) -> Result<()> {
        let buyer = &self.people[number as usize % self.people.len()];
        self.shop.place(number, buyer, self.sale, &format!("{key}-{number}")).await?;
        Ok(())
    }

    async fn orders_in_flight(self: &Arc<Self>, key: &str) -> Result<Load> {
        let (run, key) = (Arc::clone(self), Arc::<str>::from(key));
        let call = move |number| {
            let (run, key) = (Arc::clone(&run), Arc::clone(&key));
            async move { run.order(number, &key).await }
        };
        load::drive(PEAK_ORDERS, PEAK_IN_FLIGHT, call).await
    }

    async fn orders_at(
        self: &Arc<Self>,
        rate_per_s: f64,
        span: Duration,
        key: &str,
    ) -> Result<Load> {
        let (run, key) = (Arc::clone(self), Arc::<str>::from(key));
        let call = move |number| {
            let (run, key) = (Arc::clone(&run), Arc::clone(&key));
            async move { run.order(number, &key).await }
        };
        load::offer(rate_per_s, span, call).await
    }

    /// Everybody at once; whoever is told to come back does so when told.
    async fn log_all_in(self: Arc<Self>, count: u32) -> Result<Storm> {
        let started = Instant::now();
        let mut log_ins = JoinSet::new();
        for number in 0..count {
            let run = Arc::clone(&self);
            log_ins.spawn(async move { run.log_in(number).await });
        }
        let (mut came_in, mut told_later) = (0, 0);
        let (mut half, mut all) = (Duration::ZERO, Duration::ZERO);
        while let Some(log_in) = log_ins.join_next().await {
            told_later += log_in??;
            came_in += 1;
            all = started.elapsed();
            if came_in * 2 <= count {
                half = all;
            }
        }
        Ok(Storm { came_in, told_later, half, all })
    }

    /// Gives how often this one was told to come back.
    async fn log_in(&self, number: u32) -> Result<u64> {
        let give_up = Instant::now() + LOG_IN_PATIENCE;
        let mut told_later = 0;
        loop {
            let answer = timeout_at(give_up, self.try_log_in(number)).await;
            let refusal = match answer.context("nobody let them in")? {
                Ok(()) => return Ok(told_later),
                Err(status) => Refusal::from_status(&status),
            };
            let wait = match refusal.reason() {
                Reason::Overloaded => {
                    let wait = refusal.retry_after.and_then(|wait| Duration::try_from(wait).ok());
                    wait.context("nothing says when to come back")?
                }
                // Its own patience was over; the same key finds the same session.
                Reason::DeadlineExceeded => Duration::ZERO,
                _ => bail!("log-in {number}: {}", refusal.message),
            };
            told_later += 1;
            // Not all of them in the same moment again.
            sleep(wait.mul_f64(rand::random_range(0.5..1.5))).await;
        }
    }

    async fn try_log_in(&self, number: u32) -> Result<(), Status> {
        let message = LogInRequest {
            email: crowd::seeded_email(number),
            password: crowd::SEEDED_PASSWORD.to_owned(),
            idempotency_key: "storm".to_owned(),
            device: String::new(),
        };
        let mut request = tonic::Request::new(message);
        let address = &self.people[number as usize].address;
        request.metadata_mut().insert("x-forwarded-for", address.clone());
        request.set_timeout(ANSWER_TIMEOUT);
        AccountServiceClient::new(self.shop.channel(number)).log_in(request).await.map(drop)
    }
}
