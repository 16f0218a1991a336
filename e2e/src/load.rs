//! Load: a release build tells its stories while others storm the same shop.

use std::{path::Path, time::Duration};

use firstcome_local::Address;
use firstcome_workbench::rush::{self, RushArgs};

/// Whether stories are told under load. A debug build would only make everybody wait.
pub const IS_ON: bool = !cfg!(debug_assertions);

/// Rush after rush, for as long as the shop is open.
///
/// # Panics
/// When the shop cannot bear it: the stories of this shop end with it.
pub async fn carry(mesh: &Address, folder: &Path) -> ! {
    let args = RushArgs {
        buyers: 10_000,
        stock: 1_000,
        hold: Duration::from_secs(1),
        sign_ups: 0,
        in_flight: 256,
        json: true,
        receipts_folder: Some(folder.to_owned()),
        ..RushArgs::default()
    };
    let error = rush::without_end(mesh, &args).await;
    panic!("the load is not borne: {error:#}");
}
