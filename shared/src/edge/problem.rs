//! Our errors outside: problem documents (RFC 9457). One table of types; what is said here is for the caller, what is
//! logged is for us, and the two are different texts.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;

/// Every problem that an answer of ours can name. Their meaning never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemType {
    /// A field, parameter or body can't be used.
    InvalidRequest,
    /// No signing key verifies the signature.
    SignatureInvalid,
    /// The link's `time` is no time, or lies ahead.
    LinkTimeInvalid,
    /// The grant does not cover this.
    ScopeMissing,
    /// The device's privacy zones forbid this.
    PrivacyZones,
    /// There is no such thing, or not for this user.
    NotFound,
    /// No grant waits for this nonce (yet).
    LinkNotFound,
    /// The route exists, the method does not.
    MethodNotAllowed,
    /// Another user has linked this Ring account.
    LinkTaken,
    /// 409: Ring refuses the account's tokens; its user has to link again.
    RelinkRequired,
    /// The route answers in no media type that is accepted.
    NotAcceptable,
    /// The device is offline.
    DeviceOffline,
    /// The device has a live session already.
    SessionOpen,
    /// This deployment has nobody who records live video.
    RecordingOff,
    /// The link request is older than Ring allows.
    LinkExpired,
    /// The body is too large.
    PayloadTooLarge,
    /// The body's media type is not taken here.
    UnsupportedMediaType,
    /// The offer of a live session can't be used.
    UnusableOffer,
    /// The request that an `Idempotency-Key` names is another one.
    IdempotencyKeyReused,
    /// The request that an `Idempotency-Key` names is still under way.
    RequestUnderWay,
    /// Too many requests of this user.
    RateLimited,
    /// Our fault.
    Internal,
    /// Ring is out of reach.
    RingUnavailable,
    /// Something of ours is out of reach.
    Unavailable,
}

impl ProblemType {
    /// All of them, for tests and documents.
    pub const ALL: [Self; 24] = [
        Self::InvalidRequest,
        Self::SignatureInvalid,
        Self::LinkTimeInvalid,
        Self::ScopeMissing,
        Self::PrivacyZones,
        Self::NotFound,
        Self::LinkNotFound,
        Self::MethodNotAllowed,
        Self::LinkTaken,
        Self::RelinkRequired,
        Self::NotAcceptable,
        Self::DeviceOffline,
        Self::SessionOpen,
        Self::RecordingOff,
        Self::LinkExpired,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::UnusableOffer,
        Self::IdempotencyKeyReused,
        Self::RequestUnderWay,
        Self::RateLimited,
        Self::Internal,
        Self::RingUnavailable,
        Self::Unavailable,
    ];

    /// Name, status and title.
    fn row(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::InvalidRequest => ("invalid-request", StatusCode::BAD_REQUEST, "The request can't be used"),
            Self::SignatureInvalid => (
                "signature-invalid",
                StatusCode::UNAUTHORIZED,
                "No key verifies the signature",
            ),
            Self::LinkTimeInvalid => (
                "link-time-invalid",
                StatusCode::BAD_REQUEST,
                "The link's time is not valid",
            ),
            Self::ScopeMissing => ("scope-missing", StatusCode::FORBIDDEN, "Ring has not granted this"),
            Self::PrivacyZones => (
                "privacy-zones",
                StatusCode::FORBIDDEN,
                "The device's privacy zones forbid this",
            ),
            Self::NotFound => ("not-found", StatusCode::NOT_FOUND, "There is no such thing"),
            Self::LinkNotFound => (
                "link-not-found",
                StatusCode::NOT_FOUND,
                "No Ring account waits for this link yet",
            ),
            Self::MethodNotAllowed => (
                "method-not-allowed",
                StatusCode::METHOD_NOT_ALLOWED,
                "The method is not allowed here",
            ),
            Self::LinkTaken => (
                "link-taken",
                StatusCode::CONFLICT,
                "The Ring account is linked to another user",
            ),
            Self::RelinkRequired => (
                "relink-required",
                StatusCode::CONFLICT,
                "The Ring account has to be linked again",
            ),
            Self::NotAcceptable => (
                "not-acceptable",
                StatusCode::NOT_ACCEPTABLE,
                "There is no answer of an accepted media type",
            ),
            Self::DeviceOffline => ("device-offline", StatusCode::CONFLICT, "The device is offline"),
            Self::SessionOpen => (
                "session-open",
                StatusCode::CONFLICT,
                "The device has a live session already",
            ),
            Self::RecordingOff => ("recording-off", StatusCode::CONFLICT, "Live video is not recorded here"),
            Self::LinkExpired => ("link-expired", StatusCode::GONE, "The link request has expired"),
            Self::PayloadTooLarge => (
                "payload-too-large",
                StatusCode::PAYLOAD_TOO_LARGE,
                "The body is too large",
            ),
            Self::UnsupportedMediaType => (
                "unsupported-media-type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The media type is not supported",
            ),
            Self::UnusableOffer => (
                "unusable-offer",
                StatusCode::UNPROCESSABLE_ENTITY,
                "The offer can't be used",
            ),
            Self::IdempotencyKeyReused => (
                "idempotency-key-reused",
                StatusCode::UNPROCESSABLE_ENTITY,
                "The Idempotency-Key is another request's",
            ),
            Self::RequestUnderWay => (
                "request-under-way",
                StatusCode::CONFLICT,
                "The request that this repeats is under way",
            ),
            Self::RateLimited => ("rate-limited", StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
            Self::Internal => (
                "internal",
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something went wrong on our side",
            ),
            Self::RingUnavailable => (
                "ring-unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "Ring is out of reach",
            ),
            Self::Unavailable => (
                "unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "The service is out of reach",
            ),
        }
    }

    /// The name, stable for ever.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// What a problem of this type says.
    pub(super) fn document<'a>(self, detail: Option<&'a str>, errors: &'a [FieldError]) -> Document<'a> {
        let (name, status, title) = self.row();
        Document {
            r#type: format!("/problems/{name}"),
            title,
            status: status.as_u16(),
            detail,
            errors,
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.row().1
    }
}

/// A problem document (RFC 9457).
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct Document<'a> {
    /// `/problems/` and the problem's name, which is stable.
    r#type: String,
    /// What it means, for people.
    title: &'a str,
    /// The status of the answer.
    status: u16,
    /// What is known about this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// The fields that can't be used: there is at least one with `invalid-request`.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

/// One field that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldError {
    /// A JSON Pointer into the body (RFC 6901), or `?name` for a query parameter.
    pub pointer: String,
    /// What is wrong with it, and what would be right.
    pub detail: String,
}

/// An error answer.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: ProblemType,
    detail: Option<String>,
    errors: Vec<FieldError>,
    retry_after_seconds: Option<u64>,
    allow: Option<String>,
}

impl Problem {
    /// A problem with nothing more to say than its title.
    #[must_use]
    pub fn new(kind: ProblemType) -> Self {
        Self {
            kind,
            detail: None,
            errors: Vec::new(),
            retry_after_seconds: None,
            allow: None,
        }
    }

    /// What is known about this one. For the caller's eyes: no internals.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// When to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// One field that can't be used.
    #[must_use]
    pub fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::fields(vec![FieldError {
            pointer: pointer.into(),
            detail: detail.into(),
        }])
    }

    /// Fields that can't be used.
    #[must_use]
    pub fn fields(errors: Vec<FieldError>) -> Self {
        Self {
            errors,
            ..Self::new(ProblemType::InvalidRequest)
        }
    }

    /// A method that this route does not have; `allow` names those it has.
    #[must_use]
    pub fn method_not_allowed(allow: impl Into<String>) -> Self {
        Self {
            allow: Some(allow.into()),
            ..Self::new(ProblemType::MethodNotAllowed)
        }
    }

    /// Which one it is.
    #[must_use]
    pub fn kind(&self) -> ProblemType {
        self.kind
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = self.kind.document(self.detail.as_deref(), &self.errors);
        let status = self.kind.status();
        let mut response = (status, axum::Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow.and_then(|allow| HeaderValue::try_from(allow).ok()) {
            headers.insert(header::ALLOW, allow);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_type_has_a_name_of_its_own_and_an_error_status() {
        let names: BTreeSet<_> = ProblemType::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), ProblemType::ALL.len());
        for kind in ProblemType::ALL {
            assert!(
                kind.status().is_client_error() || kind.status().is_server_error(),
                "{}",
                kind.name()
            );
            assert!(
                kind.name().chars().all(|c| c.is_ascii_lowercase() || c == '-'),
                "{}",
                kind.name()
            );
        }
    }

    #[test]
    fn the_document_carries_type_status_and_the_header_to_wait() {
        let response = Problem::new(ProblemType::LinkNotFound).retry_after(2).into_response();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }

    #[test]
    fn a_wrong_method_is_told_the_right_ones() {
        let response = Problem::method_not_allowed("GET, POST").into_response();
        assert_eq!(response.headers()[header::ALLOW], "GET, POST");
    }
}
