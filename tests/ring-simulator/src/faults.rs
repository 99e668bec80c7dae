//! Faults on order: which request they strike, what they do to it, and the layer that does it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{MediaError, device_offline};
use crate::journal::Note;
use crate::listen::Line;
use crate::ring::{Ring, fresh_id, lock};

/// The largest body that is dripped or truncated; a larger one is cut short, loudly, by an error.
const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// How many faults can wait at once.
const FAULT_LIMIT: usize = 1_000;

/// The faults that wait for their request, in the order they were given.
#[derive(Default)]
pub(crate) struct Faults {
    waiting: Mutex<Vec<Fault>>,
    given: AtomicU64,
}

/// One fault: the requests it strikes, and what it does to them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    /// Given by the simulator.
    #[serde(default)]
    id: String,
    /// `api`, `oauth` or `media`; none: any.
    #[serde(default)]
    door: Option<String>,
    /// None: any method.
    #[serde(default)]
    method: Option<String>,
    /// The path as it is sent; `*` stands for anything, slashes too.
    path: String,
    /// How many matching requests pass before the first is struck.
    #[serde(default)]
    skip: u64,
    /// How many requests are struck; null: all that come.
    #[serde(default = "once")]
    count: Option<u64>,
    /// What happens to a request that is struck.
    #[serde(rename = "do")]
    act: Act,
    /// `answer`: the status, 500 if none is given.
    #[serde(default)]
    status: Option<u16>,
    /// `answer`: headers beside the content type.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// `answer`: a text is sent as it is, anything else as JSON.
    #[serde(default)]
    body: Option<Value>,
    /// `answer`: one of Ring's own errors by its code, or `DEVICE_OFFLINE`, in place of status and body.
    #[serde(default)]
    error: Option<String>,
    /// `delay`, `delay_answer`: how long. `drip`: the pause between two pieces.
    #[serde(default)]
    delay_ms: u64,
    /// `drip`: the size of a piece. `truncate`: what is sent before the line is cut.
    #[serde(default)]
    bytes: Option<usize>,
    /// How many requests were struck so far.
    #[serde(default)]
    struck: u64,
}

#[expect(clippy::unnecessary_wraps, reason = "serde wants the type of the field")]
fn once() -> Option<u64> {
    Some(1)
}

/// What a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Act {
    /// Answer with this and do no work.
    Answer,
    /// Wait, then go on as usual.
    Delay,
    /// Do the work, then wait, then answer.
    DelayAnswer,
    /// Close the connection before any work is done.
    Cut,
    /// Do the work, then close the connection without an answer.
    LoseAnswer,
    /// Do the work, then send the body a piece at a time.
    Drip,
    /// Do the work, then send the head and the start of the body, and close the connection.
    Truncate,
}

impl Fault {
    fn matches(&self, door: &str, method: &str, path: &str) -> bool {
        self.door.as_deref().is_none_or(|wanted| wanted == door)
            && self
                .method
                .as_deref()
                .is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && glob(&self.path, path)
    }

    /// Why this order can't be carried out, if it can't.
    fn objection(&self) -> Option<String> {
        let door = self.door.as_deref().unwrap_or("api");
        if !["api", "oauth", "media"].contains(&door) {
            return Some(format!("door {door:?} is none of api, oauth, media"));
        }
        if let Some(error) = &self.error
            && error != "DEVICE_OFFLINE"
            && MediaError::by_code(error).is_none()
        {
            return Some(format!(
                "error {error:?} is none of Ring's codes (SERVER_BUSY, RECORDING_NOT_READY, …) nor DEVICE_OFFLINE"
            ));
        }
        if self.status.is_some_and(|status| !(200..=599).contains(&status)) {
            return Some("status must be from 200 to 599".into());
        }
        let good = |(name, value): (&String, &String)| {
            HeaderName::from_bytes(name.as_bytes()).is_ok() && HeaderValue::from_str(value).is_ok()
        };
        if !self.headers.iter().all(good) {
            return Some("headers must be valid names and values".into());
        }
        if matches!(self.act, Act::Delay | Act::DelayAnswer) && self.delay_ms == 0 {
            return Some("a delay needs delay_ms".into());
        }
        if self.bytes == Some(0) && self.act == Act::Drip {
            return Some("bytes must be 1 or more".into());
        }
        None
    }

    fn answer(&self, ring: &Ring) -> Response {
        let mut answer = match self.error.as_deref() {
            Some("DEVICE_OFFLINE") => device_offline().into_response(),
            Some(code) => MediaError::by_code(code)
                .unwrap_or_else(MediaError::busy)
                .answer(&fresh_id(), ring.clock.now()),
            None => {
                let status = self.status.and_then(|status| StatusCode::from_u16(status).ok());
                let (kind, body) = match &self.body {
                    None => ("text/plain", String::new()),
                    Some(Value::String(text)) => ("text/plain; charset=utf-8", text.clone()),
                    Some(other) => ("application/json", other.to_string()),
                };
                (
                    status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                    [(header::CONTENT_TYPE, kind)],
                    body,
                )
                    .into_response()
            }
        };
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
                answer.headers_mut().insert(name, value);
            }
        }
        answer
    }
}

impl Faults {
    /// Takes a fault on; an order that can't be carried out comes back with the reason.
    pub(crate) fn add(&self, mut fault: Fault) -> Result<Fault, String> {
        if let Some(objection) = fault.objection() {
            return Err(objection);
        }
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= FAULT_LIMIT {
            return Err(format!(
                "{FAULT_LIMIT} faults wait already; DELETE /_sim/faults clears them"
            ));
        }
        fault.id = format!("fault-{}", self.given.fetch_add(1, Ordering::Relaxed) + 1);
        fault.struck = 0;
        waiting.push(fault.clone());
        Ok(fault)
    }

    pub(crate) fn list(&self) -> Vec<Fault> {
        lock(&self.waiting).clone()
    }

    /// Takes one back, or all; says how many.
    pub(crate) fn remove(&self, id: Option<&str>) -> usize {
        let mut waiting = lock(&self.waiting);
        let before = waiting.len();
        waiting.retain(|fault| id.is_some_and(|id| fault.id != id));
        before - waiting.len()
    }

    /// The fault that strikes this request, counted.
    fn strike(&self, door: &str, method: &str, path: &str) -> Option<Fault> {
        let mut waiting = lock(&self.waiting);
        let mut struck = None;
        for fault in waiting.iter_mut().filter(|fault| fault.matches(door, method, path)) {
            if fault.skip > 0 {
                fault.skip -= 1;
            } else {
                fault.struck += 1;
                struck = Some(fault.clone());
                break;
            }
        }
        waiting.retain(|fault| fault.count.is_none_or(|count| fault.struck < count));
        struck
    }
}

/// Strikes the requests that a fault waits for.
pub(crate) async fn strike(
    State((ring, door)): State<(Arc<Ring>, &'static str)>,
    request: Request,
    next: Next,
) -> Response {
    let Some(fault) = ring
        .faults
        .strike(door, request.method().as_str(), request.uri().path())
    else {
        return next.run(request).await;
    };
    if let Some(note) = request.extensions().get::<Note>() {
        note.fault(&fault.id);
    }
    let line = request
        .extensions()
        .get::<ConnectInfo<Line>>()
        .map(|line| line.0.clone())
        .unwrap_or_default();
    let pause = Duration::from_millis(fault.delay_ms);
    match fault.act {
        Act::Answer => fault.answer(&ring),
        Act::Delay => {
            tokio::time::sleep(pause).await;
            next.run(request).await
        }
        Act::DelayAnswer => {
            let answer = next.run(request).await;
            tokio::time::sleep(pause).await;
            answer
        }
        Act::Cut => {
            line.cut();
            StatusCode::NO_CONTENT.into_response() // never written
        }
        Act::LoseAnswer => {
            let answer = next.run(request).await;
            line.cut();
            answer
        }
        Act::Drip => in_pieces(next.run(request).await, fault.bytes.unwrap_or(64), pause).await,
        Act::Truncate => truncated(next.run(request).await, fault.bytes.unwrap_or(0)).await,
    }
}

async fn in_pieces(answer: Response, size: usize, pause: Duration) -> Response {
    let (head, body) = answer.into_parts();
    let whole = to_bytes(body, BODY_LIMIT).await.unwrap_or_default();
    let pieces = stream::unfold((whole, false), move |(mut rest, begun)| async move {
        if rest.is_empty() {
            return None;
        }
        if begun {
            tokio::time::sleep(pause).await;
        }
        let piece = rest.split_to(size.min(rest.len()));
        Some((Ok::<Bytes, std::convert::Infallible>(piece), (rest, true)))
    });
    Response::from_parts(head, Body::from_stream(pieces))
}

async fn truncated(answer: Response, kept: usize) -> Response {
    let (mut head, body) = answer.into_parts();
    let whole = to_bytes(body, BODY_LIMIT).await.unwrap_or_default();
    // The whole length is promised, so that no caller can take the part for the whole.
    head.headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
    let start = whole.slice(..kept.min(whole.len()));
    let pieces = stream::unfold(Some(start), |start| async move {
        match start {
            Some(start) if !start.is_empty() => Some((Ok(start), None)),
            _ => {
                // Let what is written reach the caller before the connection goes.
                tokio::time::sleep(Duration::from_millis(20)).await;
                Some((Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted)), None))
            }
        }
    });
    Response::from_parts(head, Body::from_stream(pieces))
}

/// Whether a pattern, in which `*` stands for anything, is all of a text.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(start) else {
        return false;
    };
    let starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    starts.into_iter().any(|at| glob(rest, &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_path() {
        #[track_caller]
        fn check(pattern: &str, path: &str, expected: bool) {
            assert_eq!(glob(pattern, path), expected, "{pattern} on {path}");
        }
        check("/v1/devices", "/v1/devices", true);
        check("/v1/devices", "/v1/devices/x", false);
        check("/v1/devices/*/status", "/v1/devices/a.b_c%25/status", true);
        check("/v1/devices/*/status", "/v1/devices/a/capabilities", false);
        check("*", "/anything/at/all", true);
        check("*/download", "/v1/devices/x/media/video/download", true);
        check("*/download", "/v1/devices/x/media/video/download/", false);
        check("/ü*", "/üß", true);
    }

    fn fault(order: Value) -> Fault {
        serde_json::from_value(order).expect("a good order")
    }

    #[test]
    fn a_fault_skips_then_strikes_as_often_as_it_says_and_is_gone() {
        let faults = Faults::default();
        let order = serde_json::json!({"path": "/oauth/token", "method": "post", "skip": 1, "count": 2, "do": "cut"});
        faults.add(fault(order)).expect("taken on");
        let strikes = |path: &str| faults.strike("oauth", "POST", path).is_some();
        assert!(!strikes("/other"), "another path does not count");
        assert!(!strikes("/oauth/token"), "skipped");
        assert!(strikes("/oauth/token"));
        assert!(strikes("/oauth/token"));
        assert!(!strikes("/oauth/token"), "used up");
        assert!(faults.list().is_empty());
    }

    #[test]
    fn an_order_that_cant_be_carried_out_says_why() {
        #[track_caller]
        fn check(order: Value, word: &str) {
            let objection = Faults::default().add(fault(order)).expect_err("refused");
            assert!(objection.contains(word), "{objection}");
        }
        check(serde_json::json!({"path": "*", "do": "delay"}), "delay_ms");
        check(
            serde_json::json!({"path": "*", "do": "answer", "error": "NO_SUCH"}),
            "SERVER_BUSY",
        );
        check(serde_json::json!({"path": "*", "do": "answer", "status": 99}), "status");
        check(serde_json::json!({"path": "*", "do": "cut", "door": "back"}), "door");
    }
}
