//! The README's own lines, as a stranger pastes them.

use std::process::Command;

use firstcome_e2e::{Shop, shop::Terms};
use firstcome_local::Service;

/// `cargo xtask test` installs grpcurl when Go is there, and lists this story as skipped when not.
fn grpcurl() -> Option<String> {
    std::env::var("FIRSTCOME_GRPCURL").ok().filter(|path| !path.is_empty())
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_lists_and_places_an_order() {
    let Some(grpcurl) = grpcurl() else {
        eprintln!("skipped: FIRSTCOME_GRPCURL names no grpcurl");
        return;
    };
    let shop = Shop::shared().await;
    let sale = shop.sell(Terms::of(1)).await.unwrap();
    let buyer = shop.buyer().await.unwrap();
    let edge = shop.mesh.address().endpoint(Service::Edge).replace("http://", "");

    let services = run(&grpcurl, &["-plaintext", &edge, "list"]);
    assert!(services.contains("firstcome.order.v1.OrderService"), "{services}");
    assert!(!services.contains("Reservation"), "internal services are not listed: {services}");

    let body = format!(
        r#"{{"idempotencyKey":"my-first-pair","lines":[{{"productId":"{}","skuId":"{}","quantity":1}}]}}"#,
        sale.product, sale.skus[0],
    );
    let authorization = format!("authorization: Bearer {}", buyer.token);
    let placed = run(
        &grpcurl,
        &[
            "-plaintext",
            "-H",
            &authorization,
            "-d",
            &body,
            &edge,
            "firstcome.order.v1.OrderService/PlaceOrder",
        ],
    );
    assert!(placed.contains("ORDER_STATE_PENDING_PAYMENT"), "{placed}");
    assert_eq!(shop.stock(&sale).await.unwrap().skus[0].available, 0);
}
