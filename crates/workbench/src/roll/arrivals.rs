//! A rush without an end: so many buyers come each second, whatever became of those before. One in
//! ten goes for what nobody sells out, and so places, pays, walks away or takes back; the others
//! storm small drops, one after the other, and mostly lose.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use firstcome_proto::{
    inventory_v1::{GetStockRequest, stock_service_client::StockServiceClient},
    order_v1::{GetOrderRequest, order_service_client::OrderServiceClient},
    user_v1::{GetProfileRequest, profile_service_client::ProfileServiceClient},
};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use crate::{
    calls::{ANSWER_TIMEOUT, Person},
    doors::Doors,
    receipts::LedgerEntry,
    rush::{
        buyer::Ending,
        sale::Sale,
        stampede::{Keys, Stampede, Visit},
    },
};

/// Whoever is due comes in bunches of this interval.
const TICK: Duration = Duration::from_millis(5);
/// One in so many goes for what is not sold out, and wins.
const WINNERS_ONE_IN: u64 = 10;
/// One in so many looks at something first.
const LOOKERS_ONE_IN: u64 = 7;
/// Units of what is not sold out, for each buyer a second: a roll ends before that.
const PLENTY_SECONDS: u32 = 600;
/// How long a small drop is stormed before the next one opens.
const WAVE: Duration = Duration::from_secs(20);
/// Small drops; the last one is stormed until the end.
const WAVES: u32 = 8;
/// Of so many who storm a small drop, one may have a unit.
const COMERS_OF_UNIT: u32 = 50;
/// PlaceOrder calls in flight at most: above what an answer's longest wait gathers.
const IN_FLIGHT: usize = 20_000;
/// Everybody is home by then when the doors close: nobody waits longer for an answer, and nobody
/// tries more often.
const HOME_WITHIN: Duration = Duration::from_secs(90);

/// What is sold, and to whom.
pub struct Arrivals {
    doors: Arc<Doors>,
    people: Vec<Person>,
    plenty: Arc<Stampede>,
    /// By the instant of their opening.
    waves: Vec<(Instant, Arc<Stampede>)>,
    run: String,
    rate: u32,
}

/// Where everything is put that is sold.
pub struct Shelf {
    /// To an edge that serves.
    pub channel: Channel,
    /// The operator.
    pub admin: MetadataValue<Ascii>,
    /// Names the products.
    pub run: String,
    /// How long a unit is held.
    pub hold: Duration,
}

/// How the plan was kept.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Buyers who came.
    pub buyers: u64,
    /// How long the one who came latest after its instant was kept, by our own machine.
    pub late: Duration,
    /// From the first to the last.
    pub span: Duration,
}

impl Arrivals {
    /// Puts everything on the shelf; the doors open when it is there.
    pub async fn prepare(
        doors: Arc<Doors>,
        shelf: &Shelf,
        people: Vec<Person>,
        rate: u32,
    ) -> Result<Self> {
        ensure!(!people.is_empty(), "a rush needs buyers");
        let Shelf { channel, admin, run, hold } = shelf;
        let sell = async |name: String, stock: u32, limit: u32, opens_in: Duration| {
            let sale = Sale::create(channel.clone(), admin, &name, stock).await?;
            let opening = sale.open_in(channel.clone(), admin, opens_in, limit, *hold).await?;
            let stampede = Stampede::new(Arc::clone(&doors), IN_FLIGHT, sale);
            Ok::<_, anyhow::Error>((opening, Arc::new(stampede)))
        };
        let mut waves = Vec::new();
        let units = (rate * u32::try_from(WAVE.as_secs())?).div_ceil(COMERS_OF_UNIT);
        for wave in 0..WAVES {
            waves.push(sell(format!("{run}-{wave}"), units, 1, WAVE * wave).await?);
        }
        // Last, so that what is sold from the beginning is open when it is there.
        let stock = (rate * PLENTY_SECONDS).div_ceil(u32::try_from(WINNERS_ONE_IN)?);
        let (opening, plenty) = sell(format!("{run}-plenty"), stock, 0, Duration::ZERO).await?;
        tokio::time::sleep_until(opening).await;
        Ok(Self { doors, people, plenty, waves, run: run.clone(), rate })
    }

    /// Lets buyers in until `closing`, and waits until they are home.
    pub async fn run(
        self: &Arc<Self>,
        ledger: LedgerEntry,
        closing: CancellationToken,
    ) -> Result<Sent> {
        let start = Instant::now();
        let mut visits = JoinSet::new();
        let mut looking = vec![self.plenty.look_on()];
        let (mut stormed, mut keys) = (None, self.keys(0));
        let (mut buyers, mut late) = (0, Duration::ZERO);
        while !closing.is_cancelled() {
            let wave = self.wave(Instant::now());
            if stormed.replace(wave) != Some(wave) {
                looking.push(self.waves[wave].1.look_on());
            }
            while let Some(lateness) = self.lateness(start, buyers) {
                late = late.max(lateness);
                let (round, place) = self.place(buyers);
                if place == 0 {
                    keys = self.keys(round);
                }
                let wins = buyers.is_multiple_of(WINNERS_ONE_IN);
                let stampede = if wins { &self.plenty } else { &self.waves[wave].1 };
                let person = self.people[place].clone();
                let visit = stampede.visit(person.clone(), place, keys.clone(), ledger.clone());
                let (arrivals, number) = (Arc::clone(self), buyers);
                visits.spawn(async move { arrivals.come(number, &person, visit).await });
                buyers += 1;
            }
            while visits.try_join_next().is_some() {}
            tokio::select! {
                () = closing.cancelled() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
        let span = start.elapsed();
        drop(ledger);
        self.send_home();
        let home = async { while visits.join_next().await.is_some() {} };
        let all_home = timeout(HOME_WITHIN, home).await;
        looking.iter().for_each(JoinHandle::abort);
        all_home.context("buyers do not come home")?;
        Ok(Sent { buyers, late, span })
    }

    /// How late the buyer with this number is by now; nothing before its time.
    fn lateness(&self, start: Instant, number: u64) -> Option<Duration> {
        let planned = Duration::from_secs_f64(number as f64 / f64::from(self.rate));
        start.elapsed().checked_sub(planned)
    }

    /// One buyer's time: perhaps a look, the purchase, and what comes after.
    async fn come(&self, number: u64, person: &Person, visit: Visit) {
        if number.is_multiple_of(LOOKERS_ONE_IN) {
            self.look(number / LOOKERS_ONE_IN, person, visit.sale()).await;
        }
        let departure = visit.run(Instant::now() + HOME_WITHIN).await;
        let Some(purchase) = departure.order else { return };
        let takes_back = match departure.ending {
            // Half of those who would walk away say so, and a quarter of the owners regret.
            Ending::Abandoned => number.is_multiple_of(4),
            Ending::Paid => number.is_multiple_of(8),
            Ending::Declined | Ending::Refused(_) => false,
        };
        if takes_back {
            visit.cancel(purchase).await;
        }
        let read = self.doors.call(|channel| async move {
            let message = GetOrderRequest { order_id: purchase.order.to_string() };
            let request = person.request(message, ANSWER_TIMEOUT);
            OrderServiceClient::new(channel).get_order(request).await
        });
        // What became of it stands in the journal.
        let _ = read.await;
    }

    /// A look at the stock, or at one's own profile: what inventory and user answer alone.
    async fn look(&self, turn: u64, person: &Person, sale: Sale) {
        let looked = self.doors.call(|channel| async move {
            if turn.is_multiple_of(2) {
                let message = GetStockRequest { product_id: sale.product.to_string() };
                let request = person.request(message, ANSWER_TIMEOUT);
                StockServiceClient::new(channel).get_stock(request).await.map(drop)
            } else {
                let request = person.request(GetProfileRequest {}, ANSWER_TIMEOUT);
                ProfileServiceClient::new(channel).get_profile(request).await.map(drop)
            }
        });
        let _ = looked.await;
    }

    /// How often everybody has come before this number, and whose turn it is.
    fn place(&self, number: u64) -> (u64, usize) {
        let people = self.people.len() as u64;
        (number / people, usize::try_from(number % people).expect("less than the people"))
    }

    /// The last one that is open.
    fn wave(&self, now: Instant) -> usize {
        self.waves.iter().rposition(|(opening, _)| *opening <= now).unwrap_or(0)
    }

    fn keys(&self, round: u64) -> Keys {
        Keys::of(&format!("{}-{round}", self.run))
    }

    /// Nobody waits for a unit any more.
    fn send_home(&self) {
        let waves = self.waves.iter().map(|(_, wave)| wave);
        waves.chain([&self.plenty]).for_each(|stampede| stampede.watch.close());
    }
}
