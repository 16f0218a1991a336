//! Each hop with batching off: one item a call, and as many calls at once as there are callers.
//! What that costs more is what batching gives.

use anyhow::{Context as _, Result};

use super::{
    path::{Path, Unbatched},
    paths::Bench,
};

/// Fewer calls than with batching: these are slow.
const SHARE_OF_CALLS: u32 = 5;

impl Bench<'_> {
    /// Measures each hop with batching off there, and on everywhere else.
    pub async fn hops(&mut self) -> Result<()> {
        for hop in Unbatched::ALL {
            let [items, in_flight] = hop.variables();
            let calls = self.in_flight().to_string();
            let off = [(items, Some("1")), (in_flight, Some(calls.as_str()))];
            self.ground.restart_with(hop.service(), &off).await?;
            for path in hop.paths() {
                let measured = self.without_batches(hop, *path).await;
                measured.with_context(|| format!("{path:?} with batching off at {hop}"))?;
            }
            self.ground.restart_with(hop.service(), &off.map(|(name, _)| (name, None))).await?;
        }
        Ok(())
    }

    async fn without_batches(&mut self, hop: Unbatched, path: Path) -> Result<()> {
        let scene = self.scene().await?;
        let calls = self.calls(path) / SHARE_OF_CALLS;
        // A service that was started anew knows neither tokens nor products.
        self.place_all(&scene, Path::Refused, calls, &format!("warm {hop} {path:?}")).await?;
        let sample = self.place_all(&scene, path, calls, &format!("{hop} {path:?}")).await?;
        eprintln!("  {}", self.samples.add_unbatched(hop, path, &sample));
        Ok(())
    }
}
