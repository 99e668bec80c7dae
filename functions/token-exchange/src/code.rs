//! Where in a request the one-time code is. Ring's documentation does not say how it is sent (Ring: Token Exchange Flow),
//! so JSON, a form and a query are taken.

use std::fmt;

use lambda_http::Request;
use ring_partner::oauth::{AuthorizationCode, CodeVerifier};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use shared::edge::problem::{Problem, ProblemType};

/// The largest body that is looked at.
pub(crate) const MOST_BYTES: usize = 4 * 1024;

/// The parameters of one part of a request, in the order in which they came. A value that is no text is none.
type Parameters = Vec<(String, Option<String>)>;

/// The code of a request, and its verifier where one came with it (Ring: Ring Credential Transfer API, the older two-way
/// model). Each is taken from the body, or else from the query.
pub(crate) fn of(request: &Request) -> Result<(AuthorizationCode, Option<CodeVerifier>), Problem> {
    let body: &[u8] = request.body();
    let query = request.uri().query().unwrap_or_default();
    if body.len() > MOST_BYTES || query.len() > MOST_BYTES {
        return Err(Problem::new(ProblemType::PayloadTooLarge).detail("a code and little else is taken here"));
    }
    let parts = [
        in_json(body).unwrap_or_else(|| in_form(body)),
        in_form(query.as_bytes()),
    ];
    // What was sent is never said again: it may be a code.
    let code = the_one(&parts, "code").and_then(|code| AuthorizationCode::new(code?).ok());
    let code = code.ok_or_else(|| {
        let expected = "one authorization code, as JSON, as a form or in the query";
        Problem::field("/code", expected)
    })?;
    let verifier =
        the_one(&parts, "code_verifier").and_then(|verifier| verifier.map(CodeVerifier::new).transpose().ok());
    let verifier =
        verifier.ok_or_else(|| Problem::field("/code_verifier", "a verifier as RFC 7636 has it, or none"))?;
    Ok((code, verifier))
}

/// The value of a parameter in the first part that has it; `Some(None)` where none has. A parameter that comes twice in one
/// part (RFC 6749, 3.2), or is no text, is unusable: `None`.
fn the_one(parts: &[Parameters], name: &str) -> Option<Option<String>> {
    for part in parts {
        let mut values = part.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (None, _) => {}
            (Some(Some(value)), None) => return Some(Some(value.clone())),
            (Some(_), _) => return None,
        }
    }
    Some(None)
}

fn in_form(form: &[u8]) -> Parameters {
    url::form_urlencoded::parse(form)
        .map(|(name, value)| (name.into_owned(), Some(value.into_owned())))
        .collect()
}

/// The members of a JSON object; `None` where the body is none.
fn in_json(body: &[u8]) -> Option<Parameters> {
    /// All members, those that come twice among them.
    struct Members(Parameters);

    impl<'de> Deserialize<'de> for Members {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(MembersVisitor)
        }
    }

    struct MembersVisitor;

    impl<'de> Visitor<'de> for MembersVisitor {
        type Value = Members;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
            let mut members = Vec::new();
            while let Some((name, value)) = map.next_entry::<String, serde_json::Value>()? {
                members.push((name, value.as_str().map(str::to_owned)));
            }
            Ok(Members(members))
        }
    }

    serde_json::from_slice::<Members>(body)
        .ok()
        .map(|Members(members)| members)
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
        let from = |query: &str, body: &str| {
            let uri = format!("https://api.example/ring/token/key{query}");
            let body = Body::from(body.to_owned());
            let request = lambda_http::http::Request::builder().uri(uri).body(body).unwrap();
            of(&request).map(|(_, verifier)| verifier.map(|verifier| verifier.expose().to_owned()))
        };
        let of = |body: &str| from("", body);
        let some = Some("xxxxx".to_owned());
        assert_eq!(of(r#"{"code":"a","code_verifier":"xxxxx"}"#).unwrap(), some);
        assert_eq!(of("code=a&code_verifier=xxxxx").unwrap(), some);
        assert_eq!(of("code=a").unwrap(), None);
        assert_eq!(from("?code=a", "code_verifier=xxxxx").unwrap(), some);
        assert_eq!(from("?code_verifier=xxxxx", r#"{"code":"a"}"#).unwrap(), some);
        for wrong in [
            "code=a&code_verifier=x&code_verifier=y",
            "code=a&code_verifier=",
            r#"{"code":"a","code_verifier":"ü"}"#,
            r#"{"code":"a","code_verifier":"x","code_verifier":"x"}"#,
            r#"{"code":"a","code_verifier":7}"#,
        ] {
            let problem = format!("{:?}", of(wrong).unwrap_err());
            assert!(problem.contains("/code_verifier"), "{problem}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_sent_is_never_said_again(
            shape in proptest::sample::select(vec![
                "*", "code=*", "code=a&code_verifier=*", "code=*&code=*", r#"{"code":"*"}"#, r#"{"code":["*"]}"#,
                r#"{"code":"a","code_verifier":"*"}"#, r#"{"code":"a","code_verifier":{"*":"*"}}"#, r#"{"*":"*"}"#,
            ]),
            junk in "[ -~ü]{1,40}",
        ) {
            // A space makes it no code and no verifier, wherever it stands: each shape is refused.
            let sent = shape.replace('*', &format!("s3cret {junk}"));
            let refused = of(&Request::new(Body::from(sent)));
            proptest::prop_assert!(refused.is_err());
            let said = format!("{:?}", refused.map(|_| ()));
            proptest::prop_assert!(!said.contains("s3cret"), "{}", said);
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
            ("", r#"{"code":"a","code":"a"}"#),
            ("?code=a", "code=b&code=c"),
            ("?code=", ""),
        ] {
            assert_eq!(check(query, body), None, "{query} {body}");
        }
        assert_eq!(check("", Body::Binary(vec![0xff, 0xfe])), None);
        assert_eq!(check("", format!(r#"{{"code":"{}"}}"#, "a".repeat(5000))), None);
        assert_eq!(check("", r#"{"code":"a b"}"#), None);
    }
}
