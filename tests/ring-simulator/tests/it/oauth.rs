//! `POST /oauth/token`.

use ring_simulator::{Config, Settings, Simulator};
use serde_json::{Value, json};

use crate::world::{CLIENT, SECRET, World, pair, read};

#[tokio::test]
async fn a_code_gives_the_documented_pair_and_works_once() {
    let world = World::with_devices(json!([])).await;
    let code = world.code().await;
    let answer = world.exchange(&code).await.expect(200);
    assert_eq!(answer.json["expires_in"], 14_400);
    assert_eq!(answer.json["token_type"], "Bearer");
    assert!(
        answer.json["scope"]
            .as_str()
            .is_some_and(|scope| scope.contains("video:read"))
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    let (access, refresh) = pair(&answer);
    assert!(refresh.contains(['+', '/', '=']), "a form must percent-encode it");
    world.api("GET", "/v1/users/me", &access, Value::Null).await.expect(200);

    let again = world.exchange(&code).await.expect(400);
    assert_eq!(again.json["error"], "invalid_grant");
    world.api("GET", "/v1/users/me", &access, Value::Null).await.expect(403);
    assert_eq!(world.refresh(&refresh).await.expect(400).json["error"], "invalid_grant");
}

#[tokio::test]
async fn trap_2_a_code_lives_sixty_seconds_of_the_simulators_clock() {
    let world = World::with_devices(json!([])).await;
    let (last_moment, too_late) = (world.code().await, world.code().await);
    world.advance(60.0).await;
    world.exchange(&last_moment).await.expect(200);
    world.advance(0.001).await;
    assert_eq!(
        world.exchange(&too_late).await.expect(400).json["error"],
        "invalid_grant"
    );
}

#[tokio::test]
async fn trap_4_the_legacy_model_is_json_with_a_code_verifier() {
    let world = World::with_devices(json!([])).await;
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"; // RFC 7636, appendix B
    let install = json!({"push": false, "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"});
    let code = world.of_user("POST", "/install", install).await.expect(200).json["code"].clone();
    let ask = async |verifier: Value| {
        let body = json!({
            "grant_type": "authorization_code", "code_verifier": verifier, "client_id": CLIENT, "code": code,
            "client_secret": SECRET,
        });
        let request = world
            .http
            .post(world.ring.oauth_url())
            .header("content-type", "application/json");
        read(request.body(body.to_string())).await
    };
    assert_eq!(ask(Value::Null).await.expect(400).json["error"], "invalid_request");
    assert_eq!(ask(json!("another")).await.expect(400).json["error"], "invalid_grant");
    ask(json!(verifier)).await.expect(200);
}

#[tokio::test]
async fn trap_11_errors_have_the_shape_of_rfc_6749() {
    let world = World::with_devices(json!([])).await;
    let code = world.code().await;
    let check = async |form: &[(&str, &str)], status: u16, error: &str| {
        assert_eq!(
            world.token_form(form).await.expect(status).json["error"],
            error,
            "{form:?}"
        );
    };
    let grant = ("grant_type", "authorization_code");
    let (id, secret) = (("client_id", CLIENT), ("client_secret", SECRET));
    check(
        &[grant, ("code", &code), ("client_id", "x"), secret],
        401,
        "invalid_client",
    )
    .await;
    check(
        &[grant, ("code", &code), id, ("client_secret", "x")],
        401,
        "invalid_client",
    )
    .await;
    check(&[grant, ("code", &code), id], 401, "invalid_client").await;
    check(&[grant, ("code", "never-minted"), id, secret], 400, "invalid_grant").await;
    check(&[grant, id, secret], 400, "invalid_request").await;
    check(&[id, secret], 400, "invalid_request").await;
    check(&[grant, grant, ("code", &code), id, secret], 400, "invalid_request").await;
    check(&[("grant_type", "password"), id, secret], 400, "unsupported_grant_type").await;
    let wrong_type = read(
        world
            .http
            .post(world.ring.oauth_url())
            .body("grant_type=authorization_code"),
    )
    .await;
    assert_eq!(wrong_type.expect(400).json["error"], "invalid_request");
    world.exchange(&code).await.expect(200); // none of these spent it
}

#[tokio::test]
async fn trap_9_in_strict_mode_reuse_of_a_spent_refresh_token_kills_the_family() {
    let world = World::with_devices(json!([])).await;
    let (other_access, _) = world.tokens().await;
    let (_, first) = world.tokens().await;
    let (access, second) = pair(&world.refresh(&first).await.expect(200));
    assert_ne!(first, second);
    world.api("GET", "/v1/users/me", &access, Value::Null).await.expect(200);
    assert_eq!(world.refresh(&first).await.expect(400).json["error"], "invalid_grant");
    assert_eq!(world.refresh(&second).await.expect(400).json["error"], "invalid_grant");
    world.api("GET", "/v1/users/me", &access, Value::Null).await.expect(403);
    world
        .api("GET", "/v1/users/me", &other_access, Value::Null)
        .await
        .expect(200); // another install, another family
}

#[tokio::test]
async fn trap_9_in_grace_mode_the_previous_token_gives_the_same_successor_for_a_while() {
    let world = World::with_devices(json!([])).await;
    world
        .control("PUT", "/config", json!({"refresh_mode": "grace", "grace_seconds": 30}))
        .await
        .expect(200);
    let (_, first) = world.tokens().await;
    let successor = pair(&world.refresh(&first).await.expect(200));
    world.advance(30.0).await;
    let repeated = world.refresh(&first).await.expect(200);
    assert_eq!(pair(&repeated), successor);
    assert_eq!(
        repeated.json["expires_in"], 14_370,
        "it is the same token, and it has aged"
    );
    world.advance(0.001).await;
    world.refresh(&first).await.expect(400);
    world.refresh(&successor.1).await.expect(400);
}

#[tokio::test]
async fn trap_15_a_refresh_token_is_no_bearer_and_tokens_age_by_the_simulators_clock() {
    let world = World::with_devices(json!([])).await;
    let access = world.linked().await;
    let (_, refresh) = world.tokens().await;
    world.api("GET", "/v1/devices", &refresh, Value::Null).await.expect(401);
    world
        .api("GET", "/v1/users/me", &refresh, Value::Null)
        .await
        .expect(403);
    world.advance(14_399.0).await;
    world.api("GET", "/v1/devices", &access, Value::Null).await.expect(200);
    world.advance(1.0).await;
    let expired = world.api("GET", "/v1/devices", &access, Value::Null).await.expect(401);
    assert_eq!(
        expired.json,
        json!({"errors": [{"status": "401", "title": "Invalid Client"}]})
    );
    world.advance(30.0 * 86_400.0 - 14_400.0).await;
    let (_, refresh) = pair(&world.refresh(&refresh).await.expect(200));
    world.advance(30.0 * 86_400.0 + 0.001).await;
    world.refresh(&refresh).await.expect(400);
}

#[tokio::test]
async fn a_scope_opens_what_it_names() {
    let world = World::with_devices(json!(["doorbell"])).await;
    world.linked().await;
    let install = json!({"push": false, "scope": "devices:read"});
    let code = world.of_user("POST", "/install", install).await.expect(200).json["code"].clone();
    let (access, _) = pair(&world.exchange(code.as_str().expect("a code")).await.expect(200));
    let device = world.device(0).await;
    world
        .api("GET", "/v1/devices?include=status", &access, Value::Null)
        .await
        .expect(200);
    let refused = world
        .api("GET", "/v1/devices?include=configurations", &access, Value::Null)
        .await
        .expect(403);
    assert_eq!(refused.error(), "Out of Scope Access");
    world
        .api(
            "GET",
            &format!("/v1/devices/{device}/configurations"),
            &access,
            Value::Null,
        )
        .await
        .expect(403);
    let clip = format!("/v1/devices/{device}/media/video/download");
    let refused = world
        .api("POST", &clip, &access, json!({"timestamp": 1, "duration": 1}))
        .await
        .expect(403);
    assert_eq!(refused.error(), "REQUEST_FORBIDDEN");
}

#[tokio::test]
async fn the_partners_credentials_are_those_it_was_started_with() {
    let settings = Settings {
        client_id: "other".into(),
        ..Settings::default()
    };
    let ring = Simulator::start(Config {
        settings,
        ..Config::default()
    })
    .await
    .expect("free ports");
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", "x"),
        ("client_secret", SECRET),
    ];
    let ask = async |id: &str| {
        let form: Vec<_> = form.into_iter().chain([("client_id", id)]).collect();
        read(reqwest::Client::new().post(ring.oauth_url()).form(&form)).await
    };
    assert_eq!(ask(CLIENT).await.expect(401).json["error"], "invalid_client");
    assert_eq!(ask("other").await.expect(400).json["error"], "invalid_grant");
}
