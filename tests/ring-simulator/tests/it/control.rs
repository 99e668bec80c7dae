//! The control API itself: the journal, the clock, users, settings, problems.

use ring_simulator::{Config, Simulator};
use serde_json::{Value, json};

use crate::world::{World, read};

#[tokio::test]
async fn the_journal_holds_what_came_and_no_secret() {
    let world = World::with_devices(json!(["doorbell"])).await;
    let partner = world.partner().await;
    let access = world.linked().await;
    let device = world.device(0).await;
    world
        .api("GET", &format!("/v1/devices/{device}/status"), &access, Value::Null)
        .await
        .expect(200);
    world
        .of_user("POST", "/events", json!({"type": "button_press", "wait": true}))
        .await
        .expect(200);
    world
        .api("GET", "/v1/devices", "garbage", Value::Null)
        .await
        .expect(401);

    let of_device = world.journal(&format!("direction=received&device={device}")).await;
    assert_eq!(of_device.len(), 1);
    let entry = &of_device[0];
    assert_eq!((&entry["method"], &entry["status"]), (&json!("GET"), &json!(200)));
    assert_eq!((&entry["user"], &entry["bearer"]), (&json!(world.user), &json!(true)));
    assert_eq!(entry["bearer_sha256"].as_str().map(str::len), Some(12));
    assert!(
        entry["header_names"]
            .as_array()
            .expect("a list")
            .contains(&json!("authorization"))
    );
    let refused = world.journal("status=401").await;
    assert_eq!(refused[0]["notes"], json!(["unknown token"]));
    let exchange = world.journal("door=oauth&note=authorization_code").await;
    assert_eq!(exchange[0]["credentials_sha256"].as_array().map(Vec::len), Some(1));
    let sent = world.journal("direction=sent").await;
    assert_eq!((&sent[0]["door"], &sent[0]["status"]), (&json!("webhook"), &json!(200)));
    assert_eq!(sent[0]["notes"], json!(["button_press", "attempt 1"]));
    assert_eq!(partner.pushed().len(), 1);

    let everything = json!(world.journal("").await).to_string();
    assert!(!everything.contains(&access) && !everything.contains(crate::world::SECRET));
    let last = world.journal("limit=1").await[0]["seq"].as_u64().expect("a number");
    assert!(world.journal(&format!("since={last}")).await.is_empty());
    world.control("DELETE", "/journal", Value::Null).await.expect(204);
    assert!(world.journal("").await.is_empty());
    world
        .control("GET", "/journal?colour=red", Value::Null)
        .await
        .expect(400);
}

#[tokio::test]
async fn the_clock_goes_forward_back_and_stands_still() {
    let world = World::with_devices(json!([])).await;
    let time = async |order: Value| world.control("PUT", "/clock", order).await.expect(200).json;
    assert_eq!(
        time(json!({"advance_seconds": 0.5})).await,
        json!({"now": "2026-02-14T12:00:00.5Z", "frozen": true})
    );
    assert_eq!(
        time(json!({"advance_seconds": -3_600})).await["now"],
        "2026-02-14T11:00:00.5Z"
    );
    assert_eq!(
        time(json!({"now": "2027-01-01T00:00:00Z"})).await["now"],
        "2027-01-01T00:00:00Z"
    );
    assert_eq!(time(json!({"frozen": false})).await["frozen"], false);
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let now = world.control("GET", "/clock", Value::Null).await.json["now"]
        .as_str()
        .expect("a time")
        .to_owned();
    assert!(
        now.starts_with("2027-01-01T00:00:0") && now.as_str() > "2027-01-01T00:00:00.02",
        "{now}"
    );
    for wrong in [
        json!({}),
        json!({"now": "soon"}),
        json!({"now": "2027-01-01T00:00:00Z", "advance_seconds": 1}),
        json!({"advance_seconds": 1e300}),
    ] {
        world.control("POST", "/clock", wrong).await.expect(400);
    }
}

#[tokio::test]
async fn settings_change_by_name_and_a_wrong_one_is_refused_whole() {
    let world = World::with_devices(json!([])).await;
    let changed = world
        .control(
            "PUT",
            "/config",
            json!({"client_id": "mine", "webhook_url": "http://x/"}),
        )
        .await;
    assert_eq!(changed.expect(200).json["client_id"], "mine");
    let cleared = world
        .control("PUT", "/config", json!({"webhook_url": null}))
        .await
        .expect(200);
    assert_eq!(
        (&cleared.json["webhook_url"], &cleared.json["client_id"]),
        (&Value::Null, &json!("mine"))
    );
    for wrong in [
        json!({"clientid": "x"}),
        json!({"client_id": "other", "webhook_url": "ftp://x/"}),
        json!({"client_id": null}),
        json!({"signing_key": ""}),
        json!({"push_headers": {"a b": "c"}}),
        json!({"webhook_timeout_ms": 0}),
        json!({"refresh_mode": "lenient"}),
    ] {
        world.control("PUT", "/config", wrong).await.expect(400);
    }
    assert_eq!(
        world.control("GET", "/config", Value::Null).await.json["client_id"],
        "mine"
    );
}

#[tokio::test]
async fn users_and_devices_come_and_go() {
    let world = World::with_devices(json!([])).await;
    let full = json!({
        "id": "ava1.ring.account.X/Y", "first_name": "Ann", "devices": ["doorbell", {"id": "d.1_%", "preset": "odd_id", "name": "N"}],
    });
    let made = world.control("POST", "/users", full.clone()).await.expect(201);
    assert_eq!(
        (&made.json["devices"][1]["id"], &made.json["devices"][1]["name"]),
        (&json!("d.1_%"), &json!("N"))
    );
    world.control("POST", "/users", full).await.expect(409);
    world
        .control("POST", "/users", json!({"devices": [{"id": "d.1_%"}]}))
        .await
        .expect(409);
    let wrong = world
        .control("POST", "/users", json!({"devices": ["doorbell", "toaster"]}))
        .await
        .expect(400);
    assert!(
        wrong.json["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("devices[1]") && detail.contains("doorbell"))
    );
    let list = world.control("GET", "/users", Value::Null).await.expect(200);
    assert_eq!(list.json["items"].as_array().map(Vec::len), Some(2));
    let path = "/users/ava1.ring.account.X%2FY";
    world
        .control("DELETE", &format!("{path}/devices/d.1_%25"), Value::Null)
        .await
        .expect(204);
    world
        .control("DELETE", &format!("{path}/devices/d.1_%25"), Value::Null)
        .await
        .expect(404);
    world.control("DELETE", path, Value::Null).await.expect(204);
    world.control("GET", path, Value::Null).await.expect(404);
}

#[tokio::test]
async fn tokens_end_on_order_and_the_state_counts_what_lives() {
    let world = World::with_devices(json!(["doorbell"])).await;
    let access = world.linked().await;
    let (second_access, refresh) = world.tokens().await;
    let state = async || {
        world.control("GET", "/state", Value::Null).await.expect(200).json["users"][world.user.as_str()].clone()
    };
    let before = state().await;
    assert_eq!(
        (&before["live_families"], &before["live_access_tokens"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(
        (&before["integration"]["status"], &before["devices"]),
        (&json!("completed"), &json!(1))
    );
    world
        .control("POST", "/tokens/revoke", json!({"user": world.user, "which": "access"}))
        .await
        .expect(200);
    world.api("GET", "/v1/devices", &access, Value::Null).await.expect(401);
    world
        .api("GET", "/v1/devices", &second_access, Value::Null)
        .await
        .expect(401);
    world.refresh(&refresh).await.expect(200); // the refresh tokens live on
    world
        .control("POST", "/tokens/revoke", json!({"user": world.user}))
        .await
        .expect(200);
    let after = state().await;
    assert_eq!(
        (&after["live_families"], &after["live_access_tokens"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(after["families"][0]["dead"], "revoked on order");
    world
        .control("POST", "/tokens/revoke", json!({"user": "nobody"}))
        .await
        .expect(404);
}

#[tokio::test]
async fn health_lists_every_endpoint_and_each_exists() {
    let world = World::with_devices(json!([])).await;
    let health = world.control("GET", "/health", Value::Null).await.expect(200);
    assert_eq!(health.json["api_url"], world.ring.api_url());
    let endpoints = health.json["endpoints"].as_array().expect("a list");
    for endpoint in endpoints {
        let path = endpoint["path"]
            .as_str()
            .and_then(|path| path.strip_prefix("/_sim"))
            .expect("a path");
        let path = path.replace(['{', '}'], "");
        let answer = world
            .control(endpoint["method"].as_str().expect("a method"), &path, json!({"?": 1}))
            .await;
        let no_route = answer.json["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("/_sim/health"));
        assert!(!no_route, "{endpoint} leads nowhere");
    }
    world.control("GET", "/nothing", Value::Null).await.expect(404);
    world.control("PATCH", "/users", Value::Null).await.expect(405);
}

#[tokio::test]
async fn the_demo_world_has_varied_devices_with_something_recorded() {
    let ring = Simulator::start(Config {
        demo_world: true,
        ..Config::default()
    })
    .await
    .expect("free ports");
    let users = read(reqwest::Client::new().get(format!("{}/_sim/users", ring.control_url())))
        .await
        .expect(200);
    let devices: Vec<&Value> = users.json["items"]
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|user| user["devices"].as_array().expect("a list"))
        .collect();
    assert_eq!(devices.len(), 6);
    assert!(devices.iter().any(|device| device["online"] == false));
    assert!(devices.iter().any(|device| device["location"].is_null()));
    assert!(devices.iter().any(|device| {
        device["configurations"]["image_enhancements"]["privacy_zones"]
            .as_array()
            .is_some_and(|zones| !zones.is_empty())
    }));
    assert!(
        devices
            .iter()
            .all(|device| device["footage"].as_array().is_some_and(|footage| footage.len() == 1))
    );
    let control = ring.control_url().to_owned();
    ring.shutdown().await;
    assert!(
        reqwest::get(format!("{control}/_sim/health")).await.is_err(),
        "nobody listens any more"
    );
}
