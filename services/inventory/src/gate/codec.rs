//! The bytes between the gate and us, as `stock.lua` reads and writes them.

use std::collections::HashMap;

use bytes::{BufMut as _, Bytes, BytesMut};
use firstcome_proto::{BuyerId, ReservationId, SkuId};
use fred::types::Value;
use uuid::Uuid;

use super::{Fault, Verdict};
use crate::hold::{Line, Wish};

pub(super) fn number(value: i64) -> Bytes {
    Bytes::from(value.to_string())
}

pub(super) fn put_contents(into: &mut BytesMut, wish: &Wish) {
    into.put_slice(wish.buyer.0.as_bytes());
    into.put_slice(&wish.fingerprint);
    into.put_u8(u8::try_from(wish.lines.len()).expect("a wish has at most 10 lines"));
    for line in &wish.lines {
        into.put_slice(line.sku.0.as_bytes());
        into.put_i32(line.quantity);
    }
}

pub(super) fn encode_item(wish: &Wish) -> Bytes {
    let mut item = BytesMut::with_capacity(49 + 20 * wish.lines.len());
    item.put_slice(wish.reservation.0.as_bytes());
    put_contents(&mut item, wish);
    item.freeze()
}

pub(super) fn encode_record(wish: &Wish, seq: i64) -> Bytes {
    let mut record = BytesMut::with_capacity(41 + 20 * wish.lines.len());
    record.put_i64(seq);
    put_contents(&mut record, wish);
    record.freeze()
}

pub(super) fn decode_record(reservation: ReservationId, record: &[u8]) -> Option<(Wish, i64)> {
    let (seq, contents) = record.split_first_chunk::<8>()?;
    let (buyer, contents) = contents.split_first_chunk::<16>()?;
    let (fingerprint, contents) = contents.split_first_chunk::<16>()?;
    let (count, lines) = contents.split_first()?;
    if lines.len() != usize::from(*count) * 20 {
        return None;
    }
    let lines = lines.chunks_exact(20).map(|line| {
        let (sku, quantity) = line.split_first_chunk::<16>()?;
        let quantity = i32::from_be_bytes(quantity.try_into().ok()?);
        Some(Line { sku: SkuId(Uuid::from_bytes(*sku)), quantity })
    });
    let wish = Wish {
        reservation,
        buyer: BuyerId(Uuid::from_bytes(*buyer)),
        fingerprint: *fingerprint,
        lines: lines.collect::<Option<_>>()?,
    };
    Some((wish, i64::from_be_bytes(*seq)))
}

/// The codes of `stock.lua`.
pub(super) fn decode_verdict(packed: &[u8]) -> Option<Verdict> {
    let (code, seq) = packed.split_first()?;
    let seq = i64::from_be_bytes(seq.try_into().ok()?);
    Some(match code {
        0 => Verdict::Admitted(seq),
        1 => Verdict::Replayed(seq),
        2 => Verdict::KeyReused,
        3 => Verdict::NotOpen,
        4 => Verdict::Closed,
        5 => Verdict::LimitPerBuyer,
        6 => Verdict::SoldOut,
        7 => Verdict::UnknownSku,
        8 => Verdict::Malformed,
        _ => return None,
    })
}

pub(super) fn decode_available(reply: &[Value], from: usize) -> Result<HashMap<SkuId, i32>, Fault> {
    let mut available = HashMap::new();
    for at in (from..reply.len()).step_by(2) {
        let sku = Uuid::from_slice(bytes_at(reply, at)?).map_err(|_| unreadable(reply))?;
        let units = i32::try_from(number_at(reply, at + 1)?).map_err(|_| unreadable(reply))?;
        available.insert(SkuId(sku), units);
    }
    Ok(available)
}

pub(super) fn bytes_at(reply: &[Value], at: usize) -> Result<&[u8], Fault> {
    match reply.get(at) {
        Some(Value::Bytes(bytes)) => Ok(bytes),
        Some(Value::String(text)) => Ok(text.as_bytes()),
        _ => Err(unreadable(reply)),
    }
}

pub(super) fn text_at(reply: &[Value], at: usize) -> Result<&str, Fault> {
    std::str::from_utf8(bytes_at(reply, at)?).map_err(|_| unreadable(reply))
}

pub(super) fn number_at(reply: &[Value], at: usize) -> Result<i64, Fault> {
    match reply.get(at) {
        Some(Value::Integer(number)) => Ok(*number),
        _ => text_at(reply, at)?.parse().map_err(|_| unreadable(reply)),
    }
}

pub(super) fn unreadable(reply: &[Value]) -> Fault {
    Fault::Unreadable(format!("{} values beginning with {:?}", reply.len(), reply.first()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back() {
        let wish = Wish {
            reservation: ReservationId(Uuid::from_u128(1)),
            buyer: BuyerId(Uuid::from_u128(2)),
            fingerprint: [3; 16],
            lines: vec![
                Line { sku: SkuId(Uuid::from_u128(4)), quantity: 5 },
                Line { sku: SkuId(Uuid::from_u128(6)), quantity: 1000 },
            ],
        };
        let record = encode_record(&wish, 7);
        assert_eq!(decode_record(wish.reservation, &record), Some((wish.clone(), 7)));
        assert_eq!(decode_record(wish.reservation, &record[..record.len() - 1]), None);
        // An item is the id and then the same contents as a record's.
        assert_eq!(encode_item(&wish)[16..], record[8..]);
    }
}
