//! `verify` is only worth something if it sees: each promise is broken once, by hand.

use std::time::Duration;

use firstcome_e2e::Shop;
use firstcome_local::Role;
use firstcome_workbench::{
    receipts::Receipts,
    rush::{RushArgs, rush},
    verify::{Promise, verify},
};
use sqlx::{AssertSqlSafe, PgPool};

/// A plant is seen at once, or before the audit mends it.
const SETTLE: Duration = Duration::from_millis(1);

/// What breaks a promise, and how to take it back.
struct Plant {
    promise: Promise,
    what: &'static str,
    role: Role,
    plant: &'static str,
    mend: &'static str,
}

/// Each is undone by its second half, so that each stands alone.
const PLANTS: [Plant; 10] = [
    Plant {
        promise: Promise::G1,
        what: "more sold than there is",
        role: Role::Inventory,
        plant: "alter table stock drop constraint stock_no_oversell;
                update stock set settled = settled + 1;",
        mend: "update stock set settled = settled - 1;
               alter table stock add constraint stock_no_oversell
               check (held + settled <= total);",
    },
    Plant {
        promise: Promise::G2,
        what: "a buyer above the limit",
        role: Role::Inventory,
        plant: "create table planted as
                    select reservation_id, buyer_id from holds where state = 'settled' limit 2;
                update holds set buyer_id = (select max(buyer_id::text)::uuid from planted)
                where reservation_id in (select reservation_id from planted);",
        mend: "update holds h set buyer_id = p.buyer_id from planted p
               where p.reservation_id = h.reservation_id;
               drop table planted;",
    },
    Plant {
        promise: Promise::G3,
        what: "a unit that nobody has",
        role: Role::Inventory,
        plant: "update stock set total = total + 1;",
        mend: "update stock set total = total - 1;",
    },
    Plant {
        promise: Promise::G4,
        what: "a card that was captured twice",
        role: Role::Sandbox,
        plant: "insert into movements (charge_key, kind, amount_minor, currency)
                select charge_key, kind, amount_minor, currency from movements
                where kind = 'CAPTURE' order by movement_id limit 1;",
        mend: "delete from movements where movement_id = (select max(movement_id) from movements);",
    },
    Plant {
        promise: Promise::G4,
        what: "a paid order without its charge",
        role: Role::Order,
        plant: "create table planted as select * from orders where state = 'preparing' limit 1;
                update orders set total_minor = total_minor + 1
                where order_id in (select order_id from planted);",
        mend: "update orders o set total_minor = p.total_minor from planted p
               where p.order_id = o.order_id;
               drop table planted;",
    },
    Plant {
        promise: Promise::G4,
        what: "a paid order that nobody ships",
        role: Role::Order,
        plant: "create table planted as
                    select order_id, next_step_at from orders where state = 'preparing' limit 1;
                alter table orders drop constraint orders_step_until_the_end;
                alter table orders drop constraint orders_step_has_a_time;
                update orders set step = null, next_step_at = null
                where order_id in (select order_id from planted);",
        mend: "update orders o set step = 'ship', next_step_at = p.next_step_at from planted p
               where p.order_id = o.order_id;
               drop table planted;",
    },
    Plant {
        promise: Promise::G4,
        what: "a cancelled order whose money was kept",
        role: Role::Order,
        plant: "create table planted as
                    select order_id, state, step, next_step_at
                    from orders where state = 'preparing' limit 1;
                update orders set state = 'cancelled', step = null, next_step_at = null
                where order_id in (select order_id from planted);",
        mend: "update orders o set state = p.state, step = p.step, next_step_at = p.next_step_at
               from planted p where p.order_id = o.order_id;
               drop table planted;",
    },
    Plant {
        promise: Promise::G5,
        what: "an order that is not what its buyer was told",
        role: Role::Order,
        plant: "create table planted as select * from orders where state = 'preparing' limit 1;
                update orders set pay_by = pay_by + interval '1 minute'
                where order_id in (select order_id from planted);",
        mend: "update orders o set pay_by = p.pay_by from planted p
               where p.order_id = o.order_id;
               drop table planted;",
    },
    Plant {
        promise: Promise::G6,
        what: "an acknowledged order that is gone",
        role: Role::Order,
        plant: "create table planted as
                    select order_id, gen_random_uuid() as hidden_id
                    from orders where state = 'preparing' limit 1;
                update orders o set order_id = p.hidden_id from planted p
                where o.order_id = p.order_id;",
        mend: "update orders o set order_id = p.order_id from planted p
               where o.order_id = p.hidden_id;
               drop table planted;",
    },
    Plant {
        promise: Promise::G6,
        what: "an event that nobody tells",
        role: Role::Order,
        plant: "update outbox_shards
                set leased_until = now() + interval '1 hour', moved_at = now() - interval '1 hour';
                insert into outbox (
                    order_id, user_id, from_state, state, total_minor, currency, created_at
                ) values (
                    gen_random_uuid(), gen_random_uuid(), 'pending_payment', 'expired', 0, 'XXX',
                    now() - interval '1 hour'
                );",
        mend: "delete from outbox where currency = 'XXX';
               update outbox_shards set leased_until = now(), moved_at = now();",
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn verify_sees_a_violation_of_each_promise() {
    let shop = Shop::own(&[]).await.unwrap();
    let args = RushArgs {
        buyers: 120,
        stock: 20,
        hold: Duration::from_secs(2),
        limit: 1,
        sign_ups: 0,
        connections: 4,
        in_flight: 64,
        deadline: Duration::from_secs(60),
        settle: Duration::from_secs(30),
        json: true,
        receipts_folder: None,
        served: false,
    };
    let report = rush(shop.mesh.address(), &args).await.unwrap();
    assert!(report.verified.is_clean(), "{:#?}", report.verified.violations);
    let receipts = Receipts::read(&report.receipts).unwrap();

    for plant in PLANTS {
        let pool = PgPool::connect(shop.mesh.address().database_url(plant.role)).await.unwrap();
        let run = |script: &'static str| sqlx::raw_sql(AssertSqlSafe(script)).execute(&pool);
        run(plant.plant).await.unwrap_or_else(|error| panic!("{}: {error}", plant.what));
        let report = verify(&shop.sources(), Some(&receipts), SETTLE).await.unwrap();
        run(plant.mend).await.unwrap_or_else(|error| panic!("{}: {error}", plant.what));
        assert!(!report.is_kept(plant.promise), "{}: {:?}", plant.what, report.violations);
        assert!(!report.is_clean());
    }
    let mended = verify(&shop.sources(), Some(&receipts), Duration::from_secs(30)).await.unwrap();
    assert!(mended.is_clean(), "{:#?}", mended.violations);
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_fails_when_it_examined_nothing() {
    let shop = Shop::own(&[]).await.unwrap();
    let report = verify(&shop.sources(), None, SETTLE).await.unwrap();
    assert!(report.fault.is_some(), "an empty shop proves nothing");
    assert!(!report.is_clean());
}
