//! Error bodies: JSON:API's for most endpoints (Ring: "Error Handling"), the media endpoints' own (Ring: "Image
//! Snapshots, Error Handling"), and problem documents for the control API, which say what to do.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};

/// An error as most of Ring's endpoints answer it: `status` (a string), `title`, and at times `detail`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    title: &'static str,
    detail: Option<String>,
}

impl ApiError {
    pub(crate) const fn new(status: StatusCode, title: &'static str) -> Self {
        Self {
            status,
            title,
            detail: None,
        }
    }

    pub(crate) fn because(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Bad Request").because(detail)
    }

    /// A bad, expired, revoked or missing token; a refresh token in its place too.
    pub(crate) const fn invalid_client() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Invalid Client")
    }

    pub(crate) const fn out_of_scope() -> Self {
        Self::new(StatusCode::FORBIDDEN, "Out of Scope Access")
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found").because("The requested resource could not be found")
    }

    pub(crate) fn rate_limited(retry_after: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "Rate Limit Exceeded")
            .because(format!("Too many requests. Please retry after {retry_after} seconds."))
    }

    pub(crate) const fn title(&self) -> &'static str {
        self.title
    }

    pub(crate) fn body(&self) -> Value {
        let mut error = json!({ "status": self.status.as_u16().to_string(), "title": self.title });
        if let Some(detail) = &self.detail {
            error["detail"] = json!(detail);
        }
        json!({ "errors": [error] })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.body())).into_response()
    }
}

/// An error as the media endpoints answer it: with a `code`, and a pointer to the parameter that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MediaError {
    status: StatusCode,
    code: &'static str,
    detail: String,
    pointer: Option<&'static str>,
}

impl MediaError {
    fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self {
            status,
            code,
            detail: detail.into(),
            pointer: None,
        }
    }

    pub(crate) fn invalid(pointer: &'static str, detail: impl Into<String>) -> Self {
        Self {
            pointer: Some(pointer),
            ..Self::new(400, "INVALID_PAYLOAD", detail)
        }
    }

    pub(crate) fn unreadable(detail: impl Into<String>) -> Self {
        Self::new(400, "INVALID_PAYLOAD", detail)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "UNAUTHORIZED", "Authentication credentials are missing or invalid")
    }

    pub(crate) fn forbidden() -> Self {
        Self::new(403, "REQUEST_FORBIDDEN", "Client is not authorized for the device")
    }

    pub(crate) fn expired() -> Self {
        Self::new(403, "REQUEST_FORBIDDEN", "Request has expired")
    }

    pub(crate) fn unknown_device(id: &str) -> Self {
        Self::new(404, "DEVICE_NOT_FOUND", format!("Unknown device provided: {id}"))
    }

    /// The code of a missing picture.
    pub(crate) fn no_media() -> Self {
        Self::new(416, "MEDIA_NOT_FOUND", "No media found in time range")
    }

    /// The code of a missing clip: the documentation names it apart from the table of codes (Ring: "Media Clips").
    pub(crate) fn no_timestamp() -> Self {
        Self::new(416, "TIMESTAMP_NOT_FOUND", "No media found in time range")
    }

    pub(crate) fn corrupt() -> Self {
        Self::new(
            422,
            "CORRUPT_RECORDING",
            "Provided timestamp is within a corrupt recording",
        )
    }

    pub(crate) fn not_ready() -> Self {
        Self::new(
            425,
            "RECORDING_NOT_READY",
            "The request was made before any recording was available",
        )
    }

    pub(crate) fn busy() -> Self {
        Self::new(
            503,
            "SERVER_BUSY",
            "The server is too busy to handle the request; please try again",
        )
    }

    /// One of the documented codes by its name, for faults on order.
    pub(crate) fn by_code(code: &str) -> Option<Self> {
        [
            Self::unreadable("duration must be positive"),
            Self::unauthorized(),
            Self::forbidden(),
            Self::unknown_device("on order"),
            Self::no_media(),
            Self::no_timestamp(),
            Self::corrupt(),
            Self::not_ready(),
            Self::new(500, "INTERNAL_ERROR", "Error detail"),
            Self::busy(),
        ]
        .into_iter()
        .find(|error| error.code == code)
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn answer(&self, request_id: &str, now: Timestamp) -> Response {
        let mut error = json!({
            "id": request_id,
            "status": self.status.as_u16().to_string(),
            "code": self.code,
            "detail": self.detail,
            "meta": { "timestamp": now.to_string() },
        });
        if let Some(pointer) = self.pointer {
            error["source"] = json!({ "pointer": pointer });
        }
        let mut answer = (self.status, Json(json!({ "errors": [error] }))).into_response();
        if let Ok(id) = HeaderValue::from_str(request_id) {
            answer.headers_mut().insert("x-request-id", id);
        }
        answer
    }
}

/// The body of an offline device (Ring: "Live Video, Error Handling").
pub(crate) fn device_offline() -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "Device Unavailable").because("Device is currently offline")
}

/// What the control API answers when an order can't be carried out: what is wrong, and what to do.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    name: &'static str,
    detail: String,
}

impl Problem {
    pub(crate) fn bad_order(detail: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            name: "bad-order",
            detail: detail.into(),
        }
    }

    pub(crate) fn unknown(detail: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            name: "unknown",
            detail: detail.into(),
        }
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self {
            status: StatusCode::CONFLICT,
            name: "conflict",
            detail: detail.into(),
        }
    }

    pub(crate) fn gone(detail: impl Into<String>) -> Self {
        Self {
            status: StatusCode::GONE,
            name: "gone",
            detail: detail.into(),
        }
    }

    pub(crate) fn wrong_method() -> Self {
        let detail = "this path takes other methods; GET /_sim/health lists every endpoint";
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            name: "wrong-method",
            detail: detail.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let body = json!({
            "type": format!("/problems/{}", self.name),
            "title": title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        (
            self.status,
            [(header::CONTENT_TYPE, "application/problem+json")],
            body.to_string(),
        )
            .into_response()
    }
}
