//! What to do about a refusal: its reason says so, and RetryInfo for how long to wait.
use std::time::Duration;

use tokio::time::sleep;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::{Session, watch};

/// Without RetryInfo: the network failed, and the shop had no say.
const PAUSE: Duration = Duration::from_secs(1);
/// No try is longer after the one before, unless the shop says so.
const PAUSE_LONGEST: Duration = Duration::from_secs(30);
/// Tries in a row that brought nothing but waiting, about two minutes in all.
const TRIES_MAX: u32 = 12;

/// Returns when it is time to try again with the same key, or gives back what no waiting changes.
pub async fn wait_out(
    refused: Status,
    shop: &Channel,
    session: &mut Session,
    tries: &mut u32,
) -> Result<(), Status> {
    let details = refused.get_error_details();
    let info = details.error_info();
    let reason = info.map_or("", |info| info.reason.as_str());
    println!("refused: {reason} {}", refused.message());
    let holds_open = info.and_then(|info| info.metadata.get("holds_open"));
    let may_come_back = reason == "SOLD_OUT" && holds_open.is_some_and(|units| units != "0");
    if reason == "NOT_OPEN" || may_come_back {
        if may_come_back {
            // The stream's first news may be as old as the refusal: a second.
            sleep(Duration::from_secs(1).mul_f64(rand::random())).await;
        }
        if watch(shop).await.is_ok() {
            *tries = 0;
            return Ok(());
        }
    }
    *tries += 1;
    let delay = details.retry_info().and_then(|info| info.retry_delay);
    // Nobody knows what became of the call. Tonic calls a deadline of its own Cancelled.
    let is_unknown = matches!(refused.code(), Code::Unavailable | Code::DeadlineExceeded)
        || matches!(refused.code(), Code::Cancelled | Code::Internal | Code::Unknown);
    match reason {
        _ if *tries > TRIES_MAX => return Err(refused),
        "TOKEN_EXPIRED" | "TOKEN_REVOKED" | "TOKEN_INVALID" => *session = Session::new(),
        _ if delay.is_some() || is_unknown || reason == "NOT_OPEN" || may_come_back => {
            let longer = (Duration::from_millis(50) * 2_u32.pow(*tries)).min(PAUSE_LONGEST);
            // By chance: those who were refused together do not come back together.
            sleep(delay.unwrap_or(PAUSE).max(longer).mul_f64(rand::random_range(1.0..1.5))).await;
        }
        _ => return Err(refused),
    }
    Ok(())
}
