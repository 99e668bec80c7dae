//! The pages that people see: static files out of this program, for a browser that does the rest.
//!
//! | route | answers |
//! |---|---|
//! | `GET /ring/link` | 200 the page that links a Ring account (Ring's Account Link URL) |
//! | `GET /ring/home` | 200 the console (Ring's App Homepage URL); 304 where the browser has it |
//! | `GET /ring/assets/{version}/{file}` | 200 a script, a style or an icon, good for ever under its version; 404 |
//!
//! The program has no right in AWS, sees no token and keeps nothing: a page signs in at the issuer, and calls `/v1` by itself.
//! What a URL carries (a nonce, a code of the issuer's) is for the page alone, and is looked at by nothing here.

mod asset;
mod config;
mod page;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
pub use config::Config;
use http::{HeaderValue, StatusCode, header};
use shared::edge::gateway::not_found;
use shared::edge::problem::{Problem, ProblemType};

use crate::page::{Page, Pages};

/// The program's name.
pub const SERVICE: &str = env!("CARGO_PKG_NAME");

/// How long a browser keeps what never changes under its name.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Asked for again each time, and answered with 304 while nothing has changed.
const ASKED_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");
/// Of a page whose URL gives whoever has it somebody's cameras, no copy stays.
const NEVER_KEPT: HeaderValue = HeaderValue::from_static("no-store");

/// The routes.
pub fn router(config: &Config) -> Router {
    tracing::info!(version = asset::version(), "the pages are at hand");
    let only_get = async || Problem::method_not_allowed("GET");
    Router::new()
        .route("/ring/link", get(link).fallback(only_get))
        .route("/ring/home", get(home).fallback(only_get))
        .route("/ring/assets/{version}/{file}", get(file).fallback(only_get))
        .fallback(not_found)
        .with_state(Arc::new(Pages::of(config)))
}

async fn link(State(pages): State<Arc<Pages>>) -> Response {
    answer(&pages, &pages.link, NEVER_KEPT)
}

async fn home(State(pages): State<Arc<Pages>>, asked: HeaderMap) -> Response {
    let same = asked
        .get(header::IF_NONE_MATCH)
        .is_some_and(|tags| names(tags, &pages.home.tag));
    if same {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        response.headers_mut().insert(header::ETAG, pages.home.tag.clone());
        response.headers_mut().insert(header::CACHE_CONTROL, ASKED_AGAIN);
        return response;
    }
    answer(&pages, &pages.home, ASKED_AGAIN)
}

fn answer(pages: &Pages, page: &Page, kept: HeaderValue) -> Response {
    let mut response = page.html.clone().into_response();
    let headers = response.headers_mut();
    headers.extend(pages.headers.clone());
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(header::ETAG, page.tag.clone());
    headers.insert(header::CACHE_CONTROL, kept);
    response
}

/// A page that is older or newer than this program still gets its files, as they are here, and asks again the next time.
async fn file(Path((version, name)): Path<(String, String)>) -> Result<Response, Problem> {
    let asset = asset::named(&name).ok_or_else(|| Problem::new(ProblemType::NotFound))?;
    let kept = if version == asset::version() {
        FOR_EVER
    } else {
        ASKED_AGAIN
    };
    let mut response = asset.text.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
    headers.insert(header::CACHE_CONTROL, kept);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    Ok(response)
}

/// Whether an `If-None-Match` names this tag (RFC 9110, 13.1.2); a gateway or proxy may have made it weak.
fn names(tags: &HeaderValue, tag: &HeaderValue) -> bool {
    let (Ok(tags), Ok(tag)) = (tags.to_str(), tag.to_str()) else {
        return false;
    };
    let tags = tags.split(',').map(str::trim);
    tags.map(|found| found.strip_prefix("W/").unwrap_or(found))
        .any(|found| found == tag || found == "*")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    fn config() -> Config {
        let env = [
            ("OIDC_ISSUER", "https://id.example/\"><script>"),
            ("OIDC_CLIENT_ID", "client"),
            ("OIDC_SIGN_IN_URL", "https://sign-in.example/authorize"),
            ("OIDC_TOKEN_URL", "https://token.example:8443/token?x=1"),
            ("MEDIA_ORIGIN", "https://bucket.s3.us-east-1.amazonaws.com/some/path"),
        ];
        let env: HashMap<String, String> = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Config::read(&env).unwrap()
    }

    async fn ask(path: &str, tag: Option<&HeaderValue>) -> (StatusCode, HeaderMap, String) {
        let mut request = Request::get(path);
        if let Some(tag) = tag {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        let response = router(&config())
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    /// The files that a page names, and those that they name in turn.
    async fn files_of(page: &str) -> HashMap<String, usize> {
        let mut found = HashMap::new();
        let mut waiting = vec![page.to_owned()];
        while let Some(path) = waiting.pop() {
            let (status, _, text) = ask(&path, None).await;
            assert_eq!(status, StatusCode::OK, "{path}");
            found.insert(path.clone(), text.len());
            let folder = &path[..=path.rfind('/').unwrap()];
            let named = text.split(['"', '\'']).filter(|word| {
                let module = word.starts_with("./") && word.ends_with(".js");
                module || word.starts_with("assets/")
            });
            for name in named {
                let path = format!("{folder}{}", name.trim_start_matches("./"));
                if !found.contains_key(&path) {
                    waiting.push(path);
                }
            }
        }
        found
    }

    #[tokio::test]
    async fn trap_29_the_link_page_is_kept_by_nobody_and_tells_nobody_where_it_is() {
        let (status, headers, _) = ask("/ring/link?nonce=secret&time=1", None).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(headers[header::REFERRER_POLICY], "no-referrer");
    }

    #[tokio::test]
    async fn each_page_says_what_it_may_do_and_may_do_nothing_else() {
        for page in ["/ring/link", "/ring/home"] {
            let (_, headers, html) = ask(page, None).await;
            let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            for directive in [
                "default-src 'none'",
                "script-src 'self'",
                "style-src 'self'",
                "connect-src 'self' https://token.example:8443",
                "img-src 'self' https://bucket.s3.us-east-1.amazonaws.com",
                "media-src https://bucket.s3.us-east-1.amazonaws.com",
                "frame-ancestors 'none'",
                "base-uri 'none'",
                "form-action 'none'",
                "require-trusted-types-for 'script'",
            ] {
                assert!(
                    policy.split("; ").any(|found| found == directive),
                    "{directive}: {policy}"
                );
            }
            assert!(!policy.contains("unsafe"), "{policy}");
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
                ("referrer-policy", "no-referrer"),
                ("cross-origin-opener-policy", "same-origin"),
                ("cross-origin-resource-policy", "same-origin"),
            ] {
                assert_eq!(headers[name], value, "{name}");
            }
            assert!(headers["permissions-policy"].to_str().unwrap().contains("camera=()"));
            assert!(headers.contains_key("strict-transport-security"));
            let inline = ["<style", " style=", " onclick=", " onload=", "javascript:"];
            assert!(inline.iter().all(|word| !html.contains(word)), "{html}");
            assert!(
                html.split("<script").skip(1).all(|tag| tag.contains(" src=\"assets/")),
                "{html}"
            );
        }
    }

    #[tokio::test]
    async fn what_the_stack_says_is_text_in_a_page_whatever_it_is() {
        let (_, _, html) = ask("/ring/home", None).await;
        assert!(!html.contains("\"><script>"), "{html}");
        assert!(html.contains("https://id.example/\\&quot;&gt;&lt;script&gt;"), "{html}");
        assert!(!html.contains("{{"), "each place is filled: {html}");
    }

    #[tokio::test]
    async fn a_page_with_all_its_files_weighs_at_most_150_kb() {
        for page in ["/ring/link", "/ring/home"] {
            let files = files_of(page).await;
            let weight: usize = files.values().sum();
            assert!(files.len() > 3, "its files were found: {files:?}");
            assert!(weight <= 150_000, "{page} weighs {weight} bytes: {files:?}");
        }
    }

    #[tokio::test]
    async fn every_file_is_used_by_a_page() {
        let mut used = files_of("/ring/link").await;
        used.extend(files_of("/ring/home").await);
        for asset in asset::ALL {
            assert!(
                used.keys().any(|path| path.ends_with(&format!("/{}", asset.name))),
                "{}",
                asset.name
            );
        }
    }

    #[tokio::test]
    async fn the_console_is_sent_once_while_it_does_not_change() {
        let (_, headers, _) = ask("/ring/home", None).await;
        let tag = &headers[header::ETAG];
        let weak = HeaderValue::try_from(format!("\"other\", W/{}", tag.to_str().unwrap())).unwrap();
        for tag in [tag, &weak] {
            let (status, again, body) = ask("/ring/home", Some(tag)).await;
            assert_eq!((status, body.as_str()), (StatusCode::NOT_MODIFIED, ""));
            assert_eq!(again[header::ETAG], headers[header::ETAG]);
        }
        let (status, ..) = ask("/ring/home", Some(&HeaderValue::from_static("\"other\""))).await;
        assert_eq!(status, StatusCode::OK);
    }

    #[tokio::test]
    async fn a_file_is_kept_for_ever_under_its_version_alone() {
        let current = format!("/ring/assets/{}/portal.css", asset::version());
        let (_, headers, text) = ask(&current, None).await;
        assert_eq!(headers[header::CACHE_CONTROL], FOR_EVER);
        assert_eq!(headers[header::CONTENT_TYPE], "text/css; charset=utf-8");
        let (_, headers, same) = ask("/ring/assets/of-yesterday/portal.css", None).await;
        assert_eq!(headers[header::CACHE_CONTROL], ASKED_AGAIN);
        assert_eq!(same, text);
        for path in [
            "/ring/assets/x/nothing.js",
            "/ring/assets/x",
            "/ring/assets/x/../lib.rs",
            "/ring",
            "/",
        ] {
            assert_eq!(ask(path, None).await.0, StatusCode::NOT_FOUND, "{path}");
        }
    }
}
