//! The real program is stopped dead at every place that it names, as by a power cut, and started
//! again: the order ends as if nothing had happened.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use firstcome_order::{FAILPOINTS, order::Step};
use firstcome_proto::{
    Reason, inventory_v1::HoldState, order_v1::OrderState, payment_v1::PaymentState,
};
use firstcome_testkit::eventually;
use futures::{StreamExt as _, stream};
use uuid::Uuid;

use super::{
    app::{Buyer, DAY, SOON, Shop, is, refused},
    peers::{Call, Product},
    saga::{Case, STORIES, Story},
};

/// The first process is dead long before.
const LEASE: &str = "1s";
/// An order is confirmed after five of these.
const SHORT_DAY: Duration = Duration::from_millis(500);
/// Shops at work at once; each has a database and processes of its own.
const SHOPS: usize = 4;

/// The program, killed when it is dropped.
pub struct Program(Child);

impl Program {
    pub async fn start(shop: &Shop, failpoint: Option<&str>) -> (Self, u16) {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_firstcome-order"));
        command
            .arg("serve")
            .env_clear()
            .env("FIRSTCOME_LISTEN", format!("127.0.0.1:{port}"))
            .env("FIRSTCOME_DATABASE_URL", &shop.database.url)
            .env("FIRSTCOME_REDIS_URL", &shop.redis_url)
            .env("FIRSTCOME_INVENTORY_ENDPOINT", shop.peers_endpoint())
            .env("FIRSTCOME_PAYMENT_ENDPOINT", shop.peers_endpoint())
            .env("FIRSTCOME_USER_ENDPOINT", shop.peers_endpoint())
            .env("FIRSTCOME_DATA_KEYS", &shop.data_keys)
            .env("FIRSTCOME_STEP_LEASE", LEASE)
            .env("FIRSTCOME_DAY", format!("{}ms", shop.day.as_millis()))
            .envs(failpoint.map(|name| ("FIRSTCOME_FAILPOINT", name)))
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let program = Self(command.spawn().unwrap());
        eventually(SOON, || async {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        (program, port)
    }

    pub async fn died(&mut self) {
        let program = &mut self.0;
        eventually(SOON, || std::future::ready(program.try_wait().unwrap().is_some())).await;
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The story in which a failpoint of a payment is passed.
fn story_of(failpoint: &str) -> Option<&'static Story> {
    let mut steps = Step::ALL.iter();
    let step = steps.find(|step| <[&str; 2]>::from(step.failpoints()).contains(&failpoint))?;
    let call = match step {
        Step::Expire | Step::Cancel => return None,
        Step::Pin => Call::Pin,
        Step::Authorize => Call::Authorize,
        Step::Settle => Call::Settle,
        Step::Capture => Call::Capture,
        Step::Restock => Call::Restock,
        Step::Void => Call::Void,
        Step::Refund => Call::Refund,
        Step::Release => Call::ReleaseSaga,
        Step::Ship | Step::Deliver | Step::Confirm | Step::TakeBack | Step::PayBack => return None,
    };
    STORIES.iter().find(|story| story.calls.contains(&call))
}

async fn dies_and_goes_on(failpoint: &'static str) {
    let room = failpoint.split_once('.').unwrap().0;
    let ages = matches!(room, "ship" | "deliver" | "confirm");
    let day = if ages { SHORT_DAY } else { DAY };
    let shop = Shop::open_with_days_of(day).await;
    let (mut program, port) = Program::start(&shop, Some(failpoint)).await;
    let buyer = Buyer::at(port);
    let line = [(Uuid::new_v4(), Uuid::new_v4(), 1)];
    let product = line[0].0;

    match (story_of(failpoint), room) {
        (Some(story), _) => {
            let mut case = Case::place(&shop, buyer, story, None).await;
            assert!(case.buyer.pay(case.order).await.is_err(), "{failpoint}");
            program.died().await;
            let (_program, port) = Program::start(&shop, None).await;
            eventually(SOON, || async { shop.unfinished().await == 0 }).await;
            case.buyer = Buyer::at(port).with_id(case.buyer.id);
            case.assert_ended(&shop).await;
        }
        (None, "order") => {
            assert!(buyer.place("k", &line).await.is_err(), "{failpoint}");
            program.died().await;
            let (_program, port) = Program::start(&shop, None).await;
            let buyer = Buyer::at(port).with_id(buyer.id);
            let order = buyer.place("k", &line).await.unwrap();
            assert_eq!((order.state(), order.sequence), (OrderState::PendingPayment, 1));
            assert_eq!(shop.rows().await, 1);
        }
        (None, "cancel") => {
            let order = buyer.placed(product).await;
            assert!(buyer.cancel(order).await.is_err(), "{failpoint}");
            program.died().await;
            let (_program, port) = Program::start(&shop, None).await;
            eventually(SOON, || async { shop.unfinished().await == 0 }).await;
            let buyer = Buyer::at(port).with_id(buyer.id);
            is(&buyer.cancel(order).await, OrderState::Cancelled);
        }
        (None, "expire") => {
            let hold_ttl = Duration::from_millis(500);
            shop.peers.product(product, Product { hold_ttl, ..Product::default() });
            let order = buyer.placed(product).await;
            program.died().await;
            let (_program, port) = Program::start(&shop, None).await;
            eventually(SOON, || async { shop.unfinished().await == 0 }).await;
            let buyer = Buyer::at(port).with_id(buyer.id);
            is(&buyer.get(order).await, OrderState::Expired);
            refused(&buyer.pay(order).await, Reason::OrderExpired);
        }
        (None, "ship" | "deliver" | "confirm") => {
            let order = buyer.placed(product).await;
            is(&buyer.pay(order).await, OrderState::Preparing);
            program.died().await;
            let (_program, port) = Program::start(&shop, None).await;
            let buyer = Buyer::at(port).with_id(buyer.id);
            eventually(SOON, || async {
                buyer.get(order).await.is_ok_and(|order| order.state() == OrderState::Confirmed)
            })
            .await;
            let states: Vec<String> =
                shop.events(order).await.into_iter().map(|(_, to)| to).collect();
            assert_eq!(states, ["preparing", "shipping", "delivered", "confirmed"], "{failpoint}");
        }
        (None, "give_back") => {
            let order = buyer.placed(product).await;
            is(&buyer.pay(order).await, OrderState::Preparing);
            assert!(buyer.cancel(order).await.is_err(), "{failpoint}");
            program.died().await;
            let (_program, port) = Program::start(&shop, None).await;
            eventually(SOON, || async { shop.unfinished().await == 0 }).await;
            let buyer = Buyer::at(port).with_id(buyer.id);
            is(&buyer.cancel(order).await, OrderState::Cancelled);
            assert_eq!(shop.peers.payment(order), Some(PaymentState::Refunded), "{failpoint}");
            assert_eq!(shop.peers.hold(product, order), Some(HoldState::Returned), "{failpoint}");
        }
        (None, "attempt") => {
            let (first, second) = (product, Uuid::new_v4());
            let lines = [(first, Uuid::new_v4(), 1), (second, Uuid::new_v4(), 2)];
            // What is undone was refused by the second that was asked.
            let is_refused = failpoint == "attempt.before_undo";
            let scarce = first.max(second);
            let available = if is_refused { 0 } else { 10 };
            shop.peers.product(scarce, Product { available, ..Product::default() });
            assert!(buyer.place("k", &lines).await.is_err(), "{failpoint}");
            program.died().await;
            shop.peers.product(scarce, Product::default());

            let (_program, port) = Program::start(&shop, None).await;
            let buyer = Buyer::at(port).with_id(buyer.id);
            eventually(SOON, || async { buyer.place("k", &lines).await.is_ok() }).await;
            is(&buyer.place("k", &lines).await, OrderState::PendingPayment);
            assert_eq!(shop.rows().await, 1);
            for product in [first, second] {
                let held = |states: Vec<HoldState>| {
                    states.into_iter().filter(|state| *state == HoldState::Held).count()
                };
                assert_eq!(held(shop.peers.holds_of(product)), 1, "{failpoint}");
            }
        }
        (None, other) => panic!("no test stops the program at {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_dies_at_any_failpoint_leaves_an_order_that_ends_well() {
    stream::iter(FAILPOINTS)
        .for_each_concurrent(SHOPS, |failpoint| dies_and_goes_on(failpoint))
        .await;
}
