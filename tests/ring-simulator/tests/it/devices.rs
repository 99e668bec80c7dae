//! Device discovery, and the rate limit.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::world::{World, segment};

const ALL: &str = "include=status,capabilities,location,configurations";

#[tokio::test]
async fn trap_78_every_linkage_is_found_among_the_included_and_each_resource_once() {
    let world = World::with_devices(json!([
        "doorbell",
        "indoor_camera",
        "hevc_camera",
        "no_location",
        "odd_id"
    ]))
    .await;
    let access = world.linked().await;
    let list = world
        .api("GET", &format!("/v1/devices?{ALL}"), &access, Value::Null)
        .await
        .expect(200);
    assert_eq!(list.json["meta"]["time"], "2026-02-14T12:00:00Z");
    let key = |resource: &Value| (resource["type"].to_string(), resource["id"].to_string());
    let included: Vec<_> = list.json["included"]
        .as_array()
        .expect("a list")
        .iter()
        .map(key)
        .collect();
    let unique: BTreeSet<_> = included.iter().cloned().collect();
    assert_eq!(unique.len(), included.len());
    let devices = list.json["data"].as_array().expect("a list");
    assert_eq!(devices.len(), 5);
    for device in devices {
        let relationships = device["relationships"].as_object().expect("an object");
        assert_eq!(relationships.len(), 4);
        for (name, relationship) in relationships {
            let data = &relationship["data"];
            assert!(
                unique.contains(&key(data)) || (name == "location" && data.is_null()),
                "{device}"
            );
            let related = relationship["links"]["related"].as_str().expect("a path");
            let status = if data.is_null() { 404 } else { 200 };
            let one = world.api("GET", related, &access, Value::Null).await.expect(status);
            if status == 200 {
                assert_eq!(key(&one.json["data"]), key(data));
            }
        }
    }
    let plain = world.api("GET", "/v1/devices", &access, Value::Null).await.expect(200);
    assert!(plain.json.get("included").is_none());
    assert_eq!(plain.json["data"], list.json["data"]);
    world
        .api("GET", "/v1/devices?include=owner", &access, Value::Null)
        .await
        .expect(400);
}

#[tokio::test]
async fn trap_53_a_device_with_an_odd_id_is_reached_by_its_encoded_path() {
    let world = World::with_devices(json!(["odd_id"])).await;
    let access = world.linked().await;
    let id = world.device(0).await;
    assert!(id.contains('%') && id.contains('_') && id.contains('.'), "{id}");
    let path = format!("/v1/devices/{}", segment(&id));
    let one = world
        .api("GET", &format!("{path}?include=status"), &access, Value::Null)
        .await
        .expect(200);
    assert_eq!(one.json["data"]["id"], id);
    assert_eq!(one.json["included"][0]["attributes"], json!({"online": true}));
    let raw = world
        .api("GET", &format!("/v1/devices/{id}"), &access, Value::Null)
        .await;
    assert_eq!(raw.status, 404, "an id put into the path as it is leads elsewhere");
    let configurations = world
        .api("GET", &format!("{path}/configurations"), &access, Value::Null)
        .await
        .expect(200);
    assert!(
        configurations.json["data"]["attributes"]
            .get("image_enhancements")
            .is_none()
    );
}

#[tokio::test]
async fn trap_77_a_device_is_out_of_reach_before_the_link_and_after_its_removal() {
    let world = World::with_devices(json!(["doorbell"])).await;
    let (unlinked, _) = world.tokens().await;
    let id = world.device(0).await;
    let path = format!("/v1/devices/{id}");
    let early = world.api("GET", &path, &unlinked, Value::Null).await.expect(403);
    assert_eq!(early.error(), "Out of Scope Access");
    let access = world.linked().await;
    world.api("GET", &path, &access, Value::Null).await.expect(200);
    world
        .of_user("DELETE", &format!("/devices/{id}"), Value::Null)
        .await
        .expect(204);
    for part in ["", "/status", "/capabilities", "/location", "/configurations"] {
        world
            .api("GET", &format!("{path}{part}"), &access, Value::Null)
            .await
            .expect(404);
    }
    world.api("GET", "/v1/nothing", &access, Value::Null).await.expect(404);
    assert_eq!(
        world
            .api("GET", "/v1/devices", "garbage", Value::Null)
            .await
            .expect(401)
            .error(),
        "Invalid Client"
    );
}

#[tokio::test]
async fn a_patch_changes_what_the_api_shows() {
    let world = World::with_devices(json!(["doorbell"])).await;
    let access = world.linked().await;
    let id = world.device(0).await;
    let change = json!({
        "online": false,
        "configurations": {"motion_detection": {"enabled": "off"}, "image_enhancements": {"hdr": null}},
        "location": {"id": "loc-9", "country": "CA", "state": "ON"},
    });
    world
        .of_user("PATCH", &format!("/devices/{id}"), change)
        .await
        .expect(200);
    let get = async |part: &str| {
        let answer = world
            .api("GET", &format!("/v1/devices/{id}/{part}"), &access, Value::Null)
            .await
            .expect(200);
        answer.json["data"]["attributes"].clone()
    };
    assert_eq!(get("status").await, json!({"online": false}));
    assert_eq!(get("location").await, json!({"country": "CA", "state": "ON"}));
    let configurations = get("configurations").await;
    assert_eq!(configurations["motion_detection"]["enabled"], "off");
    assert!(
        configurations["motion_detection"]["motion_zones"][0]["vertices"][0]["x"].is_i64(),
        "trap 84: an integer"
    );
    assert!(configurations["image_enhancements"].get("hdr").is_none());
}

#[tokio::test]
async fn trap_80_pages_are_followed_by_links_next() {
    let world = World::with_devices(json!(["doorbell", "doorbell", "doorbell"])).await;
    let access = world.linked().await;
    world
        .control("PUT", "/config", json!({"page_size": 2}))
        .await
        .expect(200);
    let first = world
        .api("GET", "/v1/devices?include=status", &access, Value::Null)
        .await
        .expect(200);
    assert_eq!(first.json["data"].as_array().map(Vec::len), Some(2));
    let next = first.json["links"]["next"].as_str().expect("a next page");
    let second = world.api("GET", next, &access, Value::Null).await.expect(200);
    assert_eq!(second.json["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(second.json["included"].as_array().map(Vec::len), Some(1));
    assert!(second.json.get("links").is_none());
}

#[tokio::test]
async fn trap_71_the_rate_limit_counts_all_users_of_a_client_and_says_so() {
    let world = World::with_devices(json!([])).await;
    let (john, _) = world.tokens().await;
    let (jane, _) = world.tokens().await;
    let first = world.api("GET", "/v1/users/me", &john, Value::Null).await.expect(200);
    assert_eq!(
        (first.header("x-ratelimit-limit"), first.header("x-ratelimit-remaining")),
        ("100", "99")
    );
    world
        .control("PUT", "/config", json!({"rate_per_second": 3}))
        .await
        .expect(200);
    tokio::time::sleep(std::time::Duration::from_millis(1_050)).await; // the window is a second of real time
    for (token, remaining) in [(&john, "2"), (&jane, "1"), (&john, "0")] {
        let answer = world.api("GET", "/v1/users/me", token, Value::Null).await.expect(200);
        assert_eq!(answer.header("x-ratelimit-remaining"), remaining);
    }
    let refused = world.api("GET", "/v1/users/me", &jane, Value::Null).await.expect(429);
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(
        (
            refused.header("x-ratelimit-limit"),
            refused.header("x-ratelimit-remaining")
        ),
        ("3", "0")
    );
    assert_eq!(refused.error(), "Rate Limit Exceeded");
    tokio::time::sleep(std::time::Duration::from_millis(1_050)).await;
    world.api("GET", "/v1/users/me", &jane, Value::Null).await.expect(200);
}
