//! Listing devices.

use axum::response::Response;
use ring_partner::error::{Error, NotSent};
use ring_partner::{Decision, DeviceId, Ring, Settings};
use serde_json::{Value, json};

use crate::recorder::{Recorder, TOKEN, error, json as answer_json, token};

const INCLUDE: &str = "include=status,capabilities,location,configurations";

/// A device that relates to all four parts, under links that begin with this.
fn device(id: &str, links: &str) -> Value {
    let part = |name: &str, kind: &str| json!({"data": {"type": kind, "id": format!("{id}-{name}")}, "links": {"related": format!("{links}/{name}")}});
    json!({
        "type": "devices",
        "id": id,
        "attributes": {"name": "Front Door"},
        "relationships": {
            "status": part("status", "device-status"),
            "capabilities": part("capabilities", "device-capabilities"),
            "location": part("location", "locations"),
            "configurations": part("configurations", "device-configurations"),
        },
    })
}

/// All parts of two devices.
fn both(first: &str, second: &str) -> Vec<Value> {
    let parts = ["status", "capabilities", "location", "configurations"];
    [first, second]
        .into_iter()
        .flat_map(|id| parts.map(|name| part(id, name)))
        .collect()
}

fn part(id: &str, name: &str) -> Value {
    let (kind, attributes) = match name {
        "status" => ("device-status", json!({"online": true})),
        "capabilities" => ("device-capabilities", json!({"video": {"codecs": ["AVC"]}})),
        "location" => ("locations", json!({"country": "US"})),
        _ => ("device-configurations", json!({"motion_detection": {"enabled": "on"}})),
    };
    json!({"type": kind, "id": format!("{id}-{name}"), "attributes": attributes})
}

fn is_whole(device: &ring_partner::Device) -> bool {
    device.status.is_some()
        && device.capabilities.is_some()
        && device.location.is_some()
        && device.configurations.is_some()
}

#[tokio::test]
async fn trap_81_one_request_brings_devices_with_all_parts() {
    let server = Recorder::new(|_, _| {
        let data = [device("a", "/v1/devices/a"), device("b", "/v1/devices/b")];
        Some(answer_json(200, &json!({"data": data, "included": both("a", "b")})))
    })
    .await;
    let devices = server.ring().devices(&token()).await.unwrap();
    assert_eq!(
        devices.iter().map(|device| device.id.as_str()).collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert!(devices.iter().all(is_whole));
    let [asked] = server.asked().try_into().unwrap();
    assert_eq!(asked.path, format!("/v1/devices?{INCLUDE}"));
    assert_eq!(asked.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
}

/// Answers a listing without `included`, and each part by itself.
fn by_parts(links: String) -> impl Fn(usize, &crate::recorder::Asked) -> Option<Response> {
    move |_, asked| {
        Some(match asked.path.rsplit_once('/').unwrap() {
            (_, list) if list.starts_with("devices?") => answer_json(200, &json!({"data": [device("a", &links)]})),
            (_, name) => answer_json(200, &json!({"data": part("a", name)})),
        })
    }
}

#[tokio::test]
async fn trap_78_parts_that_are_not_included_are_fetched_from_where_ring_says() {
    let server = Recorder::new(by_parts("/v2/elsewhere/a".to_owned())).await;
    let [device] = server.ring().devices(&token()).await.unwrap().try_into().unwrap();
    assert!(is_whole(&device));
    let asked: Vec<String> = server.asked().into_iter().skip(1).map(|asked| asked.path).collect();
    assert_eq!(
        asked,
        ["status", "capabilities", "location", "configurations"].map(|part| format!("/v2/elsewhere/a/{part}"))
    );
}

#[tokio::test]
async fn trap_78_a_link_that_leads_away_is_not_followed() {
    let elsewhere = Recorder::new(by_parts(String::new())).await;
    for link in [
        elsewhere.url.join("/x").unwrap().to_string(),
        format!("//{}/x", elsewhere.host()),
        "https://evil.test/x".to_owned(),
        format!("http://user@{}/x", elsewhere.host()),
        "ftp:x".to_owned(),
    ] {
        let server = Recorder::new(by_parts(link.clone())).await;
        let ring = Ring::new(Settings {
            bearer_hosts: vec![elsewhere.host()],
            ..server.settings()
        })
        .unwrap();
        let [device] = ring.devices(&token()).await.unwrap().try_into().unwrap();
        assert!(is_whole(&device), "{link}");
        // The documented place instead.
        assert_eq!(server.asked()[1].path, "/v1/devices/a/status", "{link}");
    }
    assert_eq!(elsewhere.asked().len(), 0);
}

#[tokio::test]
async fn trap_77_a_part_that_ring_does_not_show_is_left_out_and_a_failure_is_one() {
    for (status, whole) in [(404, true), (403, true), (401, false), (400, false), (500, false)] {
        let server = Recorder::new(move |_, asked| {
            if asked.path.ends_with("/location") {
                return Some(error(status, "No"));
            }
            by_parts("/v1/devices/a".to_owned())(0, asked)
        })
        .await;
        match server.ring().devices(&token()).await {
            Ok(devices) => assert!(whole && devices[0].location.is_none() && devices[0].configurations.is_some()),
            Err(failed) => assert!(!whole && failed.answer().unwrap().status == status),
        }
    }
}

#[tokio::test]
async fn trap_80_pages_are_followed_to_their_end() {
    let server = Recorder::new(|number, _| {
        let body = match number {
            0 => json!({"data": [device("a", ""), device("b", "")], "included": both("a", "b"),
                "links": {"next": format!("/v1/devices?{INCLUDE}&page=2")}}),
            // The list has changed meanwhile: b is there again.
            1 => json!({"data": [device("b", ""), device("c", "")], "included": both("b", "c"),
                "links": {"next": "?page=3"}}),
            _ => json!({"data": [], "links": {"next": null}}),
        };
        Some(answer_json(200, &body))
    })
    .await;
    let devices = server.ring().devices(&token()).await.unwrap();
    assert_eq!(
        devices.iter().map(|device| device.id.as_str()).collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    let asked: Vec<String> = server.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(
        asked,
        [
            format!("/v1/devices?{INCLUDE}"),
            format!("/v1/devices?{INCLUDE}&page=2"),
            "/v1/devices?page=3".to_owned()
        ]
    );
}

#[tokio::test]
async fn trap_80_pages_without_end_are_an_error() {
    let circle = Recorder::new(|_, _| {
        Some(answer_json(
            200,
            &json!({"data": [], "links": {"next": format!("/v1/devices?{INCLUDE}")}}),
        ))
    })
    .await;
    assert!(matches!(circle.ring().devices(&token()).await, Err(Error::Unusable(_))));
    assert_eq!(circle.asked().len(), 1);

    let endless = Recorder::new(|number, _| {
        Some(answer_json(
            200,
            &json!({"data": [], "links": {"next": format!("/v1/devices?page={number}")}}),
        ))
    })
    .await;
    assert!(matches!(
        endless.ring().devices(&token()).await,
        Err(Error::Unusable(_))
    ));
    assert_eq!(endless.asked().len(), 100);
}

#[tokio::test]
async fn trap_80_a_next_page_elsewhere_is_an_error_and_not_a_shorter_list() {
    let elsewhere = Recorder::new(|_, _| Some(answer_json(200, &json!({"data": []})))).await;
    let next = elsewhere.url.join("/v1/devices?page=2").unwrap().to_string();
    let server = Recorder::new(move |_, _| Some(answer_json(200, &json!({"data": [], "links": {"next": next}})))).await;
    assert!(matches!(server.ring().devices(&token()).await, Err(Error::Unusable(_))));
    assert_eq!(elsewhere.asked().len(), 0);
}

#[tokio::test]
async fn one_device_is_asked_for_by_one_segment_with_all_parts() {
    let id = "ava1.ring.device.a/b?c";
    let server = Recorder::new(move |number, asked| {
        Some(match number {
            0 => answer_json(
                200,
                &json!({"data": {"type": "devices", "id": id, "attributes": {"name": "X"}}}),
            ),
            _ => answer_json(200, &json!({"data": part("a", asked.path.rsplit_once('/').unwrap().1)})),
        })
    })
    .await;
    let device = server
        .ring()
        .device(&token(), &DeviceId::new(id).unwrap())
        .await
        .unwrap();
    assert!(is_whole(&device));
    let asked: Vec<String> = server.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(asked[0], format!("/v1/devices/ava1.ring.device.a%2Fb%3Fc?{INCLUDE}"));
    assert_eq!(asked[1], "/v1/devices/ava1.ring.device.a%2Fb%3Fc/status");
    assert_eq!(asked.len(), 5);
}

#[tokio::test]
async fn trap_77_a_device_that_is_gone_or_another_one_is_an_error() {
    let server = Recorder::answering([
        || error(404, "Not Found"),
        || answer_json(200, &json!({"data": {"type": "devices", "id": "another"}})),
    ])
    .await;
    let ring = server.ring();
    let id = DeviceId::new("a").unwrap();
    assert_eq!(ring.device(&token(), &id).await.unwrap_err().decision(), Decision::Gone);
    assert!(matches!(ring.device(&token(), &id).await, Err(Error::Unusable(_))));
}

#[tokio::test]
async fn an_offline_device_does_not_open_a_circuit() {
    let server = Recorder::answering([|| error(503, "Device Unavailable")]).await;
    let ring = Ring::new(Settings {
        circuit_failures: 1,
        ..server.settings()
    })
    .unwrap();
    for _ in 0..3 {
        let failed = ring.device(&token(), &DeviceId::new("a").unwrap()).await.unwrap_err();
        assert_eq!(failed.decision(), Decision::Offline);
    }
    assert_eq!(server.asked().len(), 3);
    let busy = Recorder::answering([|| error(503, "Service Unavailable")]).await;
    let ring = Ring::new(Settings {
        circuit_failures: 1,
        ..busy.settings()
    })
    .unwrap();
    let failed = ring.device(&token(), &DeviceId::new("a").unwrap()).await.unwrap_err();
    assert!(matches!(failed, Error::NotSent(NotSent::CircuitOpen(_))));
}

#[tokio::test]
async fn an_api_may_lie_under_a_path() {
    let server = Recorder::new(by_parts("/v1/devices/a".to_owned())).await;
    let api_url = server.url.join("/ring/").unwrap();
    let ring = Ring::new(Settings {
        api_url,
        ..server.settings()
    })
    .unwrap();
    let [device] = ring.devices(&token()).await.unwrap().try_into().unwrap();
    assert!(is_whole(&device));
    let asked = server.asked();
    assert_eq!(asked[0].path, format!("/ring/v1/devices?{INCLUDE}"));
    assert_eq!(asked[1].path, "/ring/v1/devices/a/status");
}
