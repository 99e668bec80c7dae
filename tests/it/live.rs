//! Live video on the stack as it is deployed: a player that is no browser's watches the offline Ring's film through our door,
//! and whatever it does, no session stays open at Ring.

use std::process::Stdio;
use std::time::Duration;

use local::outside::{Home, call};
use local::{Failure, Stack, Tools};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::traps::{leaving_none_open, only_device};
use crate::viewer::Viewer;

const SDP: &str = "application/sdp";

/// What the door answered, with its body as text.
#[derive(Debug)]
struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answered {
    #[track_caller]
    fn must_be(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }

    #[track_caller]
    fn must_be_problem(self, status: u16, name: &str) -> Self {
        let answered = self.must_be(status);
        let problem: Value = serde_json::from_str(&answered.body).expect("a problem document");
        assert_eq!(problem["type"], format!("/problems/{name}"), "{answered:?}");
        answered
    }

    fn header(&self, name: impl reqwest::header::AsHeaderName) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// A linked home with one device.
struct Scene<'a> {
    home: Home<'a>,
    device: String,
}

impl<'a> Scene<'a> {
    async fn new(stack: &'a Stack, device: Value) -> Result<Self, Failure> {
        let home = Home::linked(stack, &json!([device])).await?;
        let device = only_device(&home).await?;
        Ok(Self { home, device })
    }

    async fn with(stack: &'a Stack, live: Value) -> Result<Self, Failure> {
        Self::new(stack, json!({ "preset": "doorbell", "live": live })).await
    }

    fn route(&self) -> String {
        format!("/v1/devices/{}/live", self.device)
    }

    async fn offer(&self, offer: &str) -> Answered {
        self.send(Method::POST, &self.route(), Some((SDP, offer))).await
    }

    async fn send(&self, method: Method, route: &str, body: Option<(&str, &str)>) -> Answered {
        let request = self.home.stack.request(method, route);
        let mut request = request.bearer_auth(&self.home.visitor.token).header(ACCEPT, "*/*");
        if let Some((media_type, body)) = body {
            request = request.header(CONTENT_TYPE, media_type).body(body.to_owned());
        }
        answered(request).await
    }

    async fn delete(&self, route: &str) -> Answered {
        self.send(Method::DELETE, route, None).await
    }

    /// The sessions that the offline Ring had for this device.
    async fn at_ring(&self) -> Result<Vec<Value>, Failure> {
        let path = format!("live?device={}", self.device);
        let listed = self.home.stack.ring().order(Method::GET, &path, None).await?;
        Ok(listed["items"].as_array().cloned().unwrap_or_default())
    }

    async fn open_at_ring(&self) -> Result<usize, Failure> {
        let sessions = self.at_ring().await?;
        Ok(sessions.iter().filter(|session| session["open"] == true).count())
    }

    async fn change(&self, change: &Value) -> Result<(), Failure> {
        let path = format!("users/{}/devices/{}", self.home.account, self.device);
        self.home.stack.ring().order(Method::PATCH, &path, Some(change)).await?;
        Ok(())
    }

    /// The next request for a session does its work, and its answer is lost.
    async fn lose_the_next_answer(&self) -> Result<(), Failure> {
        let fault =
            json!({ "path": format!("/v1/devices/{}/media/*", self.device), "method": "POST", "do": "lose_answer" });
        self.home
            .stack
            .ring()
            .order(Method::POST, "faults", Some(&fault))
            .await?;
        Ok(())
    }

    /// What the message does that comes when a session's time is over.
    async fn message_comes(&self, session: &str) -> Result<Value, Failure> {
        let close = json!({ "close_session": { "account_id": self.home.account, "session_id": session } });
        let record = json!({
            "messageId": uuid::Uuid::new_v4().to_string(),
            "receiptHandle": "none",
            "body": close.to_string(),
            "attributes": { "ApproximateReceiveCount": "1" },
            "messageAttributes": {},
            "eventSource": "aws:sqs",
        });
        self.home
            .stack
            .invoke("media-fetch", &json!({ "Records": [record] }))
            .await
    }
}

async fn answered(request: reqwest::RequestBuilder) -> Answered {
    let answer = request.send().await.expect("the door answers");
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = answer.text().await.expect("a text");
    Answered { status, headers, body }
}

#[test]
fn trap_88_a_player_watches_through_our_door_and_learns_nothing_of_rings() {
    leaving_none_open(async |stack| {
        let scene = Scene::new(stack, json!("doorbell")).await?;
        let viewer = Viewer::new(true).await;
        let answer = scene.offer(&viewer.offer).await.must_be(201);
        assert_eq!(answer.header(CONTENT_TYPE), SDP);
        let session = answer.header(LOCATION).to_owned();
        assert!(session.starts_with("/v1/live/live_"), "{session}");

        let [at_ring] = scene.at_ring().await?.try_into().expect("one session");
        let secrets = stack
            .ring()
            .order(Method::GET, &format!("users/{}/secrets", scene.home.account), None)
            .await?;
        let tokens = secrets["access_tokens"].as_array().cloned().unwrap_or_default();
        assert!(!tokens.is_empty());
        let shown = format!("{:?} {}", answer.headers, answer.body);
        for secret in tokens.iter().chain([&at_ring["id"]]) {
            assert!(!shown.contains(secret.as_str().expect("a text")), "{shown}");
        }
        assert!(!shown.contains("whep") && !shown.contains("amazonvision"), "{shown}");

        // Trap 90: it offered audio, which is refused in its place.
        assert!(
            answer.body.contains("m=audio 0 ") && answer.body.contains("m=video 9 "),
            "{}",
            answer.body
        );
        viewer.accept(&answer.body).await;
        let seen = viewer
            .sees("two seconds of the film", |seen| seen.moments.len() > 30)
            .await;
        assert_eq!((seen.gaps(), seen.parameter_sets.len()), (0, 1));

        // One at a time.
        let busy = scene.offer(&viewer.offer).await.must_be_problem(409, "session-open");
        let wait: u64 = busy.header(RETRY_AFTER).parse().expect("seconds");
        assert!((1..=66).contains(&wait), "{wait}");

        // Nobody else's.
        let other = Scene::new(stack, json!("indoor_camera")).await?;
        other.delete(&session).await.must_be_problem(404, "not-found");
        assert_eq!(scene.open_at_ring().await?, 1);

        assert_eq!(scene.delete(&session).await.must_be(200).body, "");
        let [at_ring] = scene.at_ring().await?.try_into().expect("one session");
        assert_eq!(at_ring["over"]["by"], "delete");
        scene.delete(&session).await.must_be_problem(404, "not-found");
        viewer.close().await;

        let again = Viewer::new(false).await;
        let answer = scene.offer(&again.offer).await.must_be(201);
        scene.delete(answer.header(LOCATION)).await.must_be(200);
        assert_eq!(scene.open_at_ring().await?, 0);
        again.close().await;
        Ok(())
    });
}

#[test]
fn trap_97_an_hevc_camera_is_watched_by_who_plays_that() {
    leaving_none_open(async |stack| {
        let scene = Scene::new(stack, json!({ "preset": "hevc_camera", "online": true })).await?;
        let viewer = Viewer::new(false).await;
        let avc_alone: String = viewer
            .offer
            .split_inclusive("\r\n")
            .filter(|line| !line.contains("H265"))
            .collect();
        // Ring has nothing for it.
        scene.offer(&avc_alone).await.must_be_problem(422, "unusable-offer");
        let answer = scene.offer(&viewer.offer).await.must_be(201);
        viewer.accept(&answer.body).await;
        viewer
            .sees("a key frame of H.265", |seen| !seen.key_frames.is_empty())
            .await;
        scene.delete(answer.header(LOCATION)).await.must_be(200);
        viewer.close().await;
        Ok(())
    });
}

#[test]
fn what_is_no_offer_of_a_player_or_not_for_this_device_opens_nothing() {
    leaving_none_open(async |stack| {
        let scene = Scene::new(stack, json!("doorbell")).await?;
        let viewer = Viewer::new(false).await;
        let (route, offer) = (scene.route(), viewer.offer.as_str());
        let post = async |body: (&str, &str)| scene.send(Method::POST, &route, Some(body)).await;
        for media_type in ["application/json", "text/plain", "application/sdpx"] {
            post((media_type, offer))
                .await
                .must_be_problem(415, "unsupported-media-type");
        }
        for unusable in [
            "",
            "v=0",
            "{}",
            &offer.replace("m=video", "m=audio"),
            &offer.replace("a=recvonly", "a=sendonly"),
            &offer.replace("a=candidate", "a=x-candidate"),
            &offer.replace("H264", "VP8").replace("H265", "VP9"),
        ] {
            post((SDP, unusable)).await.must_be_problem(422, "unusable-offer");
        }
        post((SDP, &"x".repeat(70_000)))
            .await
            .must_be_problem(413, "payload-too-large");
        let html = stack
            .request(Method::POST, &route)
            .bearer_auth(&scene.home.visitor.token);
        let html = html
            .header(ACCEPT, "text/html")
            .header(CONTENT_TYPE, SDP)
            .body(offer.to_owned());
        answered(html).await.must_be_problem(406, "not-acceptable");
        for method in [Method::GET, Method::PUT, Method::PATCH] {
            scene
                .send(method, &route, None)
                .await
                .must_be_problem(405, "method-not-allowed");
        }
        for method in [Method::GET, Method::POST, Method::PATCH] {
            let answer = scene.send(method, "/v1/live/live_none", None).await;
            assert_eq!(
                answer.must_be_problem(405, "method-not-allowed").header("allow"),
                "DELETE"
            );
        }
        scene
            .delete("/v1/live/live_none")
            .await
            .must_be_problem(404, "not-found");
        let elsewhere = scene
            .send(Method::POST, "/v1/devices/none/live", Some((SDP, offer)))
            .await;
        elsewhere.must_be_problem(404, "not-found");
        let unsigned = stack
            .request(Method::POST, &route)
            .header(CONTENT_TYPE, SDP)
            .body(offer.to_owned());
        answered(unsigned).await.must_be(401);
        assert!(scene.at_ring().await?.is_empty());

        let zones = Scene::new(stack, json!("privacy_camera")).await?;
        zones.offer(offer).await.must_be_problem(403, "privacy-zones");
        assert!(zones.at_ring().await?.is_empty());
        viewer.close().await;
        Ok(())
    });
}

#[test]
fn a_device_that_is_known_to_be_offline_is_not_asked_and_one_that_ring_says_is_opens_nothing() {
    leaving_none_open(async |stack| {
        let scene = Scene::new(stack, json!("doorbell")).await?;
        let viewer = Viewer::new(false).await;
        // Ring knows more than we: no event has told it.
        scene.change(&json!({ "online": false })).await?;
        scene.offer(&viewer.offer).await.must_be_problem(409, "device-offline");
        let asked = format!("journal?path=*/sessions&device={}", scene.device);
        let count = async || -> Result<usize, Failure> {
            let journal = stack.ring().order(Method::GET, &asked, None).await?;
            Ok(journal["items"].as_array().map_or(0, Vec::len))
        };
        assert_eq!(count().await?, 1);
        // Now we know, too.
        scene
            .home
            .emit(&json!({ "type": "device_offline", "wait": true }))
            .await?;
        scene.home.events_settle().await?;
        scene.offer(&viewer.offer).await.must_be_problem(409, "device-offline");
        assert_eq!(count().await?, 1, "the stored status is looked at first");
        scene
            .home
            .emit(&json!({ "type": "device_online", "wait": true }))
            .await?;
        scene.home.events_settle().await?;
        let answer = scene.offer(&viewer.offer).await.must_be(201);
        scene.delete(answer.header(LOCATION)).await.must_be(200);
        viewer.close().await;
        Ok(())
    });
}

#[test]
fn trap_94_a_lost_answer_keeps_the_device_and_is_not_asked_for_again() {
    leaving_none_open(async |stack| {
        let scene = Scene::with(stack, json!({ "limit_ms": 3_000 })).await?;
        let viewer = Viewer::new(false).await;
        scene.lose_the_next_answer().await?;
        let lost = scene
            .offer(&viewer.offer)
            .await
            .must_be_problem(503, "ring-unavailable");
        assert!(!lost.header(RETRY_AFTER).is_empty());
        assert_eq!(scene.at_ring().await?.len(), 1);
        // Ring may hold it to be open for a minute: nothing else is opened meanwhile.
        scene.offer(&viewer.offer).await.must_be_problem(409, "session-open");
        assert_eq!(scene.at_ring().await?.len(), 1);
        // It ends by itself.
        while scene.open_at_ring().await? > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        viewer.close().await;
        Ok(())
    });
}

#[test]
fn trap_89_no_token_goes_where_a_hostile_location_leads() {
    leaving_none_open(async |stack| {
        for location in ["relative", "hostile", "missing"] {
            let live = json!({ "location": location, "limit_ms": 3_000 });
            let scene = Scene::with(stack, live).await?;
            let viewer = Viewer::new(false).await;
            let answer = scene.offer(&viewer.offer).await.must_be(201);
            assert!(answer.header(LOCATION).starts_with("/v1/live/"), "{answer:?}");
            scene.delete(answer.header(LOCATION)).await.must_be(200);
            if location == "relative" {
                assert_eq!(scene.at_ring().await?[0]["over"]["by"], "delete");
            }
            // The others end by themselves.
            while scene.open_at_ring().await? > 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let path = format!("journal?door=media&path=*{}*", scene.device);
            let elsewhere = stack.ring().order(Method::GET, &path, None).await?;
            assert_eq!(elsewhere["items"], json!([]), "{location}");
            viewer.close().await;
        }
        Ok(())
    });
}

#[test]
fn an_answer_that_shows_nothing_is_not_passed_on_and_its_session_is_closed() {
    leaving_none_open(async |stack| {
        let scene = Scene::with(stack, json!({ "inactive": true })).await?;
        let viewer = Viewer::new(false).await;
        scene
            .offer(&viewer.offer)
            .await
            .must_be_problem(503, "ring-unavailable");
        assert_eq!(scene.open_at_ring().await?, 0);
        assert_eq!(scene.at_ring().await?[0]["over"]["by"], "delete");
        viewer.close().await;
        Ok(())
    });
}

#[test]
fn a_session_that_nobody_closes_is_closed_by_the_message_and_by_unlinking() {
    leaving_none_open(async |stack| {
        let scene = Scene::new(stack, json!("doorbell")).await?;
        let viewer = Viewer::new(false).await;
        let answer = scene.offer(&viewer.offer).await.must_be(201);
        let session = answer.header(LOCATION).rsplit('/').next().expect("an id").to_owned();
        assert_eq!(scene.open_at_ring().await?, 1);
        let taken = json!({ "batchItemFailures": [] });
        assert_eq!(scene.message_comes(&session).await?, taken);
        assert_eq!(scene.open_at_ring().await?, 0);
        assert_eq!(scene.message_comes(&session).await?, taken, "and again");

        scene.offer(&viewer.offer).await.must_be(201);
        assert_eq!(scene.open_at_ring().await?, 1);
        let links = scene.home.call(Method::GET, "/v1/links", None).await?;
        let link = links.body["items"][0]["id"].as_str().expect("a link").to_owned();
        let token = Some(scene.home.visitor.token.as_str());
        let unlinked = call(stack, token, Method::DELETE, &format!("/v1/links/{link}"), None).await?;
        assert_eq!(unlinked.status, StatusCode::NO_CONTENT);
        let sessions = scene.at_ring().await?;
        let ends: Vec<_> = sessions.iter().map(|session| session["over"]["by"].clone()).collect();
        assert_eq!(ends, ["delete", "delete"]);
        viewer.close().await;
        Ok(())
    });
}

#[test]
fn trap_65_a_device_that_goes_offline_is_watched_no_more() {
    leaving_none_open(async |stack| {
        let scene = Scene::new(stack, json!("doorbell")).await?;
        let viewer = Viewer::new(false).await;
        let event = async |kind: &str| -> Result<(), Failure> {
            let event = json!({ "type": kind, "wait": true });
            scene.home.emit(&event).await?;
            scene.home.events_settle().await
        };
        let asked_to_close = async || -> Result<usize, Failure> {
            let path = format!("journal?user={}&path=*/sessions/*", scene.home.account);
            let journal = stack.ring().order(Method::GET, &path, None).await?;
            let items = journal["items"].as_array().cloned().unwrap_or_default();
            Ok(items.iter().filter(|item| item["method"] == "DELETE").count())
        };
        scene.offer(&viewer.offer).await.must_be(201);
        assert_eq!(asked_to_close().await?, 0);
        event("device_offline").await?;
        let begun = std::time::Instant::now();
        while asked_to_close().await? == 0 {
            assert!(begun.elapsed() < Duration::from_secs(180), "nobody closes it");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(scene.open_at_ring().await?, 0);
        // It is known to be over: the next one waits for nothing.
        event("device_online").await?;
        let answer = loop {
            let answer = scene.offer(&viewer.offer).await;
            if answer.status != StatusCode::CONFLICT {
                break answer.must_be(201);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        scene.delete(answer.header(LOCATION)).await.must_be(200);
        assert_eq!(asked_to_close().await?, 2);
        viewer.close().await;
        Ok(())
    });
}

#[test]
fn a_viewer_by_aiortc_sees_moving_pictures_through_our_door_and_its_session_is_closed() {
    leaving_none_open(async |stack| {
        let scene = Scene::with(stack, json!({})).await?;
        let python = Tools::peers(stack.place()).await?;
        let told = json!({
            "url": stack.outputs().api_url, "host": stack.outputs().api_host, "token": scene.home.visitor.token,
            "route": scene.route(),
        });
        let mut viewer = Command::new(python)
            .args(["-B", concat!(env!("CARGO_MANIFEST_DIR"), "/it/aiortc_viewer.py")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Python starts");
        let mut input = viewer.stdin.take().expect("a pipe");
        input.write_all(told.to_string().as_bytes()).await.expect("it is told");
        drop(input);
        let said = viewer.wait_with_output().await.expect("it ends");
        let wrong = String::from_utf8_lossy(&said.stderr).replace(&scene.home.visitor.token, "<token>");
        assert!(said.status.success(), "{wrong}");
        let seen: Value = serde_json::from_slice(&said.stdout).expect("what it saw");
        assert_eq!((&seen["status"], &seen["closed"]), (&json!(201), &json!(200)), "{seen}");
        assert_eq!((&seen["frames"], &seen["moments"]), (&json!(60), &json!(60)), "{seen}");
        assert!(seen["size"][0].as_u64() > Some(0), "{seen}");
        Ok(())
    });
}
