//! What our processes keep in memory, from the operating system's own accounting.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context as _, Result};
use firstcome_local::Service;

use super::ground::Ground;

/// How often memory is looked at; what comes and goes in between costs nobody anything.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// MiB by service.
pub type Resident = BTreeMap<Service, f64>;

/// What each service has in memory now, in MiB.
pub async fn resident(ground: &Ground) -> Result<Resident> {
    let pids = ground.mesh().pids().await;
    pids.into_iter().map(|(service, pid)| Ok((service, resident_mib(pid)?))).collect()
}

/// The most that each service has in memory while something is done.
pub async fn most_during<T>(
    ground: &Ground,
    work: impl Future<Output = T>,
) -> Result<(T, Resident)> {
    let mut most = resident(ground).await?;
    let mut work = std::pin::pin!(work);
    loop {
        let done = tokio::select! {
            done = &mut work => Some(done),
            () = tokio::time::sleep(LOOK_INTERVAL) => None,
        };
        for (service, mib) in resident(ground).await? {
            let known = most.entry(service).or_default();
            *known = known.max(mib);
        }
        if let Some(done) = done {
            return Ok((done, most));
        }
    }
}

fn resident_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} is gone"))?;
    resident_in(&status).with_context(|| format!("read the memory of process {pid}"))
}

/// The line `VmRSS:    1024 kB`.
fn resident_in(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_mib() {
        assert_eq!(resident_in("Name:\tedge\nVmRSS:\t  3072 kB\nThreads:\t4\n"), Some(3.0));
        assert_eq!(resident_in("Name:\tgone\n"), None);
        assert!(resident_mib(std::process::id()).unwrap() > 1.0);
    }
}
