//! Where in a request the one-time code is. Ring's documentation does not say how it is sent (Ring: Token Exchange Flow),
//! so JSON, a form and a query are taken.

use lambda_http::Request;
use ring_partner::oauth::{AuthorizationCode, CodeVerifier};
use serde::Deserialize;
use shared::edge::problem::{Problem, ProblemType};

/// The largest body that is looked at.
pub(crate) const MOST_BYTES: usize = 4 * 1024;

/// What a request carries, before it is looked at.
#[derive(Deserialize, Default)]
struct Carried {
    code: Option<String>,
    /// Of Ring's older two-way model (Ring: Ring Credential Transfer API).
    code_verifier: Option<String>,
}

/// The code of a request, and its verifier where one came with it.
pub(crate) fn of(request: &Request) -> Result<(AuthorizationCode, Option<CodeVerifier>), Problem> {
    let body: &[u8] = request.body();
    if body.len() > MOST_BYTES || request.uri().query().is_some_and(|query| query.len() > MOST_BYTES) {
        return Err(Problem::new(ProblemType::PayloadTooLarge).detail("a code and little else is taken here"));
    }
    let query = request.uri().query().unwrap_or_default();
    let carried = in_json(body)
        .or_else(|| in_form(body))
        .or_else(|| in_form(query.as_bytes()))
        .unwrap_or_default();
    // What was sent is never said again: it may be a code.
    let unusable = || Problem::field("/code", "one authorization code, as JSON, as a form or in the query");
    let code = AuthorizationCode::new(carried.code.ok_or_else(unusable)?).map_err(|_| unusable())?;
    let verifier = carried.code_verifier.map(CodeVerifier::new).transpose();
    let verifier = verifier.map_err(|_| Problem::field("/code_verifier", "a verifier as RFC 7636 has it, or none"))?;
    Ok((code, verifier))
}

fn in_json(body: &[u8]) -> Option<Carried> {
    serde_json::from_slice::<Carried>(body)
        .ok()
        .filter(|carried| carried.code.is_some())
}

/// A parameter that comes twice is none (RFC 6749, 3.2).
fn in_form(form: &[u8]) -> Option<Carried> {
    let one = |wanted: &str| {
        let mut values = url::form_urlencoded::parse(form).filter(|(name, _)| name == wanted);
        let value = values.next().map(|(_, value)| value.into_owned());
        if values.next().is_some() { Err(()) } else { Ok(value) }
    };
    let code = one("code").ok()??;
    Some(Carried {
        code: Some(code),
        // Twice: an empty one, which is refused.
        code_verifier: one("code_verifier").unwrap_or_else(|()| Some(String::new())),
    })
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
        of(&request).ok().map(|(code, _)| code.expose().to_owned())
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
    fn trap_4_a_verifier_comes_along_and_an_unusable_one_is_named() {
        let of = |body: &str| {
            let request = Request::new(Body::from(body.to_owned()));
            super::of(&request).map(|(_, verifier)| verifier.map(|verifier| verifier.expose().to_owned()))
        };
        let some = Some("xxxxx".to_owned());
        assert_eq!(of(r#"{"code":"a","code_verifier":"xxxxx"}"#).unwrap(), some);
        assert_eq!(of("code=a&code_verifier=xxxxx").unwrap(), some);
        assert_eq!(of("code=a").unwrap(), None);
        for wrong in [
            "code=a&code_verifier=x&code_verifier=y",
            "code=a&code_verifier=",
            r#"{"code":"a","code_verifier":"ü"}"#,
        ] {
            let problem = format!("{:?}", of(wrong).unwrap_err());
            assert!(problem.contains("/code_verifier"), "{problem}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_sent_is_never_said_again(body in "\\PC{0,80}") {
            let sent = format!("s3cret{body}");
            if let Err(problem) = of(&Request::new(Body::from(sent))) {
                let said = format!("{problem:?}");
                proptest::prop_assert!(!said.contains("s3cret"));
            }
        }
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
