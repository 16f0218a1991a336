//! Spans on their way out: gathered beside the calls, sent by a thread of their own to a collector
//! that speaks OTLP, and dropped when it cannot take them. Nobody waits for it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use opentelemetry::global;
use opentelemetry_otlp::{ExporterBuildError, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter},
};

use crate::{batcher::ItemsMax, config};

/// A collector stands near, and takes a batch in milliseconds.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);
/// The last spans of a process: what drain and the wait before it leave of a pod's 30 s of grace.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Begins to export the spans of this process, if it is told where to. Needs a Tokio runtime of
/// several threads, which sends while the last spans are waited for.
///
/// # Errors
/// An endpoint that the configuration should have refused.
pub fn export(
    traces: &config::Traces,
    service: &'static str,
) -> Result<Exporting, ExporterBuildError> {
    let Some(endpoint) = &traces.otlp_endpoint else { return Ok(Exporting(None)) };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint.to_string())
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let provider = SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name(service).build())
        // The edge has decided before a span is made; whatever is begun is wanted.
        .with_sampler(Sampler::AlwaysOn)
        // A full batch may link each of its items.
        .with_max_links_per_span(ItemsMax::MAX.get() as u32)
        .with_batch_exporter(ToldOnce { inner: exporter, is_away: AtomicBool::new(false) })
        .build();
    global::set_tracer_provider(provider.clone());
    tracing::info!(%endpoint, "export traces");
    Ok(Exporting(Some(provider)))
}

/// A process that exports its spans, or does not; at its end the last ones are sent.
#[must_use = "whoever drops it exports no more"]
#[derive(Debug)]
pub struct Exporting(Option<SdkTracerProvider>);

impl Drop for Exporting {
    fn drop(&mut self) {
        if let Some(provider) = &self.0 {
            // What does not arrive by then is lost, and has been logged.
            let _ = provider.shutdown_with_timeout(FLUSH_TIMEOUT);
        }
    }
}

/// Logs once that the collector is away, and once that it is back.
#[derive(Debug)]
struct ToldOnce<E> {
    inner: E,
    is_away: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for ToldOnce<E> {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        let exported = self.inner.export(spans).await;
        match (&exported, self.is_away.swap(exported.is_err(), Ordering::Relaxed)) {
            (Err(error), false) => {
                tracing::warn!(%error, "cannot export traces, they are dropped until this heals");
            }
            (Ok(()), true) => tracing::info!("traces are exported again"),
            _ => {}
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, sync::Arc};

    use opentelemetry_sdk::error::OTelSdkError;
    use parking_lot::Mutex;
    use tracing::{
        Event, Metadata,
        span::{Attributes, Id, Record},
        subscriber::Subscriber,
    };

    use super::*;

    /// Whether the collector takes what it is sent next.
    #[derive(Debug)]
    struct Moody(Mutex<VecDeque<bool>>);

    impl SpanExporter for Moody {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            match self.0.lock().pop_front() {
                Some(true) => Ok(()),
                _ => Err(OTelSdkError::InternalFailure("away".to_owned())),
            }
        }
    }

    /// The levels of what is logged.
    #[derive(Clone, Default)]
    struct Levels(Arc<Mutex<Vec<tracing::Level>>>);

    impl Subscriber for Levels {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            self.0.lock().push(*event.metadata().level());
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[tokio::test]
    async fn a_collector_that_is_away_is_told_of_once_and_so_is_its_return() {
        let moods = [true, false, false, false, true, true, false];
        let inner = Moody(Mutex::new(moods.into()));
        let exporter = ToldOnce { inner, is_away: AtomicBool::new(false) };
        let levels = Levels::default();
        let _listening = tracing::subscriber::set_default(levels.clone());
        for is_there in moods {
            assert_eq!(exporter.export(Vec::new()).await.is_ok(), is_there);
        }
        let (away, back) = (tracing::Level::WARN, tracing::Level::INFO);
        assert_eq!(*levels.0.lock(), [away, back, away]);
    }
}
