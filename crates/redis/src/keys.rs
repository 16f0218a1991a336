//! The names of all keys. Everything of one product carries one hash tag and so lies on one shard.

use firstcome_proto::ProductId;

/// The streams of the shop's events, as [`events`] names them.
pub const EVENTS: &str = "events";
/// Streams that events are spread over, so that no node of the cluster carries them all. Order's
/// schema knows the number too: another one needs a migration.
pub const EVENT_SHARDS: u8 = 4;

/// Hash: live units per SKU, window, limit, sequence, epoch, clock, state, run id.
pub fn stock(product: ProductId) -> String {
    of_product(product, "stock")
}

/// Hash: reservation id to what was taken.
pub fn taken(product: ProductId) -> String {
    of_product(product, "taken")
}

/// Hash: units per buyer; only under a limit.
pub fn buyers(product: ProductId) -> String {
    of_product(product, "buyers")
}

/// Stream: admissions that Postgres has not yet confirmed.
pub fn unconfirmed(product: ProductId) -> String {
    of_product(product, "unconfirmed")
}

/// Stream: what happened to those subjects that fall to this shard.
pub fn events(streams: &str, shard: u8) -> String {
    assert!(shard < EVENT_SHARDS, "events have {EVENT_SHARDS} shards");
    format!("fc:{streams}:{{{shard}}}")
}

fn of_product(product: ProductId, name: &str) -> String {
    format!("fc:{{{product}}}:{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_product_share_its_hash_tag() {
        let product = "2f1d3a52-5f6e-4c8b-9d0a-7b1c2e3f4a5b".parse().expect("a UUID");
        assert_eq!(stock(product), "fc:{2f1d3a52-5f6e-4c8b-9d0a-7b1c2e3f4a5b}:stock");
        let slot = |key: String| fred::util::redis_keyslot(key.as_bytes());
        assert_eq!(slot(taken(product)), slot(stock(product)));
        assert_eq!(slot(buyers(product)), slot(stock(product)));
        assert_eq!(slot(unconfirmed(product)), slot(stock(product)));
    }

    #[test]
    fn events_are_spread_over_a_cluster_of_three() {
        assert_eq!(events(EVENTS, 2), "fc:events:{2}");
        let slot = |shard| fred::util::redis_keyslot(events(EVENTS, shard).as_bytes());
        let mut thirds: Vec<_> = (0..EVENT_SHARDS).map(|shard| slot(shard) / 5_462).collect();
        thirds.sort();
        thirds.dedup();
        assert_eq!(thirds, [0, 1, 2]);
    }
}
