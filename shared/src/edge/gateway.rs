//! A request as the API gateway hands it over: who is signed in, the path as the caller meant it, a JSON body within
//! bounds. Routes within a function are an `axum` router.

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::{RequestExt as _, Router};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, header};
use lambda_http::RequestExt as _;
use lambda_http::request::RequestContext;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::util::MapRequest;

use super::key;
use super::problem::{Problem, ProblemType};

/// The largest JSON body that a route of ours takes.
pub const MOST_JSON_BYTES: usize = 64 * 1024;

/// Who is signed in, by the claims that the gateway's authorizer has verified.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The user, as a pseudonym made of the issuer and the subject.
    pub user_id: String,
    email: Option<String>,
}

impl SignedIn {
    /// The user of these claims of an ID token.
    #[must_use]
    pub fn new(issuer: &str, subject: &str, email: Option<String>) -> Self {
        Self {
            user_id: key::derived("usr", &[issuer, subject]),
            email,
        }
    }

    /// What Ring shows its user of this one: the e-mail address, masked. `None` without an address.
    #[must_use]
    pub fn account_identifier(&self) -> Option<String> {
        self.email.as_deref().map(ring_partner::integrations::mask_identifier)
    }
}

impl<S: Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let Some(RequestContext::ApiGatewayV2(context)) = parts.extensions.get::<RequestContext>() else {
            return Err(no_claims());
        };
        let claims = context
            .authorizer
            .as_ref()
            .and_then(|authorizer| authorizer.jwt.as_ref())
            .map(|jwt| &jwt.claims);
        let claims = claims.ok_or_else(no_claims)?;
        let claim = |name: &str| claims.get(name).filter(|value| !value.is_empty());
        match (claim("iss"), claim("sub")) {
            (Some(issuer), Some(subject)) => Ok(Self::new(issuer, subject, claim("email").cloned())),
            _ => Err(no_claims()),
        }
    }
}

/// The gateway lets nobody through without a token, so this is a mistake in the template.
fn no_claims() -> Problem {
    tracing::error!("a request came through without a user; is the route without its authorizer?");
    Problem::new(ProblemType::Internal)
}

/// All that may mean something in a path, or is not allowed there (RFC 3986, 2.3 has the rest).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Serves a router's routes with the path as the caller meant it. Of an `ANY /v1/{proxy+}` route an HTTP API decodes every
/// escape of the path but `%25`. A router would decode it again, and would take a decoded `?` or `#` for the path's end: an
/// opaque id with one of these in it would become another.
#[must_use]
pub fn as_meant(router: Router) -> MapRequest<Router, fn(lambda_http::Request) -> lambda_http::Request> {
    MapRequest::new(router, with_path_as_meant)
}

fn with_path_as_meant(mut request: lambda_http::Request) -> lambda_http::Request {
    let parameters = request.path_parameters_ref();
    let Some(rest) = parameters.and_then(|parameters| parameters.first("proxy")) else {
        return request;
    };
    let as_meant = |segment: &str| utf8_percent_encode(&segment.replace("%25", "%"), RESERVED).to_string();
    let segments: Vec<_> = rest.split('/').map(as_meant).collect();
    let query = request
        .uri()
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    if let Ok(uri) = format!("/v1/{}{query}", segments.join("/")).parse::<Uri>() {
        *request.uri_mut() = uri;
    }
    request
}

/// Query parameters. One that comes twice, or is not UTF-8, is refused.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|Query(parameters)| Self(parameters))
            .map_err(|_| Problem::field("?", "each parameter once, as UTF-8"))
    }
}

/// The one opaque id in a path. What can't be one is not found.
#[derive(Debug)]
pub struct Id(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id))
            .map_err(|_| Problem::new(ProblemType::NotFound))
    }
}

/// A JSON body: `application/json`, at most 64 KiB, with no field that we don't know.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let media_type = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let media_type = media_type.and_then(|value| value.split(';').next()).map(str::trim);
        if !media_type.is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json")) {
            return Err(Problem::new(ProblemType::UnsupportedMediaType).detail("send application/json"));
        }
        let body = whole(request, MOST_JSON_BYTES).await?;
        // serde takes an array for a struct, too.
        if body.trim_ascii_start().starts_with(b"[") {
            return Err(Problem::field("", "invalid type: sequence, expected an object"));
        }
        json(&body).map(JsonBody)
    }
}

/// The whole body, if it is no larger than `most` bytes.
pub async fn whole(request: Request, most: usize) -> Result<Bytes, Problem> {
    axum::body::to_bytes(request.with_limited_body().into_body(), most)
        .await
        .map_err(|_| {
            Problem::new(ProblemType::PayloadTooLarge).detail(format!("a body of at most {most} bytes is taken here"))
        })
}

/// Parses JSON; an error names the place by a JSON Pointer.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    as_written(body).or_else(|problem| match with_integers(body) {
        Some(body) => as_written(&body),
        None => Err(problem),
    })
}

/// The body with `30000.0` as `30000`: to the schemas of the description it is an integer (JSON Schema, 4.2.3), but not to the
/// parser. `None` if there is no such number.
fn with_integers(body: &[u8]) -> Option<Vec<u8>> {
    fn written(value: &mut Value) -> bool {
        match value {
            Value::Number(number) => {
                let whole = number.as_f64().filter(|real| number.is_f64() && real.fract() == 0.0);
                let integer = whole.and_then(|real| format!("{real:.0}").parse::<i64>().ok());
                integer.map(|integer| *number = integer.into()).is_some()
            }
            Value::Array(items) => items.iter_mut().fold(false, |any, item| written(item) | any),
            Value::Object(fields) => fields.values_mut().fold(false, |any, field| written(field) | any),
            Value::Null | Value::Bool(_) | Value::String(_) => false,
        }
    }
    let mut value = serde_json::from_slice(body).ok()?;
    written(&mut value).then(|| value.to_string().into_bytes())
}

fn as_written<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer(error.path());
        Problem::field(pointer, plain(error.inner()))
    })?;
    reader.end().map_err(|error| Problem::field("", plain(&error)))?;
    Ok(value)
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                format!("/{}", key.replace('~', "~0").replace('/', "~1"))
            }
            Segment::Unknown => "/?".to_owned(),
        })
        .collect()
}

/// What the parser says, without its line and column, and without the value that came: that may be a secret in a wrong
/// place.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let said = text.rsplit_once(" at line ").map_or(&*text, |(said, _)| said);
    let of_a_value = ["invalid type", "invalid value", "unknown variant"];
    if !of_a_value.iter().any(|kind| said.starts_with(kind)) {
        return said.to_owned();
    }
    let kind = said.split(['"', '`']).next().unwrap_or_default().trim_end();
    match said.rsplit_once(", expected ") {
        Some((_, expected)) if !kind.contains(", expected ") => format!("{kind}, expected {expected}"),
        _ => kind.to_owned(),
    }
}

/// The answer to a path that no route has.
pub async fn not_found() -> Problem {
    Problem::new(ProblemType::NotFound)
}

/// An answer about one user's things is kept by no cache.
#[must_use]
pub fn private(body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("private, no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        timestamp: i64,
        #[expect(dead_code, reason = "only the parsing is under test")]
        options: Option<Options>,
        #[expect(dead_code, reason = "only the parsing is under test")]
        fit: Option<Fit>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Fit {
        Cover,
        Contain,
    }

    #[derive(Debug, Deserialize)]
    struct Options {
        #[expect(dead_code, reason = "only the parsing is under test")]
        width: u32,
    }

    fn problem_of(body: &str) -> serde_json::Value {
        let problem = json::<Asked>(body.as_bytes()).unwrap_err().into_response();
        let body = axum::body::to_bytes(problem.into_body(), 4096);
        let body = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(body)
            .unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn a_wrong_field_is_named_by_its_pointer() {
        let problem = problem_of(r#"{"timestamp":1,"options":{"width":"wide"}}"#);
        assert_eq!(problem["type"], "/problems/invalid-request");
        assert_eq!(problem["errors"][0]["pointer"], "/options/width");
    }

    #[test]
    fn a_wrong_value_is_not_repeated() {
        #[track_caller]
        fn check(body: &str, detail: &str) {
            let problem = problem_of(body);
            assert_eq!(problem["errors"][0]["detail"], detail, "{problem}");
        }
        check(r#"{"timestamp":"marker"}"#, "invalid type: string, expected i64");
        check(
            r#"{"timestamp":"a ` \" b, expected marker at line 7"}"#,
            "invalid type: string, expected i64",
        );
        check(r#"{"timestamp":null}"#, "invalid type: null, expected i64");
        check(
            r#"{"timestamp":1,"options":{"width":-77}}"#,
            "invalid value: integer, expected u32",
        );
        check(
            r#"{"timestamp":1,"fit":"marker"}"#,
            "unknown variant, expected `cover` or `contain`",
        );
        check(r#""marker""#, "invalid type: string, expected struct Asked");
    }

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        for (body, whole) in [
            (r#"{"timestamp":5.0}"#, Some(5)),
            (r#"{"timestamp":-1.5e3,"options":{"width":7.0}}"#, Some(-1_500)),
            (r#"{"timestamp":5.5}"#, None),
            (r#"{"timestamp":5.0,"options":{"width":0.5}}"#, None),
            (r#"{"timestamp":1e300}"#, None),
            (r#"{"timestamp":5.0,"extra":1}"#, None),
        ] {
            let parsed = json::<Asked>(body.as_bytes()).ok();
            assert_eq!(parsed.map(|asked| asked.timestamp), whole, "{body}");
        }
    }

    #[test]
    fn an_unknown_field_and_a_second_value_are_refused() {
        let problem = problem_of(r#"{"timestamp":1,"extra":true}"#);
        assert!(
            problem["errors"][0]["detail"].as_str().unwrap().contains("extra"),
            "{problem}"
        );
        assert_eq!(problem_of(r#"{"timestamp":1} {}"#)["status"], 400);
        assert_eq!(problem_of("")["status"], 400);
    }

    #[test]
    fn trap_53_an_id_reaches_the_router_as_the_caller_meant_it() {
        // What a caller sends for the id, what the gateway makes of it, what the router gets.
        for (id, from_gateway) in [
            ("a.b_c", "a.b_c"),
            ("5%", "5%25"),
            ("x%25y", "x%2525y"),
            ("a?b#c d", "a?b#c d"),
            ("ü", "ü"),
        ] {
            let mut request = lambda_http::Request::default();
            let parameters = HashMap::from([("proxy".to_owned(), format!("devices/{from_gateway}"))]);
            request = request.with_path_parameters(parameters);
            let path = with_path_as_meant(request).uri().path().to_owned();
            let segment = path.strip_prefix("/v1/devices/").unwrap();
            assert_eq!(percent_encoding::percent_decode_str(segment).decode_utf8().unwrap(), id);
        }
        let parameters = HashMap::from([("proxy".to_owned(), "media/med_1/playlist.m3u8".to_owned())]);
        let request = lambda_http::Request::default().with_path_parameters(parameters);
        let path = with_path_as_meant(request).uri().path().to_owned();
        assert_eq!(
            path, "/v1/media/med_1/playlist.m3u8",
            "a route's own words stay as they are"
        );
    }

    #[test]
    fn two_issuers_with_the_same_subject_are_two_users() {
        let one = SignedIn::new("https://a.example", "sub", None);
        let other = SignedIn::new("https://b.example", "sub", None);
        assert_ne!(one.user_id, other.user_id);
        assert_eq!(one.account_identifier(), None);
    }
}
