//! The names of all keys. Everything of one product carries one hash tag and so lies on one shard.

use firstcome_proto::ProductId;

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
}
