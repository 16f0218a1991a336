//! Every service is replaced in mid-rush, one process after the other; nobody notices more than what
//! a client's normal retry survives.

use std::time::Duration;

use firstcome_e2e::shop;
use firstcome_local::Mesh;
use firstcome_workbench::roll::{self, Plan, steps};

/// What a debug build on two shared cores bears beside other stories.
const RATE: u32 = 30;

/// What the machine itself may lose, also where a restart is as quick as that.
const STALL: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_no_request() {
    let mesh = Mesh::start_throwaway_of(2, shop::programs().unwrap(), Vec::new()).await.unwrap();
    let plan = Plan {
        rate: RATE,
        pause: Duration::from_secs(2),
        hold: Duration::from_secs(3),
        settle: Duration::from_secs(30),
        steps: steps::one_of_each(),
        files: mesh.address().logs.with_file_name("receipts"),
    };
    let report = roll::run_plan(&mesh, &plan).await.unwrap();
    assert_eq!(report.losses(), Vec::<String>::new(), "{report}");
    assert!(report.verified.examined.charges > 0, "somebody paid: {report}");
    assert_eq!(report.errors_logged, Vec::<String>::new());
    // Thirty a second, and somebody always has an answer. A machine that others use too may stop a
    // debug build for a second, which is nobody's fault here; whom the restart of one process shut
    // out had no answer until it was back, and on a slower machine that takes longer too.
    let shortest = report.restarts.iter().map(|(restart, _)| restart.down).min().unwrap();
    let bearable = shortest.max(STALL + Duration::from_secs(1));
    assert!(report.silence() < bearable, "{:?}: {report}", report.silence());
}
