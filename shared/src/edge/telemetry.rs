//! Logs: one JSON object a line, on standard output, with the program's name in `service`. Never a token, body, signature,
//! nonce, presigned URL, e-mail or address: the types that carry those don't print them.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::clock;
use super::config::Environment;

/// Starts logging for the program `service`, at `LOG_LEVEL` (default `info`): a level, or levels by target,
/// `info,ring_partner=debug`.
pub fn init(service: &'static str, env: &impl Environment) {
    let level = env.get("LOG_LEVEL").and_then(|level| level.parse::<Targets>().ok());
    let filter = level.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Line { service })
        .with_ansi(false);
    // A second call (several handlers in one test process) keeps the first.
    let _already_set = tracing_subscriber::registry()
        .with(filter)
        .with(SpanFields)
        .with(lines)
        .try_init();
}

/// Keeps each span's fields as JSON, for the lines within it.
struct SpanFields;

struct Kept(Map<String, Value>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanFields {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(Kept(fields.0));
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(Kept(kept)) = span.extensions_mut().get_mut::<Kept>()
        {
            let mut fields = Fields::default();
            values.record(&mut fields);
            kept.append(&mut fields.0);
        }
    }
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        if write!(text, "{value:?}").is_ok() {
            self.0.insert(field.name().to_owned(), Value::String(text));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    /// An error is logged with all of its sources, the outermost first.
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            if write!(text, ": {cause}").is_err() {
                break;
            }
            source = cause.source();
        }
        self.0.insert(field.name().to_owned(), Value::String(text));
    }
}

struct Line {
    service: &'static str,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.0.remove("message").unwrap_or_default();

        let mut line = Map::new();
        line.insert("timestamp".into(), clock::now().to_string().into());
        line.insert("level".into(), event.metadata().level().as_str().into());
        line.insert("service".into(), self.service.into());
        line.insert("message".into(), message);
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(Kept(kept)) = span.extensions().get::<Kept>() {
                line.extend(kept.clone());
            }
        }
        line.extend(fields.0);
        writeln!(writer, "{}", Value::Object(line))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(log: impl FnOnce()) -> Vec<Value> {
        let captured = Captured::default();
        let writer = captured.clone();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(Line {
                service: "webhook-intake",
            })
            .with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(SpanFields).with(layer);
        tracing::subscriber::with_default(subscriber, log);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn a_line_names_its_service_and_carries_the_fields_of_its_spans() {
        let lines = lines(|| {
            let _span = tracing::info_span!("webhook", request.id = "r-1").entered();
            tracing::info!(
                event.kind = "motion_detected",
                attempt_count = 2_u64,
                "the event is recorded"
            );
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["service"], "webhook-intake");
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[0]["message"], "the event is recorded");
        assert_eq!(lines[0]["request.id"], "r-1");
        assert_eq!(lines[0]["event.kind"], "motion_detected");
        assert_eq!(lines[0]["attempt_count"], 2);
    }

    #[test]
    fn an_error_is_logged_with_its_sources() {
        #[derive(Debug, thiserror::Error)]
        #[error("the table is out of reach")]
        struct Outer(#[source] io::Error);

        let lines = lines(|| {
            let error = Outer(io::Error::other("connection refused"));
            tracing::error!(error = &error as &dyn std::error::Error, "the event is retried");
        });
        assert_eq!(lines[0]["error"], "the table is out of reach: connection refused");
    }
}
