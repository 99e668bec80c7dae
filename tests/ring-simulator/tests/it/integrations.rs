//! users/me and app-integrations.

use serde_json::{Value, json};

use crate::world::World;

const PATH: &str = "/v1/accounts/me/app-integrations";

#[tokio::test]
async fn trap_13_users_me_is_as_documented_and_answers_403_to_a_bad_token() {
    let world = World::with_devices(json!([])).await;
    let (access, _) = world.tokens().await;
    let me = world.api("GET", "/v1/users/me", &access, Value::Null).await.expect(200);
    let expected = json!({"data": {"type": "users", "id": world.user, "attributes": {
        "first_name": "John", "last_name": "Doe", "email": "johndoe@example.com", "phone_number": "18006561918",
    }}});
    assert_eq!(me.json, expected);
    world
        .api("GET", "/v1/users/me", "garbage", Value::Null)
        .await
        .expect(403);
}

#[tokio::test]
async fn trap_35_post_then_patch_completes_a_link() {
    let world = World::with_devices(json!(["doorbell"])).await;
    let (access, _) = world.tokens().await;
    let link = "https://partner.example.com/ring/link?from=app";
    world
        .control("PUT", "/config", json!({"account_link_url": link}))
        .await
        .expect(200);
    let early = world
        .api("PATCH", PATH, &access, json!({"status": "completed"}))
        .await
        .expect(400);
    assert_eq!(early.error(), "Invalid Status Transition");
    world.api("GET", "/v1/devices", &access, Value::Null).await.expect(403);

    let confirmed = world.of_user("POST", "/confirm", Value::Null).await.expect(200);
    let (nonce, time) = (
        confirmed.json["nonce"].as_str().expect("one"),
        confirmed.json["time"].as_str().expect("one"),
    );
    assert_eq!(time, world.now_ms().await.to_string());
    assert_eq!(confirmed.json["url"], format!("{link}&nonce={nonce}&time={time}"));
    let order = json!({"account_identifier": "u***r@partner.example.com", "nonce": nonce});
    assert_eq!(
        world.api("POST", PATH, &access, order).await.expect(200).json,
        json!({"status": "awaiting"})
    );
    world.api("GET", "/v1/devices", &access, Value::Null).await.expect(200);

    let completed = world
        .api("PATCH", PATH, &access, json!({"status": "completed"}))
        .await
        .expect(200);
    let expected = json!({
        "account_identifier": "u***r@partner.example.com", "status": "completed", "updated_at": "2026-02-14T12:00:00Z",
    });
    assert_eq!(completed.json, expected);
    let probe = world
        .api("PATCH", PATH, &access, json!({"account_identifier": "n***w"}))
        .await
        .expect(200);
    assert_eq!(
        (&probe.json["status"], &probe.json["account_identifier"]),
        (&json!("completed"), &json!("n***w"))
    );
    assert_eq!(
        world.api("PATCH", PATH, &access, json!({})).await.expect(400).error(),
        "Missing Required Fields"
    );
    assert_eq!(
        world.api("PATCH", PATH, &access, Value::Null).await.expect(400).error(),
        "Missing Required Fields"
    );
    let unknown = world
        .api("PATCH", PATH, &access, json!({"status": "paused"}))
        .await
        .expect(400);
    assert_eq!(unknown.error(), "Invalid Status Transition");
}

#[tokio::test]
async fn trap_36_a_repeated_status_is_accepted_or_refused_as_configured() {
    let world = World::with_devices(json!([])).await;
    let access = world.linked().await;
    world
        .api("PATCH", PATH, &access, json!({"status": "completed"}))
        .await
        .expect(200);
    world
        .control("PUT", "/config", json!({"refuse_repeated_status": true}))
        .await
        .expect(200);
    let refused = world
        .api("PATCH", PATH, &access, json!({"status": "completed"}))
        .await
        .expect(400);
    assert_eq!(refused.error(), "Invalid Status Transition");
    let probe = world
        .api("PATCH", PATH, &access, json!({"account_identifier": "u***r"}))
        .await
        .expect(200);
    assert_eq!(probe.json["status"], "completed");
}

#[tokio::test]
async fn trap_24_a_nonce_must_be_this_users_and_ten_minutes_young() {
    let world = World::with_devices(json!([])).await;
    let (access, _) = world.tokens().await;
    let mint = async || world.of_user("POST", "/confirm", Value::Null).await.expect(200).json["nonce"].clone();
    let post = async |nonce: &Value| world.api("POST", PATH, &access, json!({"nonce": nonce})).await;
    assert_eq!(post(&Value::Null).await.expect(400).error(), "Missing Required Fields");
    assert_eq!(post(&json!("")).await.expect(400).error(), "Missing Required Fields");
    let made_up = json!("yT8jdW_nu2W4gR6FI-l8hkPpt_c9EAf4DJ9CTIcuM7c");
    assert_eq!(post(&made_up).await.expect(400).error(), "Invalid Nonce");

    let other = world
        .control("POST", "/users", json!({"id": "ava1.ring.account.OTHER"}))
        .await
        .expect(201);
    let other = format!("/users/{}", other.json["id"].as_str().expect("an id"));
    world
        .control("POST", &format!("{other}/confirm"), Value::Null)
        .await
        .expect(409); // nothing is installed there
    world
        .control("POST", &format!("{other}/install"), json!({"push": false}))
        .await
        .expect(200);
    let theirs = world
        .control("POST", &format!("{other}/confirm"), Value::Null)
        .await
        .expect(200)
        .json["nonce"]
        .clone();
    assert_eq!(post(&theirs).await.expect(400).error(), "Invalid Nonce");

    let nonce = mint().await;
    world.advance(600.0).await;
    post(&nonce).await.expect(200);
    world.advance(0.001).await;
    assert_eq!(post(&nonce).await.expect(400).error(), "Invalid Nonce");
    let under_the_old_key = mint().await;
    world.control("POST", "/keys/rotate", Value::Null).await.expect(200);
    post(&under_the_old_key).await.expect(200);
    world.control("POST", "/keys/rotate", Value::Null).await.expect(200);
    assert_eq!(post(&under_the_old_key).await.expect(400).error(), "Invalid Nonce");
}

#[tokio::test]
async fn trap_26_a_nonce_is_for_single_use_when_so_configured() {
    let world = World::with_devices(json!([])).await;
    let (access, _) = world.tokens().await;
    let nonce = world.of_user("POST", "/confirm", Value::Null).await.expect(200).json["nonce"].clone();
    world
        .api("POST", PATH, &access, json!({"nonce": nonce}))
        .await
        .expect(200);
    world
        .api("POST", PATH, &access, json!({"nonce": nonce}))
        .await
        .expect(200);
    world
        .control("PUT", "/config", json!({"nonces_single_use": true}))
        .await
        .expect(200);
    let used = world
        .api("POST", PATH, &access, json!({"nonce": nonce}))
        .await
        .expect(400);
    assert_eq!(used.error(), "Invalid Nonce");
}

#[tokio::test]
async fn after_an_uninstall_no_token_and_no_integration_is_left() {
    let world = World::with_devices(json!(["doorbell"])).await;
    let access = world.linked().await;
    let ended = world.of_user("POST", "/uninstall", Value::Null).await.expect(200);
    assert_eq!(ended.json, json!({"families_ended": 1, "access_tokens_ended": 1}));
    world.api("GET", "/v1/devices", &access, Value::Null).await.expect(401);
    world
        .api("POST", PATH, &access, json!({"nonce": "x"}))
        .await
        .expect(401);
    // A token of a later install: there is an integration again, and it is not confirmed.
    let (access, _) = world.tokens().await;
    world.api("GET", "/v1/devices", &access, Value::Null).await.expect(403);
}

#[tokio::test]
async fn app_integrations_without_an_integration_are_404_and_with_a_bad_token_401() {
    let world = World::with_devices(json!(["doorbell"])).await;
    let partner = world.partner().await;
    let access = world.linked().await;
    let event = json!({"type": "app_integration_removed", "wait": true});
    world.of_user("POST", "/events", event).await.expect(200);
    assert_eq!(partner.pushed().len(), 1);
    for (method, body) in [
        ("POST", json!({"nonce": "x"})),
        ("PATCH", json!({"status": "completed"})),
    ] {
        assert_eq!(
            world.api(method, PATH, &access, body.clone()).await.expect(404).error(),
            "Not Found"
        );
        assert_eq!(
            world.api(method, PATH, "garbage", body).await.expect(401).error(),
            "Invalid Client"
        );
    }
}
