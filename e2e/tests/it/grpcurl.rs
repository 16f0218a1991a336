//! The README's own lines, as a stranger pastes them, and the purchase that tries a deployment.

use std::{process::Command, time::Duration};

use firstcome_e2e::{Shop, shop::Terms};
use firstcome_local::{Checkout, Service};

/// A password hash in a debug build, many tests at once, two cores.
const DEADLINE: Duration = Duration::from_secs(60);

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

#[tokio::test(flavor = "multi_thread")]
async fn the_script_of_a_deployment_buys_a_pair() {
    let Some(grpcurl) = grpcurl() else {
        eprintln!("skipped: FIRSTCOME_GRPCURL names no grpcurl");
        return;
    };
    let shop = Shop::shared().await;
    let mesh = shop.mesh.address();
    // The two commands that deploy/k8s/kind.sh runs in a pod.
    let (admin, password) = ("deployer@firstcome.example", "Tried-on-one-machine-1");
    let create_admin = ["create-admin", "--email", admin, "--password", password];
    mesh.run(Service::User, &create_admin, DEADLINE).await.unwrap();
    let seed = ["seed", "--development", "--count=1", "--prefix=kind", "--out=/dev/null"];
    mesh.run(Service::User, &seed, DEADLINE).await.unwrap();

    let mut buy = Command::new(Checkout::here().root().join("deploy/buy.sh"));
    buy.arg(mesh.endpoint(Service::Edge).replace("http://", "")).env("GRPCURL", grpcurl);
    buy.env("ADMIN_EMAIL", admin).env("ADMIN_PASSWORD", password);
    buy.env("BUYER_EMAIL", "kind-0@seed.firstcome.example").env("BUYER_PASSWORD", "Seeded-buyer-1");
    let output = tokio::task::spawn_blocking(move || buy.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("is paid"), "{said}");
}
