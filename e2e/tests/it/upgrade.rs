//! Today's programs take over what the last release left when everything died at once.

use std::{collections::BTreeMap, time::Duration};

use firstcome_e2e::{
    Buyer, Shop,
    baseline::{self, Part},
    shop,
};
use firstcome_local::{
    Checkout, Mesh, Role, Service, Stores, checkout, mesh::Options, service::Ports,
};
use firstcome_proto::{
    OrderId,
    order_v1::{Order, OrderState},
};
use firstcome_testkit::eventually;
use firstcome_workbench::roll::{self, Plan, steps};

/// Every deadline in the dump is over by then, and whatever was under way has an end.
const PATIENCE: Duration = Duration::from_secs(90);
/// What goes on beside it.
const RATE: u32 = 10;

/// Loads the dump, migrates it with today's programs, and starts two of each.
async fn take_over() -> Mesh {
    let folder = checkout::create_throwaway_folder().unwrap();
    let stores = Stores::start_throwaway(&Checkout::here(), &folder, true).await.unwrap();
    baseline::load(&stores, &folder.join("secrets")).await.unwrap();
    assert!(baseline::untold_events(&stores).await.unwrap() > 0, "somebody is to be told");
    let options = Options {
        programs: shop::programs().unwrap(),
        logs: folder.join("logs"),
        mail: folder.join("mail"),
        certificates: folder.join("certificates"),
        secrets: folder.join("secrets"),
        ports: Ports::free(2).unwrap(),
        env: vec![(Some(Service::Order), "FIRSTCOME_DAY".into(), "8s".into())],
    };
    let dumped = baseline::migrations(&stores).await.unwrap();
    let mesh = Mesh::prepare(stores, options).await.unwrap();
    assert_migrated(&dumped, &baseline::migrations(mesh.stores()).await.unwrap());
    mesh.serve().await.unwrap();
    mesh
}

/// Every schema has all migrations of the tree, and so those that the last release had not; says
/// which have had any, because where there are none this story tries none.
fn assert_migrated(dumped: &BTreeMap<Role, i64>, now: &BTreeMap<Role, i64>) {
    assert_eq!(*now, baseline::migrations_here().unwrap());
    for (role, had) in dumped {
        assert!(*had > 0, "{role}: the dump has a schema");
        match now[role] - had {
            0 => println!("{role}: no migration since the dump, so none is tried here"),
            ran @ 1.. => println!("{role}: {ran} migration(s) ran on the dump's rows"),
            _ => panic!("{role}: the dump has {had} migrations, the tree {}", now[role]),
        }
    }
}

async fn order_of(buyer: &Buyer) -> Order {
    buyer.order(&OrderId::of(buyer.user, Part::KEY).to_string()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_last_release_left_is_taken_over_and_rolled() {
    let shop = Shop::open(take_over().await).await.unwrap();
    // The same names as then, so the same people.
    let buyers = shop.buyers(Part::ALL.len()).await.unwrap();
    let of = |part: Part| &buyers[part as usize];
    let pending = order_of(of(Part::Pending)).await;
    assert_eq!(pending.state(), OrderState::PendingPayment);
    let paid = of(Part::Pending).pay(&pending.order_id, "pm_card_approve").await.unwrap();
    assert_eq!((paid.state(), paid.sequence), (OrderState::Preparing, pending.sequence));

    let plan = Plan {
        rate: RATE,
        pause: Duration::from_secs(2),
        hold: Duration::from_secs(3),
        settle: Duration::from_secs(60),
        steps: steps::one_of_each(),
        files: shop.folder().with_file_name("receipts"),
    };
    let report = roll::run_plan(&shop.mesh, &plan).await.unwrap();
    assert_eq!(report.losses(), Vec::<String>::new(), "{report}");

    for (part, state) in [
        (Part::Delivered, OrderState::Confirmed),
        (Part::Shipping, OrderState::Delivered),
        (Part::Preparing, OrderState::Shipping),
        (Part::Untold, OrderState::Shipping),
        (Part::Paying, OrderState::Shipping),
        (Part::Pending, OrderState::Shipping),
        (Part::Overdue, OrderState::Expired),
        (Part::Declined, OrderState::PaymentFailed),
        (Part::Cancelled, OrderState::Cancelled),
    ] {
        let is_there = || async { leads_past(order_of(of(part)).await.state(), state) };
        eventually(PATIENCE, is_there).await;
    }
    let all_told = || async { baseline::untold_events(shop.mesh.stores()).await.unwrap() == 0 };
    eventually(PATIENCE, all_told).await;
    shop.verify().await.unwrap();
}

/// Whether an order stands at `state`, or got there and further.
fn leads_past(now: OrderState, state: OrderState) -> bool {
    let way =
        [OrderState::Preparing, OrderState::Shipping, OrderState::Delivered, OrderState::Confirmed];
    let place = |state| way.iter().position(|known| *known == state);
    now == state || place(state).is_some_and(|wanted| place(now).is_some_and(|at| at > wanted))
}
