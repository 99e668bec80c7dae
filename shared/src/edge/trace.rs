//! The trace that the work at hand belongs to (X-Ray). A program that takes messages works for several traces at once, so that the
//! context of the call is none of theirs: each message brings its own, and what is sent because of it takes that along.

use tokio::task_local;
use tracing::Instrument as _;

/// The system attribute of a message that carries the context (SQS: Message system attributes); it does not count for its size.
pub const ATTRIBUTE: &str = "AWSTraceHeader";

task_local! {
    static CONTEXT: String;
}

/// Does this work as a part of the trace with this context: what it sends carries that, and the lines of its log name the trace.
pub async fn within<T>(context: Option<&str>, work: impl Future<Output = T>) -> T {
    let Some(context) = context else {
        return work.await;
    };
    let span = tracing::info_span!("message", xray_trace_id = root(context));
    CONTEXT.scope(context.to_owned(), work.instrument(span)).await
}

/// The context of the trace that this belongs to.
#[must_use]
pub fn context() -> Option<String> {
    CONTEXT.try_with(Clone::clone).ok()
}

/// The id of the trace itself.
#[must_use]
pub fn root(context: &str) -> Option<&str> {
    context.split(';').find_map(|part| part.trim().strip_prefix("Root="))
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[test]
    fn a_context_names_its_trace() {
        assert_eq!(
            root("Root=1-5759e988-bd;Parent=53995c;Sampled=1"),
            Some("1-5759e988-bd")
        );
        assert_eq!(root("Self=1-a; Root=1-b"), Some("1-b"));
        assert_eq!(root("Sampled=1"), None);
    }

    #[tokio::test]
    async fn what_is_done_side_by_side_keeps_to_its_own_trace() {
        let works = (0..4).map(async |number| {
            let brought = format!("Root=1-{number}");
            let found = within(Some(&brought), async {
                tokio::task::yield_now().await;
                context()
            });
            assert_eq!(found.await, Some(brought));
        });
        join_all(works).await;
        assert_eq!(within(None, async { context() }).await, None);
    }
}
