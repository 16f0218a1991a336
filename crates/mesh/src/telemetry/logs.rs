//! Logs. A line that is written while a traced call is handled names its trace, so that one leads
//! to the other; no other line pays for that.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext,
        format::{FormatEvent, FormatFields, Writer},
    },
    registry::LookupSpan,
};

use super::traces;
use crate::config::{LogFormat, Logs};

/// Starts logging to standard error. A filter that does not parse falls back to `info`, loudly.
pub fn init(logs: &Logs) {
    let (filter, fault) = match EnvFilter::try_new(&logs.log) {
        Ok(filter) => (filter, None),
        Err(fault) => (EnvFilter::new("info"), Some(fault)),
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let shape = logs.log_format;
    let named = |inner| Named { inner, shape };
    let started = match shape {
        LogFormat::Text => lines.with_ansi(false).map_event_format(named).try_init(),
        LogFormat::Json => {
            let named = |inner| Named { inner, shape };
            lines.json().flatten_event(true).map_event_format(named).try_init()
        }
    };
    if started.is_err() {
        return; // a second start in one process, as tests do
    }
    if let Some(fault) = fault {
        tracing::warn!(filter = logs.log, %fault, "log filter does not parse, logging at info");
    }
}

/// Lines in another format's shape, with the trace that they belong to.
struct Named<F> {
    inner: F,
    shape: LogFormat,
}

impl<S, N, F> FormatEvent<S, N> for Named<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some((trace, span)) = traces::current_ids() else {
            return self.inner.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        match (self.shape, line.strip_prefix('{')) {
            (LogFormat::Json, Some(rest)) => {
                write!(writer, r#"{{"trace_id":"{trace}","span_id":"{span}",{rest}"#)
            }
            _ => writeln!(writer, "{} trace_id={trace} span_id={span}", line.trim_end()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use opentelemetry::{
        Context,
        trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState},
    };
    use parking_lot::Mutex;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Page {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn written(shape: LogFormat) -> [String; 2] {
        let page = Page::default();
        let lines = tracing_subscriber::fmt().with_writer(page.clone()).without_time();
        let named = |inner| Named { inner, shape };
        let logger: Box<dyn Subscriber + Send + Sync> = match shape {
            LogFormat::Text => Box::new(lines.with_ansi(false).map_event_format(named).finish()),
            LogFormat::Json => {
                let named = |inner| Named { inner, shape };
                Box::new(lines.json().flatten_event(true).map_event_format(named).finish())
            }
        };
        tracing::subscriber::with_default(logger, || {
            tracing::info!(units = 2, "alone");
            let of = SpanContext::new(
                TraceId::from(0xabc),
                SpanId::from(0xd),
                TraceFlags::SAMPLED,
                true,
                TraceState::NONE,
            );
            let _handling = Context::new().with_remote_span_context(of).attach();
            tracing::info!(units = 2, "traced");
        });
        let text = String::from_utf8(page.0.lock().clone()).unwrap();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.try_into().expect("two lines")
    }

    #[test]
    fn a_line_of_a_traced_call_names_its_trace_and_no_other_does() {
        let trace = "00000000000000000000000000000abc";
        let [alone, traced] = written(LogFormat::Text);
        assert!(alone.ends_with("alone units=2"), "{alone}");
        assert!(
            traced.ends_with(&format!("units=2 trace_id={trace} span_id=000000000000000d")),
            "{traced}"
        );
        let [alone, traced] = written(LogFormat::Json);
        assert!(alone.starts_with(r#"{"level":"INFO""#) && !alone.contains("trace_id"), "{alone}");
        let start = format!(r#"{{"trace_id":"{trace}","span_id":"000000000000000d","level":"#);
        assert!(traced.starts_with(&start) && traced.ends_with('}'), "{traced}");
    }
}
