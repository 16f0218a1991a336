//! Logs. Traces and metrics join here later; their place is `init`.

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Logs};

/// Starts logging to standard error. A filter that does not parse falls back to `info`, loudly.
pub fn init(logs: &Logs) {
    let (filter, fault) = match EnvFilter::try_new(&logs.log) {
        Ok(filter) => (filter, None),
        Err(fault) => (EnvFilter::new("info"), Some(fault)),
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match logs.log_format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    if started.is_err() {
        return; // a second start in one process, as tests do
    }
    if let Some(fault) = fault {
        tracing::warn!(filter = logs.log, %fault, "log filter does not parse, logging at info");
    }
}
