//! users/me, and what holds for all that is asked of the API: bearer, repetition, budget, circuits.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use futures_util::stream;
use ring_partner::error::{Endpoint, Error, NotSent, Unclear};
use ring_partner::{Decision, Ring, Settings};
use serde_json::json;

use crate::recorder::{Recorder, TOKEN, answer, cutting, error, json as answer_json, nobody, settings, token, told};

fn user() -> axum::response::Response {
    answer_json(
        200,
        &json!({"data": {"type": "users", "id": "ava1.ring.account.XXXYYY", "attributes": {}}}),
    )
}

fn busy() -> axum::response::Response {
    error(500, "Internal Server Error")
}

#[tokio::test]
async fn the_user_is_asked_for_with_the_bearer() {
    let server = Recorder::answering([user]).await;
    let ring = server.ring();
    for _ in 0..2 {
        assert_eq!(ring.me(&token()).await.unwrap().id.as_str(), "ava1.ring.account.XXXYYY");
    }
    let [first, second] = server.asked().try_into().unwrap();
    assert_eq!((first.method.as_str(), first.path.as_str()), ("GET", "/v1/users/me"));
    assert_eq!(first.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert_eq!(first.from, second.from, "a connection is used again");
}

#[tokio::test]
async fn trap_13_a_refused_token_is_to_be_refreshed_and_is_not_tried_again() {
    for status in [401, 403] {
        let server = Recorder::new(move |_, _| Some(error(status, "Invalid Client"))).await;
        let failed = server.ring().me(&token()).await.unwrap_err();
        assert_eq!(failed.decision(), Decision::Refresh);
        assert_eq!(failed.answer().unwrap().endpoint, Endpoint::Users);
        assert_eq!(server.asked().len(), 1);
    }
}

#[tokio::test]
async fn trap_74_what_may_pass_is_tried_three_times_and_ends_with_the_error() {
    let server = Recorder::answering([busy, || error(429, "Rate Limit Exceeded"), user]).await;
    let settings = Settings {
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_secs(3),
        ..server.settings()
    };
    assert!(Ring::new(settings).unwrap().me(&token()).await.is_ok());
    assert_eq!(server.asked().len(), 3);

    let server = Recorder::answering([busy]).await;
    let failed = server.ring().me(&token()).await.unwrap_err();
    assert_eq!(failed.answer().unwrap().status, 500);
    assert_eq!(server.asked().len(), 3);

    for status in [400, 404, 409, 422] {
        let server = Recorder::new(move |_, _| Some(error(status, "No"))).await;
        server.ring().me(&token()).await.unwrap_err();
        assert_eq!(server.asked().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn trap_72_a_short_retry_after_is_waited_for() {
    let server = Recorder::answering([|| answer(503, &[("retry-after", "1")], ""), user]).await;
    let ring = Ring::new(Settings {
        longest_wait: Duration::from_secs(2),
        ..server.settings()
    })
    .unwrap();
    let start = Instant::now();
    ring.me(&token()).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn traps_71_and_73_a_long_retry_after_is_told_at_once_and_holds_for_everything() {
    let server = Recorder::answering([|| answer(429, &[("retry-after", "60")], ""), user]).await;
    let ring = server.ring();
    let start = Instant::now();
    let failed = ring.me(&token()).await.unwrap_err();
    assert_eq!(failed.decision(), Decision::RetryAfter(Duration::from_secs(60)));
    // Another endpoint, and another handle to the same client: Ring's limit is the partner's.
    let held = ring.clone().devices(&token()).await.unwrap_err();
    assert!(matches!(held, Error::NotSent(NotSent::BudgetSpent(wait)) if wait > Duration::from_secs(50)));
    assert!(matches!(held.decision(), Decision::RetryAfter(wait) if wait > Duration::from_secs(50)));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn trap_71_the_last_request_of_a_window_is_waited_after() {
    let server = Recorder::answering([|| {
        let mut last = user();
        last.headers_mut().insert("x-ratelimit-remaining", "0".parse().unwrap());
        last
    }])
    .await;
    let ring = server.ring();
    ring.me(&token()).await.unwrap();
    let held = ring.me(&token()).await.unwrap_err();
    assert!(matches!(held, Error::NotSent(NotSent::BudgetSpent(wait)) if wait <= Duration::from_secs(1)));

    let ring = Ring::new(Settings {
        longest_wait: Duration::from_secs(2),
        ..server.settings()
    })
    .unwrap();
    let start = Instant::now();
    ring.me(&token()).await.unwrap();
    ring.me(&token()).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(900));
}

#[tokio::test]
async fn a_status_is_not_lost_over_a_body_that_does_not_come() {
    let server = Recorder::answering([|| {
        answer(
            404,
            &[],
            Body::from_stream(stream::pending::<Result<Bytes, Infallible>>()),
        )
    }])
    .await;
    let ring = Ring::new(Settings {
        timeout: Duration::from_millis(500),
        ..server.settings()
    })
    .unwrap();
    let told = tokio::time::timeout(Duration::from_secs(10), ring.me(&token())).await;
    assert_eq!(told.unwrap().unwrap_err().decision(), Decision::Gone);
}

#[tokio::test]
async fn trap_72_a_retry_after_may_be_a_date() {
    let server = Recorder::answering([|| {
        let headers = [
            ("date", "Fri, 13 Feb 2026 13:39:57 GMT"),
            ("retry-after", "Fri, 13 Feb 2026 13:41:57 GMT"),
        ];
        answer(503, &headers, "")
    }])
    .await;
    let failed = server.ring().me(&token()).await.unwrap_err();
    assert_eq!(failed.decision(), Decision::RetryAfter(Duration::from_secs(120)));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again_and_then_unclear() {
    let (url, taken) = cutting().await;
    let failed = Ring::new(settings(&url)).unwrap().me(&token()).await.unwrap_err();
    assert!(matches!(failed, Error::Unclear(Unclear::Broken(_))));
    assert_eq!(*taken.lock().unwrap(), 3);

    let server = Recorder::new(|number, _| (number > 0).then(user)).await;
    let ring = Ring::new(Settings {
        timeout: Duration::from_millis(200),
        ..server.settings()
    })
    .unwrap();
    assert!(ring.me(&token()).await.is_ok());
}

#[tokio::test]
async fn a_ring_that_cannot_be_reached_is_told_without_the_url() {
    let url = nobody().await;
    let failed = Ring::new(settings(&url)).unwrap().me(&token()).await.unwrap_err();
    assert!(matches!(failed, Error::NotSent(NotSent::Unreachable(_))));
    assert!(matches!(failed.decision(), Decision::RetryAfter(_)));
    assert!(!told(&failed).contains("/v1/users/me") && !told(&failed).contains(TOKEN));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Recorder::answering([user]).await;
    let target = other.url.to_string();
    let server = Recorder::new(move |_, _| Some(answer(301, &[("location", &target)], ""))).await;
    let failed = server.ring().me(&token()).await.unwrap_err();
    assert_eq!(
        (failed.answer().unwrap().status, failed.decision()),
        (301, Decision::GiveUp)
    );
    assert_eq!((server.asked().len(), other.asked().len()), (1, 0));
}

#[tokio::test]
async fn bodies_have_a_bound() {
    let server = Recorder::answering([|| answer(200, &[], vec![b'{'; 2048])]).await;
    let ring = Ring::new(Settings {
        body_limit: 1024,
        ..server.settings()
    })
    .unwrap();
    let failed = ring.me(&token()).await.unwrap_err();
    assert!(matches!(failed, Error::TooLarge { limit: 1024 }));
    assert_eq!(failed.decision(), Decision::GiveUp);

    // Of an error's body so much is read as is of use, and no answer is waited for without end.
    let server = Recorder::answering([|| answer(404, &[], vec![b' '; 1 << 20])]).await;
    let failed = server.ring().me(&token()).await.unwrap_err();
    assert_eq!(failed.decision(), Decision::Gone);
}

#[tokio::test]
async fn no_error_quotes_the_token() {
    let server = Recorder::new(|_, asked| {
        let sent = asked.header("authorization").unwrap();
        Some(answer_json(
            400,
            &json!({"errors": [{"title": sent, "detail": sent, "code": sent, "id": sent}]}),
        ))
    })
    .await;
    let failed = server.ring().me(&token()).await.unwrap_err();
    assert!(told(&failed).contains("[hidden]") && !told(&failed).contains(TOKEN));
}

#[tokio::test]
async fn failures_open_the_circuit_of_their_class_alone_until_it_has_cooled_down() {
    let server = Recorder::new(|number, asked| match asked.path.as_str() {
        "/v1/users/me" if number < 2 => Some(busy()),
        "/v1/users/me" => Some(user()),
        _ => Some(answer_json(200, &json!({"data": []}))),
    })
    .await;
    let ring = Ring::new(Settings {
        attempts: 1,
        circuit_failures: 2,
        circuit_cool_down: Duration::from_millis(300),
        ..server.settings()
    })
    .unwrap();
    for _ in 0..2 {
        assert!(matches!(ring.me(&token()).await, Err(Error::Api(_))));
    }
    let open = ring.me(&token()).await.unwrap_err();
    assert!(matches!(open, Error::NotSent(NotSent::CircuitOpen(_))));
    assert_eq!(server.asked().len(), 2);
    assert!(ring.devices(&token()).await.is_ok());
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert!(ring.me(&token()).await.is_ok());
}

#[tokio::test]
async fn what_a_client_shows_of_itself_is_no_secret() {
    let server = Recorder::answering([user]).await;
    let ring = server.ring();
    ring.me(&token()).await.unwrap();
    assert!(!format!("{ring:?}").contains(TOKEN));
}

#[test]
fn a_proxy_of_the_environment_is_not_used() {
    // Another process, as the environment is a process's own: there another test must go well with a proxy that is none.
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "users::the_user_is_asked_for_with_the_bearer"])
        .envs(["HTTP_PROXY", "http_proxy", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:1")))
        .output()
        .unwrap();
    let told = String::from_utf8(child.stdout).unwrap();
    assert!(child.status.success() && told.contains("1 passed"), "{told}");
}
