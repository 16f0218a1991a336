//! What ghz must know of this mesh: who buys and what. The configurations under `bench/ghz` are the
//! same for everybody; what differs from mesh to mesh lies in files beside the stores, which
//! [`write()`] renews at each start.
//!
//! ghz fills in its templates anew for each call. Its random numbers are not safe to draw from
//! several workers, so chance is cut from UUIDs, which are.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use firstcome_local::{Address, Checkout, checkout, secret};
use firstcome_proto::inventory_v1::Product;
use serde_json::{Value, json};

use crate::counter::{self, Account, DEMO_PASSWORD, Goods};

/// The buyer with the calls of thousands, whom the edge does not count.
const LOAD_NAME: &str = "load";
/// Whoever measures today measures again next week, on the mesh that is still up.
const LOAD_TOKEN_TTL: &str = "30d";
/// One of 4096 networks (IPv6 is counted by /64), so that no address is above its limit.
const CLIENT_ADDRESS: &str = "fd00:0:0:{{slice .UUID 0 3}}::1";
/// Each call is a purchase of its own.
const IDEMPOTENCY_KEY: &str = "{{newUUID}}";

/// Where the files are.
pub fn folder(checkout: &Checkout) -> PathBuf {
    checkout.state().join("ghz")
}

/// Makes the load generator's buyer; the edge must be told who it is before it starts.
pub async fn create_load(address: &Address) -> Result<Account> {
    let account = counter::create_buyer(address, LOAD_NAME, LOAD_TOKEN_TTL).await;
    account.context("make the load generator's buyer")
}

/// Writes the files. The token lets in whoever reads it, so only their owner can.
pub fn write(checkout: &Checkout, load: &Account, goods: &Goods) -> Result<()> {
    let folder = folder(checkout);
    checkout::create_private_folder(&folder)
        .with_context(|| format!("create {}", folder.display()))?;
    for (name, contents) in files(load, goods) {
        secret::write_private(&folder.join(name), &serde_json::to_string_pretty(&contents)?)?;
    }
    Ok(())
}

/// Metadata for strangers and for the buyer, and the messages that name something of this mesh.
fn files(load: &Account, goods: &Goods) -> [(&'static str, Value); 6] {
    let authorization = format!("Bearer {}", load.access_token);
    [
        ("metadata-stranger.json", json!({ "x-forwarded-for": CLIENT_ADDRESS })),
        (
            "metadata-buyer.json",
            json!({ "x-forwarded-for": CLIENT_ADDRESS, "authorization": authorization }),
        ),
        ("data-place-order.json", purchase(&goods.endless)),
        ("data-sold-out.json", purchase(&goods.sold_out)),
        ("data-product.json", json!({ "productId": goods.endless.product_id })),
        (
            "data-log-in.json",
            json!({
                "email": load.email,
                "password": DEMO_PASSWORD,
                "idempotencyKey": IDEMPOTENCY_KEY,
            }),
        ),
    ]
}

fn purchase(product: &Product) -> Value {
    let sku = product.skus.first().expect("what up puts on the shelf has a size");
    let line = json!({ "productId": product.product_id, "skuId": sku.sku_id, "quantity": 1 });
    json!({ "idempotencyKey": IDEMPOTENCY_KEY, "lines": [line] })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, net::IpAddr, path::Path};

    use firstcome_proto::{
        access::{self, Access, descriptor_pool},
        inventory_v1::Sku,
    };
    use prost_reflect::DynamicMessage;
    use serde::Deserialize;

    use super::*;

    /// What our configurations say; ghz itself passes over a key that it does not know.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct Config {
        name: String,
        host: String,
        insecure: bool,
        call: String,
        data: Option<Value>,
        data_file: Option<String>,
        metadata_file: String,
        total: u32,
        concurrency: u32,
        connections: u32,
        timeout: String,
        #[serde(default)]
        count_errors: bool,
        #[serde(default)]
        stream_call_count: u32,
    }

    fn configs() -> BTreeMap<String, Config> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/ghz");
        let read = |path: PathBuf| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let config =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, config)
        };
        fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap().path())).collect()
    }

    fn written() -> BTreeMap<String, Value> {
        let product = |id: &str| {
            let skus = vec![Sku { sku_id: format!("{id}-sku"), ..Sku::default() }];
            Product { product_id: id.to_owned(), skus, ..Product::default() }
        };
        let goods = Goods {
            open: product("open"),
            opening: product("opening"),
            endless: product("endless"),
            sold_out: product("sold-out"),
        };
        let load = Account {
            user_id: "user".to_owned(),
            email: "load-0@seed.firstcome.example".to_owned(),
            access_token: "token".to_owned(),
        };
        let prefixed = |(name, contents)| (format!(".dev/ghz/{name}"), contents);
        files(&load, &goods).map(prefixed).into()
    }

    /// As ghz fills it in, for one UUID.
    fn filled_in(template: &Value) -> Value {
        let uuid = "7f3a1c52-0b1d-4f6e-9a55-2d7c61f0a9e4";
        let text = template.to_string();
        let text = text.replace("{{newUUID}}", uuid).replace("{{slice .UUID 0 3}}", &uuid[..3]);
        assert!(!text.contains("{{"), "a template that ghz may not know: {text}");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_five_ways_are_there() {
        let names: Vec<_> = configs().into_keys().collect();
        let want = ["browse", "log-in", "place-order", "product", "sold-out", "watch"];
        assert_eq!(names, want);
    }

    #[test]
    fn every_configuration_calls_a_public_method_with_its_message() {
        let (pool, written) = (descriptor_pool(), written());
        for (name, config) in configs() {
            let (service, method) = config.call.rsplit_once('/').expect(&name);
            let service = pool.get_service_by_name(service).expect(&name);
            let method = service.methods().find(|known| known.name() == method).expect(&name);
            let with_token = match access::of_method(&method) {
                Access::Public => false,
                Access::User => true,
                access => panic!("{name}: {access:?}"),
            };
            let message = match (&config.data, &config.data_file) {
                (Some(data), None) => filled_in(data),
                (None, Some(file)) => filled_in(&written[file]),
                _ => panic!("{name}: want the data or its file"),
            };
            // Unknown and misspelt fields are refused.
            DynamicMessage::deserialize(method.input(), message).expect(&name);
            // Else the stream would last until the call's time is over.
            assert_eq!(config.stream_call_count > 0, method.is_server_streaming(), "{name}");

            let metadata = filled_in(&written[&config.metadata_file]);
            assert_eq!(metadata.get("authorization").is_some(), with_token, "{name}");
            let address = metadata["x-forwarded-for"].as_str().unwrap();
            assert!(address.parse::<IpAddr>().is_ok(), "{name}: {address}");
        }
    }

    #[test]
    fn every_configuration_is_bounded_and_goes_to_the_documented_port() {
        for (name, config) in configs() {
            assert!(config.name.starts_with("firstcome: "), "{name}");
            assert_eq!((config.host.as_str(), config.insecure), ("127.0.0.1:8080", true), "{name}");
            assert!(config.total >= config.concurrency && config.concurrency > 0, "{name}");
            assert!((1..=config.concurrency).contains(&config.connections), "{name}");
            assert!(humantime::parse_duration(&config.timeout).is_ok(), "{name}");
            // Where every answer is an error by design, errors are what is measured.
            let refused = ["sold-out", "watch"].contains(&name.as_str());
            assert_eq!(config.count_errors, refused, "{name}");
        }
    }
}
