//! What Linux says of this process, read when somebody asks, under the names that all programs
//! use for it.

use std::{
    fmt, fs,
    time::{Duration, SystemTime},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};
use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// This process.
#[derive(Debug)]
pub struct Process {
    started: SystemTime,
}

impl Process {
    /// It begins to tell as soon as it begins to run.
    pub fn started_now() -> Self {
        Self { started: SystemTime::now() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name, help, value: f64| {
            let value = ConstGauge::new(value);
            value.encode(encoder.encode_descriptor(name, help, None, value.metric_type())?)
        };
        let started = self.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        gauge(
            "process_start_time_seconds",
            "When it was started, in seconds since 1970.",
            started.as_secs_f64(),
        )?;
        // Linux has all of these. Where a sandbox hides one, what is left is still worth telling.
        if let Some(bytes) = resident_bytes() {
            gauge("process_resident_memory_bytes", "Memory in use.", bytes)?;
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            gauge("process_open_fds", "Open files, connections among them.", open.count() as f64)?;
        }
        if let Some(most) = getrlimit(Resource::Nofile).current {
            gauge("process_max_fds", "Files that it may have open.", most as f64)?;
        }
        let used = ConstCounter::new(processor_time().as_secs_f64());
        used.encode(encoder.encode_descriptor(
            "process_cpu_seconds",
            "Processor time used so far.",
            None,
            used.metric_type(),
        )?)
    }
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024.0)
}

fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}
