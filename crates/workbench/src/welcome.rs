//! What `up` prints: where everything is, and lines to paste.

use std::fmt;

use firstcome_local::Service;
use firstcome_proto::inventory_v1::Product;

use crate::{
    counter::{Account, DEMO_PASSWORD, Goods},
    rush,
    up::Up,
};

const ORDERS: &str = "firstcome.order.v1.OrderService";
const CATALOG: &str = "firstcome.inventory.v1.CatalogService";
const STOCK: &str = "firstcome.inventory.v1.StockService";
/// To be completed with an order's id.
const PAYMENT: &str = r#""payment_method":"pm_card_approve","address":{"recipient":"Demo Buyer","phone":"+821012345678","line1":"1 Sejong-daero","city":"Seoul","postal_code":"04524","country_code":"KR"}"#;

/// The text, for this mesh and these goods.
pub struct Welcome<'a> {
    /// What runs.
    pub up: &'a Up,
    /// What can be bought.
    pub goods: &'a Goods,
    /// Who can buy it.
    pub demo: &'a Account,
}

impl fmt::Display for Welcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_places(f)?;
        self.fmt_tries(f)
    }
}

impl Welcome<'_> {
    fn fmt_places(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { up, demo, .. } = self;
        let (state, address) = (up.state(), &up.state().address);
        writeln!(f, "\nfirstcome is up.\n")?;
        let edge = address.endpoint(Service::Edge);
        writeln!(f, "  shop      {edge} (gRPC and grpc-web)")?;
        writeln!(f, "  rushes    {} (as they run)", rush::rush_view(address))?;
        for service in Service::ALL.into_iter().filter(|service| *service != Service::Edge) {
            let name = service.name().trim_start_matches("firstcome-");
            writeln!(f, "  {name:<9} {}", address.endpoint(service))?;
        }
        if let Some(redis) = up.mesh().stores().redis() {
            let ports = redis.ports();
            let (first, last) = (ports.first().unwrap_or(&0), ports.last().unwrap_or(&0));
            writeln!(f, "  redis     127.0.0.1, ports {first} to {last}")?;
        }
        if let Some(postgres) = up.mesh().stores().postgres() {
            let (port, folder) = (postgres.port(), postgres.folder().display());
            writeln!(f, "  postgres  127.0.0.1:{port}, data in {folder}")?;
        }
        let ports = up.health_ports();
        let (first, last) = (ports.first(Service::User), ports.first(Service::Edge));
        writeln!(f, "  metrics   http://127.0.0.1:{first}/metrics to {last} (user to edge)")?;
        writeln!(f, "  mails     {} (codes are in there)", address.mail.display())?;
        writeln!(f, "  logs      {}", address.logs.display())?;
        writeln!(f, "  operator  {}  {}", state.admin_email, state.admin_password)?;
        writeln!(f, "  buyer     {}  {DEMO_PASSWORD}", demo.email)
    }

    fn fmt_tries(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { up, goods, demo } = self;
        let edge = up.state().address.endpoint(Service::Edge).trim_start_matches("http://");
        let product = &goods.open.product_id;
        let with_token = "grpcurl -plaintext -H \"authorization: Bearer $TOKEN\"";
        let place = |product: &Product| {
            let (product_id, sku_id) = (&product.product_id, &product.skus[0].sku_id);
            // A new key for each paste, the same for nobody else.
            format!(
                "{with_token} -d '{{\"idempotency_key\":\"'$RANDOM-$RANDOM'\",\"lines\":[{{\"product_id\":\
                 \"{product_id}\",\"sku_id\":\"{sku_id}\",\"quantity\":1}}]}}' {edge} {ORDERS}/PlaceOrder"
            )
        };
        writeln!(f, "\nLook:")?;
        writeln!(f, "  grpcurl -plaintext {edge} list")?;
        writeln!(f, "  grpcurl -plaintext {edge} {CATALOG}/ListProducts")?;
        writeln!(
            f,
            "  grpcurl -plaintext -d '{{\"product_id\":\"{product}\"}}' {edge} {STOCK}/WatchStock"
        )?;
        writeln!(f, "\nBuy (the token is good for an hour):")?;
        writeln!(f, "  TOKEN={}", demo.access_token)?;
        writeln!(f, "  {}", place(&goods.open))?;
        writeln!(
            f,
            "  {with_token} -d '{{\"order_id\":\"PASTE\",{PAYMENT}}}' {edge} {ORDERS}/PayOrder"
        )?;
        writeln!(f, "  {with_token} {edge} {ORDERS}/ListOrders")?;
        writeln!(f, "\n\"{}\" opens one minute from now; until then:", goods.opening.name)?;
        writeln!(f, "  {}", place(&goods.opening))?;
        writeln!(f, "\nBuy with a program of your own (examples/README.md has five to copy):")?;
        // What has no limit per buyer can be bought by all five.
        let (product_id, sku_id) = (&goods.endless.product_id, &goods.endless.skus[0].sku_id);
        writeln!(
            f,
            "  export FIRSTCOME_EDGE=http://{edge} FIRSTCOME_EMAIL={} \
             FIRSTCOME_PASSWORD={DEMO_PASSWORD} FIRSTCOME_PRODUCT={product_id} \
             FIRSTCOME_SKU={sku_id}",
            demo.email,
        )?;
        writeln!(f, "\nStorm it from another terminal: cargo xtask rush")?;
        writeln!(f, "Measure it with ghz: ghz --config bench/ghz/place-order.json {edge}")?;
        writeln!(
            f,
            "Ctrl-C stops everything and keeps the data; cargo xtask down --wipe removes it."
        )
    }
}
