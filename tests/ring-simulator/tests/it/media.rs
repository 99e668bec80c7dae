//! Clips and pictures.

use serde_json::{Value, json};

use crate::world::{Answer, World, read, segment};

/// A linked world whose one device recorded the minute that ended an hour ago.
struct Scene {
    world: World,
    access: String,
    device: String,
    start: i64,
}

impl Scene {
    async fn new(preset: &str) -> Self {
        let world = World::with_devices(json!([preset])).await;
        let access = world.linked().await;
        let device = world.device(0).await;
        let start = world.now_ms().await - 3_660_000;
        let scene = Self {
            world,
            access,
            device,
            start,
        };
        scene
            .change(json!({"footage": [{"start": start, "end": start + 60_000}]}))
            .await;
        scene
    }

    async fn change(&self, change: Value) {
        self.world
            .of_user("PATCH", &format!("/devices/{}", segment(&self.device)), change)
            .await
            .expect(200);
    }

    async fn clip(&self, body: Value) -> Answer {
        let path = format!("/v1/devices/{}/media/video/download", segment(&self.device));
        self.world.api("POST", &path, &self.access, body).await
    }

    /// The answer to the first step, and the URL it leads to.
    async fn picture(&self, body: Value) -> Answer {
        let path = format!("/v1/devices/{}/media/image/download", segment(&self.device));
        self.world.api("POST", &path, &self.access, body).await
    }
}

fn has_box(bytes: &[u8], name: &[u8]) -> bool {
    bytes.windows(4).any(|window| window == name)
}

#[tokio::test]
async fn a_recorded_window_is_200_with_its_length_and_true_start() {
    let scene = Scene::new("doorbell").await;
    let clip = scene
        .clip(json!({"timestamp": scene.start + 5_000, "duration": 10_000}))
        .await
        .expect(200);
    assert_eq!(clip.header("content-type"), "video/mp4");
    assert_eq!(clip.header("x-media-timestamp"), (scene.start + 5_000).to_string());
    assert_eq!(clip.header("content-length"), clip.bytes.len().to_string());
    assert!(!clip.headers.contains_key("x-media-length"));
    assert_eq!(&clip.bytes[4..8], b"ftyp");
    assert!(has_box(&clip.bytes, b"avc1") && !has_box(&clip.bytes, b"mp4a"));
}

#[tokio::test]
async fn codec_and_audio_are_as_asked_for_or_the_devices_own() {
    let scene = Scene::new("doorbell").await;
    let ask = async |options: Value| {
        let mut body = json!({"timestamp": scene.start, "duration": 1_000});
        body.as_object_mut()
            .expect("an object")
            .extend(options.as_object().expect("an object").clone());
        scene.clip(body).await.expect(200).bytes
    };
    assert!(has_box(
        &ask(json!({"audio_options": {"audio_enabled": true}})).await,
        b"mp4a"
    ));
    assert!(has_box(
        &ask(json!({"video_options": {"codec": "hevc"}})).await,
        b"hvc1"
    ));
    let scene = Scene::new("hevc_camera").await;
    scene.change(json!({"online": true})).await;
    let own = scene
        .clip(json!({"timestamp": scene.start, "duration": 1_000}))
        .await
        .expect(200);
    assert!(has_box(&own.bytes, b"hvc1"));
}

#[tokio::test]
async fn trap_104_a_window_partly_recorded_is_206_with_the_true_window_and_no_length() {
    let scene = Scene::new("doorbell").await;
    let before = scene
        .clip(json!({"timestamp": scene.start - 4_000, "duration": 10_000}))
        .await
        .expect(206);
    assert_eq!(before.header("x-media-timestamp"), scene.start.to_string());
    assert_eq!(before.header("x-media-length"), "6000");
    assert_eq!(before.header("transfer-encoding"), "chunked");
    assert!(!before.headers.contains_key("content-length") && !before.headers.contains_key("content-range"));
    assert_eq!(&before.bytes[4..8], b"ftyp");
    let after = scene
        .clip(json!({"timestamp": scene.start + 57_000, "duration": 10_000}))
        .await
        .expect(206);
    assert_eq!(
        (after.header("x-media-timestamp"), after.header("x-media-length")),
        ((scene.start + 57_000).to_string().as_str(), "3000")
    );
}

#[tokio::test]
async fn trap_106_416_422_425_and_503_are_told_apart() {
    let scene = Scene::new("doorbell").await;
    let now = scene.world.now_ms().await;
    let at = |timestamp: i64| json!({"timestamp": timestamp, "duration": 5_000});
    assert_eq!(
        scene.clip(at(scene.start + 60_000)).await.expect(416).error(),
        "TIMESTAMP_NOT_FOUND"
    );

    scene
        .change(json!({"footage": [
            {"start": now - 90_000, "end": now - 60_000, "corrupt": true},
            {"start": now - 30_000, "end": now - 20_000, "ready_at": now + 4_000},
            {"start": now, "end": now + 60_000},
        ]}))
        .await;
    let damaged = scene.clip(at(now - 80_000)).await.expect(422);
    assert_eq!(damaged.error(), "CORRUPT_RECORDING");
    assert_eq!(
        damaged.header("x-request-id"),
        damaged.json["errors"][0]["id"].as_str().expect("an id")
    );
    assert_eq!(damaged.json["errors"][0]["meta"]["timestamp"], "2026-02-14T12:00:00Z");
    assert_eq!(
        scene.clip(at(now - 30_000)).await.expect(425).error(),
        "RECORDING_NOT_READY"
    );
    assert_eq!(scene.clip(at(now)).await.expect(425).error(), "RECORDING_NOT_READY");
    scene.world.advance(4.0).await;
    scene.clip(at(now - 30_000)).await.expect(200);
    assert_eq!(scene.clip(at(now)).await.expect(206).header("x-media-length"), "4000");

    let busy = json!({"path": "*/media/video/download", "do": "answer", "error": "SERVER_BUSY"});
    scene.world.control("POST", "/faults", busy).await.expect(201);
    assert_eq!(scene.clip(at(now)).await.expect(503).error(), "SERVER_BUSY");
    scene.change(json!({"online": false})).await;
    scene.clip(at(now)).await.expect(206); // what was recorded elsewhere can still be had
    scene.change(json!({"cloud_storage": false})).await;
    let offline = scene.clip(at(now)).await.expect(503);
    assert_eq!(offline.json["errors"][0]["detail"], "Device is currently offline");
    scene
        .picture(json!({"type": "at_timestamp", "timestamp": now}))
        .await
        .expect(503);
}

#[tokio::test]
async fn a_wrong_parameter_is_named_by_its_pointer() {
    let scene = Scene::new("doorbell").await;
    let clip = scene
        .clip(json!({"timestamp": scene.start, "duration": 0}))
        .await
        .expect(400);
    let error = &clip.json["errors"][0];
    assert_eq!(
        (&error["code"], &error["source"]),
        (&json!("INVALID_PAYLOAD"), &json!({"pointer": "duration"}))
    );
    assert_eq!(
        (&error["status"], &error["detail"]),
        (&json!("400"), &json!("duration must be positive"))
    );
    let picture = scene.picture(json!({"type": "at_timestamp"})).await.expect(400);
    assert_eq!(picture.json["errors"][0]["source"]["pointer"], "timestamp");
    assert_eq!(scene.picture(json!([])).await.expect(400).error(), "INVALID_PAYLOAD");
}

#[tokio::test]
async fn trap_99_a_clip_may_be_redirected_and_the_post_is_repeated_there() {
    let scene = Scene::new("odd_id").await;
    scene.change(json!({"clip_redirects": 2})).await;
    let body = json!({"timestamp": scene.start, "duration": 1_000});
    let first = scene.clip(body.clone()).await.expect(301);
    let absolute = first.header("location").to_owned();
    assert!(absolute.starts_with(scene.world.ring.api_url()), "{absolute}");
    let post = async |url: String| {
        let request = scene.world.http.post(url).bearer_auth(&scene.access);
        read(
            request
                .header("content-type", "application/json")
                .body(body.to_string()),
        )
        .await
    };
    let relative = post(absolute).await.expect(301).header("location").to_owned();
    assert!(relative.starts_with("/v1/"), "{relative}");
    let target = format!("{}{relative}", scene.world.ring.api_url());
    post(target.clone()).await.expect(200);
    let as_get = read(scene.world.http.get(target).bearer_auth(&scene.access)).await;
    assert_eq!(as_get.status, 405, "a client that turns POST into GET learns it here");
}

#[tokio::test]
async fn trap_100_a_picture_is_303_to_another_origin_that_refuses_credentials() {
    let scene = Scene::new("doorbell").await;
    let order = json!({"type": "at_timestamp", "timestamp": scene.start + 1_000, "image_options": {"format": "png"}});
    let step = scene.picture(order).await.expect(303);
    let url = step.header("location").to_owned();
    assert!(
        url.starts_with(&format!("{}/v1/download?security_token=", scene.world.ring.media_url())),
        "{url}"
    );
    assert!(
        url.contains("&req_type=image_download&req_id=") && url.contains("&X-Amz-Expires=300"),
        "{url}"
    );
    assert!(url.contains("&X-Amz-Date=20260214T120000Z"), "{url}");
    let http = &scene.world.http;
    read(http.get(&url).bearer_auth(&scene.access)).await.expect(400);
    read(http.get(&url).header("cookie", "session=1")).await.expect(400);
    let picture = read(http.get(&url)).await.expect(200);
    assert_eq!(picture.header("content-type"), "image/png");
    assert_eq!(picture.header("x-media-timestamp"), (scene.start + 1_000).to_string());
    assert_eq!(picture.header("x-media-origin"), "recording");
    assert_eq!(picture.header("x-request-id"), step.header("x-request-id"));
    assert_eq!(&picture.bytes[1..4], b"PNG");
    read(http.get(url.replace("security_token=", "security_token=x")))
        .await
        .expect(403);

    scene.world.advance(299.999).await;
    read(http.get(&url)).await.expect(200);
    scene.world.advance(0.001).await;
    assert_eq!(
        read(http.get(&url)).await.expect(403).json["errors"][0]["detail"],
        "Request has expired"
    );
    let journal = scene.world.journal("door=media&status=400").await;
    assert_eq!(journal.len(), 2);
    assert_eq!(
        (&journal[0]["bearer"], &journal[1]["bearer"]),
        (&json!(true), &json!(false))
    );
    assert!(
        !json!(scene.world.journal("").await)
            .to_string()
            .contains(&url[url.len() - 120..]),
        "no URL in the journal"
    );
}

#[tokio::test]
async fn trap_117_a_stored_still_says_when_it_was_taken_and_the_latest_in_range_is_found() {
    let scene = Scene::new("doorbell").await;
    let still = scene.start - 50_000_000;
    scene.change(json!({"snapshots": [still, still - 1]})).await;
    let fetch = async |order: Value| {
        let url = scene.picture(order).await.expect(303).header("location").to_owned();
        read(scene.world.http.get(url)).await
    };
    let stale = fetch(json!({"type": "at_timestamp", "timestamp": scene.start - 1}))
        .await
        .expect(200);
    assert_eq!(stale.header("content-type"), "image/jpeg");
    assert_eq!(
        (stale.header("x-media-timestamp"), stale.header("x-media-origin")),
        (still.to_string().as_str(), "snapshot")
    );
    assert_eq!(&stale.bytes[..3], b"\xff\xd8\xff");
    let latest = fetch(json!({"type": "latest_in_range", "start_timestamp": scene.start - 1}))
        .await
        .expect(200);
    assert_eq!(latest.header("x-media-timestamp"), (scene.start + 59_999).to_string());
    // Whether there is one is told in the second step.
    let none = fetch(json!({"type": "at_timestamp", "timestamp": still - 2}))
        .await
        .expect(416);
    assert_eq!(none.error(), "MEDIA_NOT_FOUND");
}

#[tokio::test]
async fn media_of_a_device_out_of_reach_is_401_403_or_404() {
    let scene = Scene::new("doorbell").await;
    let body = json!({"timestamp": scene.start, "duration": 1_000});
    let path = |device: &str| format!("/v1/devices/{device}/media/video/download");
    let bad_token = scene
        .world
        .api("POST", &path(&scene.device), "garbage", body.clone())
        .await
        .expect(401);
    assert_eq!(bad_token.error(), "UNAUTHORIZED");
    let unknown = scene
        .world
        .api("POST", &path("nobodys"), &scene.access, body.clone())
        .await
        .expect(404);
    assert_eq!(unknown.json["errors"][0]["detail"], "Unknown device provided: nobodys");
    let other = scene
        .world
        .control("POST", "/users", json!({"devices": ["doorbell"]}))
        .await
        .expect(201);
    let theirs = other.json["devices"][0]["id"].as_str().expect("an id");
    let forbidden = scene
        .world
        .api("POST", &path(theirs), &scene.access, body)
        .await
        .expect(403);
    assert_eq!(forbidden.error(), "REQUEST_FORBIDDEN");
}
