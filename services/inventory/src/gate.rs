//! The typed handle of the gate: what `gate/stock.lua` takes and gives, and nothing of what it
//! means. One method per function.

mod codec;

use std::collections::HashMap;

use bytes::{BufMut as _, Bytes, BytesMut};
use firstcome_mesh::batcher::ItemsMax;
use firstcome_proto::{BuyerId, ProductId, ReservationId, SkuId};
use firstcome_redis::{RedisPool, keys};
use fred::{
    clients::Client,
    interfaces::{HashesInterface as _, StreamsInterface as _},
    types::{Value, scan::Scanner as _},
};
use futures::TryStreamExt as _;
use uuid::Uuid;

use codec::{
    bytes_at, decode_available, decode_record, decode_verdict, encode_item, encode_record, number,
    number_at, text_at, unreadable,
};

use crate::hold::Wish;

/// The Redis Functions library.
const LIBRARY: &str = include_str!("gate/stock.lua");

/// Items of one call at most: Lua's `unpack` is bounded, and a call must stay a few milliseconds.
pub const ITEMS_MAX: usize = ItemsMax::MAX.get();
/// Records of one `load` call, for the same reason.
const RECORDS_PER_CHUNK: usize = 1000;

/// Why a call of the gate did nothing, or nobody knows what it did.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// There is no gate, or one that may have forgotten what it promised.
    #[error("the gate is missing")]
    Missing,
    /// The gate is of another epoch than the caller.
    #[error("the gate is of epoch {0}")]
    OtherEpoch(i64),
    /// The gate of this epoch is being made.
    #[error("the gate of epoch {0} is loading")]
    Loading(i64),
    /// Another loader is at work.
    #[error("the chunk is out of turn")]
    OutOfTurn,
    /// Redis did not answer; the call may have run.
    #[error(transparent)]
    Redis(#[from] firstcome_redis::Error),
    /// The answer has another shape than the library gives.
    #[error("the gate answered {0}")]
    Unreadable(String),
}

/// What the gate says to one wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Taken from stock, with its place in the order of admissions.
    Admitted(i64),
    /// Taken before, with the same contents.
    Replayed(i64),
    /// The id was used with other contents.
    KeyReused,
    /// Before the window.
    NotOpen,
    /// After the window, or without one.
    Closed,
    /// The buyer has as many as allowed.
    LimitPerBuyer,
    /// Too few available.
    SoldOut,
    /// The product has no such SKU.
    UnknownSku,
    /// The wish cannot be read.
    Malformed,
}

/// The gate's answer to a batch of wishes.
#[derive(Debug)]
pub struct Verdicts {
    /// In the order of the wishes.
    pub verdicts: Vec<Verdict>,
    /// What stands in `unconfirmed`; `None` when nobody was admitted.
    pub entry: Option<String>,
    /// What is left of each SKU that was named.
    pub available: HashMap<SkuId, i32>,
}

/// What the gate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Whose gate it is.
    pub epoch: i64,
    /// False while it is being made.
    pub is_open: bool,
    /// The clock that decides the window, milliseconds since 1970.
    pub now_ms: i64,
    /// The window, milliseconds since 1970; 0: not scheduled, or open-ended.
    pub opens_ms: i64,
    /// See `opens_ms`.
    pub closes_ms: i64,
    /// The last admission's place.
    pub seq: i64,
    /// Records.
    pub taken: i64,
    /// Entries of admissions not yet confirmed.
    pub unconfirmed: i64,
    /// What is left of each SKU.
    pub available: HashMap<SkuId, i32>,
}

impl Snapshot {
    /// True when nothing was admitted, freed or forgotten since `earlier`.
    pub fn is_at_rest_since(&self, earlier: &Self) -> bool {
        Self { now_ms: earlier.now_ms, ..self.clone() } == *earlier
    }
}

/// Everything a gate is made of, read from the ledger.
#[derive(Clone, Debug)]
pub struct Image {
    /// The new gate's epoch.
    pub epoch: i64,
    /// The window, milliseconds since 1970; 0: not scheduled, or open-ended.
    pub opens_ms: i64,
    /// See `opens_ms`.
    pub closes_ms: i64,
    /// 0: no limit.
    pub limit_per_buyer: i32,
    /// The last place ever given.
    pub seq: i64,
    /// What is available of each SKU.
    pub available: Vec<(SkuId, i32)>,
    /// Each reservation that the gate must know, with its place.
    pub records: Vec<(Wish, i64)>,
    /// Units that each buyer holds or owns.
    pub units_of: HashMap<BuyerId, i64>,
}

/// One admission that Postgres has not confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unconfirmed {
    /// Its name in the stream.
    pub entry: String,
    /// When it was made, milliseconds since 1970 by the shard's clock.
    pub admitted_ms: i64,
    /// Whom it admitted.
    pub reservations: Vec<ReservationId>,
}

/// The live stock of all products.
#[derive(Clone)]
pub struct Gate {
    redis: RedisPool,
}

impl Gate {
    /// A handle that brings its library along.
    pub fn new(redis: &RedisPool) -> Self {
        Self { redis: redis.with_library(LIBRARY) }
    }

    /// Loads the library on every primary, so that the first calls find it.
    pub async fn install(&self) -> Result<(), firstcome_redis::Error> {
        self.redis.load_library().await
    }

    /// Admits wishes in the order given, at most [`ITEMS_MAX`].
    pub async fn reserve(
        &self,
        product: ProductId,
        epoch: i64,
        wishes: &[Wish],
    ) -> Result<Verdicts, Fault> {
        assert!(wishes.len() <= ITEMS_MAX, "batches are bounded by the caller");
        let mut args = Vec::with_capacity(1 + wishes.len());
        args.push(number(epoch));
        args.extend(wishes.iter().map(encode_item));
        let reply = self.call("reserve_1", product, args).await?;

        let packed = bytes_at(&reply, 3)?;
        if packed.len() != wishes.len() * 9 {
            return Err(unreadable(&reply));
        }
        let verdicts = packed.chunks_exact(9).map(decode_verdict).collect::<Option<Vec<_>>>();
        let entry = text_at(&reply, 2)?;
        Ok(Verdicts {
            verdicts: verdicts.ok_or_else(|| unreadable(&reply))?,
            entry: (!entry.is_empty()).then(|| entry.to_owned()),
            available: decode_available(&reply, 4)?,
        })
    }

    /// Puts the units of exactly these admissions back on sale; gives how many were there.
    pub async fn free(
        &self,
        product: ProductId,
        epoch: i64,
        admissions: &[(ReservationId, i64)],
    ) -> Result<i64, Fault> {
        self.end("free_1", product, epoch, admissions).await
    }

    /// Drops the records of exactly these admissions; units and limits stay as they are.
    pub async fn forget(
        &self,
        product: ProductId,
        epoch: i64,
        admissions: &[(ReservationId, i64)],
    ) -> Result<i64, Fault> {
        self.end("forget_1", product, epoch, admissions).await
    }

    async fn end(
        &self,
        function: &'static str,
        product: ProductId,
        epoch: i64,
        admissions: &[(ReservationId, i64)],
    ) -> Result<i64, Fault> {
        assert!(admissions.len() <= ITEMS_MAX, "batches are bounded by the caller");
        let mut args = Vec::with_capacity(1 + admissions.len());
        args.push(number(epoch));
        args.extend(admissions.iter().map(|(reservation, seq)| {
            let mut item = BytesMut::with_capacity(24);
            item.put_slice(reservation.0.as_bytes());
            item.put_i64(*seq);
            item.freeze()
        }));
        let reply = self.call(function, product, args).await?;
        number_at(&reply, 1)
    }

    /// Makes the gate of a new epoch and opens it last.
    pub async fn load(&self, product: ProductId, image: &Image) -> Result<(), Fault> {
        let mut chunk = 0;
        let mut begin = vec![Bytes::from_static(b"begin")];
        begin.extend(
            [image.opens_ms, image.closes_ms, i64::from(image.limit_per_buyer), image.seq]
                .map(number),
        );
        for (sku, available) in &image.available {
            begin.push(sku.to_wire());
            begin.push(number(i64::from(*available)));
        }
        self.load_chunk(product, image.epoch, &mut chunk, begin).await?;

        for records in image.records.chunks(RECORDS_PER_CHUNK) {
            let mut args = vec![Bytes::from_static(b"records"), number(records.len() as i64)];
            for (wish, seq) in records {
                args.push(wish.reservation.to_wire());
                args.push(encode_record(wish, *seq));
            }
            self.load_chunk(product, image.epoch, &mut chunk, args).await?;
        }
        let buyers: Vec<_> = image.units_of.iter().collect();
        for buyers in buyers.chunks(RECORDS_PER_CHUNK) {
            let mut args = vec![Bytes::from_static(b"records"), number(0)];
            for (buyer, units) in buyers {
                args.push(buyer.to_wire());
                args.push(number(**units));
            }
            self.load_chunk(product, image.epoch, &mut chunk, args).await?;
        }
        self.load_chunk(product, image.epoch, &mut chunk, vec![Bytes::from_static(b"open")]).await
    }

    async fn load_chunk(
        &self,
        product: ProductId,
        epoch: i64,
        chunk: &mut i64,
        body: Vec<Bytes>,
    ) -> Result<(), Fault> {
        let mut args = vec![number(epoch), number(*chunk)];
        args.extend(body);
        self.call("load_1", product, args).await?;
        firstcome_mesh::failpoint::hit("inventory.between_load_chunks");
        *chunk += 1;
        Ok(())
    }

    /// Reads what the gate says of itself.
    pub async fn snapshot(&self, product: ProductId) -> Result<Snapshot, Fault> {
        let reply = self.call("snapshot_1", product, Vec::new()).await?;
        Ok(Snapshot {
            epoch: number_at(&reply, 1)?,
            is_open: text_at(&reply, 2)? == "open",
            now_ms: number_at(&reply, 3)?,
            opens_ms: number_at(&reply, 4)?,
            closes_ms: number_at(&reply, 5)?,
            seq: number_at(&reply, 6)?,
            taken: number_at(&reply, 7)?,
            unconfirmed: number_at(&reply, 8)?,
            available: decode_available(&reply, 9)?,
        })
    }

    /// The oldest admissions that Postgres has not confirmed, at most `count` entries.
    pub async fn unconfirmed(
        &self,
        product: ProductId,
        count: u64,
    ) -> Result<Vec<Unconfirmed>, Fault> {
        let key = &keys::unconfirmed(product);
        let read =
            |client: Client| async move { client.xrange_values(key, "-", "+", Some(count)).await };
        let entries: Vec<(String, HashMap<String, Bytes>)> =
            self.redis.on_shard_of(key, read).await?;
        let read = |(entry, fields): (String, HashMap<String, Bytes>)| {
            let admitted_ms = entry.split('-').next()?.parse().ok()?;
            let ids = fields.get("ids")?;
            let reservations =
                ids.chunks_exact(16).map(|id| Uuid::from_slice(id).map(ReservationId));
            let reservations = reservations.collect::<Result<_, _>>().ok()?;
            Some(Unconfirmed { entry, admitted_ms, reservations })
        };
        entries
            .into_iter()
            .map(|entry| read(entry).ok_or_else(|| Fault::Unreadable("an entry".to_owned())))
            .collect()
    }

    /// Says that Postgres has confirmed everything in these entries.
    pub async fn confirm(&self, product: ProductId, entries: Vec<String>) -> Result<(), Fault> {
        let (key, entries) = (&keys::unconfirmed(product), &entries);
        let delete = |client: Client| async move { client.xdel(key, entries.clone()).await };
        let _deleted: Value = self.redis.on_shard_of(key, delete).await?;
        Ok(())
    }

    /// The records of these reservations, in their order; `None` where there is none.
    pub async fn records(
        &self,
        product: ProductId,
        reservations: &[ReservationId],
    ) -> Result<Vec<Option<(Wish, i64)>>, Fault> {
        let fields: Vec<fred::types::Key> =
            reservations.iter().map(|id| fred::types::Key::from(id.to_wire())).collect();
        let (key, fields) = (&keys::taken(product), &fields);
        let read = |client: Client| async move { client.hmget(key, fields.clone()).await };
        let records: Vec<Option<Bytes>> = self.redis.on_shard_of(key, read).await?;
        let decode = |(id, record): (&ReservationId, Option<Bytes>)| match record {
            None => Ok(None),
            Some(record) => decode_record(*id, &record)
                .map(Some)
                .ok_or_else(|| Fault::Unreadable(format!("a record of {id}"))),
        };
        reservations.iter().zip(records).map(decode).collect()
    }

    /// Every record's id and place, not as of one instant.
    pub async fn all_records(
        &self,
        product: ProductId,
    ) -> Result<HashMap<ReservationId, i64>, Fault> {
        let key = &keys::taken(product);
        let scan = |client: Client| async move { scan_records(&client, key).await };
        Ok(self.redis.on_shard_of(key, scan).await?)
    }

    /// Calls a function on the product's shard and sorts refusals out.
    async fn call(
        &self,
        function: &'static str,
        product: ProductId,
        args: Vec<Bytes>,
    ) -> Result<Vec<Value>, Fault> {
        let keys = vec![
            keys::stock(product),
            keys::taken(product),
            keys::buyers(product),
            keys::unconfirmed(product),
        ];
        let reply = match self.redis.fcall(function, keys, args).await? {
            Value::Array(reply) => reply,
            other => return Err(Fault::Unreadable(format!("{other:?}"))),
        };
        match text_at(&reply, 0)? {
            "OK" => Ok(reply),
            "MISSING" => Err(Fault::Missing),
            "EPOCH" => Err(Fault::OtherEpoch(number_at(&reply, 1)?)),
            "LOADING" => Err(Fault::Loading(number_at(&reply, 1)?)),
            "OUT_OF_TURN" => Err(Fault::OutOfTurn),
            _ => Err(unreadable(&reply)),
        }
    }
}

/// Every record's id and place in this hash, page by page.
async fn scan_records(
    client: &Client,
    key: &str,
) -> Result<HashMap<ReservationId, i64>, fred::error::Error> {
    let pages = client.hscan(key, "*", Some(RECORDS_PER_CHUNK as u32));
    futures::pin_mut!(pages);
    let mut records = HashMap::new();
    while let Some(mut page) = pages.try_next().await? {
        for (field, value) in page.take_results().into_iter().flat_map(|map| map.inner()) {
            let (Ok(id), Some(record)) = (Uuid::from_slice(field.as_bytes()), value.as_bytes())
            else {
                continue; // the field `epoch`
            };
            if let Some(seq) = record.first_chunk::<8>() {
                records.insert(ReservationId(id), i64::from_be_bytes(*seq));
            }
        }
        page.next();
    }
    Ok(records)
}
