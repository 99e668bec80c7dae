//! Live video, seen by a viewer.

use std::time::Duration;

use serde_json::{Value, json};

use crate::viewer::Viewer;
use crate::world::{Answer, World, read, segment};

/// A linked world with one device.
struct Scene {
    world: World,
    access: String,
    device: String,
}

impl Scene {
    async fn new(device: Value) -> Self {
        let world = World::with_devices(json!([device])).await;
        let access = world.linked().await;
        let device = world.device(0).await;
        Self { world, access, device }
    }

    async fn with(live: Value) -> Self {
        Self::new(json!({"preset": "doorbell", "live": live})).await
    }

    fn path(&self) -> String {
        format!("/v1/devices/{}/media/streaming/whep/sessions", segment(&self.device))
    }

    async fn post(&self, kind: &str, offer: &str) -> Answer {
        let request = self
            .world
            .http
            .post(format!("{}{}", self.world.ring.api_url(), self.path()))
            .bearer_auth(&self.access)
            .header("content-type", kind)
            .body(offer.to_owned());
        read(request).await
    }

    /// A session that this viewer has accepted, and its URL.
    async fn open(&self, viewer: &Viewer) -> String {
        let answer = self.post("application/sdp", &viewer.offer).await.expect(201);
        assert_eq!(answer.header("content-type"), "application/sdp");
        let location = answer.header("location").to_owned();
        viewer.accept(std::str::from_utf8(&answer.bytes).expect("a text")).await;
        location
    }

    async fn delete(&self, url: &str) -> Answer {
        read(self.world.http.delete(url).bearer_auth(&self.access)).await
    }

    async fn sessions(&self) -> Vec<Value> {
        let answer = self.world.control("GET", "/live", Value::Null).await.expect(200);
        answer.json["items"].as_array().expect("a list").clone()
    }

    async fn open_ones(&self) -> u64 {
        let state = self.world.control("GET", "/state", Value::Null).await.expect(200);
        state.json["live_open"].as_u64().expect("a number")
    }

    async fn change(&self, live: Value) {
        let id = self.sessions().await[0]["id"].as_str().expect("an id").to_owned();
        self.world
            .control("PATCH", &format!("/live/{id}"), live)
            .await
            .expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doorbell_sends_h264_until_its_session_is_deleted() {
    let scene = Scene::new(json!("doorbell")).await;
    let viewer = Viewer::new(false).await;
    let url = scene.open(&viewer).await;
    let seen = viewer
        .sees("two key frames and what is between", |seen| seen.key_frames.len() >= 2)
        .await;
    assert_eq!((seen.gaps(), seen.parameter_sets.len()), (0, 1));
    assert_eq!(seen.parameter_sets.first().expect("a set")[0] & 0x1f, 7);
    // 15 frames a second by the clock of 90 kHz.
    let moments: Vec<u32> = seen.moments.iter().copied().collect();
    assert!(moments.windows(2).all(|pair| pair[1] - pair[0] == 6_000), "{moments:?}");

    let session = &scene.sessions().await[0];
    assert_eq!(
        (&session["codec"], &session["connected"]),
        (&json!("avc"), &json!(true))
    );
    assert_eq!(scene.open_ones().await, 1);
    scene.delete(&url).await.expect(200);
    assert_eq!(scene.open_ones().await, 0);
    assert_eq!(scene.sessions().await[0]["over"]["by"], "delete");
    scene.delete(&url).await.expect(404);
    let journal = scene.world.journal("method=DELETE").await;
    assert!(journal[0]["notes"][0].as_str().expect("a note").ends_with("is closed"));
    viewer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_97_a_device_of_hevc_alone_sends_h265() {
    let scene = Scene::new(json!({"preset": "hevc_camera", "online": true})).await;
    let viewer = Viewer::new(false).await;
    let url = scene.open(&viewer).await;
    let seen = viewer.sees("a key frame", |seen| seen.moments.len() > 31).await;
    assert_eq!((seen.gaps(), seen.parameter_sets.len()), (0, 1));
    assert_eq!((seen.parameter_sets.first().expect("a set")[0] >> 1) & 0x3f, 33);
    assert_eq!(scene.sessions().await[0]["codec"], "hevc");
    scene.delete(&url).await.expect(200);
    viewer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_frame_follows_when_the_viewer_asks_for_one() {
    let scene = Scene::with(json!({})).await;
    let viewer = Viewer::new(false).await;
    scene.open(&viewer).await;
    let first = viewer.sees("the first key frame", |seen| seen.moments.len() > 3).await;
    viewer.ask_for_key_frame().await;
    let second = viewer.sees("the next one", |seen| seen.key_frames.len() >= 2).await;
    let between = second.key_frames.last().expect("one") - first.key_frames.first().expect("one");
    assert!(between < 30 * 6_000, "sooner than by itself: {between}");
    assert!(scene.sessions().await[0]["key_frames_asked"].as_u64() >= Some(1));

    scene.change(json!({"answer_pli": false})).await;
    let asked_at = viewer.seen().moments.len();
    viewer.ask_for_key_frame().await;
    let ignored = viewer
        .sees("the film goes on", |seen| seen.moments.len() > asked_at + 10)
        .await;
    assert_eq!(ignored.key_frames.len(), 2);
    viewer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_sent_again_to_a_viewer_that_asks() {
    let scene = Scene::with(json!({"loss": 0.05})).await;
    let viewer = Viewer::new(false).await;
    scene.open(&viewer).await;
    viewer
        .sees("a good part of the film", |seen| seen.moments.len() > 60)
        .await;
    scene.change(json!({"loss": 0})).await;
    let far = viewer.seen().moments.len();
    viewer
        .sees("all of it", |seen| seen.moments.len() > far + 5 && seen.gaps() == 0)
        .await;
    let session = &scene.sessions().await[0];
    assert!(
        session["lost"].as_u64() > Some(0) && session["retransmitted"].as_u64() > Some(0),
        "{session}"
    );
    viewer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_again_by_a_device_that_cant() {
    let scene = Scene::with(json!({"loss": 0.1, "retransmit": false})).await;
    let viewer = Viewer::new(false).await;
    scene.open(&viewer).await;
    let seen = viewer.sees("a part of the film", |seen| seen.moments.len() > 30).await;
    assert!(seen.gaps() > 0);
    assert_eq!(scene.sessions().await[0]["retransmitted"], 0);
    viewer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_stalls_changes_and_vanishes_on_order() {
    let scene = Scene::with(json!({"stall_after_ms": 600, "stall_ms": 600, "change_after_ms": 1800})).await;
    let viewer = Viewer::new(false).await;
    scene.open(&viewer).await;
    let seen = viewer
        .sees("two sets of parameters", |seen| seen.parameter_sets.len() == 2)
        .await;
    let moments: Vec<u32> = seen.moments.iter().copied().collect();
    let longest = moments.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(
        longest >= Some(8 * 6_000),
        "the clock runs on through the stall: {longest:?}"
    );
    assert_eq!(seen.gaps(), 0);

    scene.change(json!({"vanish_after_ms": 0})).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let last = viewer.seen().moments.len();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(viewer.seen().moments.len(), last);
    assert_eq!(scene.open_ones().await, 1, "Ring does not know that its sender is gone");
    viewer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_can_connect_and_send_nothing() {
    let scene = Scene::with(json!({"silent": true})).await;
    let viewer = Viewer::new(false).await;
    scene.open(&viewer).await;
    assert!(viewer.connects_within(Duration::from_secs(10)).await);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(viewer.seen().moments.len(), 0);
    viewer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_fingerprint_connects_nobody() {
    let scene = Scene::with(json!({"wrong_fingerprint": true})).await;
    let viewer = Viewer::new(false).await;
    scene.open(&viewer).await;
    assert!(!viewer.connects_within(Duration::from_secs(2)).await);
    assert_eq!(viewer.seen().moments.len(), 0);
    viewer.close().await;
}

#[tokio::test]
async fn trap_92_a_session_ends_by_itself_and_leaves_footage() {
    for (device, motion, limit) in [
        (json!("doorbell"), false, 30.0),
        (json!({"preset": "doorbell", "power": "mains"}), false, 60.0),
        (json!({"preset": "doorbell", "power": "mains"}), true, 20.0),
    ] {
        let scene = Scene::new(device).await;
        if motion {
            let _partner = scene.world.partner().await;
            let event = json!({"type": "motion_detected", "sub_type": "human"});
            scene.world.of_user("POST", "/events", event).await.expect(202);
        }
        let viewer = Viewer::new(false).await;
        let opened_at = scene.world.now_ms().await;
        let url = scene.open(&viewer).await;
        scene.world.advance(limit - 0.001).await;
        assert_eq!(scene.open_ones().await, 1, "{limit}");
        scene.world.advance(0.001).await;
        while scene.open_ones().await > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(scene.sessions().await[0]["over"]["by"], "limit");
        scene.delete(&url).await.expect(404);
        let lasted = |footage: &Value| footage["start"] == opened_at && footage["ready_at"].is_i64();
        let mut footage = Value::Null;
        for _ in 0..200 {
            footage =
                scene.world.of_user("GET", "", Value::Null).await.expect(200).json["devices"][0]["footage"].clone();
            if footage.as_array().expect("a list").iter().any(lasted) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let recorded = footage
            .as_array()
            .expect("a list")
            .iter()
            .find(|piece| lasted(piece))
            .cloned();
        let recorded = recorded.expect("what was shown is footage");
        #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
        let length = (limit * 1_000.0) as i64;
        assert_eq!(recorded["end"], opened_at + length);
        viewer.close().await;
    }
}

#[tokio::test]
async fn an_offer_that_ring_refuses_opens_nothing() {
    let scene = Scene::new(json!("doorbell")).await;
    let viewer = Viewer::new(true).await;
    // Trap 90.
    let answer = scene.post("application/sdp", &viewer.offer).await.expect(400);
    assert_eq!(answer.json["errors"][0]["detail"], "Incompatible send direction");
    let good = Viewer::new(false).await;
    scene.post("application/json", &good.offer).await.expect(415);
    scene.post("application/sdp", "v=0").await.expect(400);
    let without = good.offer.replace("a=candidate", "a=x-candidate");
    scene.post("application/sdp", &without).await.expect(400);
    let unknown = format!(
        "{}/v1/devices/none/media/streaming/whep/sessions",
        scene.world.ring.api_url()
    );
    let post = |url: String, token: &str| {
        let request = scene.world.http.post(url).bearer_auth(token);
        read(
            request
                .header("content-type", "application/sdp")
                .body(good.offer.clone()),
        )
    };
    let answer = post(unknown, &scene.access).await.expect(404);
    assert_eq!(answer.error(), "Not Found");
    let own = format!("{}{}", scene.world.ring.api_url(), scene.path());
    let answer = post(own, "none").await.expect(401);
    assert_eq!(answer.error(), "Invalid Client");
    scene
        .world
        .of_user(
            "PATCH",
            &format!("/devices/{}", segment(&scene.device)),
            json!({"online": false}),
        )
        .await
        .expect(200);
    let answer = scene.post("application/sdp", &good.offer).await.expect(503);
    assert_eq!(answer.error(), "Device Unavailable");
    assert!(scene.sessions().await.is_empty());
}

#[tokio::test]
async fn trap_89_a_location_is_absolute_relative_hostile_or_missing() {
    for (location, expected) in [("absolute", "api"), ("relative", ""), ("hostile", "media")] {
        let scene = Scene::with(json!({"location": location})).await;
        let viewer = Viewer::new(false).await;
        let named = scene.open(&viewer).await;
        let origin = match expected {
            "api" => scene.world.ring.api_url(),
            "media" => scene.world.ring.media_url(),
            _ => "",
        };
        let place = format!("{origin}/v1/devices/{}/media/streaming/whep/sessions/", scene.device);
        assert!(named.starts_with(&place), "{named}");
    }
    let scene = Scene::with(json!({"location": "missing", "inactive": true})).await;
    let viewer = Viewer::new(false).await;
    let answer = scene.post("application/sdp", &viewer.offer).await.expect(201);
    assert!(answer.headers.get("location").is_none());
    assert!(String::from_utf8_lossy(&answer.bytes).contains("a=inactive"));
}

#[tokio::test]
async fn a_device_that_goes_and_a_lost_answer_are_told_in_what_is_open() {
    let scene = Scene::new(json!("doorbell")).await;
    scene
        .world
        .control("PUT", "/config", json!({"live_sessions_per_device": 1}))
        .await
        .expect(200);
    let viewer = Viewer::new(false).await;
    let fault = json!({"path": "*/sessions", "do": "lose_answer"});
    scene.world.control("POST", "/faults", fault).await.expect(201);
    let url = format!("{}{}", scene.world.ring.api_url(), scene.path());
    let lost = scene
        .world
        .http
        .post(url)
        .bearer_auth(&scene.access)
        .header("content-type", "application/sdp")
        .body(viewer.offer.clone())
        .send()
        .await;
    assert!(lost.is_err());
    assert_eq!(scene.open_ones().await, 1);
    scene.post("application/sdp", &viewer.offer).await.expect(409);
    let path = format!("/devices/{}", segment(&scene.device));
    scene
        .world
        .of_user("PATCH", &path, json!({"online": false}))
        .await
        .expect(200);
    assert_eq!(scene.open_ones().await, 0);
    assert_eq!(scene.sessions().await[0]["over"]["by"], "offline");

    scene
        .world
        .of_user("PATCH", &path, json!({"online": true}))
        .await
        .expect(200);
    scene.open(&viewer).await;
    let id = scene.sessions().await[1]["id"].as_str().expect("an id").to_owned();
    let ended = scene
        .world
        .control("DELETE", &format!("/live/{id}"), Value::Null)
        .await
        .expect(200);
    assert_eq!(ended.json["over"]["by"], "order");
    scene.world.control("PATCH", "/live/none", json!({})).await.expect(404);
    let wrong = scene
        .world
        .control("PATCH", &format!("/live/{id}"), json!({"lss": 1}))
        .await
        .expect(400);
    assert!(wrong.json["detail"].as_str().expect("a text").contains("lss"));
}
