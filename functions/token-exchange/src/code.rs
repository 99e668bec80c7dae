//! Where in a request the one-time code is. Ring's documentation does not say how it is sent (Ring: Token Exchange Flow),
//! so JSON, a form and a query are taken.

use lambda_http::Request;
use ring_partner::oauth::AuthorizationCode;
use serde::Deserialize;
use shared::edge::problem::{Problem, ProblemType};

/// The largest body that is looked at.
pub(crate) const MOST_BYTES: usize = 4 * 1024;

#[derive(Deserialize)]
struct Carrier {
    code: Option<String>,
}

/// The code of a request.
pub(crate) fn of(request: &Request) -> Result<AuthorizationCode, Problem> {
    let body: &[u8] = request.body();
    if body.len() > MOST_BYTES || request.uri().query().is_some_and(|query| query.len() > MOST_BYTES) {
        return Err(Problem::new(ProblemType::PayloadTooLarge).detail("a code and little else is taken here"));
    }
    let query = request.uri().query().unwrap_or_default();
    let code = in_json(body)
        .or_else(|| in_form(body))
        .or_else(|| in_form(query.as_bytes()));
    // What was sent is never said again: it may be a code.
    let unusable = || Problem::field("/code", "one authorization code, as JSON, as a form or in the query");
    AuthorizationCode::new(code.ok_or_else(unusable)?).map_err(|_| unusable())
}

fn in_json(body: &[u8]) -> Option<String> {
    serde_json::from_slice::<Carrier>(body).ok()?.code
}

fn in_form(form: &[u8]) -> Option<String> {
    let mut codes = url::form_urlencoded::parse(form).filter(|(name, _)| name == "code");
    let code = codes.next()?.1.into_owned();
    codes.next().is_none().then_some(code)
}

#[cfg(test)]
mod tests {
    use lambda_http::Body;

    use super::*;

    fn check(query: &str, body: impl Into<Body>) -> Option<String> {
        let uri = format!("https://api.example/ring/token/key{query}");
        let request = lambda_http::http::Request::builder()
            .uri(uri)
            .body(body.into())
            .unwrap();
        of(&request).ok().map(|code| code.expose().to_owned())
    }

    #[test]
    fn trap_1_json_a_form_and_a_query_are_taken() {
        let code = Some("abc-123".to_owned());
        assert_eq!(check("", r#"{"code":"abc-123","state":"x"}"#), code);
        assert_eq!(check("", "state=x&code=abc-123"), code);
        assert_eq!(check("?code=abc-123", ""), code);
        assert_eq!(check("?code=other", r#"{"code":"abc-123"}"#), code);
    }

    #[test]
    fn trap_1_anything_else_is_refused() {
        for (query, body) in [
            ("", ""),
            ("", "{}"),
            ("", r#"{"code":""}"#),
            ("", r#"{"code":7}"#),
            ("", "code=a&code=b"),
            ("?code=", ""),
        ] {
            assert_eq!(check(query, body), None, "{query} {body}");
        }
        assert_eq!(check("", Body::Binary(vec![0xff, 0xfe])), None);
        assert_eq!(check("", format!(r#"{{"code":"{}"}}"#, "a".repeat(5000))), None);
        assert_eq!(check("", r#"{"code":"a b"}"#), None);
    }
}
