//! Conditional GETs: an answer carries a tag of what it says, and who has that already gets none of it again.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use sha2::{Digest as _, Sha256};

use super::problem::{Problem, ProblemType};

/// More than any answer of ours has: Lambda takes no larger one.
pub(super) const MOST_ANSWER_BYTES: usize = 6 * 1024 * 1024;

/// A layer around routes: tags what a GET answers with 200, and answers 304 to whoever names that tag.
pub async fn conditional(request: Request, next: Next) -> Response {
    if request.method() != Method::GET {
        return next.run(request).await;
    }
    let asked = request.headers().clone();
    let response = next.run(request).await;
    if response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let body = match axum::body::to_bytes(body, MOST_ANSWER_BYTES).await {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "an answer is too large to be given"
            );
            return Problem::new(ProblemType::Internal).into_response();
        }
    };
    let tag = tag(&body);
    let known = names(&asked, &tag);
    if let Ok(tag) = HeaderValue::try_from(tag) {
        parts.headers.insert(header::ETAG, tag);
    }
    if known {
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.remove(header::CONTENT_LENGTH);
        return (StatusCode::NOT_MODIFIED, parts.headers).into_response();
    }
    Response::from_parts(parts, body.into())
}

/// A strong tag: the same bytes, the same tag.
fn tag(body: &[u8]) -> String {
    format!("\"{}\"", &hex::encode(Sha256::digest(body))[..32])
}

/// Whether the caller has this already. RFC 9110, If-None-Match: compared weakly, so that a tag which a proxy has made weak
/// still counts.
fn names(asked: &HeaderMap, tag: &str) -> bool {
    let values = asked.get_all(header::IF_NONE_MATCH).into_iter();
    values.filter_map(|value| value.to_str().ok()).any(|value| {
        let each = value.split(',').map(str::trim);
        each.map(|one| one.strip_prefix("W/").unwrap_or(one))
            .any(|one| one == "*" || one == tag)
    })
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    async fn answer(method: Method, path: &str, tag: Option<&str>) -> (StatusCode, HeaderMap, bytes::Bytes) {
        let routes = Router::new()
            .route("/list", get(async || "[1]").post(async || "[1]"))
            .route("/none", get(async || Problem::new(ProblemType::NotFound)))
            .layer(from_fn(conditional));
        let mut request = Request::builder().method(method).uri(path);
        if let Some(tag) = tag {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        let answer = routes.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = axum::body::to_bytes(body, 100_000).await.unwrap();
        (parts.status, parts.headers, body)
    }

    #[tokio::test]
    async fn who_has_an_answer_gets_none_of_it_again() {
        let (status, headers, body) = answer(Method::GET, "/list", None).await;
        assert_eq!((status, &body[..]), (StatusCode::OK, &b"[1]"[..]));
        let tag = headers[header::ETAG].to_str().unwrap().to_owned();
        for asked in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
            let (status, headers, body) = answer(Method::GET, "/list", Some(&asked)).await;
            assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0), "{asked}");
            assert_eq!(headers[header::ETAG], tag.as_str());
            assert_eq!(headers.get(header::CONTENT_TYPE), None);
        }
    }

    #[tokio::test]
    async fn only_what_a_get_has_found_is_conditional() {
        for (method, path, status) in [
            (Method::GET, "/list", StatusCode::OK),
            (Method::GET, "/none", StatusCode::NOT_FOUND),
            (Method::POST, "/list", StatusCode::OK),
        ] {
            // Not its tag, or nothing that has one.
            let asked = if path == "/list" && method == Method::GET {
                "\"other\""
            } else {
                "*"
            };
            let (found, headers, body) = answer(method.clone(), path, Some(asked)).await;
            assert_eq!(found, status, "{method} {path}");
            assert!(!body.is_empty(), "{method} {path}");
            let tagged = headers.contains_key(header::ETAG);
            assert_eq!(
                tagged,
                method == Method::GET && status == StatusCode::OK,
                "{method} {path}"
            );
        }
    }
}
