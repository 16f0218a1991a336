//! Everybody at once: runs each buyer's state machine against the edge, over a limited number of
//! connections, and writes down every answer.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use firstcome_proto::{
    OrderId, Refusal,
    order_v1::{Order, OrderState},
    timestamp,
};
use time::OffsetDateTime;
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tonic::Status;

use super::{
    buyer::{Action, Buyer, Ending, Event, Tap, of_two},
    sale::Sale,
    tally::Tally,
    watch::Watch,
};
use crate::{
    calls::{ANSWER_TIMEOUT, CARD_APPROVED, CARD_DECLINED, Person},
    doors::Doors,
    receipts::{Acknowledged, Answer, Call, LedgerEntry, Receipt},
};

/// Payments in flight: their own places, so that nobody who holds a unit waits behind losers.
const PAYMENTS_IN_FLIGHT: usize = 128;
/// Whoever hangs up does so this soon after calling, at the latest.
const HANG_UP_WITHIN: Duration = Duration::from_millis(10);
/// Whoever saw a unit on sale hesitates at most this long.
const HESITATION: Duration = Duration::from_millis(50);

/// What all buyers share.
pub struct Stampede {
    doors: Arc<Doors>,
    places: Semaphore,
    payments: Semaphore,
    sale: Sale,
    clock: Clock,
    /// Counters, for whoever looks on.
    pub tally: Tally,
    /// Where the losers wait.
    pub watch: Watch,
}

impl Stampede {
    /// A stampede for one sale, with at most so many PlaceOrder calls in flight.
    pub fn new(doors: Arc<Doors>, in_flight: usize, sale: Sale) -> Self {
        Self {
            doors,
            places: Semaphore::new(in_flight),
            payments: Semaphore::new(PAYMENTS_IN_FLIGHT),
            sale,
            clock: Clock::start(),
            tally: Tally::default(),
            watch: Watch::default(),
        }
    }

    /// Lets everybody in at the opening; ends when everybody is home, at the deadline at last.
    pub async fn run(
        self: &Arc<Self>,
        people: Vec<Person>,
        keys: &Keys,
        ledger: LedgerEntry,
        opening: Instant,
        deadline: Instant,
    ) {
        let looking = self.look_on();
        let mut homes = JoinSet::new();
        for (number, person) in people.into_iter().enumerate() {
            let visit = self.visit(person, number, keys.clone(), ledger.clone());
            homes.spawn(async move {
                sleep_until(opening).await;
                visit.run(deadline).await
            });
        }
        drop(ledger);
        while homes.join_next().await.is_some() {}
        looking.abort();
    }

    /// Somebody's time in the shop, who comes with this number.
    pub fn visit(
        self: &Arc<Self>,
        person: Person,
        number: usize,
        keys: Keys,
        ledger: LedgerEntry,
    ) -> Visit {
        Visit { stampede: Arc::clone(self), person, tap: tap_of(number), keys, ledger }
    }

    /// Looks at the stock for all who wait for a unit, until nothing can come back.
    pub fn look_on(self: &Arc<Self>) -> JoinHandle<()> {
        let stampede = Arc::clone(self);
        tokio::spawn(async move {
            stampede.watch.run(&stampede.doors, stampede.sale.product).await;
        })
    }
}

/// The idempotency keys of a visit, by purchase; all buyers use the same texts, since keys belong
/// to their users.
#[derive(Clone)]
pub struct Keys(Arc<[Arc<str>]>);

impl Keys {
    /// Whoever comes twice needs another name the second time.
    pub fn of(name: &str) -> Self {
        // More purchases than tries cannot be.
        Self((0..=64).map(|purchase| format!("rush-{name}-{purchase}").into()).collect())
    }

    fn of_purchase(&self, purchase: u16) -> &Arc<str> {
        &self.0[usize::from(purchase).min(self.0.len() - 1)]
    }
}

/// An order, and under which of a visit's keys it was placed.
#[derive(Clone, Copy, Debug)]
pub struct Purchase {
    /// The order.
    pub order: OrderId,
    number: u16,
}

/// How somebody left.
#[derive(Clone, Copy, Debug)]
pub struct Departure {
    /// What came of it.
    pub ending: Ending,
    /// The last order, whatever became of it.
    pub order: Option<Purchase>,
}

/// One buyer's time in the shop.
pub struct Visit {
    stampede: Arc<Stampede>,
    person: Person,
    /// How the button is pressed first.
    tap: Tap,
    keys: Keys,
    ledger: LedgerEntry,
}

impl Visit {
    /// Buys, until there is nothing more to do or time is up.
    pub async fn run(&self, deadline: Instant) -> Departure {
        let mut buyer = Buyer::new(self.tap);
        let home = timeout_at(deadline, self.live(&mut buyer)).await;
        let called_home = Departure { ending: buyer.called_home(), order: None };
        let departure = home.unwrap_or(called_home);
        self.stampede.tally.count_ending(departure.ending);
        departure
    }

    /// What it is for.
    pub fn sale(&self) -> Sale {
        self.stampede.sale
    }

    /// Takes back the order that this visit led to.
    pub async fn cancel(&self, of: Purchase) {
        let asked_ms = self.stampede.clock.now_ms();
        let cancel = |channel| self.person.cancel(channel, of.order);
        let answer = self.stampede.doors.call(cancel).await;
        let key = self.keys.of_purchase(of.number);
        self.heard(Call::Cancel, key, asked_ms, answer, |order| Event::Paid(order.state));
    }

    async fn live(&self, buyer: &mut Buyer) -> Departure {
        let mut action = buyer.after(Event::Opened);
        let (mut purchase_now, mut bought) = (1, None);
        loop {
            // Boxed, so that a buyer who merely waits costs little memory.
            let event: Pin<Box<dyn Future<Output = Event> + Send + '_>> = match action {
                Action::End(ending) => return Departure { ending, order: bought },
                Action::Rest(span) => Box::pin(rest(span)),
                Action::Watch => Box::pin(self.look_on()),
                Action::Pay { order, declined } => {
                    Box::pin(self.pay(order, purchase_now, declined))
                }
                Action::Place { purchase, tap } => {
                    purchase_now = purchase;
                    match tap {
                        Tap::Once => Box::pin(self.place(purchase)),
                        Tap::Twice => Box::pin(self.place_twice(purchase)),
                        Tap::AndHangUp => Box::pin(self.place_and_hang_up(purchase)),
                    }
                }
            };
            let event = event.await;
            if let Event::Placed { order, .. } = event {
                bought = Some(Purchase { order, number: purchase_now });
            }
            action = buyer.after(event);
            let admitted = matches!(event, Event::Placed { .. })
                && matches!(action, Action::Pay { .. } | Action::End(_));
            if admitted {
                self.stampede.tally.count_admission();
            }
        }
    }

    async fn look_on(&self) -> Event {
        let event = self.stampede.watch.wait().await;
        if event == Event::Freed {
            sleep(rand::random_range(Duration::ZERO..HESITATION)).await;
        }
        event
    }

    async fn place_twice(&self, purchase: u16) -> Event {
        let (one, other) = tokio::join!(self.place(purchase), self.place(purchase));
        of_two(one, other)
    }

    async fn place_and_hang_up(&self, purchase: u16) -> Event {
        let patience = rand::random_range(Duration::ZERO..HANG_UP_WITHIN);
        // The place in the queue is waited for first: only a call that was sent is dropped.
        let _place = self.place_in_flight().await;
        let asked_ms = self.stampede.clock.now_ms();
        tokio::select! {
            event = self.send_place(purchase) => event,
            () = sleep(patience) => {
                let key = self.keys.of_purchase(purchase);
                self.write_down(Call::Place, key, asked_ms, Answer::Unheard);
                Event::HungUp
            }
        }
    }

    async fn place(&self, purchase: u16) -> Event {
        let _place = self.place_in_flight().await;
        self.send_place(purchase).await
    }

    async fn place_in_flight(&self) -> tokio::sync::SemaphorePermit<'_> {
        self.stampede.places.acquire().await.expect("places are never closed")
    }

    async fn send_place(&self, purchase: u16) -> Event {
        let key = self.keys.of_purchase(purchase);
        let sale = self.stampede.sale;
        let (asked_ms, asked) = (self.stampede.clock.now_ms(), Instant::now());
        let place = |channel| self.person.place(channel, sale, key, ANSWER_TIMEOUT);
        let answer = self.stampede.doors.call(place).await;
        self.stampede.tally.count_latency(asked.elapsed());
        self.heard(Call::Place, key, asked_ms, answer, |order| Event::Placed {
            order: order.order,
            sequence: order.sequence,
            state: order.state,
        })
    }

    async fn pay(&self, order: OrderId, purchase: u16, declined: bool) -> Event {
        let _place = self.stampede.payments.acquire().await.expect("payments are never closed");
        let card = if declined { CARD_DECLINED } else { CARD_APPROVED };
        let asked_ms = self.stampede.clock.now_ms();
        let pay = |channel| self.person.pay(channel, order, card);
        let answer = self.stampede.doors.call(pay).await;
        let key = self.keys.of_purchase(purchase);
        self.heard(Call::Pay, key, asked_ms, answer, |order| Event::Paid(order.state))
    }

    /// Writes the answer down and tells what it means.
    fn heard(
        &self,
        call: Call,
        key: &Arc<str>,
        asked_ms: i64,
        answer: Result<Order, Status>,
        event: impl FnOnce(&Acknowledged) -> Event,
    ) -> Event {
        let answer = match answer {
            Ok(order) => acknowledged(&order).ok_or_else(Refusal::internal),
            Err(status) => Err(Refusal::from_status(&status)),
        };
        let (answer, event) = match answer {
            Ok(order) => (Answer::Order(order), event(&order)),
            Err(refusal) => {
                let reason = refusal.reason();
                let retry_after = refusal.retry_after.and_then(|wait| wait.try_into().ok());
                self.stampede.tally.count_refusal(reason);
                (Answer::Refused(reason), Event::Refused { reason, retry_after })
            }
        };
        self.write_down(call, key, asked_ms, answer);
        event
    }

    fn write_down(&self, call: Call, key: &Arc<str>, asked_ms: i64, answer: Answer) {
        let receipt = Receipt {
            call,
            user: self.person.user,
            key: Arc::clone(key),
            product: self.stampede.sale.product,
            sku: self.stampede.sale.sku,
            quantity: 1,
            asked_ms,
            answered_ms: self.stampede.clock.now_ms(),
            answer,
        };
        // The writer ends early only on a full disk, which closing the ledger reports.
        let _ = self.ledger.send(receipt);
    }
}

/// Rests about that long: half of it to one and a half.
async fn rest(span: Duration) -> Event {
    sleep(span.mul_f64(rand::random_range(0.5..1.5))).await;
    Event::Rested
}

/// An answered order, when it is whole.
fn acknowledged(order: &Order) -> Option<Acknowledged> {
    let pay_by = order.pay_by.as_ref().and_then(timestamp::from_wire)?;
    if order.state() == OrderState::Unspecified {
        return None;
    }
    Some(Acknowledged {
        order: order.order_id.parse().ok()?,
        sequence: order.sequence,
        state: order.state(),
        total_minor: order.total.as_ref()?.amount_minor,
        pay_by_ms: timestamp::unix_ms(pay_by),
    })
}

/// The buyers' common clock: milliseconds since 1970, and never back, so that receipts can tell
/// who came before whom.
#[derive(Clone, Copy)]
struct Clock {
    start: Instant,
    start_ms: i64,
}

impl Clock {
    fn start() -> Self {
        let start_ms = timestamp::unix_ms(OffsetDateTime::now_utc());
        Self { start: Instant::now(), start_ms }
    }

    fn now_ms(&self) -> i64 {
        let elapsed = i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.start_ms.saturating_add(elapsed)
    }
}

/// How the buyer with this number presses the button: 5 % tap twice, 1 % hang up.
pub fn tap_of(number: usize) -> Tap {
    match number % 100 {
        7 | 27 | 47 | 67 | 87 => Tap::Twice,
        33 => Tap::AndHangUp,
        _ => Tap::Once,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_in_a_hundred_tap_twice_and_one_hangs_up() {
        let count = |tap| (0..1000).filter(|&number| tap_of(number) == tap).count();
        assert_eq!([Tap::Once, Tap::Twice, Tap::AndHangUp].map(count), [940, 50, 10]);
    }

    #[test]
    fn half_an_order_is_no_acknowledgement() {
        let order = Order { state: OrderState::Preparing as i32, ..Order::default() };
        assert_eq!(acknowledged(&order), None);
    }
}
