//! The stores and two replicas, driven as the model is, and compared with it.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use firstcome_inventory::{
    catalog::Drop as Window,
    hold::{Command, Line, Wish as RealWish},
    keeper::{Auditor, Keeper},
    store::{
        epoch::{Advance, Change},
        freeing::Action,
    },
};
use firstcome_mesh::{Deadline, Reply};
use firstcome_proto::{BuyerId, Reason, ReservationId, SkuId, timestamp};
use firstcome_redis::keys;
use fred::interfaces::HashesInterface as _;
use tokio::{sync::mpsc, time::Instant};
use uuid::Uuid;

use super::{
    step::{Step, Who},
    world::{Gate, TOTALS, Told, WINDOWS, Wish, World},
};
use crate::it::{
    app::{Goods, Parts, SOON, Shop},
    books::all_keys,
};

/// A failing sequence is played many times while it is shrunk, so it must fail fast.
const CONFIRMED_SOON: Duration = Duration::from_secs(3);

/// What outlives a sequence.
pub struct Real {
    shop: Shop,
    replicas: [Parts; 2],
}

/// One sequence's product.
pub struct Scene<'a> {
    real: &'a Real,
    goods: Goods,
    /// Where the model's clock begins, milliseconds since 1970.
    begun_ms: i64,
}

impl Real {
    pub async fn start() -> Self {
        let shop = Shop::open().await;
        let replicas = [shop.parts().await, shop.parts().await];
        Self { shop, replicas }
    }

    /// A new product on empty tables: the duties of one sequence must not meet another's holds.
    pub async fn scene(&self, world: &World) -> Scene<'_> {
        let empty = "truncate products, product_marks, likes, skus, stock, holds, gate_outbox,
                              stock_changes";
        sqlx::query(empty).execute(&self.shop.database.pool).await.unwrap();
        let begun_ms = timestamp::unix_ms(time::OffsetDateTime::now_utc());
        let goods = self.replicas[0].register(&TOTALS).await;
        let scene = Scene { real: self, goods, begun_ms };
        let change = Change::Drop(scene.window(world));
        self.replicas[0].live.change(scene.goods.id, change).await.unwrap();
        self.replicas[1].live.open(scene.goods.id).await.unwrap();
        scene
    }
}

fn reservation(id: u8) -> ReservationId {
    ReservationId(Uuid::from_u128(0x1000 + u128::from(id)))
}

fn buyer(buyer: u8) -> Uuid {
    Uuid::from_u128(0x2000 + u128::from(buyer))
}

impl Scene<'_> {
    fn window(&self, world: &World) -> Window {
        let (opens, closes) = WINDOWS[world.window];
        let at = |ms: i64| timestamp::from_unix_ms(self.begun_ms + ms).unwrap();
        Window {
            opens_at: at(opens),
            closes_at: closes.map(at),
            limit_per_buyer: world.limit,
            hold_ttl_ms: 3_600_000,
        }
    }

    fn wish(&self, wish: &Wish) -> RealWish {
        let line = |&(sku, quantity): &(u8, i32)| {
            let unknown = SkuId(Uuid::from_u128(0x3000));
            Line {
                sku: self.goods.skus.get(usize::from(sku)).copied().unwrap_or(unknown),
                quantity,
            }
        };
        RealWish {
            reservation: reservation(wish.id),
            buyer: BuyerId(buyer(wish.buyer)),
            fingerprint: [wish.fingerprint; 16],
            lines: wish.lines.iter().map(line).collect(),
        }
    }

    fn wishes(&self, wishes: &[Wish]) -> Vec<RealWish> {
        wishes.iter().map(|wish| self.wish(wish)).collect()
    }

    /// Does the step here and there; what the two are told must be the same.
    pub async fn take(&self, world: &mut World, step: Step, what: &str) {
        let Real { shop, replicas } = self.real;
        match step {
            Step::Reserve(who, wishes) => {
                let told = self.reserve(who, &wishes).await;
                assert_eq!(told, world.reserve(who, &wishes), "{what}");
            }
            Step::ReserveAndDie(wishes) => {
                let epoch = world.gate.as_ref().map_or(world.epoch, |gate| gate.epoch);
                let wished = self.wishes(&wishes);
                let verdicts = shop.gate.reserve(self.goods.id, epoch, &wished).await;
                let clock = world.clock;
                let want = world.gate.as_mut().and_then(|gate| gate.reserve(clock, &wishes));
                assert_eq!(verdicts.ok().map(|verdicts| verdicts.verdicts), want, "{what}");
            }
            Step::Do(command, ids) => self.command(world, command, &ids, what).await,
            Step::Pay(ids) => {
                for command in [Command::Pin, Command::Settle] {
                    self.command(world, command, &ids, what).await;
                }
            }
            Step::MakeOverdue(id) => {
                shop.make_overdue(&self.goods, reservation(id).0.as_bytes()).await;
                world.holds.entry(id).and_modify(|hold| hold.is_overdue = true);
            }
            Step::Expire => {
                replicas[0].keeper.expire().await;
                world.expire();
            }
            Step::Tell(who) => {
                self.make_messages_due().await;
                replicas[who].keeper.tell().await;
                world.tell_gate(who);
            }
            Step::Forget => {
                let forget_after = Duration::ZERO;
                Keeper { forget_after, ..replicas[0].keeper.clone() }.forget().await;
                world.forget();
            }
            Step::Sweep(who) => {
                let unconfirmed_ms_max = 0;
                let keeper = Keeper { unconfirmed_ms_max, ..replicas[who].keeper.clone() };
                keeper.sweep_all().await;
                world.sweep(who);
            }
            Step::Clock(edge) => {
                if let Some(at) = world.edge(edge) {
                    shop.set_gate(&self.goods, "last", self.begun_ms + at).await;
                    world.clock = at;
                }
            }
            Step::Adjust(who, sku, total) => {
                let change = Change::Total { sku: self.goods.skus[sku], total };
                let done = replicas[who].live.change(self.goods.id, change).await;
                let floor = |refusal: firstcome_proto::Refusal| {
                    assert_eq!(refusal.reason(), Reason::BelowCommitted, "{what}");
                    refusal.metadata["floor"].parse().unwrap()
                };
                assert_eq!(done.map(drop).map_err(floor), world.adjust(who, sku, total), "{what}");
            }
            Step::Schedule(who, window, limit) => {
                world.schedule(who, window, limit);
                let change = Change::Drop(self.window(world));
                replicas[who].live.change(self.goods.id, change).await.unwrap();
            }
            Step::LoseKey(_)
            | Step::LoseAll
            | Step::LoseProcess
            | Step::TamperAvailable(..)
            | Step::TamperSeq => self.harm(world, step).await,
            Step::RebuildTwice => self.rebuild_twice(world, what).await,
            Step::LoadAndDie(after_begin) => self.load_and_die(world, after_begin).await,
        }
        self.settle_down().await;
    }

    /// What the gate suffers from outside.
    async fn harm(&self, world: &mut World, step: Step) {
        let shop = &self.real.shop;
        match step {
            Step::LoseKey(key) => {
                shop.lose_key(all_keys(&self.goods)[key].clone()).await;
                match (key, &mut world.gate) {
                    (3, Some(gate)) => gate.unconfirmed = None,
                    (3, None) => {}
                    _ => world.gate = None,
                }
                if key == 0 {
                    world.clock = 0; // it was remembered there
                }
            }
            Step::LoseAll => {
                shop.lose_gate(&self.goods).await;
                (world.gate, world.clock) = (None, 0);
            }
            // The rest needs a gate to be done to.
            _ if world.gate.is_none() => {}
            Step::LoseProcess => {
                let run = ("run", "0123456789abcdef");
                let key = keys::stock(self.goods.id);
                let () = shop.redis.commands().hset(key, run).await.unwrap();
                world.gate = None;
            }
            Step::TamperAvailable(sku, by) => {
                shop.tamper(&self.goods, self.goods.skus[sku], i64::from(by)).await;
                world.gate.iter_mut().for_each(|gate| gate.available[sku] += by);
            }
            _ => {
                shop.set_gate(&self.goods, "seq", 0).await;
                world.gate.iter_mut().for_each(|gate| gate.seq = 0);
                world.is_count_tampered = true;
            }
        }
    }

    async fn reserve(&self, who: Who, wishes: &[Wish]) -> Vec<Told> {
        let (caller, mut answers) = mpsc::unbounded_channel();
        let queue = self.real.replicas[who].reservations.queue();
        for (place, wish) in (0..).zip(self.wishes(wishes)) {
            let reply = Reply::Part(place, caller.clone());
            queue.enqueue(self.goods.id, wish, Deadline::after(SOON), reply);
        }
        drop(caller);
        let mut told = BTreeMap::new();
        while let Some((place, outcome)) = answers.recv().await {
            let answer = match outcome.expect("every item is carried") {
                Ok(reserved) => Told::Hold {
                    seq: reserved.hold.seq,
                    state: reserved.hold.state,
                    newly_admitted: reserved.newly_admitted,
                },
                Err(refusal) => Told::Refused(refusal.reason()),
            };
            assert_eq!(told.insert(place, answer), None, "each item is answered once");
        }
        told.into_values().collect()
    }

    async fn command(&self, world: &mut World, command: Command, ids: &[u8], what: &str) {
        let store = &self.real.replicas[0].store;
        let named: Vec<_> = ids.iter().map(|id| reservation(*id)).collect();
        let states = store.command(command, self.goods.id, &named).await.unwrap();
        let want = world.command(command, ids);
        let want = want.into_iter().map(|(id, state)| (reservation(id), state)).collect();
        assert_eq!(states, want, "{what}");
    }

    async fn make_messages_due(&self) {
        let sql = "update gate_outbox set next_try_at = now()";
        sqlx::query(sql).execute(&self.real.shop.database.pool).await.unwrap();
    }

    async fn rebuild_twice(&self, world: &mut World, what: &str) {
        let fence = async |who: Who, under: i64| {
            let live = &self.real.replicas[who].live;
            live.fence(self.goods.id, under, under, "the model says so").await;
        };
        for who in 0..2 {
            if world.knows[who] < world.epoch {
                fence(who, world.knows[who]).await;
                self.settle_down().await;
                world.recover(who);
            }
        }
        // The second may have made an epoch of its own; then the first learns of it here.
        let [first, second] = world.knows;
        if first == second {
            tokio::join!(fence(0, first), fence(1, second));
            self.settle_down().await;
            world.rebuild(0);
            world.knows = [world.epoch; 2];
        }
        assert_eq!(self.real.shop.epoch(&self.goods).await, world.epoch, "{what}");
    }

    async fn load_and_die(&self, world: &mut World, after_begin: bool) {
        let Real { shop, replicas } = self.real;
        let started = replicas[0].store.advance(self.goods.id, world.epoch, None).await.unwrap();
        let Advance::Started(_, image) = started else { panic!("{started:?}") };
        world.epoch += 1;
        if after_begin {
            let number = |value: i64| Bytes::from(value.to_string());
            let mut args = vec![number(image.epoch), number(0), Bytes::from_static(b"begin")];
            args.extend([image.opens_ms, image.closes_ms, 0, image.seq].map(number));
            for (sku, units) in &image.available {
                args.extend([sku.to_wire(), number(i64::from(*units))]);
            }
            shop.redis.fcall("load_1", all_keys(&self.goods).to_vec(), args).await.unwrap();
            world.gate = None;
        }
    }

    /// Waits until no replica rebuilds.
    async fn settle_down(&self) {
        let give_up = Instant::now() + SOON;
        for replica in &self.real.replicas {
            while replica.live.open(self.goods.id).await.is_err() {
                assert!(Instant::now() < give_up, "the product opens again");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }

    /// Compares everything that is kept with the model.
    pub async fn compare(&self, world: &World, what: &str) {
        let shop = &self.real.shop;
        for (who, replica) in self.real.replicas.iter().enumerate() {
            let open = replica.live.open(self.goods.id).await.unwrap();
            assert_eq!(open.epoch, world.knows[who], "{what}: the epoch of replica {who}");
        }
        let mut rows = BTreeMap::new();
        for row in shop.rows(&self.goods).await {
            rows.insert(row.reservation_id, (row.seq, row.state, row.buyer_id, row.forgotten));
        }
        let hold = |(id, hold): (&u8, &super::world::Hold)| {
            let state = hold.state.as_str().to_owned();
            (reservation(*id).0, (hold.seq, state, buyer(hold.wish.buyer), hold.forgotten))
        };
        assert_eq!(rows, world.holds.iter().map(hold).collect(), "{what}: the holds");

        for counter in shop.counters(&self.goods).await {
            let sku = self.goods.skus.iter().position(|sku| sku.0 == counter.sku_id).unwrap();
            let have = (counter.total, counter.held, counter.settled, counter.epoch);
            let want = (world.totals[sku], world.held[sku], world.settled[sku], world.epoch);
            assert_eq!(have, want, "{what}: the counters of SKU {sku}");
            assert!(counter.held + counter.settled <= counter.total, "{what}: G1");
        }

        let sql = "select reservation_id, seq, action from gate_outbox order by 1, 2, 3";
        let outbox: Vec<(Uuid, i64, String)> =
            sqlx::query_as(sql).fetch_all(&shop.database.pool).await.unwrap();
        let message = |(id, seq, action): &(u8, i64, Action)| {
            let action = if *action == Action::Free { "free" } else { "forget" };
            (reservation(*id).0, *seq, action.to_owned())
        };
        let mut want: Vec<_> = world.outbox.iter().map(message).collect();
        want.sort();
        assert_eq!(outbox, want, "{what}: the outbox");

        if let Some(gate) = &world.gate {
            self.compare_gate(world, gate, what).await;
        }
    }

    async fn compare_gate(&self, world: &World, gate: &Gate, what: &str) {
        let shop = &self.real.shop;
        let records = shop.gate.all_records(self.goods.id).await.unwrap();
        let want = gate.taken.iter().map(|(id, (_, seq))| (reservation(*id), *seq)).collect();
        assert_eq!(records, want, "{what}: the records");
        let units_of: BTreeMap<Uuid, i64> =
            gate.units_of.iter().map(|(name, units)| (buyer(*name), *units)).collect();
        assert_eq!(shop.units_of_buyers(&self.goods).await, units_of, "{what}: the buyers");

        let Some(unconfirmed) = &gate.unconfirmed else { return };
        let snapshot = shop.gate.snapshot(self.goods.id).await.unwrap();
        assert_eq!((snapshot.epoch, snapshot.seq), (gate.epoch, gate.seq), "{what}: the gate");
        if world.clock > 0 {
            assert_eq!(snapshot.now_ms, self.begun_ms + world.clock, "{what}: the clock");
        }
        let available = self.goods.skus.iter().map(|sku| snapshot.available[sku]);
        assert_eq!(available.collect::<Vec<_>>(), gate.available, "{what}: what is available");
        let want: Vec<Vec<ReservationId>> = unconfirmed
            .iter()
            .map(|entry| entry.iter().map(|id| reservation(*id)).collect())
            .collect();
        // Entries are taken out after the answer, and nobody waits for that.
        let give_up = Instant::now() + CONFIRMED_SOON;
        loop {
            let entries = shop.gate.unconfirmed(self.goods.id, 1000).await.unwrap();
            let have: Vec<_> = entries.into_iter().map(|entry| entry.reservations).collect();
            if have == want {
                break;
            }
            assert!(Instant::now() < give_up, "{what}: unconfirmed {have:?}, want {want:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Lets the keeper do all of its duties, until the books balance.
    pub async fn wind_up(&self, world: &mut World) {
        for step in [Step::Tell(0), Step::Sweep(0), Step::Tell(0), Step::Sweep(0)] {
            let what = format!("winding up, {step:?}");
            self.take(world, step, &what).await;
            self.compare(world, &what).await;
        }
        // What is still wrong is for the audit to see, and a rebuild to end: an epoch without a
        // gate, units that somebody made up, or that came back to a forgotten record.
        let mut auditor = Auditor::new(self.real.replicas[0].keeper.clone());
        auditor.look().await;
        self.settle_down().await;
        if world.gate.as_ref().is_none_or(|gate| gate.epoch < world.epoch) {
            world.recover(0);
        }
        let gate = world.gate.as_ref().expect("it was swept");
        let is_wrong = (0..TOTALS.len()).any(|sku| gate.available[sku] != world.unclaimed(sku));
        for _ in 0..3 {
            auditor.look().await;
            self.settle_down().await;
        }
        if is_wrong {
            world.rebuild(0);
        }
        // A count that began anew shows with the next admission only.
        let gate = world.gate.as_ref().expect("it was swept");
        if world.holds.values().any(|hold| hold.seq > gate.seq) {
            let (live, under) = (&self.real.replicas[0].live, world.epoch);
            live.fence(self.goods.id, under, under, "it counts anew").await;
            self.settle_down().await;
            world.rebuild(0);
        }
        self.compare(world, "audited").await;
        let balance = self.real.shop.balance(&self.goods).await;
        assert_eq!(balance, Ok(()), "the model itself does not balance");
    }
}
