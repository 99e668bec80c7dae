//! app-integrations.

use ring_partner::error::{Error, NotSent, Unclear};
use ring_partner::{Decision, IntegrationStatus, Nonce, Ring};
use serde_json::json;

use crate::recorder::{Recorder, TOKEN, answer, cutting, error, json as answer_json, settings, token, told};

const NONCE: &str = "yT8jdW_nu2W4gR6FI-l8hkPpt_c9EAf4DJ9CTIcuM7c";

fn nonce() -> Nonce {
    Nonce::parse(NONCE).unwrap()
}

fn awaiting() -> axum::response::Response {
    answer_json(200, &json!({"status": "awaiting"}))
}

fn completed() -> axum::response::Response {
    answer_json(
        200,
        &json!({"account_identifier": "u***r@d", "status": "completed", "updated_at": "2026-02-03T00:35:00Z"}),
    )
}

#[tokio::test]
async fn a_link_is_confirmed_with_the_nonce_and_the_masked_identifier() {
    let server = Recorder::answering([awaiting]).await;
    let ring = server.ring();
    let status = ring
        .confirm_link(&token(), Some("u***r@partner.example.com"), &nonce())
        .await
        .unwrap();
    assert_eq!(status, IntegrationStatus::Awaiting);
    ring.confirm_link(&token(), None, &nonce()).await.unwrap();

    let [with, without] = server.asked().try_into().unwrap();
    assert_eq!(
        (with.method.as_str(), with.path.as_str()),
        ("POST", "/v1/accounts/me/app-integrations")
    );
    assert_eq!(with.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert_eq!(with.header("content-type"), Some("application/json"));
    assert_eq!(
        with.json(),
        json!({"account_identifier": "u***r@partner.example.com", "nonce": NONCE})
    );
    assert_eq!(without.json(), json!({"nonce": NONCE}));
    assert_ne!(with.from, without.from, "a connection of its own");
}

#[tokio::test]
async fn a_confirmation_has_one_attempt_and_says_what_is_known_of_it() {
    for status in [400, 404, 429, 500, 503] {
        let server = Recorder::new(move |_, _| Some(error(status, "Invalid Nonce"))).await;
        let failed = server.ring().confirm_link(&token(), None, &nonce()).await.unwrap_err();
        let answer = failed.answer().unwrap();
        assert_eq!(
            (answer.status, answer.title.as_deref()),
            (status, Some("Invalid Nonce"))
        );
        assert_eq!(server.asked().len(), 1, "{status}");
    }
    let (url, taken) = cutting().await;
    let failed = Ring::new(settings(&url))
        .unwrap()
        .confirm_link(&token(), None, &nonce())
        .await
        .unwrap_err();
    assert!(matches!(failed, Error::Unclear(Unclear::Broken(_))));
    assert_eq!(*taken.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_yes_is_a_yes_whatever_its_body() {
    let server = Recorder::answering([
        || answer(200, &[], ""),
        || answer(204, &[], ""),
        || answer(200, &[], "{}"),
    ])
    .await;
    let ring = server.ring();
    for _ in 0..3 {
        let status = ring.confirm_link(&token(), None, &nonce()).await.unwrap();
        assert_eq!(status, IntegrationStatus::Awaiting);
    }
    let updated = ring
        .update_integration(&token(), Some("u***"), Some(IntegrationStatus::Completed))
        .await
        .unwrap();
    assert_eq!(updated.status, IntegrationStatus::Completed);
    assert!(matches!(
        ring.update_integration(&token(), Some("u***"), None).await,
        Err(Error::Unusable(_))
    ));
}

#[tokio::test]
async fn an_update_says_what_is_to_change_and_may_be_repeated() {
    let server = Recorder::answering([|| error(503, "Service Unavailable"), completed]).await;
    let ring = server.ring();
    let updated = ring
        .update_integration(&token(), None, Some(IntegrationStatus::Completed))
        .await
        .unwrap();
    assert_eq!(updated.status, IntegrationStatus::Completed);
    assert_eq!(updated.account_identifier.as_deref(), Some("u***r@d"));
    ring.update_integration(&token(), Some("n***w@d"), None).await.unwrap();

    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    for asked in &asked {
        assert_eq!(
            (asked.method.as_str(), asked.path.as_str()),
            ("PATCH", "/v1/accounts/me/app-integrations")
        );
    }
    assert_eq!(asked[0].json(), json!({"status": "completed"}));
    assert_eq!(asked[1].json(), asked[0].json());
    assert_eq!(asked[2].json(), json!({"account_identifier": "n***w@d"}));
}

#[tokio::test]
async fn an_update_of_nothing_is_not_sent() {
    let server = Recorder::answering([completed]).await;
    let failed = server
        .ring()
        .update_integration(&token(), None, None)
        .await
        .unwrap_err();
    assert!(matches!(failed, Error::NotSent(NotSent::Invalid(_))));
    assert_eq!(failed.decision(), Decision::GiveUp);
    assert_eq!(server.asked().len(), 0);
}

#[tokio::test]
async fn no_error_quotes_the_nonce() {
    let server = Recorder::new(|_, asked| Some(answer(400, &[], asked.body.clone()))).await;
    let failed = server.ring().confirm_link(&token(), None, &nonce()).await.unwrap_err();
    assert!(!told(&failed).contains(NONCE));
    let server = Recorder::new(|_, asked| Some(answer(400, &[], format!("no: {}", asked.body)))).await;
    let failed = server.ring().confirm_link(&token(), None, &nonce()).await.unwrap_err();
    assert!(told(&failed).contains("[hidden]") && !told(&failed).contains(NONCE));
}
