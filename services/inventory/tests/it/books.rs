//! What must be true after every test: the books of gate and ledger balance.

use std::collections::{BTreeMap, HashMap};

use firstcome_proto::{ReservationId, SkuId};
use firstcome_redis::keys;
use fred::{
    interfaces::{HashesInterface as _, KeysInterface as _},
    types::Value,
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::it::app::{Goods, SOON, Shop};

/// A hold as its row has it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Row {
    pub reservation_id: Uuid,
    pub buyer_id: Uuid,
    pub seq: i64,
    pub state: String,
    pub sku_ids: Vec<Uuid>,
    pub quantities: Vec<i32>,
    pub forgotten: bool,
}

/// A SKU's counters as their row has them.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Counters {
    pub sku_id: Uuid,
    pub total: i32,
    pub held: i32,
    pub settled: i32,
    pub epoch: i64,
}

impl Row {
    pub fn units(&self) -> i64 {
        self.quantities.iter().map(|&units| i64::from(units)).sum()
    }

    /// Its units count against total and limit.
    pub fn is_live(&self) -> bool {
        ["held", "pinned", "settled"].contains(&self.state.as_str())
    }
}

impl Shop {
    pub async fn rows(&self, goods: &Goods) -> Vec<Row> {
        self.ledger(goods).await.0
    }

    pub async fn counters(&self, goods: &Goods) -> Vec<Counters> {
        self.ledger(goods).await.1
    }

    /// Holds and counters as of one instant, while others commit.
    async fn ledger(&self, goods: &Goods) -> (Vec<Row>, Vec<Counters>) {
        let one_instant = "begin isolation level repeatable read read only";
        let mut tx = self.database.pool.begin_with(one_instant).await.unwrap();
        let sql = "select reservation_id, buyer_id, seq, state, sku_ids, quantities, forgotten
                   from holds where product_id = $1 order by seq";
        let rows = sqlx::query_as(sql).bind(goods.id.0).fetch_all(&mut *tx).await.unwrap();
        let sql = "select sku_id, total, held, settled, epoch from stock
                   where product_id = $1 order by sku_id";
        let counters = sqlx::query_as(sql).bind(goods.id.0).fetch_all(&mut *tx).await.unwrap();
        (rows, counters)
    }

    pub async fn epoch(&self, goods: &Goods) -> i64 {
        self.counters(goods).await[0].epoch
    }

    pub async fn outbox(&self, goods: &Goods) -> i64 {
        let sql = "select count(*) from gate_outbox where product_id = $1";
        sqlx::query_scalar(sql).bind(goods.id.0).fetch_one(&self.database.pool).await.unwrap()
    }

    /// Makes this hold overdue.
    pub async fn make_overdue(&self, goods: &Goods, reservation: &[u8]) {
        let sql = "update holds set expires_at = now() - interval '1 ms'
                   where product_id = $1 and reservation_id = $2";
        let id = Uuid::from_slice(reservation).unwrap();
        sqlx::query(sql).bind(goods.id.0).bind(id).execute(&self.database.pool).await.unwrap();
    }

    /// Loses all keys of the product, as FLUSHALL does.
    pub async fn lose_gate(&self, goods: &Goods) {
        for key in all_keys(goods) {
            self.lose_key(key).await;
        }
    }

    pub async fn lose_key(&self, key: String) {
        let () = self.redis.commands().del(key).await.unwrap();
    }

    /// Writes a field of the gate's stock hash.
    pub async fn set_gate(&self, goods: &Goods, field: &str, value: i64) {
        let field = (field, value.to_string());
        let () = self.redis.commands().hset(keys::stock(goods.id), field).await.unwrap();
    }

    /// Changes what the gate believes to be available.
    pub async fn tamper(&self, goods: &Goods, sku: SkuId, by: i64) {
        let mut field = vec![b'a'];
        field.extend_from_slice(sku.0.as_bytes());
        let field = fred::types::Key::from(field.as_slice());
        let () = self.redis.commands().hincrby(keys::stock(goods.id), field, by).await.unwrap();
    }

    /// Units per buyer, as the gate counts them.
    pub async fn units_of_buyers(&self, goods: &Goods) -> BTreeMap<Uuid, i64> {
        let map: Value = self.redis.commands().hgetall(keys::buyers(goods.id)).await.unwrap();
        let read = |(buyer, units): (fred::types::Key, Value)| {
            let buyer = Uuid::from_slice(buyer.as_bytes()).ok()?; // not the field `epoch`
            Some((buyer, units.as_i64().unwrap()))
        };
        map.into_map().unwrap().inner().into_iter().filter_map(read).collect()
    }

    /// Waits until gate and ledger agree in everything and nothing is on its way.
    pub async fn assert_books_balance(&self, goods: &Goods) {
        let give_up = Instant::now() + SOON;
        while let Err(difference) = self.balance(goods).await {
            assert!(Instant::now() < give_up, "the books do not balance: {difference}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// The same, without the help of a rebuild.
    pub async fn assert_books_balance_in_epoch(&self, goods: &Goods, epoch: i64) {
        self.assert_books_balance(goods).await;
        assert_eq!(self.epoch(goods).await, epoch, "nothing had to be rebuilt");
    }

    /// Gate and ledger at one look; nothing may be on its way.
    pub async fn balance(&self, goods: &Goods) -> Result<(), String> {
        let (rows, counters) = self.ledger(goods).await;
        for counter in &counters {
            let units_in = |states: &[&str]| -> i32 {
                let rows = rows.iter().filter(|row| states.contains(&row.state.as_str()));
                let lines = rows.flat_map(|row| row.sku_ids.iter().zip(&row.quantities));
                lines.filter(|(sku, _)| **sku == counter.sku_id).map(|(_, units)| units).sum()
            };
            assert_eq!(counter.held, units_in(&["held", "pinned"]), "held is what holds hold");
            assert_eq!(counter.settled, units_in(&["settled"]), "settled is what was sold");
            assert!(counter.held + counter.settled <= counter.total, "G1");
        }

        let outbox = self.outbox(goods).await;
        if outbox > 0 {
            return Err(format!("{outbox} messages in the outbox"));
        }
        let snapshot = match self.gate.snapshot(goods.id).await {
            Ok(snapshot) if snapshot.is_open => snapshot,
            other => return Err(format!("no open gate: {other:?}")),
        };
        if snapshot.unconfirmed > 0 {
            return Err(format!("{} entries unconfirmed", snapshot.unconfirmed));
        }
        if snapshot.epoch != counters[0].epoch {
            return Err(format!("gate {} and ledger {counters:?}", snapshot.epoch));
        }
        for counter in &counters {
            let available = snapshot.available[&SkuId(counter.sku_id)];
            if available + counter.held + counter.settled != counter.total {
                return Err(format!("available {available} but {counter:?}"));
            }
        }
        let in_gate = self.gate.all_records(goods.id).await.map_err(|fault| fault.to_string())?;
        let live = rows.iter().filter(|row| row.is_live());
        let kept = live.clone().filter(|row| !row.forgotten);
        let want: HashMap<_, _> =
            kept.map(|row| (ReservationId(row.reservation_id), row.seq)).collect();
        if in_gate != want {
            return Err(format!("the gate knows {in_gate:?}, the ledger {want:?}"));
        }
        let mut units_of: BTreeMap<Uuid, i64> = BTreeMap::new();
        if self.limit(goods).await > 0 {
            for row in live {
                *units_of.entry(row.buyer_id).or_default() += row.units();
            }
        }
        let counted = self.units_of_buyers(goods).await;
        if counted != units_of {
            return Err(format!("the gate counts {counted:?}, the ledger {units_of:?}"));
        }
        let last = rows.last().map_or(0, |row| row.seq);
        if snapshot.seq < last {
            return Err(format!("the gate is at {}, the ledger at {last}", snapshot.seq));
        }
        Ok(())
    }

    async fn limit(&self, goods: &Goods) -> i32 {
        let sql = "select limit_per_buyer from products where product_id = $1";
        sqlx::query_scalar(sql).bind(goods.id.0).fetch_one(&self.database.pool).await.unwrap()
    }
}

/// The keys of a product.
pub fn all_keys(goods: &Goods) -> [String; 4] {
    let product = goods.id;
    [keys::stock(product), keys::taken(product), keys::buyers(product), keys::unconfirmed(product)]
}
