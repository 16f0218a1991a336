//! Takes the baseline of a release: writes what its shop leaves when everything dies at once, which
//! the programs of later releases must take over.

use anyhow::{Context as _, Result};
use firstcome_e2e::baseline;
use firstcome_local::Checkout;

#[tokio::main]
async fn main() -> Result<()> {
    let dump = Box::pin(baseline::take()).await?;
    let path = Checkout::here().root().join(baseline::FILE);
    std::fs::write(&path, dump).with_context(|| format!("write {}", path.display()))?;
    println!("{} is what today's shop leaves; commit it", baseline::FILE);
    Ok(())
}
