//! `down`: stops the mesh of this checkout, wherever it was started, and removes its data.

use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use firstcome_local::{
    Checkout,
    process::{self, Signal, User},
};

use crate::{
    ghz,
    state::{Lock, State},
};

/// Longer than all its processes together take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(90);
/// How often it is looked at.
const STOP_POLL: Duration = Duration::from_millis(100);

/// What to do besides stopping.
#[derive(Clone, Debug, clap::Args)]
pub struct DownArgs {
    /// Remove all data, logs, mails and secrets; unpacked programs stay
    #[arg(long)]
    pub wipe: bool,
}

/// Stops and, if told so, wipes.
pub async fn down(checkout: &Checkout, args: &DownArgs) -> Result<()> {
    match Lock::holder(checkout)? {
        None => println!("nothing was running"),
        Some(pid) => {
            process::signal(pid, Signal::TERM);
            let started = Instant::now();
            while Lock::holder(checkout)?.is_some() {
                if started.elapsed() > STOP_TIMEOUT {
                    bail!("process {pid} does not stop");
                }
                tokio::time::sleep(STOP_POLL).await;
            }
            println!("stopped");
        }
    }
    if args.wipe {
        wipe(checkout)?;
        // What a bench or a roll left that was interrupted.
        for name in ["bench", "roll"] {
            let apart = checkout.apart(name);
            if apart.state().exists() {
                wipe(&apart)?;
                remove(&apart.state())?;
            }
        }
    }
    Ok(())
}

fn wipe(checkout: &Checkout) -> Result<()> {
    // Held, so that nothing starts on data that is going away.
    let _lock = Lock::take(checkout)?;
    State::remove(checkout);
    let receipts = checkout.state().join("receipts");
    let mut ours = vec![
        checkout.data(),
        checkout.logs(),
        checkout.mail(),
        checkout.secrets(),
        receipts,
        ghz::folder(checkout),
    ];
    if User::is_root() {
        ours.push(checkout.data_of_root());
    }
    for folder in &ours {
        if remove(folder)? {
            println!("removed {}", folder.display());
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<bool> {
    match fs::remove_dir_all(folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("remove {}", folder.display())),
    }
}
