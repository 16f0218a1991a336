//! Where the goods go: out of the buyer's book, kept as it was, seen by few, and sealed.

use std::{
    process::Output,
    sync::atomic::{AtomicBool, Ordering},
};

use firstcome_order::app::MIGRATIONS;
use firstcome_proto::{
    Reason, UserId,
    order_v1::{OrderState, pay_order_request::Destination},
};
use firstcome_testkit::{eventually, stores};
use futures::future::join_all;
use sqlx::{AssertSqlSafe, migrate::Migrator};
use uuid::Uuid;

use super::{
    app::{Buyer, DATA_KEYS, Replica, SOON, Shop, home, is, pay_request, refused},
    peers::{Call, Fault},
};

/// Another key in front of the one that the shop begins with.
const NEXT_KEY: &str = "2:0202020202020202020202020202020202020202020202020202020202020202";
/// The last migration before addresses were sealed.
const LAST_IN_THE_CLEAR: i64 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn an_order_keeps_the_address_that_it_was_paid_with() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let (order, id, other) = (buyer.placed(Uuid::new_v4()).await, Uuid::new_v4(), Uuid::new_v4());
    shop.peers.write_address(buyer.id, id, Some(home("1 Book")));
    shop.peers.write_address(buyer.id, other, Some(home("2 Book")));
    assert_eq!(buyer.address_of(order).await, None);

    is(&buyer.pay_to(order, id).await, OrderState::Preparing);
    assert_eq!(buyer.address_of(order).await, Some(home("1 Book")));

    // Whatever becomes of the book, the goods go where they were to go, and a retry is told so.
    shop.peers.write_address(buyer.id, id, Some(home("1 Elsewhere")));
    is(&buyer.pay_to(order, id).await, OrderState::Preparing);
    shop.peers.write_address(buyer.id, id, None);
    is(&buyer.pay_to(order, id).await, OrderState::Preparing);
    is(&buyer.pay_to(order, other).await, OrderState::Preparing);
    is(&buyer.pay(order).await, OrderState::Preparing);
    shop.peers.plan(id, &[(Call::GetAddress, Fault::AlwaysUnknown)]);
    is(&buyer.pay_to(order, id).await, OrderState::Preparing);
    assert_eq!(buyer.address_of(order).await, Some(home("1 Book")));

    is(&buyer.cancel(order).await, OrderState::Cancelled);
    assert_eq!(buyer.address_of(order).await, Some(home("1 Book")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_keeps_the_address_that_it_began_with() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let (order, id) = (buyer.placed(Uuid::new_v4()).await, Uuid::new_v4());
    shop.peers.write_address(buyer.id, id, Some(home("1 Book")));
    shop.peers.plan(order, &[(Call::Authorize, Fault::HangBefore)]);
    let paying = tokio::spawn({
        let buyer = buyer.clone();
        async move { buyer.pay_to(order, id).await }
    });
    eventually(SOON, || async { shop.peers.hanging() == 1 }).await;
    shop.peers.write_address(buyer.id, id, Some(home("1 Elsewhere")));
    refused(&buyer.pay_to(order, id).await, Reason::PaymentInProgress);
    assert_eq!(buyer.address_of(order).await, None, "it is not paid");
    is(&paying.await.unwrap(), OrderState::Preparing);
    assert_eq!(buyer.address_of(order).await, Some(home("1 Book")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_the_buyers_pays_for_nothing() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let (ann, bob) = (replica.buyer(), replica.buyer());
    let (order, of_bob) = (ann.placed(Uuid::new_v4()).await, Uuid::new_v4());
    shop.peers.write_address(bob.id, of_bob, Some(home("1 Bob")));

    for id in [of_bob, Uuid::new_v4()] {
        let refusal = ann.pay_to(order, id).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::InvalidArgument);
        assert_eq!(refusal.violations[0].field, "address_id");
    }
    for rubbish in ["", "rubbish", &of_bob.to_string().to_uppercase()] {
        let mut request = pay_request(order);
        request.destination = Some(Destination::AddressId(rubbish.into()));
        request.payment_method = String::new();
        let refusal = ann.pay_with(request).await.unwrap_err();
        let fields: Vec<_> = refusal.violations.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["payment_method", "address_id"]);
    }
    refused(&bob.pay_to(order, of_bob).await, Reason::NotFound);
    is(&ann.get(order).await, OrderState::PendingPayment);
    assert_eq!(shop.peers.calls(order), [Call::Reserve]);
    is(&ann.pay(order).await, OrderState::Preparing);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_books_cannot_be_read_nothing_is_begun() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let outages: [&[Fault]; 3] =
        [&[Fault::Refused; 3], &[Fault::AlwaysUnknown], &[Fault::HangBefore]];
    join_all(outages.map(async |faults| {
        let buyer = replica.buyer();
        let (order, id) = (buyer.placed(Uuid::new_v4()).await, Uuid::new_v4());
        shop.peers.write_address(buyer.id, id, Some(home("1 Book")));
        let plan: Vec<_> = faults.iter().map(|&fault| (Call::GetAddress, fault)).collect();
        shop.peers.plan(id, &plan);
        let refusal = buyer.pay_to(order, id).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::UpstreamUnavailable, "{faults:?}");
        assert!(refusal.retry_after.is_some());
        is(&buyer.get(order).await, OrderState::PendingPayment);
        assert_eq!(shop.peers.calls(order), [Call::Reserve], "{faults:?}");

        // One that passes is not even noticed.
        shop.peers.plan(id, &[(Call::GetAddress, Fault::Refused)]);
        is(&buyer.pay_to(order, id).await, OrderState::Preparing);
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_and_the_shop_see_where_a_paid_order_goes() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let (buyer, stranger, admin) = (replica.buyer(), replica.buyer(), replica.buyer().admin());
    let order = buyer.placed(Uuid::new_v4()).await;
    is(&buyer.pay(order).await, OrderState::Preparing);
    assert_eq!(buyer.address_of(order).await, Some(home("1 Main")));
    assert_eq!(admin.address_of(order).await, Some(home("1 Main")));
    refused(&stranger.get_whole(order).await, Reason::NotFound);

    let declined = buyer.placed(Uuid::new_v4()).await;
    shop.peers.plan(declined, &[(Call::Authorize, Fault::Refused)]);
    refused(&buyer.pay(declined).await, Reason::CardDeclined);
    assert_eq!(admin.address_of(declined).await, None);
    let cancelled = buyer.placed(Uuid::new_v4()).await;
    is(&buyer.cancel(cancelled).await, OrderState::Cancelled);
    assert_eq!(buyer.address_of(cancelled).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_the_schema_holds_no_readable_address() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let buyer = replica.buyer();
    let order = buyer.placed(Uuid::new_v4()).await;
    is(&buyer.pay(order).await, OrderState::Preparing);
    let dump = dump(&shop).await;
    assert!(dump.contains(&order.to_string()), "the dump holds the row");
    let at = home("1 Main");
    for secret in [at.recipient, at.phone, at.line1, at.city, at.postal_code] {
        assert!(!dump.contains(&secret), "{secret}");
        // As Postgres shows bytes.
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!dump.contains(&hex), "{secret} as bytes");
    }
}

/// Every row of every table of the schema.
async fn dump(shop: &Shop) -> String {
    let pool = &shop.database.pool;
    let tables = "select tablename::text from pg_tables where schemaname = 'fc_order'";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(pool).await.unwrap();
    let mut rows: Vec<String> = Vec::new();
    for table in tables {
        let every = AssertSqlSafe(format!("select row::text from fc_order.{table} as row"));
        rows.extend(sqlx::query_scalar::<_, String>(every).fetch_all(pool).await.unwrap());
    }
    rows.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_last_release_wrote_in_the_clear_is_sealed_by_migrate() {
    // More than two batches.
    const PAID: i64 = 600;
    let migrations = MIGRATIONS.iter().filter(|it| it.version <= LAST_IN_THE_CLEAR).cloned();
    let last_release = Migrator::with_migrations(migrations.collect());
    let shop = Shop::open_on(stores().await.database("fc_order", &last_release).await).await;
    let owner = Uuid::new_v4();
    write_in_the_clear(&shop, owner, PAID).await;

    ends_well(&shop.run("migrate", DATA_KEYS).await);
    assert_eq!(count(&shop, "address is not null").await, 0);
    assert_eq!(count(&shop, "address_sealed is not null").await, PAID);
    let replica = shop.replica().await;
    let buyer = replica.buyer_of(UserId(owner));
    assert_addresses(&shop, &buyer).await;

    // A process of the last release went on for a while; until the next `migrate` its rows are read
    // as they are.
    write_in_the_clear(&shop, owner, 3).await;
    assert_eq!(count(&shop, "address is not null").await, 3);
    assert_addresses(&shop, &buyer).await;
    ends_well(&shop.run("migrate", DATA_KEYS).await);
    assert_eq!(count(&shop, "address is not null").await, 0);
    assert_addresses(&shop, &buyer).await;
}

/// Orders as the last release left them: paid ones, and as many that never were.
async fn write_in_the_clear(shop: &Shop, owner: Uuid, paid: i64) {
    let insert = "insert into orders (order_id, user_id, state, fingerprint, product_id, sku_ids, \
         quantities, unit_prices_minor, currency, total_minor, sequence, pay_by, step, \
         next_step_at, payment_method, address) \
         select gen_random_uuid(), $1, case when paid then 'preparing' else 'expired' end, \
         decode(repeat('00', 16), 'hex'), $1, array[$1], '{1}', '{100}', 'KRW', 100, 1, now(), \
         case when paid then 'ship' end, case when paid then now() + interval '1 day' end, \
         case when paid then 'pm_card_approve' end, case when paid then $2 end \
         from generate_series(1, $3) cross join unnest(array[true, false]) as paid";
    let address = serde_json::json!({
        "recipient": "Quillon Vexworth", "phone": "+821099887766", "line1": "1 Main",
        "line2": "", "city": "Umbramere", "postal_code": "QX-90210", "country_code": "KR",
    });
    sqlx::query(insert)
        .bind(owner)
        .bind(address)
        .bind(paid)
        .execute(&shop.database.pool)
        .await
        .unwrap();
}

/// A few of the orders that are paid still go where they were to go.
async fn assert_addresses(shop: &Shop, buyer: &Buyer) {
    let some = "select order_id from orders where state = 'preparing' order by random() limit 10";
    let some: Vec<Uuid> = sqlx::query_scalar(some).fetch_all(&shop.database.pool).await.unwrap();
    assert!(!some.is_empty());
    for order in some {
        assert_eq!(buyer.address_of(order).await, Some(home("1 Main")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_come_under_a_new_key_while_orders_are_paid() {
    let mut shop = Shop::open().await;
    let old = shop.replica().await;
    let product = Uuid::new_v4();
    let before = pay_many(&old, product, 300).await;
    let both = format!("{NEXT_KEY},{DATA_KEYS}");
    shop.data_keys.clone_from(&both);
    drop(old);
    let new = shop.replica().await;

    // One row is being written all the while: the others are done without it.
    let mut writer = shop.database.pool.begin().await.unwrap();
    let (busy, _) = &before[0];
    sqlx::query("update orders set updated_at = updated_at where order_id = $1")
        .bind(busy)
        .execute(&mut *writer)
        .await
        .unwrap();
    let rotated = AtomicBool::new(false);
    let rotating = async {
        let output = shop.run("rotate-keys", &both).await;
        rotated.store(true, Ordering::Release);
        output
    };
    let paying = async {
        let mut paid = Vec::new();
        while !rotated.load(Ordering::Acquire) || paid.is_empty() {
            paid.extend(pay_many(&new, product, 20).await);
        }
        paid
    };
    let letting_go = async {
        let old = || count(&shop, "substr(address_sealed, 1, 4) = '\\x00000001'");
        eventually(SOON, || async { old().await == 1 }).await;
        assert!(!rotated.load(Ordering::Acquire), "it waits for the last one");
        writer.commit().await.unwrap();
    };
    let (output, meanwhile, ()) = tokio::join!(rotating, paying, letting_go);
    ends_well(&output);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "300");
    let again = shop.run("rotate-keys", &both).await;
    ends_well(&again);
    assert_eq!(String::from_utf8_lossy(&again.stdout).trim(), "0");

    // The old key is needed no more.
    drop(new);
    shop.data_keys = NEXT_KEY.to_owned();
    let replica = shop.replica().await;
    let (first, second) = (before.iter().take(20), meanwhile.iter().take(20));
    for (order, buyer) in first.chain(second) {
        let buyer = replica.buyer_of(buyer.id);
        assert_eq!(buyer.address_of(*order).await, Some(home("1 Main")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_does_not_open_in_the_row_of_another() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let paid = pay_many(&replica, Uuid::new_v4(), 2).await;
    let [(ours, buyer), (other, _)] = &paid[..] else { panic!("two orders") };
    sqlx::query(
        "update orders set address_sealed = other.address_sealed from orders as other
         where orders.order_id = $1 and other.order_id = $2",
    )
    .bind(ours)
    .bind(other)
    .execute(&shop.database.pool)
    .await
    .unwrap();
    refused(&buyer.get_whole(*ours).await, Reason::Internal);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_does_not_open_is_left_and_the_others_come_under_a_new_key() {
    let mut shop = Shop::open().await;
    let replica = shop.replica().await;
    let paid = pay_many(&replica, Uuid::new_v4(), 20).await;
    let pool = shop.database.pool.clone();
    // One was changed, and one is in the clear and nothing that any release wrote.
    let [(forged, _), (foreign, _), others @ ..] = &paid[..] else { panic!("some orders") };
    sqlx::query("update orders set address_sealed = address_sealed || '\\x00' where order_id = $1")
        .bind(forged)
        .execute(&pool)
        .await
        .unwrap();
    let foreign_now = "update orders set address_sealed = null, address = '7' where order_id = $1";
    sqlx::query(foreign_now).bind(foreign).execute(&pool).await.unwrap();

    let both = format!("{NEXT_KEY},{DATA_KEYS}");
    for sealed in ["18", "0"] {
        let output = shop.run("rotate-keys", &both).await;
        assert_eq!(output.status.code(), Some(1), "what is left needs the old key, and somebody");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), sealed);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.contains("2 addresses do not open"), "{complaint}");
    }
    ends_well(&shop.run("migrate", &both).await);

    drop(replica);
    shop.data_keys = both;
    let replica = shop.replica().await;
    for (order, buyer) in others {
        let buyer = replica.buyer_of(buyer.id);
        assert_eq!(buyer.address_of(*order).await, Some(home("1 Main")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_ends_though_a_row_is_never_let_go() {
    let shop = Shop::open().await;
    let replica = shop.replica().await;
    let paid = pay_many(&replica, Uuid::new_v4(), 3).await;
    let mut writer = shop.database.pool.begin().await.unwrap();
    sqlx::query("update orders set updated_at = updated_at where order_id = $1")
        .bind(paid[0].0)
        .execute(&mut *writer)
        .await
        .unwrap();
    let both = format!("{NEXT_KEY},{DATA_KEYS}");
    let output = shop.run("rotate-keys", &both).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "2");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("1 addresses are still being written"), "{complaint}");

    writer.commit().await.unwrap();
    let again = shop.run("rotate-keys", &both).await;
    ends_well(&again);
    assert_eq!(String::from_utf8_lossy(&again.stdout).trim(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cannot_be_read_are_refused_and_not_told() {
    let shop = Shop::open().await;
    let twice = format!("{DATA_KEYS},{DATA_KEYS}");
    for (keys, fault) in [
        ("c0ffee", "want keys as"),
        ("", "want at least one key"),
        (twice.as_str(), "two keys have the number 1"),
    ] {
        for command in ["migrate", "rotate-keys"] {
            let output = shop.run(command, keys).await;
            assert_eq!(output.status.code(), Some(64), "{command}");
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(complaint.contains(fault), "{complaint}");
            assert!(!complaint.contains("c0ffee") && !complaint.contains("0101"), "{complaint}");
        }
    }
}

/// Orders of buyers of their own, paid and sent home.
async fn pay_many(replica: &Replica, product: Uuid, orders: usize) -> Vec<(Uuid, Buyer)> {
    join_all((0..orders).map(async |_| {
        let buyer = replica.buyer();
        let order = buyer.placed(product).await;
        is(&buyer.pay(order).await, OrderState::Preparing);
        (order, buyer)
    }))
    .await
}

async fn count(shop: &Shop, condition: &str) -> i64 {
    let count = AssertSqlSafe(format!("select count(*) from orders where {condition}"));
    sqlx::query_scalar(count).fetch_one(&shop.database.pool).await.unwrap()
}

#[track_caller]
fn ends_well(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
