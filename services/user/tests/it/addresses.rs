//! Address books: one default, at most twenty, whoever writes at once.

use std::{collections::HashSet, time::Duration};

use firstcome_proto::{
    AddressId, Reason, Refusal, UserId, address_v1,
    user_v1::{
        BookAddress, CreateAddressRequest, DeleteAddressRequest, GetAddressRequest,
        ListAddressesRequest, SetDefaultAddressRequest, UpdateAddressRequest,
    },
};
use firstcome_testkit::{TestDatabase, eventually, rounds};
use firstcome_user::{
    store::{BOOK_ADDRESS, Resealed},
    token::Claims,
};
use futures::future::join_all;
use sqlx::{AssertSqlSafe, Connection as _};
use tonic::{Code, Status};
use uuid::Uuid;

use super::harness::{
    DATA_KEYS, Shop, address, assert_refused, carrying, store, store_under, wait_of,
};

/// Another key in front of the one that the shop begins with.
const NEXT_KEY: &str = "2:0202020202020202020202020202020202020202020202020202020202020202";
const SOON: Duration = Duration::from_secs(10);

/// Somebody with an address book.
struct Owner<'a> {
    shop: &'a Shop,
    claims: Claims,
}

impl<'a> Owner<'a> {
    async fn of(shop: &'a Shop) -> Self {
        let tokens = shop.member(&address()).await;
        Self { shop, claims: shop.claims(&tokens.access_token).await }
    }

    fn user(&self) -> UserId {
        UserId(self.claims.sub.parse().expect("a user's id"))
    }

    async fn create(&self, key: &str, line1: &str) -> Result<BookAddress, Status> {
        self.create_at(key, home(line1)).await
    }

    async fn create_at(&self, key: &str, at: address_v1::Address) -> Result<BookAddress, Status> {
        let request = CreateAddressRequest { idempotency_key: key.into(), address: Some(at) };
        let request = carrying(&self.claims, request);
        let answer = self.shop.profiles.clone().create_address(request).await?;
        Ok(answer.into_inner().address.expect("an entry"))
    }

    async fn list(&self) -> Vec<BookAddress> {
        let request = carrying(&self.claims, ListAddressesRequest {});
        let answer = self.shop.profiles.clone().list_addresses(request).await;
        answer.expect("a list").into_inner().addresses
    }

    async fn update(&self, id: &str, line1: &str) -> Result<BookAddress, Status> {
        let request = UpdateAddressRequest { address_id: id.into(), address: Some(home(line1)) };
        let request = carrying(&self.claims, request);
        let answer = self.shop.profiles.clone().update_address(request).await?;
        Ok(answer.into_inner().address.expect("an entry"))
    }

    async fn set_default(&self, id: &str) -> Result<BookAddress, Status> {
        let request = SetDefaultAddressRequest { address_id: id.into() };
        let request = carrying(&self.claims, request);
        let answer = self.shop.profiles.clone().set_default_address(request).await?;
        Ok(answer.into_inner().address.expect("an entry"))
    }

    async fn delete(&self, id: &str) -> Result<(), Status> {
        let request = carrying(&self.claims, DeleteAddressRequest { address_id: id.into() });
        self.shop.profiles.clone().delete_address(request).await.map(drop)
    }

    /// What order is told.
    async fn told(&self, id: &str) -> Result<address_v1::Address, Status> {
        let id: AddressId = id.parse().expect("an id");
        let request =
            GetAddressRequest { user_id: self.user().to_wire(), address_id: id.to_wire() };
        let answer = self.shop.books.clone().get_address(request).await?;
        Ok(answer.into_inner().address.expect("an address"))
    }

    /// The ids, the default first, of which there must be exactly one.
    async fn ids(&self) -> Vec<String> {
        let entries = self.list().await;
        let defaults: Vec<bool> = entries.iter().map(|entry| entry.is_default).collect();
        let wanted: Vec<bool> = (0..entries.len()).map(|place| place == 0).collect();
        assert_eq!(defaults, wanted, "one default, and it stands first");
        entries.into_iter().map(|entry| entry.address_id).collect()
    }
}

fn home(line1: &str) -> address_v1::Address {
    address_v1::Address {
        recipient: "Quillon Vexworth".into(),
        phone: "+821099887766".into(),
        line1: line1.into(),
        line2: "Penthouse Zephyr".into(),
        city: "Umbramere".into(),
        postal_code: "QX-90210".into(),
        country_code: "KR".into(),
    }
}

fn line1(entry: &BookAddress) -> &str {
    &entry.address.as_ref().expect("an address").line1
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_address_is_the_default_until_another_is_chosen() {
    let shop = Shop::open().await;
    let owner = Owner::of(&shop).await;
    assert_eq!(owner.ids().await, [""; 0]);
    let first = owner.create("a", "1 Main").await.expect("the first");
    let second = owner.create("b", "2 Main").await.expect("the second");
    let third = owner.create("c", "3 Main").await.expect("the third");
    assert_eq!((first.is_default, second.is_default, third.is_default), (true, false, false));
    let (first, second, third) = (first.address_id, second.address_id, third.address_id);
    assert_eq!(owner.ids().await, [&first, &second, &third].map(String::as_str));

    assert!(owner.set_default(&third).await.expect("a default").is_default);
    assert!(owner.set_default(&third).await.expect("again").is_default);
    assert_eq!(owner.ids().await, [&third, &first, &second].map(String::as_str));

    let moved = owner.update(&third, "33 Main").await.expect("an update");
    assert_eq!((line1(&moved), moved.is_default), ("33 Main", true));
    assert_eq!(owner.told(&third).await.expect("an address"), home("33 Main"));
    assert!(!owner.update(&first, "11 Main").await.expect("an update").is_default);

    assert_refused(owner.delete(&third).await, Reason::DefaultAddress);
    for _ in 0..2 {
        owner.delete(&first).await.expect("gone is gone");
    }
    owner.delete(&second).await.expect("deleted");
    assert_refused(owner.delete(&third).await, Reason::DefaultAddress);
    assert_refused(owner.set_default(&first).await, Reason::NotFound);
    assert_refused(owner.update(&first, "1 Main").await, Reason::NotFound);
    assert_refused(owner.told(&first).await, Reason::NotFound);
    assert_eq!(owner.ids().await, [third.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_adds_one_address() {
    let shop = Shop::open().await;
    let owner = Owner::of(&shop).await;
    owner.create("default", "0 Main").await.expect("the default");
    let added = join_all((0..10).map(|_| owner.create("k", "1 Main"))).await;
    let ids: HashSet<String> =
        added.into_iter().map(|entry| entry.expect("an entry").address_id).collect();
    assert_eq!(ids.len(), 1);
    let id = ids.into_iter().next().expect("one");
    assert_refused(owner.create("k", "2 Main").await, Reason::KeyReused);

    // A retry is told what the address is now, also when that is something else.
    owner.update(&id, "2 Main").await.expect("an update");
    assert_eq!(line1(&owner.create("k", "1 Main").await.expect("a retry")), "2 Main");
    assert_refused(owner.create("k", "2 Main").await, Reason::KeyReused);

    // A late retry brings nothing back.
    owner.delete(&id).await.expect("deleted");
    assert_refused(owner.create("k", "1 Main").await, Reason::NotFound);
    assert_eq!(owner.ids().await.len(), 1);

    // The same key of somebody else is another one.
    let other = Owner::of(&shop).await;
    assert_ne!(other.create("k", "1 Main").await.expect("the other's").address_id, id);

    // Keys are let go of when nobody retries any more, but not while their address is there.
    let old = "update address_keys set used_at = used_at - interval '9 days',
                                       gone_at = gone_at - interval '25 hours'";
    sqlx::query(old).execute(&shop.database.pool).await.expect("a day goes by");
    let store = store(&shop.database).await;
    let day = Duration::from_secs(24 * 60 * 60);
    assert_eq!(store.forget_address_keys(day, 10).await.expect("swept"), 1);
    assert_refused(owner.create("default", "9 Main").await, Reason::KeyReused);
    owner.create("k", "4 Main").await.expect("another address");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_knows_two_hundred_keys_and_has_room_again_after_a_day() {
    let shop = Shop::open().await;
    let owner = Owner::of(&shop).await;
    owner.create("default", "0 Main").await.expect("the default");
    sqlx::query(
        "insert into address_keys (user_id, address_id, fingerprint, gone_at)
         select user_id, gen_random_uuid(), fingerprint,
                clock_timestamp() - interval '10 h' + place * interval '1 minute'
         from address_keys, generate_series(0, 198) as place",
    )
    .execute(&shop.database.pool)
    .await
    .expect("as if added and deleted");
    let wait = wait_of(owner.create("one more", "1 Main").await, Reason::RateLimited);
    assert_eq!(wait.as_secs() / 3600, 14, "{wait:?}");
    owner.create("default", "0 Main").await.expect("a retry adds nothing");
    assert_eq!(owner.ids().await.len(), 1);

    let old = "update address_keys set gone_at = gone_at - interval '14 h 1 s'";
    sqlx::query(old).execute(&shop.database.pool).await.expect("the wait is over");
    let store = store(&shop.database).await;
    let day = Duration::from_secs(24 * 60 * 60);
    assert_eq!(store.forget_address_keys(day, 10).await.expect("swept"), 1);
    owner.create("one more", "1 Main").await.expect("there is room");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_has_twenty_addresses_however_many_are_added_at_once() {
    let shop = Shop::open().await;
    let owner = Owner::of(&shop).await;
    let keys: Vec<String> = (0..30).map(|number| format!("k{number}")).collect();
    let added = join_all(keys.iter().map(|key| owner.create(key, key))).await;
    let defaults = added.iter().flatten().filter(|entry| entry.is_default).count();
    assert_eq!((added.iter().filter(|entry| entry.is_ok()).count(), defaults), (20, 1));
    let full = added.iter().position(Result::is_err).expect("ten are refused");
    for refused in added.into_iter().filter(Result::is_err) {
        assert_refused(refused, Reason::AddressBookFull);
    }
    let ids = owner.ids().await;
    assert_eq!(ids.len(), 20);

    // A refusal left no trace: there is room again, and the key is free for anything.
    owner.delete(&ids[7]).await.expect("deleted");
    owner.create(&keys[full], "elsewhere").await.expect("the freed place");
    assert_refused(owner.create("one more", "x").await, Reason::AddressBookFull);
    assert_eq!(owner.ids().await.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_races_exactly_one_default_remains() {
    let shop = Shop::open().await;
    let owner = Owner::of(&shop).await;
    let (mut deleted, mut too_late, mut kept) = (0, 0, 0);
    for round in 0..rounds() * 5 {
        // The first round begins the book with creates that race; later ones fill it up again.
        let keys = ["a", "b", "c"].map(|letter| format!("{letter}{round}"));
        let made = join_all(keys.iter().map(|key| owner.create(key, key))).await;
        let [a, b, c] = made
            .into_iter()
            .map(|entry| entry.expect("room").address_id)
            .collect::<Vec<_>>()
            .try_into()
            .expect("three");
        owner.ids().await;

        let sets = join_all([&a, &b, &c, &a].map(|id| owner.set_default(id)));
        let deletes = join_all([&a, &c].map(|id| owner.delete(id)));
        let (sets, deletes) = tokio::join!(sets, deletes);
        for set in sets.into_iter().filter_map(Result::err) {
            assert_eq!(set.code(), Code::NotFound, "{set:?}");
            too_late += 1;
        }
        for delete in deletes {
            match delete {
                Ok(()) => deleted += 1,
                refused => {
                    assert_refused(refused, Reason::DefaultAddress);
                    kept += 1;
                }
            }
        }
        let ids = owner.ids().await;
        assert!(ids.contains(&b), "b was not deleted by anybody");
        // Room for the next round.
        join_all(ids[1..].iter().map(|id| owner.delete(id))).await;
        assert_eq!(owner.ids().await, ids[..1]);
        let swept = "delete from address_keys where gone_at is not null";
        sqlx::query(swept).execute(&shop.database.pool).await.expect("a day goes by");
    }
    eprintln!("{deleted} deleted, {kept} kept as the default, {too_late} chosen too late");
    assert!(deleted > 0 && kept > 0, "both ends of the race were seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reaches_the_address_of_another() {
    let shop = Shop::open().await;
    let (ann, bob) = (Owner::of(&shop).await, Owner::of(&shop).await);
    let of_ann = ann.create("k", "1 Main").await.expect("an entry").address_id;
    bob.create("k", "2 Main").await.expect("an entry");

    assert_refused(bob.set_default(&of_ann).await, Reason::NotFound);
    assert_refused(bob.update(&of_ann, "3 Main").await, Reason::NotFound);
    assert_refused(bob.told(&of_ann).await, Reason::NotFound);
    // There is no such address in this book, and so nothing to be deleted.
    bob.delete(&of_ann).await.expect("nothing to delete");
    assert_eq!(ann.told(&of_ann).await.expect("untouched"), home("1 Main"));

    let request = GetAddressRequest { user_id: vec![1].into(), address_id: vec![2].into() };
    assert_refused(shop.books.clone().get_address(request).await, Reason::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_address_adds_nothing_and_every_fault_is_named() {
    let shop = Shop::open().await;
    let owner = Owner::of(&shop).await;
    let fields = |status: Status| {
        let violations = Refusal::from_status(&status).violations;
        violations.into_iter().map(|fault| fault.field).collect::<Vec<_>>()
    };
    let mut bad = home("1\0Main");
    bad.recipient = "x".repeat(10_000);
    bad.country_code = "kr".into();
    let refused = owner.create_at("", bad).await.expect_err("a refusal");
    let all = ["idempotency_key", "address.recipient", "address.line1", "address.country_code"];
    assert_eq!(fields(refused), all);
    let nowhere = CreateAddressRequest { idempotency_key: "k".into(), address: None };
    let nowhere = carrying(&owner.claims, nowhere);
    let refused = shop.profiles.clone().create_address(nowhere).await.expect_err("a refusal");
    assert_eq!(fields(refused), ["address"]);
    for id in ["", "rubbish", &Uuid::new_v4().to_string().to_uppercase()] {
        assert_refused(owner.set_default(id).await, Reason::InvalidArgument);
        assert_refused(owner.delete(id).await, Reason::InvalidArgument);
        assert_refused(owner.update(id, "1 Main").await, Reason::InvalidArgument);
    }
    assert!(owner.list().await.is_empty());
    assert!(owner.create("k", "1 Main").await.expect("the key is free").is_default);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_the_schema_holds_no_readable_address() {
    let shop = Shop::open().await;
    let owner = Owner::of(&shop).await;
    let id = owner.create("k", "77 Obsidian Row").await.expect("an entry").address_id;
    owner.create("l", "78 Obsidian Row").await.expect("an entry");
    owner.update(&id, "79 Obsidian Row").await.expect("an update");
    let dump = dump(&shop.database).await;
    assert!(dump.contains(&id), "the dump holds the row");
    let at = home("Obsidian Row");
    for secret in [at.recipient, at.phone, at.line1, at.line2, at.city, at.postal_code] {
        assert!(!dump.contains(&secret), "{secret}");
        // As Postgres shows bytes.
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!dump.contains(&hex), "{secret} as bytes");
    }
}

/// Every row of every table of the schema.
async fn dump(database: &TestDatabase) -> String {
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'fc_user'")
            .fetch_all(&database.pool)
            .await
            .expect("the tables");
    let mut rows: Vec<String> = Vec::new();
    for table in tables {
        let every = AssertSqlSafe(format!("select row::text from fc_user.{table} as row"));
        rows.extend(
            sqlx::query_scalar(every).fetch_all(&database.pool).await.expect("its rows") as Vec<_>
        );
    }
    rows.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_account_keeps_no_address_however_one_is_added_meanwhile() {
    let shop = Shop::open().await;
    let owner = Owner::of(&shop).await;
    let store = store(&shop.database).await;
    for key in ["a", "b"] {
        owner.create(key, key).await.expect("an entry");
    }
    let mut connection = shop.database.pool.acquire().await.expect("a connection");
    let mut closing = connection.begin().await.expect("a transaction");
    sqlx::query(
        "update users
         set state = 'DELETED', email_sealed = null, email_index = null, name_sealed = null,
             phone_sealed = null
         where user_id = $1",
    )
    .bind(owner.user().0)
    .execute(&mut *closing)
    .await
    .expect("closed");
    let adding = owner.create("c", "late");
    let closed = async {
        let waiting = "select count(*) from pg_stat_activity
                       where datname = current_database() and wait_event_type = 'Lock'";
        eventually(SOON, || async {
            let count = sqlx::query_scalar::<_, i64>(waiting).fetch_one(&shop.database.pool);
            count.await.expect("a count") > 0
        })
        .await;
        store.erase_addresses(&mut *closing, owner.user()).await.expect("erased");
        closing.commit().await.expect("the default goes with its book");
    };
    let (added, ()) = tokio::join!(adding, closed);
    assert_refused(added, Reason::TokenRevoked);
    assert_refused(owner.create("d", "later").await, Reason::TokenRevoked);
    for table in ["address_books", "addresses", "address_keys"] {
        let count = AssertSqlSafe(format!("select count(*) from {table}"));
        let count: i64 =
            sqlx::query_scalar(count).fetch_one(&shop.database.pool).await.expect("a count");
        assert_eq!(count, 0, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_erases_a_book_and_whoever_writes_in_it_never_wait_for_each_other() {
    let shop = Shop::open().await;
    let owner = Owner::of(&shop).await;
    let store = store(&shop.database).await;
    for round in 0..rounds() * 5 {
        let keys = ["a", "b", "c"].map(|letter| format!("{letter}{round}"));
        owner.create(&keys[0], "1 Main").await.expect("the default");
        let first = owner.ids().await.remove(0);
        let second = owner.create(&keys[1], "2 Main").await.expect("another").address_id;

        let (erased, deleted, chosen, moved, added) = tokio::join!(
            store.erase_addresses(&shop.database.pool, owner.user()),
            owner.delete(&first),
            owner.set_default(&second),
            owner.update(&first, "3 Main"),
            owner.create(&keys[2], "4 Main"),
        );
        erased.expect("a deadlock would end one of them");
        let refusals = [deleted.err(), chosen.err(), moved.err(), added.err()];
        for refused in refusals.into_iter().flatten() {
            let reason = Refusal::from_status(&refused).reason();
            let expected = [Reason::DefaultAddress, Reason::NotFound, Reason::TokenRevoked];
            assert!(expected.contains(&reason), "{refused:?}");
        }
        owner.ids().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_come_under_a_new_key_while_they_are_used() {
    let old = Shop::open().await;
    let both = format!("{NEXT_KEY},{DATA_KEYS}");
    let database = TestDatabase { pool: old.database.pool.clone(), url: old.database.url.clone() };
    let shop = Shop::open_on(database, &[&format!("--data-keys={both}")]).await;
    let owner = Owner::of(&old).await;
    let keys: Vec<String> = (0..20).map(|number| format!("k{number}")).collect();
    let added = join_all(keys.iter().map(|key| owner.create(key, key))).await;
    let ids: Vec<String> =
        added.into_iter().map(|entry| entry.expect("an entry").address_id).collect();
    let owner = Owner { shop: &shop, claims: owner.claims };

    let store = store_under(&shop.database, &both).await;
    let reseal = || store.reseal(BOOK_ADDRESS, "address_id");
    let changing = join_all(ids.iter().map(async |id| {
        for number in 0..10 {
            owner.update(id, &format!("{number} Main")).await.expect("an update");
            owner.told(id).await.expect("it opens");
        }
    }));
    let (resealed, _) = tokio::join!(reseal(), changing);
    resealed.expect("resealed");
    assert_eq!(reseal().await.expect("nothing is left"), Resealed::default());
    store.seal_keys().await.expect("what signs too");

    let database =
        TestDatabase { pool: shop.database.pool.clone(), url: shop.database.url.clone() };
    let new = Shop::open_on(database, &[&format!("--data-keys={NEXT_KEY}")]).await;
    let owner = Owner { shop: &new, claims: owner.claims };
    let entries = owner.list().await;
    assert_eq!(entries.len(), 20);
    assert!(entries.iter().all(|entry| line1(entry) == "9 Main"));
}
