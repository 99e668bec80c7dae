//! Logs: one JSON object a line, on standard output, with the program's name in `service`, and of the call that it belongs to what
//! the convention of AWS Powertools has: `cold_start`, `function_name`, `function_memory_size`, `function_request_id`,
//! `xray_trace_id`. Never a token, body, signature, nonce, presigned URL, e-mail or address: the types that carry those don't
//! print them.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

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
use super::key::shard;
use super::trace;

/// The span that the runtime opens for each call of the function, and its names for what the convention has others for.
const CALL: &str = "Lambda runtime invoke";
const REQUEST: &str = "requestId";
const TRACE: &str = "xrayTraceId";

/// Of a hundred things that went well, so many are logged (`LOG_SUCCESS_PERCENT`): those that come by the million. Each that goes
/// wrong is.
static SUCCESS_PERCENT: AtomicU8 = AtomicU8::new(100);

/// Whether it is logged that this went well: for the same thing always the same.
#[must_use]
pub fn tells_of(id: &str) -> bool {
    let place = shard(id, 100).parse::<u8>();
    place.is_ok_and(|place| place < SUCCESS_PERCENT.load(Ordering::Relaxed))
}

/// Starts logging for the program `service`, at `LOG_LEVEL` (default `info`): a level, or levels by target,
/// `info,ring_partner=debug`.
pub fn init(service: &'static str, env: &impl Environment) {
    let level = env.get("LOG_LEVEL").and_then(|level| level.parse::<Targets>().ok());
    if let Some(percent) = env.get("LOG_SUCCESS_PERCENT").and_then(|percent| percent.parse().ok()) {
        SUCCESS_PERCENT.store(percent, Ordering::Relaxed);
    }
    let filter = level.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Line { service })
        .with_ansi(false);
    // A second call (several handlers in one test process) keeps the first.
    let _already_set = tracing_subscriber::registry()
        .with(filter)
        .with(SpanFields::read(env))
        .with(lines)
        .try_init();
}

/// Keeps each span's fields as JSON, for the lines within it.
struct SpanFields {
    /// What Lambda tells of the function.
    function: Map<String, Value>,
    /// Whether a call was seen already.
    is_warm: AtomicBool,
}

impl SpanFields {
    fn read(env: &impl Environment) -> Self {
        let mut function = Map::new();
        if let Some(name) = env.get("AWS_LAMBDA_FUNCTION_NAME") {
            function.insert("function_name".into(), name.into());
        }
        if let Some(size) = env.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE") {
            function.insert("function_memory_size".into(), size.into());
        }
        Self {
            function,
            is_warm: AtomicBool::new(false),
        }
    }

    /// What the runtime tells of a call, in the words of the convention. Of the trace's context only the trace itself is one.
    fn of_a_call(&self, mut fields: Map<String, Value>) -> Map<String, Value> {
        if let Some(request) = fields.remove(REQUEST) {
            fields.insert("function_request_id".into(), request);
        }
        if let Some(Value::String(context)) = fields.remove(TRACE)
            && let Some(root) = trace::root(&context)
        {
            fields.insert("xray_trace_id".into(), root.into());
        }
        fields.extend(self.function.clone());
        let is_cold = !self.is_warm.swap(true, Ordering::Relaxed);
        fields.insert("cold_start".into(), is_cold.into());
        fields
    }
}

struct Kept(Map<String, Value>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanFields {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            let is_a_call = attributes.metadata().name() == CALL;
            let fields = if is_a_call { self.of_a_call(fields.0) } else { fields.0 };
            span.extensions_mut().insert(Kept(fields));
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
    use std::collections::HashMap;
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
        let environment = HashMap::from([
            ("AWS_LAMBDA_FUNCTION_NAME".to_owned(), "ring-webhook-intake".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE".to_owned(), "256".to_owned()),
        ]);
        let fields = SpanFields::read(&environment);
        let subscriber = tracing_subscriber::registry().with(fields).with(layer);
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

    #[test]
    fn what_goes_well_is_logged_of_as_many_as_is_said_and_of_the_same_each_time() {
        let told = |percent| {
            SUCCESS_PERCENT.store(percent, Ordering::Relaxed);
            let ids = (0..2_000).map(|id| format!("evt_{id}"));
            ids.filter(|id| tells_of(id)).collect::<Vec<_>>()
        };
        assert_eq!(told(0), Vec::<String>::new());
        let some = told(10);
        assert!((120..=280).contains(&some.len()), "{}", some.len());
        assert_eq!(told(10), some);
        assert_eq!(told(100).len(), 2_000);
    }

    #[test]
    fn a_line_of_a_call_has_the_fields_of_the_convention() {
        let lines = lines(|| {
            tracing::info!("it starts");
            for request in ["r-1", "r-2"] {
                let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
                let _call =
                    tracing::info_span!("Lambda runtime invoke", requestId = request, xrayTraceId = trace).entered();
                tracing::info!("an event is taken");
            }
            let _call = tracing::info_span!("Lambda runtime invoke", requestId = "r-3").entered();
            tracing::info!("an event is taken");
        });
        assert_eq!(lines[0].get("cold_start"), None, "no call has come yet");
        for (line, request, is_cold) in [
            (&lines[1], "r-1", true),
            (&lines[2], "r-2", false),
            (&lines[3], "r-3", false),
        ] {
            assert_eq!(line["function_request_id"], request);
            assert_eq!(line["cold_start"], is_cold);
            assert_eq!(line["function_name"], "ring-webhook-intake");
            assert_eq!(line["function_memory_size"], "256");
            assert_eq!(line["service"], "webhook-intake");
            assert_eq!(line["level"], "INFO");
            assert_eq!(line.get("requestId"), None);
            assert_eq!(line.get("xrayTraceId"), None);
        }
        assert_eq!(lines[1]["xray_trace_id"], "1-5759e988-bd862e3fe1be46a994272793");
        assert_eq!(lines[3].get("xray_trace_id"), None, "a call that is not traced");
    }
}
