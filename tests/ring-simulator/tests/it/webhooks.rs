//! Webhooks: signatures, the schedule, copies, and what is odd on order.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::world::{Pushed, World};

fn signature(key: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any length");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

#[track_caller]
fn signed(pushed: &Pushed, key: &str) -> bool {
    let header = pushed.headers.get("x-signature").expect("a signature");
    header.as_bytes() == signature(key, &pushed.body).as_bytes()
}

async fn delivery(world: &World, id: &Value) -> Value {
    let path = format!("/deliveries/{}", id.as_str().expect("an id"));
    world.control("GET", &path, Value::Null).await.expect(200).json
}

#[tokio::test]
async fn an_event_is_posted_signed_as_documented() {
    let world = World::with_devices(json!(["doorbell"])).await;
    let partner = world.partner().await;
    let order = json!({"type": "motion_detected", "timestamp": 1_770_989_995_231_i64, "wait": true});
    let told = world.of_user("POST", "/events", order).await.expect(200);
    let pushed = partner.pushed();
    assert_eq!(pushed.len(), 1);
    assert_eq!(
        (pushed[0].method.as_str(), pushed[0].target.as_str()),
        ("POST", "/ring/webhook")
    );
    assert_eq!(pushed[0].headers["content-type"], "application/json");
    assert!(signed(&pushed[0], "simulator-signing-key"));
    let body: Value = serde_json::from_slice(&pushed[0].body).expect("JSON");
    assert_eq!(body, told.json["body"]);
    assert_eq!(body["meta"]["request_id"], told.json["request_id"]);
    assert_eq!(body["meta"]["account_id"], world.user);
    assert_eq!(body["meta"]["time"], "2026-02-14T12:00:00.000000000Z");
    assert_eq!(body["data"]["attributes"]["source"], world.device(0).await);
    assert_eq!(told.json["outcomes"][0]["status"], "delivered");
}

#[tokio::test]
async fn all_six_types_and_unknown_ones_are_told_and_the_world_follows() {
    let world = World::with_devices(json!(["doorbell"])).await;
    let partner = world.partner().await;
    let access = world.linked().await;
    let device = world.device(0).await;
    let status = async || {
        let path = format!("/v1/devices/{device}/status");
        world.api("GET", &path, &access, Value::Null).await.json["data"]["attributes"]["online"].clone()
    };
    let tell = async |kind: &str| {
        world
            .of_user("POST", "/events", json!({"type": kind, "device": device, "wait": true}))
            .await
            .expect(200);
    };
    tell("device_added").await;
    tell("device_offline").await;
    assert_eq!(status().await, false);
    tell("device_online").await;
    assert_eq!(status().await, true);
    tell("motion_detected").await;
    tell("button_press").await;
    let now = world.now_ms().await;
    let clip = json!({"timestamp": now - 4_000, "duration": 4_000});
    world
        .api(
            "POST",
            &format!("/v1/devices/{device}/media/video/download"),
            &access,
            clip,
        )
        .await
        .expect(200);
    tell("package_seen_from_the_future").await;
    tell("device_removed").await;
    assert_eq!(status().await, Value::Null);
    let kinds: Vec<Value> = partner
        .pushed()
        .iter()
        .map(|pushed| serde_json::from_slice::<Value>(&pushed.body).expect("JSON")["data"]["type"].clone())
        .collect();
    let expected = [
        "device_added",
        "device_offline",
        "device_online",
        "motion_detected",
        "button_press",
        "package_seen_from_the_future",
        "device_removed",
    ];
    assert_eq!(json!(kinds), json!(expected));
}

#[tokio::test]
async fn trap_47_the_schedule_is_rings_to_the_millisecond() {
    let world = World::with_devices(json!(["doorbell"])).await;
    let partner = world.partner().await;
    partner.answers(&[500; 7]);
    let told = world
        .of_user("POST", "/events", json!({"type": "button_press", "wait": true}))
        .await
        .expect(200);
    let id = &told.json["delivery"];
    for (made, delay) in [(1, 1.0), (2, 5.0), (3, 30.0), (4, 120.0), (5, 600.0), (6, 3_600.0)] {
        assert_eq!(partner.pushed().len(), made);
        world.advance(delay - 0.001).await;
        assert_eq!(
            delivery(&world, id).await["status"],
            "due",
            "a millisecond before {delay} s"
        );
        assert_eq!(partner.pushed().len(), made);
        world.advance(0.001).await;
        assert_eq!(partner.pushed().len(), made + 1, "at {delay} s");
    }
    let dead = delivery(&world, id).await;
    assert_eq!(dead["status"], "dead_lettered");
    assert_eq!(dead["attempts"].as_array().map(Vec::len), Some(7));
    assert_eq!(
        dead["attempts"][6]["began"], "2026-02-14T13:12:36Z",
        "4,356 s after the first"
    );
    world.advance(86_400.0).await;
    assert_eq!(partner.pushed().len(), 7, "no eighth attempt");
    let bodies: Vec<_> = partner.pushed().into_iter().map(|pushed| pushed.body).collect();
    assert!(
        bodies.iter().all(|body| *body == bodies[0]),
        "request_id and all else stay over the attempts"
    );
}

#[tokio::test]
async fn one_long_step_of_the_clock_visits_every_attempt_on_the_way() {
    let world = World::with_devices(json!(["doorbell"])).await;
    let partner = world.partner().await;
    partner.answers(&[503, 500, 599, 500, 502]);
    let told = world
        .of_user("POST", "/events", json!({"type": "button_press"}))
        .await
        .expect(202);
    world.advance(86_400.0).await;
    let found = delivery(&world, &told.json["delivery"]).await;
    assert_eq!(found["status"], "delivered");
    let began: Vec<&str> = found["attempts"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|attempt| attempt["began"].as_str())
        .collect();
    let expected = ["12:00:00", "12:00:01", "12:00:06", "12:00:36", "12:02:36", "12:12:36"];
    assert_eq!(began, expected.map(|time| format!("2026-02-14T{time}Z")));
}

#[tokio::test]
async fn the_clock_of_a_running_simulator_sends_retries_by_itself() {
    let world = World::with_devices(json!(["doorbell"])).await;
    world
        .control("PUT", "/clock", json!({"frozen": false}))
        .await
        .expect(200);
    let partner = world.partner().await;
    partner.answers(&[500]);
    world
        .of_user("POST", "/events", json!({"type": "button_press", "wait": true}))
        .await
        .expect(200);
    assert_eq!(partner.pushed().len(), 1);
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    assert_eq!(partner.pushed().len(), 2);
}

#[tokio::test]
async fn trap_42_a_4xx_is_final_and_a_timeout_is_not() {
    let world = World::with_devices(json!(["doorbell"])).await;
    let partner = world.partner().await;
    partner.answers(&[404]);
    let told = world
        .of_user("POST", "/events", json!({"type": "button_press", "wait": true}))
        .await
        .expect(200);
    assert_eq!(told.json["outcomes"][0]["status"], "refused");
    world
        .control("PUT", "/config", json!({"webhook_timeout_ms": 50}))
        .await
        .expect(200);
    partner.is_slow(Duration::from_millis(500));
    let told = world
        .of_user("POST", "/events", json!({"type": "button_press", "wait": true}))
        .await
        .expect(200);
    let outcome = &told.json["outcomes"][0];
    assert_eq!(
        (&outcome["status"], &outcome["attempts"][0]["status"]),
        (&json!("due"), &Value::Null)
    );
    assert_eq!(outcome["attempts"][0]["error"], "no answer in time");
    assert_eq!(outcome["next_due"], "2026-02-14T12:00:01Z");
    partner.is_slow(Duration::ZERO);
    world.advance(1.0).await;
    assert_eq!(delivery(&world, &told.json["delivery"]).await["status"], "delivered");
    assert_eq!(partner.pushed().len(), 3);
}

#[tokio::test]
async fn trap_62_a_dead_letter_can_be_replayed_for_72_hours() {
    let world = World::with_devices(json!(["doorbell"])).await;
    let partner = world.partner().await;
    partner.answers(&[500; 7]);
    let told = world
        .of_user("POST", "/events", json!({"type": "button_press"}))
        .await
        .expect(202);
    let replay = format!("/deliveries/{}/replay", told.json["delivery"].as_str().expect("an id"));
    world.control("POST", &replay, Value::Null).await.expect(409); // it is not over
    world.advance(4_356.0).await;
    let dead = world
        .control("GET", "/deliveries?status=dead_lettered", Value::Null)
        .await
        .expect(200);
    assert_eq!(dead.json["items"][0]["id"], told.json["delivery"]);
    world.advance(72.0 * 3_600.0).await;
    let again = world.control("POST", &replay, json!({"wait": true})).await.expect(200);
    assert_eq!(again.json["outcomes"][0]["status"], "delivered");
    assert_eq!(again.json["outcomes"][0]["request_id"], told.json["request_id"]);
    let renamed = world
        .control("POST", &replay, json!({"wait": true, "new_request_id": true}))
        .await
        .expect(200);
    assert_ne!(renamed.json["outcomes"][0]["request_id"], told.json["request_id"]);
    let body: Value = serde_json::from_slice(&partner.pushed().last().expect("one").body).expect("JSON");
    assert_eq!(body["meta"]["request_id"], renamed.json["outcomes"][0]["request_id"]);
    assert_eq!(body["data"]["id"], told.json["body"]["data"]["id"]);
    world.advance(0.001).await;
    world.control("POST", &replay, Value::Null).await.expect(410);
    let expired = world
        .control("GET", "/deliveries?status=expired", Value::Null)
        .await
        .expect(200);
    assert_eq!(expired.json["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn keys_rotate_and_signatures_go_wrong_on_order() {
    let world = World::with_devices(json!(["doorbell"])).await;
    let partner = world.partner().await;
    let keys = world
        .control("POST", "/keys/rotate", json!({"key": "the-new-key"}))
        .await
        .expect(200);
    assert_eq!(
        keys.json,
        json!({"signing_key": "the-new-key", "signing_key_previous": "simulator-signing-key"})
    );
    for how in ["current", "previous", "wrong", "none"] {
        world
            .of_user(
                "POST",
                "/events",
                json!({"type": "button_press", "key": how, "wait": true}),
            )
            .await
            .expect(200);
    }
    let order = json!({"type": "button_press", "signature": "sha1=abc", "wait": true});
    world.of_user("POST", "/events", order).await.expect(200);
    let pushed = partner.pushed();
    assert!(signed(&pushed[0], "the-new-key"));
    assert!(signed(&pushed[1], "simulator-signing-key"));
    assert!(!signed(&pushed[2], "the-new-key") && !signed(&pushed[2], "simulator-signing-key"));
    assert!(!pushed[3].headers.contains_key("x-signature"));
    assert_eq!(pushed[4].headers["x-signature"], "sha1=abc");
}

#[tokio::test]
async fn copies_of_one_webhook_come_at_once_with_one_request_id() {
    let world = World::with_devices(json!(["doorbell"])).await;
    let partner = world.partner().await;
    partner.is_slow(Duration::from_millis(300));
    let begun = std::time::Instant::now();
    let order = json!({"type": "motion_detected", "copies": 5, "request_id": "mine", "wait": true});
    let told = world.of_user("POST", "/events", order).await.expect(200);
    assert!(
        begun.elapsed() < Duration::from_millis(1_200),
        "five one after the other take 1,500 ms"
    );
    assert_eq!(told.json["deliveries"].as_array().map(Vec::len), Some(5));
    let pushed = partner.pushed();
    assert_eq!(pushed.len(), 5);
    assert!(pushed.iter().all(|other| other.body == pushed[0].body));
    assert_eq!(told.json["body"]["meta"]["request_id"], "mine");
}

#[tokio::test]
async fn raw_bytes_are_signed_as_they_are() {
    let world = World::with_devices(json!([])).await;
    let partner = world.partner().await;
    let text = json!({"body": "{not json", "wait": true});
    world.control("POST", "/events/raw", text).await.expect(200);
    let bytes = json!({"body_base64": "/wD+", "content_type": "application/octet-stream", "wait": true});
    world.control("POST", "/events/raw", bytes).await.expect(200);
    let pushed = partner.pushed();
    assert_eq!(&pushed[0].body[..], b"{not json");
    assert_eq!(&pushed[1].body[..], b"\xff\x00\xfe");
    assert_eq!(pushed[1].headers["content-type"], "application/octet-stream");
    assert!(pushed.iter().all(|pushed| signed(pushed, "simulator-signing-key")));
    world.control("POST", "/events/raw", json!({})).await.expect(400);
}

#[tokio::test]
async fn pushes_carry_the_configured_headers_and_host() {
    let world = World::with_devices(json!(["doorbell"])).await;
    let partner = world.partner().await;
    let change = json!({
        "token_exchange_url": format!("{}/ring/token/key?stage=a", partner.url),
        "push_headers": {"Host": "abc.execute-api.localhost:4566", "X-Extra": "yes"},
    });
    world.control("PUT", "/config", change).await.expect(200);
    world
        .of_user("POST", "/events", json!({"type": "button_press", "wait": true}))
        .await
        .expect(200);
    for format in ["json", "form", "query"] {
        let told = world
            .of_user("POST", "/install", json!({"format": format}))
            .await
            .expect(200);
        assert_eq!(
            (&told.json["pushed"], &told.json["partner_status"]),
            (&json!(true), &json!(200))
        );
        let pushed = partner.pushed().pop().expect("a push");
        let code = told.json["code"].as_str().expect("a code");
        match format {
            "json" => assert_eq!(
                serde_json::from_slice::<Value>(&pushed.body).expect("JSON"),
                json!({"code": code})
            ),
            "form" => assert_eq!(pushed.body, format!("code={code}")),
            _ => assert_eq!(pushed.target, format!("/ring/token/key?stage=a&code={code}")),
        }
    }
    for pushed in partner.pushed() {
        assert_eq!(pushed.headers.get_all("host").iter().count(), 1);
        assert_eq!(pushed.headers["host"], "abc.execute-api.localhost:4566");
        assert_eq!(pushed.headers["x-extra"], "yes");
    }
    let sent = world.journal("direction=sent&door=code").await;
    assert_eq!(sent.len(), 3);
    assert_eq!(sent[0]["path"], "/ring/token/key");
}

#[tokio::test]
async fn a_partner_that_refuses_or_is_away_is_an_answer_and_not_an_error() {
    let world = World::with_devices(json!(["doorbell"])).await;
    world.of_user("POST", "/install", json!({})).await.expect(409);
    world
        .of_user("POST", "/events", json!({"type": "button_press"}))
        .await
        .expect(409);
    let closed = json!({"token_exchange_url": "http://127.0.0.1:9/x", "webhook_url": "http://127.0.0.1:9/y"});
    world.control("PUT", "/config", closed).await.expect(200);
    let told = world.of_user("POST", "/install", json!({})).await.expect(200);
    assert_eq!(
        (&told.json["partner_status"], &told.json["partner_error"]),
        (&Value::Null, &json!("no connection"))
    );
    let told = world
        .of_user("POST", "/events", json!({"type": "button_press", "wait": true}))
        .await
        .expect(200);
    assert_eq!(told.json["outcomes"][0]["status"], "due");
}

#[tokio::test]
async fn devices_added_changed_and_removed_are_announced_on_order() {
    let world = World::with_devices(json!([])).await;
    let partner = world.partner().await;
    let order = json!({"preset": "doorbell", "announce": true});
    let device = world.of_user("POST", "/devices", order).await.expect(201).json["id"].clone();
    let path = format!("/devices/{}", device.as_str().expect("an id"));
    world
        .of_user("PATCH", &path, json!({"online": false, "announce": true}))
        .await
        .expect(200);
    world
        .of_user("DELETE", &format!("{path}?announce=true"), Value::Null)
        .await
        .expect(204);
    world.advance(0.001).await; // waits until nothing is under way
    let mut kinds: Vec<String> = partner
        .pushed()
        .iter()
        .map(|pushed| serde_json::from_slice::<Value>(&pushed.body).expect("JSON")["data"]["type"].to_string())
        .collect();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        [r#""device_added""#, r#""device_offline""#, r#""device_removed""#]
    );
}
