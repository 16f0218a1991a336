//! The storefront in a real browser: the stories of `edge/web/e2e`, told to the page that the edge
//! serves.

use std::{path::Path, time::Duration};

use firstcome_e2e::{Shop, shop};
use firstcome_local::{Service, process::Launch};

/// Those who need not sign up in a browser, and the crowd that storms two drops.
const BUYERS: usize = 120;
/// Codes in seconds instead of minutes.
const QUICK: [(Service, &str, &str); 1] = [(Service::User, "FIRSTCOME_CODE_COOLDOWN", "1s")];
/// Several times what they take, for a machine whose cores others use too.
const STORIES_MAX: Duration = Duration::from_secs(300);
/// Whoever ended the stories gives their browsers this long.
const END_MAX: Duration = Duration::from_secs(10);

/// `cargo xtask test` looks for a browser or installs one, and lists this story as skipped when
/// there is none; its step `web` has installed what the stories are told with.
fn browser() -> Option<String> {
    std::env::var("FIRSTCOME_CHROMIUM").ok().filter(|path| !path.is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_tells_the_stories_of_the_storefront() {
    let Some(browser) = browser() else {
        eprintln!("skipped: FIRSTCOME_CHROMIUM names no browser");
        return;
    };
    let shop = Shop::own(&QUICK).await.unwrap();
    let buyers = shop.seed(BUYERS).await.unwrap();
    let mesh = shop.mesh.address();
    let edge = mesh.endpoint(Service::Edge);
    let log = mesh.logs.join("storefront.log");
    let seconds = STORIES_MAX.as_secs().to_string();
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../edge/web");
    // npm, node and browsers are one group, which ends as a whole.
    let stories = Launch::new("the storefront's stories", "timeout", &log)
        .args(["--kill-after=5", &seconds, "npm", "run", "--silent", "e2e"])
        .folder(&web)
        .env([
            ("FIRSTCOME_EDGE", edge),
            ("FIRSTCOME_PAGE", edge),
            ("FIRSTCOME_CHROMIUM", &browser),
            ("FIRSTCOME_ADMIN_EMAIL", shop::ADMIN_EMAIL),
            ("FIRSTCOME_ADMIN_PASSWORD", shop::ADMIN_PASSWORD),
        ])
        .env([("FIRSTCOME_MAIL_DIR", &mesh.mail), ("FIRSTCOME_BUYERS", &buyers)]);
    if let Err(error) = stories.run(STORIES_MAX + END_MAX).await {
        let told = std::fs::read_to_string(&log).unwrap_or_default();
        panic!("{error:#}\n{told}");
    }
    // Whatever the browsers did, the books are right.
    shop.verify().await.unwrap();
}
