//! What can go wrong with Ring, and what to do about it.
//!
//! Ring: Error Handling; Image Snapshots, Error Handling. The two describe different bodies, and in both the status is
//! a string: every field is optional here, and a body that is no JSON is kept as a short excerpt. What an error says is
//! for logs: no token, and of a URL the host at most.

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::fmt::rfc2822::DateTimeParser;
use serde_json::Value;

/// The wait when Ring names none. Ring: Rate Limiting, "exponential backoff starting at 1 second".
pub const DEFAULT_WAIT: Duration = Duration::from_secs(1);

/// How much of any text of Ring's an error keeps, in characters.
const EXCERPT: usize = 200;

/// The classes of Ring's endpoints. Each has its own circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// The token endpoint.
    OAuth,
    /// `users/me`.
    Users,
    /// `accounts/me/app-integrations`.
    Integrations,
    /// `devices` and their parts.
    Devices,
    /// Clips and snapshots.
    Media,
    /// Live sessions.
    Live,
}

impl Endpoint {
    /// All of them, in the order of their declaration.
    pub(crate) const ALL: [Self; 6] = [
        Self::OAuth,
        Self::Users,
        Self::Integrations,
        Self::Devices,
        Self::Media,
        Self::Live,
    ];
}

/// What the one who asked can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Ask again, not before this has passed. What must not be done twice is to be looked at first.
    RetryAfter(Duration),
    /// Refresh the access token, and ask once more.
    Refresh,
    /// The device is offline: wait for it to come back, which a webhook tells.
    Offline,
    /// The token does not allow this: scope or consent. No refresh helps.
    OutOfScope,
    /// There is no such thing within the token's reach (any more).
    Gone,
    /// No footage at that time. Near to now there may be some later.
    NoMedia,
    /// The recording is still being made: ask again soon.
    NotReady,
    /// The same request will fail again.
    GiveUp,
}

/// Why there is no answer to work with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Ring answered with an error.
    #[error(transparent)]
    Api(Box<ApiError>),
    /// The request surely did not reach Ring.
    #[error("the request to Ring was not sent")]
    NotSent(#[source] NotSent),
    /// It was sent, and no whole answer came: Ring may have done what was asked.
    #[error("no whole answer came from Ring")]
    Unclear(#[source] Unclear),
    /// A redirect led to where this client does not go.
    #[error("a redirect of Ring's was not followed: {0}")]
    Redirect(RedirectRefused),
    /// A whole answer came, and it is not what was asked for.
    #[error("Ring's answer can't be used: {0}")]
    Unusable(&'static str),
    /// The answer is larger than this client takes.
    #[error("Ring's answer is larger than {limit} bytes")]
    TooLarge {
        /// The bound, in bytes.
        limit: u64,
    },
}

/// Why a request surely did not reach Ring.
#[derive(Debug, thiserror::Error)]
pub enum NotSent {
    /// There was no connection: the name, the route, the handshake, or the time for them.
    #[error("no connection could be made")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// This class of endpoint has failed too often of late.
    #[error("the circuit is open for another {0:?}")]
    CircuitOpen(Duration),
    /// The rate budget is spent, or Ring has asked to be left alone.
    #[error("the rate budget is spent for another {0:?}")]
    BudgetSpent(Duration),
    /// The request can't be right.
    #[error("the request is not valid: {0}")]
    Invalid(&'static str),
}

/// How an answer went missing.
#[derive(Debug, thiserror::Error)]
pub enum Unclear {
    /// It did not come, or not on, in time.
    #[error("the time for it ran out")]
    TimedOut,
    /// A body began to come, and then nothing of it came for too long.
    #[error("its source stalled")]
    Stalled,
    /// A body came all along, and not fast enough to be whole in the time for it. Less of it may be.
    #[error("its source is too slow")]
    TooSlow,
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a redirect was not followed. Of the target only the host is told, as its query may be a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedirectRefused {
    /// There were more than three.
    #[error("there were too many")]
    TooMany,
    /// It has no `Location`, or one that is no URL.
    #[error("it names no usable place")]
    NoLocation,
    /// The target is not https on its own port, or carries a user name.
    #[error("{host} is not to be reached by plain https")]
    NotHttps {
        /// The target's host.
        host: String,
    },
    /// The target is not among the hosts that media may come from.
    #[error("{host} is not a host that media may come from")]
    NotAllowed {
        /// The target's host.
        host: String,
    },
    /// The target is, or resolves to, an address that is not public.
    #[error("{host} has no public address")]
    NotPublic {
        /// The target's host.
        host: String,
    },
}

impl Error {
    /// What can be done about it.
    pub fn decision(&self) -> Decision {
        match self {
            Self::Api(answer) => answer.decision(),
            Self::NotSent(NotSent::CircuitOpen(wait) | NotSent::BudgetSpent(wait)) => Decision::RetryAfter(*wait),
            Self::NotSent(NotSent::Invalid(_)) => Decision::GiveUp,
            // What can't be read may be a proxy's page, which passes.
            Self::NotSent(NotSent::Unreachable(_)) | Self::Unclear(_) | Self::Unusable(_) => {
                Decision::RetryAfter(DEFAULT_WAIT)
            }
            Self::Redirect(_) | Self::TooLarge { .. } => Decision::GiveUp,
        }
    }

    /// How long Ring asks to be left alone, by all requests alike: a 429, another answer that says `Retry-After`, or a circuit
    /// that is open. That one request did not get through asks for nothing.
    pub fn pause(&self) -> Option<Duration> {
        match self {
            Self::Api(answer) if answer.status == 429 => Some(answer.retry_after.unwrap_or(DEFAULT_WAIT)),
            Self::Api(answer) => answer.retry_after,
            Self::NotSent(NotSent::CircuitOpen(wait)) => Some(*wait),
            _ => None,
        }
    }

    /// Ring's answer, where there was one: its status and ids, for logs.
    pub fn answer(&self) -> Option<&ApiError> {
        match self {
            Self::Api(answer) => Some(answer),
            _ => None,
        }
    }
}

/// An answer of Ring's with an error status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// What was asked.
    pub endpoint: Endpoint,
    /// Whether the answer came from Ring's API itself, or from where a redirect led.
    pub redirected: bool,
    /// The HTTP status. What the body says about it is not read.
    pub status: u16,
    /// `errors[0].id`: Ring's id of the request.
    pub id: Option<String>,
    /// `X-Request-ID`.
    pub request_id: Option<String>,
    /// `errors[0].code`, or the `error` of OAuth.
    pub code: Option<String>,
    /// `errors[0].title`.
    pub title: Option<String>,
    /// `errors[0].detail`, or the `error_description` of OAuth.
    pub detail: Option<String>,
    /// `errors[0].source.pointer`: which field of the request it is about.
    pub pointer: Option<String>,
    /// The beginning of a body that could not be read.
    pub excerpt: Option<String>,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl ApiError {
    /// Reads an answer with an error status. `secrets` are cut out of whatever it says, as a server may quote what it
    /// was sent; of a body from elsewhere than Ring's API nothing is kept that is not in Ring's form, as storage
    /// services quote signatures.
    pub(crate) fn read(
        endpoint: Endpoint,
        redirected: bool,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        secrets: &[&str],
    ) -> Self {
        let said = |text: &str| Some(excerpt(text, secrets)).filter(|text| !text.is_empty());
        let json = serde_json::from_slice::<Value>(body).ok();
        let error = json.as_ref().and_then(|json| json.pointer("/errors/0"));
        let field = |path: &str| {
            error
                .and_then(|error| error.pointer(path))
                .and_then(Value::as_str)
                .and_then(said)
        };
        let oauth = |name: &str| {
            json.as_ref()
                .and_then(|json| json.get(name))
                .and_then(Value::as_str)
                .and_then(said)
        };
        let excerpt = (json.is_none() && !redirected)
            .then(|| said(&String::from_utf8_lossy(body)))
            .flatten();
        Self {
            endpoint,
            redirected,
            status: status.as_u16(),
            id: field("/id"),
            request_id: text_header(headers, "x-request-id").and_then(said),
            code: field("/code").or_else(|| oauth("error")),
            title: field("/title"),
            detail: field("/detail").or_else(|| oauth("error_description")),
            pointer: field("/source/pointer"),
            excerpt,
            retry_after: retry_after(headers),
        }
    }

    /// What can be done about it, by what was asked.
    pub fn decision(&self) -> Decision {
        let wait = Decision::RetryAfter(self.retry_after.unwrap_or(DEFAULT_WAIT));
        match (self.status, self.endpoint) {
            // A presigned URL that has run out says 403 or so, and says nothing about our token.
            _ if self.is_stale_link() => wait,
            (401, _) | (403, Endpoint::Users) => Decision::Refresh,
            (403, _) => Decision::OutOfScope,
            (404, _) => Decision::Gone,
            (416, _) => Decision::NoMedia,
            (425, _) => Decision::NotReady,
            (503, _) if self.is_offline() => Decision::Offline,
            (408 | 429 | 500.., _) => wait,
            _ => Decision::GiveUp,
        }
    }

    /// 503 means that the device is offline, or that Ring is busy: the words tell which. Ring: Live Video, "Device
    /// Offline"; Error Handling, 503; Image Snapshots, SERVER_BUSY.
    pub fn is_offline(&self) -> bool {
        let said = |text: &Option<String>, words: &str| {
            text.as_ref()
                .is_some_and(|text| text.to_ascii_lowercase().contains(words))
        };
        self.status == 503
            && (said(&self.code, "offline")
                || said(&self.detail, "offline")
                || said(&self.title, "offline")
                || said(&self.title, "device unavailable"))
    }

    /// Where a redirect led, a refusal that is not in Ring's words means that the URL has run out. Asking Ring once
    /// more gives another one.
    pub(crate) fn is_stale_link(&self) -> bool {
        self.redirected
            && matches!(self.status, 400 | 401 | 403 | 404 | 410)
            && !matches!(
                self.code.as_deref(),
                Some("INVALID_PAYLOAD" | "REQUEST_FORBIDDEN" | "DEVICE_NOT_FOUND")
            )
    }
}

impl std::error::Error for ApiError {}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ring answered {}", self.status)?;
        for (name, text) in [
            ("code", &self.code),
            ("title", &self.title),
            ("detail", &self.detail),
            ("pointer", &self.pointer),
            ("body", &self.excerpt),
            ("id", &self.id),
            ("request id", &self.request_id),
        ] {
            if let Some(text) = text {
                write!(f, ", {name} {text:?}")?;
            }
        }
        Ok(())
    }
}

/// `Retry-After`: seconds, or a date. A date counts from the answer's own `Date`, so that no clock of ours has a say.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = text_header(headers, "retry-after")?.trim();
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Whatever does not fit is for ever.
        return (!value.is_empty()).then(|| Duration::from_secs(value.parse().unwrap_or(u32::MAX.into())));
    }
    let instant = |text: &str| DateTimeParser::new().parse_timestamp(text).ok();
    let until = instant(value)?;
    let now = instant(text_header(headers, header::DATE.as_str())?)?;
    Some(Duration::try_from(until.duration_since(now)).unwrap_or_default())
}

pub(crate) fn text_header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// One line, of a bounded length, without any of the secrets.
fn excerpt(text: &str, secrets: &[&str]) -> String {
    let text = secrets
        .iter()
        .filter(|secret| !secret.is_empty())
        .fold(text.to_owned(), |text, secret| text.replace(secret, "[hidden]"));
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(EXCERPT)
        .collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(endpoint: Endpoint, status: u16, body: &str) -> ApiError {
        let status = StatusCode::from_u16(status).unwrap();
        ApiError::read(endpoint, false, status, &HeaderMap::new(), body.as_bytes(), &["t0ken"])
    }

    #[test]
    fn trap_75_both_documented_forms_are_read() {
        let answer = read(
            Endpoint::Devices,
            404,
            r#"{"errors":[{"status":"404","title":"Not Found","detail":"The requested resource could not be found"}]}"#,
        );
        assert_eq!(answer.title.as_deref(), Some("Not Found"));
        assert_eq!(
            answer.detail.as_deref(),
            Some("The requested resource could not be found")
        );
        assert_eq!(
            (answer.id, answer.code, answer.pointer, answer.excerpt),
            (None, None, None, None)
        );

        let answer = read(
            Endpoint::Media,
            400,
            r#"{"errors":[{"id":"r-1","status":"400","code":"INVALID_PAYLOAD","detail":"duration must be positive",
                "source":{"pointer":"duration"},"meta":{"timestamp":"2025-01-15T10:30:00Z"}}]}"#,
        );
        assert_eq!(answer.id.as_deref(), Some("r-1"));
        assert_eq!(answer.code.as_deref(), Some("INVALID_PAYLOAD"));
        assert_eq!(answer.pointer.as_deref(), Some("duration"));
        assert_eq!(
            answer.to_string(),
            r#"Ring answered 400, code "INVALID_PAYLOAD", detail "duration must be positive", pointer "duration", id "r-1""#
        );
    }

    #[test]
    fn trap_75_a_body_of_any_other_form_is_tolerated() {
        for body in [
            "",
            "null",
            "[]",
            "7",
            r#"{"errors":[]}"#,
            r#"{"errors":{"0":1}}"#,
            r#"{"errors":[{"status":404}]}"#,
        ] {
            let answer = read(Endpoint::Devices, 404, body);
            assert_eq!((answer.status, answer.decision()), (404, Decision::Gone), "{body}");
            assert_eq!(
                (answer.title, answer.code, answer.excerpt),
                (None, None, None),
                "{body}"
            );
        }
        let answer = read(
            Endpoint::Devices,
            502,
            &format!("<html>\n\u{1b}[31m{}", "é".repeat(9000)),
        );
        let excerpt = answer.excerpt.unwrap();
        assert!(
            excerpt.starts_with("<html>  [31mé") && excerpt.chars().count() == EXCERPT,
            "{excerpt}"
        );
    }

    #[test]
    fn no_error_quotes_a_token_or_what_storage_services_say() {
        let answer = read(
            Endpoint::Devices,
            401,
            r#"{"errors":[{"title":"Bad t0ken","detail":"t0ken t0ken"}]}"#,
        );
        assert_eq!(answer.title.as_deref(), Some("Bad [hidden]"));
        assert_eq!(
            read(Endpoint::Devices, 500, "you sent t0ken").excerpt.as_deref(),
            Some("you sent [hidden]")
        );
        let body = b"<Error><SignatureProvided>abc</SignatureProvided></Error>";
        let stored = ApiError::read(
            Endpoint::Media,
            true,
            StatusCode::FORBIDDEN,
            &HeaderMap::new(),
            body,
            &[],
        );
        assert_eq!(stored.excerpt, None);
    }

    #[test]
    fn each_status_has_its_decision() {
        use Decision::*;
        let wait = RetryAfter(DEFAULT_WAIT);
        for (status, decision) in [
            (302, GiveUp),
            (400, GiveUp),
            (401, Refresh),
            (403, OutOfScope),
            (404, Gone),
            (408, wait),
            (409, GiveUp),
            (416, NoMedia),
            (422, GiveUp),
            (425, NotReady),
            (429, wait),
            (500, wait),
            (502, wait),
            (503, wait),
            (504, wait),
        ] {
            for endpoint in [
                Endpoint::Devices,
                Endpoint::Media,
                Endpoint::Integrations,
                Endpoint::Live,
            ] {
                assert_eq!(read(endpoint, status, "{}").decision(), decision, "{status}");
            }
        }
    }

    #[test]
    fn trap_13_only_users_me_means_the_token_by_403() {
        assert_eq!(read(Endpoint::Users, 403, "").decision(), Decision::Refresh);
        assert_eq!(read(Endpoint::Users, 401, "").decision(), Decision::Refresh);
        let out_of_scope = r#"{"errors":[{"status":"403","title":"Out of Scope Access"}]}"#;
        assert_eq!(
            read(Endpoint::Devices, 403, out_of_scope).decision(),
            Decision::OutOfScope
        );
    }

    #[test]
    fn trap_76_an_offline_device_is_told_from_a_busy_ring() {
        for (body, decision) in [
            (
                r#"{"status":"503","title":"Device Unavailable","detail":"Device is currently offline"}"#,
                Decision::Offline,
            ),
            (
                r#"{"status":"503","title":"Service Unavailable","detail":"Device is currently offline"}"#,
                Decision::Offline,
            ),
            (r#"{"code":"DEVICE_OFFLINE"}"#, Decision::Offline),
            (
                r#"{"status":"503","code":"SERVER_BUSY","detail":"The server is too busy to handle the request; please try again"}"#,
                Decision::RetryAfter(DEFAULT_WAIT),
            ),
            (
                r#"{"status":"503","title":"Service Unavailable"}"#,
                Decision::RetryAfter(DEFAULT_WAIT),
            ),
        ] {
            let answer = read(Endpoint::Media, 503, &format!(r#"{{"errors":[{body}]}}"#));
            assert_eq!(answer.decision(), decision, "{body}");
        }
    }

    #[test]
    fn traps_106_and_108_the_codes_of_media_have_their_decisions() {
        for (status, code, decision) in [
            (416, "TIMESTAMP_NOT_FOUND", Decision::NoMedia),
            (416, "MEDIA_NOT_FOUND", Decision::NoMedia),
            (425, "RECORDING_NOT_READY", Decision::NotReady),
            (422, "CORRUPT_RECORDING", Decision::GiveUp),
            (404, "DEVICE_NOT_FOUND", Decision::Gone),
            (403, "REQUEST_FORBIDDEN", Decision::OutOfScope),
            (401, "UNAUTHORIZED", Decision::Refresh),
        ] {
            let body = format!(r#"{{"errors":[{{"status":"{status}","code":"{code}"}}]}}"#);
            assert_eq!(read(Endpoint::Media, status, &body).decision(), decision, "{code}");
        }
    }

    #[test]
    fn trap_102_a_presigned_url_that_has_run_out_says_nothing_of_the_token() {
        let stored = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            ApiError::read(Endpoint::Media, true, status, &HeaderMap::new(), body.as_bytes(), &[])
        };
        for status in [400, 401, 403, 404, 410] {
            let answer = stored(status, "<Error><Code>AccessDenied</Code></Error>");
            assert!(answer.is_stale_link());
            assert_eq!(answer.decision(), Decision::RetryAfter(DEFAULT_WAIT), "{status}");
        }
        let forbidden = stored(403, r#"{"errors":[{"code":"REQUEST_FORBIDDEN"}]}"#);
        assert!(!forbidden.is_stale_link());
        assert_eq!(forbidden.decision(), Decision::OutOfScope);
        assert_eq!(
            stored(416, r#"{"errors":[{"code":"MEDIA_NOT_FOUND"}]}"#).decision(),
            Decision::NoMedia
        );
    }

    #[test]
    fn trap_72_retry_after_is_seconds_or_a_date() {
        let check = |value: &'static str, date: Option<&'static str>, expected: Option<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", HeaderValue::from_static(value));
            if let Some(date) = date {
                headers.insert(header::DATE, HeaderValue::from_static(date));
            }
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{value}");
        };
        let now = Some("Fri, 13 Feb 2026 13:39:57 GMT");
        check("60", None, Some(60));
        check(" 0 ", None, Some(0));
        check("99999999999999999999", None, Some(u32::MAX.into()));
        check("Fri, 13 Feb 2026 13:40:57 GMT", now, Some(60));
        check("Fri, 13 Feb 2026 13:39:00 GMT", now, Some(0));
        check("Fri, 13 Feb 2026 13:40:57 GMT", None, None);
        check("soon", now, None);
        check("", now, None);
        check("-5", now, None);
        check("1.5", now, None);
    }
}
