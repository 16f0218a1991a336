//! The same paths in a mesh that is set otherwise than as shipped: what that costs more is what
//! batching gives, and what watching takes.

use anyhow::{Context as _, Result};

use super::{collector::Collector, path::Path, paths::Bench, setting::Setting};

/// Fewer calls than as shipped: some of these are slow.
const SHARE_OF_CALLS: u32 = 5;

impl Bench<'_> {
    /// Measures with each of these settings, one at a time.
    pub async fn otherwise(&mut self) -> Result<()> {
        let collector = Collector::start().await?;
        for setting in Setting::ALL {
            let in_flight = self.in_flight().to_string();
            let told = setting.variables(&in_flight, collector.endpoint());
            let on: Vec<_> = told.iter().map(|(name, value)| (*name, Some(*value))).collect();
            let off: Vec<_> = told.iter().map(|(name, _)| (*name, None)).collect();
            for service in setting.services() {
                self.ground.restart_with(*service, &on).await?;
            }
            for path in setting.paths() {
                let measured = self.measure_otherwise(setting, *path).await;
                measured.with_context(|| format!("{path:?}, {setting}"))?;
            }
            for service in setting.services() {
                self.ground.restart_with(*service, &off).await?;
            }
        }
        collector.check()
    }

    async fn measure_otherwise(&mut self, setting: Setting, path: Path) -> Result<()> {
        let scene = self.scene().await?;
        let calls = self.calls(path) / SHARE_OF_CALLS;
        // A service that was started anew knows neither tokens nor products.
        self.place_all(&scene, Path::Refused, calls, &format!("warm {setting} {path:?}")).await?;
        let sample = self.place_all(&scene, path, calls, &format!("{setting} {path:?}")).await?;
        eprintln!("  {}", self.samples.add_otherwise(setting, path, &sample));
        Ok(())
    }
}
