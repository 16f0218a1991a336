//! What `cargo xtask rush` runs, on a shop of its own.

use firstcome_e2e::Shop;
use firstcome_workbench::rush::{RushArgs, rush};

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_buyers_for_500_pairs_keep_every_promise() {
    let shop = Shop::own(&[]).await.unwrap();
    let args = RushArgs { json: true, ..RushArgs::default() };
    let report = rush(shop.mesh.address(), &args).await.unwrap();
    assert_eq!((report.sold, report.oversold), (500, 0), "{:?}", report.refusals);
    assert!(report.resold > 0, "what was walked away from is sold again");
    assert!(report.verified.is_clean(), "{:#?}", report.verified.violations);
}
