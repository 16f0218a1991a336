//! Reads the gates out of Redis as they lie there. The encoding is inventory's, described in its
//! stock.lua; a gate that the library itself calls missing is not read.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail};
use bytes::{Buf as _, Bytes};
use firstcome_proto::{BuyerId, ProductId, ReservationId, SkuId};
use firstcome_redis::{RedisPool, keys};
use fred::{
    interfaces::{HashesInterface as _, StreamsInterface as _},
    types::{Key, Value},
};
use uuid::Uuid;

use super::books::{Gate, Line, Taken};

const ID_BYTES: usize = 16;
const SEQUENCE_BYTES: usize = 8;
const FINGERPRINT_BYTES: usize = 16;
const LINE_BYTES: usize = ID_BYTES + 4;
/// The field that every hash of a gate carries.
const EPOCH: &[u8] = b"epoch";

/// Reads a product's gate; `None` unless it is open.
pub async fn read(redis: &RedisPool, product: ProductId) -> Result<Option<Gate>> {
    if !is_open(redis, product).await? {
        return Ok(None);
    }
    let client = redis.commands();
    let stock: HashMap<Key, Bytes> = client.hgetall(keys::stock(product)).await?;
    let taken: HashMap<Key, Bytes> = client.hgetall(keys::taken(product)).await?;
    let buyers: HashMap<Key, Bytes> = client.hgetall(keys::buyers(product)).await?;
    let unconfirmed: u64 = client.xlen(keys::unconfirmed(product)).await?;

    let mut gate = Gate { unconfirmed, ..Gate::default() };
    for (field, value) in &stock {
        match field.as_bytes() {
            EPOCH => gate.epoch = number(value)?,
            b"seq" => gate.sequence = number(value)?,
            [b'a', sku @ ..] if sku.len() == ID_BYTES => {
                gate.available.insert(SkuId(Uuid::from_slice(sku)?), number(value)?);
            }
            _ => {}
        }
    }
    for (id, record) in taken.iter().filter(|(field, _)| field.as_bytes() != EPOCH) {
        let id = Uuid::from_slice(id.as_bytes()).context("a reservation id of 16 bytes")?;
        let record = decode(record.clone()).with_context(|| format!("record {id}"))?;
        gate.taken.insert(ReservationId(id), record);
    }
    for (buyer, units) in buyers.iter().filter(|(field, _)| field.as_bytes() != EPOCH) {
        let buyer = Uuid::from_slice(buyer.as_bytes()).context("a buyer id of 16 bytes")?;
        gate.buyers.insert(BuyerId(buyer), number(units)?);
    }
    Ok(Some(gate))
}

/// Asks the gate's own library, which knows when a gate counts as missing.
async fn is_open(redis: &RedisPool, product: ProductId) -> Result<bool> {
    let keys = vec![
        keys::stock(product),
        keys::taken(product),
        keys::buyers(product),
        keys::unconfirmed(product),
    ];
    let answer = match redis.fcall("snapshot_1", keys, Vec::new()).await {
        Ok(answer) => answer,
        // A Redis without the library has no gate that anybody would use.
        Err(firstcome_redis::Error::MissingFunction(_)) => return Ok(false),
        Err(error) => return Err(error).context("ask the gate"),
    };
    let Value::Array(answer) = answer else { bail!("the gate answers {answer:?}") };
    let word = |place: usize| answer.get(place).and_then(Value::as_string).unwrap_or_default();
    Ok(word(0) == "OK" && word(2) == "open")
}

/// seq (8), buyer (16), fingerprint (16), line count (1), lines of sku (16) and quantity (4).
fn decode(mut record: Bytes) -> Result<Taken> {
    let head = SEQUENCE_BYTES + ID_BYTES + FINGERPRINT_BYTES + 1;
    if record.len() < head {
        bail!("only {} bytes", record.len());
    }
    let sequence = record.get_i64();
    let buyer = BuyerId(Uuid::from_slice(&record.split_to(ID_BYTES))?);
    record.advance(FINGERPRINT_BYTES);
    let count = usize::from(record.get_u8());
    if record.len() != count * LINE_BYTES {
        bail!("{count} lines in {} bytes", record.len());
    }
    let lines = (0..count)
        .map(|_| {
            let sku = SkuId(Uuid::from_slice(&record.split_to(ID_BYTES))?);
            Ok(Line { sku, quantity: record.get_i32() })
        })
        .collect::<Result<_>>()?;
    Ok(Taken { sequence, buyer, lines })
}

fn number(value: &[u8]) -> Result<i64> {
    let text = std::str::from_utf8(value).context("a number in text")?;
    text.parse().with_context(|| format!("a number, not {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_as_the_gate_wrote_it() {
        let (buyer, sku) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut bytes = 7_i64.to_be_bytes().to_vec();
        bytes.extend(buyer.as_bytes());
        bytes.extend([9; FINGERPRINT_BYTES]);
        bytes.push(1);
        bytes.extend(sku.as_bytes());
        bytes.extend(3_i32.to_be_bytes());
        let lines = vec![Line { sku: SkuId(sku), quantity: 3 }];
        let taken = Taken { sequence: 7, buyer: BuyerId(buyer), lines };
        assert_eq!(decode(bytes.clone().into()).unwrap(), taken);
        bytes.pop();
        assert!(decode(bytes.into()).is_err());
        assert!(decode(Bytes::new()).is_err());
    }
}
