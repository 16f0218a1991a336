//! Accounts as their owners live with them: signed up, verified, on several devices, with a changed
//! password, a lost phone, a ban, an end.

#[path = "identity/codes.rs"]
mod codes;
#[path = "identity/keys.rs"]
mod keys;
#[path = "identity/passwords.rs"]
mod passwords;
#[path = "identity/profiles.rs"]
mod profiles;
#[path = "identity/sessions.rs"]
mod sessions;
#[path = "identity/standing.rs"]
mod standing;

use std::time::Duration;

use firstcome_e2e::member::{self, Member};
use firstcome_local::Service;
use firstcome_proto::{
    Reason, Refusal,
    user_v1::{GetProfileRequest, Profile},
};
use firstcome_testkit::eventually;
use tokio::time::Instant;

/// A revoked token is refused after a second; the rest is for a machine that has no time.
const REVOKED_WITHIN: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);

/// Resends and replays in seconds instead of minutes.
const QUICK: [(Service, &str, &str); 2] = [
    (Service::User, "FIRSTCOME_CODE_COOLDOWN", "1s"),
    (Service::User, "FIRSTCOME_REFRESH_REPLAY", "2s"),
];

async fn profile(member: &Member) -> Result<Profile, Refusal> {
    let answer = member.profiles().get_profile(member.call(GetProfileRequest {})).await;
    let answer = answer.map_err(|status| Refusal::from_status(&status))?;
    Ok(answer.into_inner().profile.unwrap())
}

/// Waits until the edge refuses a device's token, and gives how long that took.
async fn until_refused(member: &Member) -> Duration {
    let started = Instant::now();
    eventually(PATIENCE, || async {
        profile(member).await.is_err_and(|refusal| refusal.reason() == Reason::TokenRevoked)
    })
    .await;
    started.elapsed()
}

/// The code in the mails after the first so many.
fn code_of_newest(member: &Member, after: usize) -> Option<String> {
    member.mails().iter().skip(after).rev().find_map(|mail| member::code_in(mail))
}
