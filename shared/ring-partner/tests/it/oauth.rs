//! The token endpoint.

use std::time::Duration;

use ring_partner::error::{Error, NotSent, Unclear};
use ring_partner::{AuthorizationCode, CodeVerifier, Credentials, RefreshToken, Ring, Settings, TokenError};
use serde_json::json;

use crate::recorder::{Recorder, answer, cutting, json as answer_json, nobody, settings, told};

const SECRET: &str = "s3cret&=+% ü";
const REFRESH: &str = "s3cret.refresh+/=";

fn credentials() -> Credentials {
    Credentials::new("client 1", SECRET).unwrap()
}

fn refresh_token() -> RefreshToken {
    RefreshToken::new(REFRESH).unwrap()
}

fn code() -> AuthorizationCode {
    AuthorizationCode::new("c0de/+&=").unwrap()
}

fn tokens() -> axum::response::Response {
    answer_json(
        200,
        &json!({"access_token": "aaa", "refresh_token": "rrr", "scope": "s", "expires_in": 14400, "token_type": "Bearer"}),
    )
}

#[tokio::test]
async fn traps_4_and_5_a_code_goes_out_as_a_form_without_pkce() {
    let server = Recorder::answering([tokens]).await;
    let tokens = server
        .ring()
        .exchange_code(&credentials(), &code(), None)
        .await
        .unwrap();
    assert_eq!(tokens.access_token.expose(), "aaa");
    assert_eq!(tokens.refresh_token.unwrap().expose(), "rrr");
    assert_eq!(tokens.expires_in, Duration::from_secs(14400));

    let [asked] = server.asked().try_into().unwrap();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/oauth/token"));
    assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(asked.header("authorization"), None);
    assert_eq!(
        asked.body,
        "grant_type=authorization_code&code=c0de%2F%2B%26%3D&client_id=client+1\
         &client_secret=s3cret%26%3D%2B%25+%C3%BC"
    );
}

#[tokio::test]
async fn trap_4_a_code_with_a_verifier_goes_out_as_json_as_the_older_model_has_it() {
    let server = Recorder::answering([tokens]).await;
    let verifier = CodeVerifier::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").unwrap();
    let tokens = server
        .ring()
        .exchange_code(&credentials(), &code(), Some(&verifier))
        .await;
    assert_eq!(tokens.unwrap().access_token.expose(), "aaa");
    let [asked] = server.asked().try_into().unwrap();
    assert_eq!(asked.header("content-type"), Some("application/json"));
    let sent: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
    let expected = json!({
        "grant_type": "authorization_code",
        "code_verifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        "client_id": "client 1",
        "code": "c0de/+&=",
        "client_secret": SECRET,
    });
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn a_refresh_token_goes_out_as_a_form() {
    let server = Recorder::answering([tokens]).await;
    server.ring().refresh(&credentials(), &refresh_token()).await.unwrap();
    let [asked] = server.asked().try_into().unwrap();
    assert_eq!(
        asked.body,
        "grant_type=refresh_token&refresh_token=s3cret.refresh%2B%2F%3D&client_id=client+1\
         &client_secret=s3cret%26%3D%2B%25+%C3%BC"
    );
}

#[tokio::test]
async fn a_refresh_has_one_attempt_whatever_the_answer() {
    for status in [400, 401, 429, 500, 502, 503, 504] {
        let server = Recorder::new(move |_, _| Some(answer(status, &[("retry-after", "0")], ""))).await;
        server
            .ring()
            .refresh(&credentials(), &refresh_token())
            .await
            .unwrap_err();
        assert_eq!(server.asked().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_is_unclear_and_not_asked_for_again() {
    let (url, taken) = cutting().await;
    let ring = Ring::new(settings(&url)).unwrap();
    let error = ring.refresh(&credentials(), &refresh_token()).await.unwrap_err();
    assert!(matches!(&error, TokenError::Unclear(source) if matches!(**source, Error::Unclear(Unclear::Broken(_)))));
    let error = ring.exchange_code(&credentials(), &code(), None).await.unwrap_err();
    assert!(matches!(error, TokenError::Unclear(_)));
    assert_eq!(*taken.lock().unwrap(), 2);

    let server = Recorder::new(|_, _| None).await;
    let ring = Ring::new(Settings {
        timeout: Duration::from_millis(200),
        ..server.settings()
    })
    .unwrap();
    let error = ring.exchange_code(&credentials(), &code(), None).await.unwrap_err();
    assert!(matches!(&error, TokenError::Unclear(source) if matches!(**source, Error::Unclear(Unclear::TimedOut))));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_no_token_response_is_unclear() {
    let server = Recorder::answering([
        || answer(200, &[], "<html>s3cret"),
        || answer(200, &[], vec![b' '; 9 << 20]),
    ])
    .await;
    for _ in 0..2 {
        let error = server
            .ring()
            .refresh(&credentials(), &refresh_token())
            .await
            .unwrap_err();
        assert!(matches!(error, TokenError::Unclear(_)), "{error:?}");
        assert!(!told(&error).contains("s3cret"));
    }
    // The second one is too large to be kept.
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn trap_2_a_code_is_sent_again_only_if_it_surely_was_not_sent() {
    // Two failures open the circuit: so it shows how often a connection was tried.
    let circuit = |circuit_failures, url| {
        Ring::new(Settings {
            circuit_failures,
            ..settings(url)
        })
        .unwrap()
    };
    let url = nobody().await;
    let is_open = |error: &TokenError| matches!(error, TokenError::NotSent(source) if matches!(**source, Error::NotSent(NotSent::CircuitOpen(_))));

    let ring = circuit(2, &url);
    let error = ring.exchange_code(&credentials(), &code(), None).await.unwrap_err();
    assert!(
        matches!(&error, TokenError::NotSent(_)) && !is_open(&error),
        "{error:?}"
    );
    assert_eq!(error.pause(), None, "one connection that failed asks nobody to wait");
    assert!(is_open(
        &ring.refresh(&credentials(), &refresh_token()).await.unwrap_err()
    ));

    let ring = circuit(3, &url);
    ring.exchange_code(&credentials(), &code(), None).await.unwrap_err();
    assert!(!is_open(
        &ring.refresh(&credentials(), &refresh_token()).await.unwrap_err()
    ));
    let error = ring.refresh(&credentials(), &refresh_token()).await.unwrap_err();
    assert!(is_open(&error));
    assert!(error.pause().is_some_and(|wait| wait > Duration::from_secs(5)));
}

#[tokio::test]
async fn what_must_not_be_done_twice_has_a_connection_of_its_own() {
    let server = Recorder::answering([tokens]).await;
    let ring = server.ring();
    for _ in 0..3 {
        ring.refresh(&credentials(), &refresh_token()).await.unwrap();
    }
    let mut from: Vec<u16> = server.asked().into_iter().map(|asked| asked.from).collect();
    from.sort_unstable();
    from.dedup();
    assert_eq!(from.len(), 3);
}

#[tokio::test]
async fn no_error_of_the_token_endpoint_quotes_a_secret() {
    for status in [400, 401, 500] {
        let server = Recorder::new(move |_, asked| Some(answer(status, &[], format!("you sent {}", asked.body)))).await;
        let error = server
            .ring()
            .refresh(&credentials(), &refresh_token())
            .await
            .unwrap_err();
        let told = told(&error);
        assert!(!told.contains("s3cret"), "{told}");

        let quoted = format!("bad token {REFRESH} of {SECRET}");
        let server = Recorder::new(move |_, _| {
            Some(answer_json(
                status,
                &json!({"error": quoted, "error_description": quoted}),
            ))
        })
        .await;
        let error = server
            .ring()
            .refresh(&credentials(), &refresh_token())
            .await
            .unwrap_err();
        assert!(!self::told(&error).contains("s3cret"));
    }
}

#[tokio::test]
async fn no_error_of_the_token_endpoint_quotes_what_was_sent_as_json_or_as_a_form() {
    let (code, verifier) = (
        AuthorizationCode::new("s3cret+code").unwrap(),
        CodeVerifier::new("s3cret-verifier").unwrap(),
    );
    // What a form encodes, and what JSON does.
    let credentials = Credentials::new("client 1", "s3cret&=% \\\"ü").unwrap();
    for (verifier, secrets) in [(Some(&verifier), 3), (None, 2)] {
        for (status, nth) in [400, 401, 403, 500]
            .into_iter()
            .flat_map(|status| (0..secrets).map(move |nth| (status, nth)))
        {
            // The request comes back where an error has its words; as those are cut off, from each secret on.
            let server = Recorder::new(move |_, asked| {
                let (from, _) = asked
                    .body
                    .match_indices("s3cret")
                    .nth(nth)
                    .expect("each secret is sent");
                let words = format!("can't read {}", &asked.body[from..]);
                Some(answer_json(
                    status,
                    &json!({"error": words, "error_description": words, "title": words, "detail": words}),
                ))
            })
            .await;
            let asked = server.ring().exchange_code(&credentials, &code, verifier).await;
            let told = told(&asked.unwrap_err());
            assert!(!told.contains("s3cret"), "{told}");
        }
    }
}

#[tokio::test]
async fn a_pair_without_a_usable_access_token_comes_with_its_refresh_token() {
    let server =
        Recorder::answering([|| answer_json(200, &json!({"refresh_token": "rrr", "expires_in": 14400}))]).await;
    let tokens = server.ring().refresh(&credentials(), &refresh_token()).await.unwrap();
    assert_eq!(tokens.refresh_token.as_ref().unwrap().expose(), "rrr");
    assert!(!tokens.has_access());
}

#[tokio::test]
async fn a_redirect_of_the_token_endpoint_is_not_followed() {
    let other = Recorder::answering([tokens]).await;
    let target = other.url.to_string();
    let server = Recorder::new(move |_, _| Some(answer(307, &[("location", &target)], ""))).await;
    let ring = Ring::new(Settings {
        bearer_hosts: vec![other.host()],
        ..server.settings()
    })
    .unwrap();
    let error = ring.refresh(&credentials(), &refresh_token()).await.unwrap_err();
    assert!(matches!(error, TokenError::Rejected { status: 307, .. }));
    assert_eq!(other.asked().len(), 0);
}
