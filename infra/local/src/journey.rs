//! The main job, walked through from outside: what a Ring user, a partner's user and the clock do, and what then must be
//! true at Ring, in the API, in the tables and in the bucket. It stops at the first step that does not hold.

use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use shared::edge::clock;

use crate::failure::{Doing, Failure};
use crate::outside::{Home, Visitor, at_ring, call, claim, rows_about, schedule_at, soon, statuses};
use crate::progress::seconds;
use crate::stack::Stack;

/// A step that held.
pub struct Step {
    number: usize,
    name: &'static str,
    proved: String,
    took: Duration,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            name,
            proved,
            took,
        } = self;
        write!(f, "  {number}  {name:<20} {proved} ({})", seconds(*took))
    }
}

/// Walks the whole way with a Ring user and a partner's user of its own. Each step is told as soon as it held; one that
/// does not is told with the end of the functions' logs.
pub async fn walk(stack: &Stack, told: impl FnMut(&Step)) -> Result<(), Failure> {
    match steps(stack, told).await {
        Ok(()) => Ok(()),
        Err(failure) => Err(match stack.gather_logs().await {
            Ok(log) => failure.with_log(&log),
            Err(_) => failure,
        }),
    }
}

async fn steps(stack: &Stack, told: impl FnMut(&Step)) -> Result<(), Failure> {
    let mut steps = Steps { told, taken: 0 };
    let account = steps.take("install", install(stack)).await?;
    let visitor = steps.take("sign-in", sign_in(stack)).await?;
    let home = Home {
        stack,
        account,
        visitor,
    };
    let link = steps.take("link", home.link()).await?;
    let device = steps.take("devices", home.devices(&link)).await?;
    steps.take("event", home.event(&device)).await?;
    steps.take("clip", home.clip(&device)).await?;
    steps.take("snapshot", home.snapshot(&device)).await?;
    steps.take("recording", home.recording(&device)).await?;
    steps.take("token refresh", home.refresh(&device)).await?;
    steps.take("key rotation", home.rotate(&device)).await
}

struct Steps<T> {
    told: T,
    taken: usize,
}

impl<T: FnMut(&Step)> Steps<T> {
    async fn take<V>(
        &mut self,
        name: &'static str,
        step: impl Future<Output = Result<Proved<V>, Failure>>,
    ) -> Result<V, Failure> {
        let since = Instant::now();
        self.taken += 1;
        let Proved { value, proved } = step.await?;
        (self.told)(&Step {
            number: self.taken,
            name,
            proved,
            took: since.elapsed(),
        });
        Ok(value)
    }
}

/// What a step gives to those after it, and what it has proved.
struct Proved<V> {
    value: V,
    proved: String,
}

fn proved<V>(value: V, proved: impl Into<String>) -> Result<Proved<V>, Failure> {
    Ok(Proved {
        value,
        proved: proved.into(),
    })
}

/// A Ring user with two devices installs the app: Ring pushes a one-time code to the Token Exchange URL.
async fn install(stack: &Stack) -> Result<Proved<String>, Failure> {
    let now = clock::now().as_millisecond();
    let recorded = json!([{ "start": now - 600_000, "end": now }]);
    let user = json!({ "devices": [
        { "preset": "doorbell", "footage": recorded, "snapshots": [now - 120_000] },
        { "preset": "privacy_camera" },
    ] });
    let ring = stack.ring();
    let user = ring.order(Method::POST, "users", Some(&user)).await?;
    let account = user["id"].as_str().unwrap_or_default().to_owned();
    let installed = ring
        .order(Method::POST, &format!("users/{account}/install"), None)
        .await?;
    claim(
        installed["partner_status"] == 200,
        "the Token Exchange URL answers 200",
        &installed,
    )?;
    let state = at_ring(stack, &account).await?;
    claim(
        state["live_families"] == 1,
        "Ring has given one pair of tokens for the code",
        &state,
    )?;
    let rows = rows_about(stack, "grant", &account).await?;
    claim(
        !rows.is_empty(),
        "the grant is kept, with the account that it is for",
        &rows,
    )?;
    proved(
        account,
        "code exchanged in the request; one pair of tokens at Ring, and it is kept",
    )
}

/// A user of the partner's signs in, and sees nothing yet.
async fn sign_in(stack: &Stack) -> Result<Proved<Visitor>, Failure> {
    let email = format!("visitor-{}@example.com", uuid::Uuid::new_v4().simple());
    let token = stack.sign_in(&email).await?;
    let stranger = call(stack, None, Method::GET, "/v1/links", None).await?;
    stranger.must_be(StatusCode::UNAUTHORIZED, "the gateway refuses a call without a token")?;
    let forged = call(stack, Some(&tampered(&token)), Method::GET, "/v1/links", None).await?;
    forged.must_be(
        StatusCode::UNAUTHORIZED,
        "the gateway refuses a token that was tampered with",
    )?;
    let links = call(stack, Some(&token), Method::GET, "/v1/links", None).await?;
    let links = links.must_be(StatusCode::OK, "a signed-in user sees their links")?;
    claim(links.body["items"] == json!([]), "a new user has no links", &links.body)?;
    proved(
        Visitor { email, token },
        "ID token of the user pool taken; none, and a tampered one: 401",
    )
}

/// The same token with another claim in it, under the signature of the first.
fn tampered(token: &str) -> String {
    let mut letters: Vec<char> = token.chars().collect();
    let first_dot = token.find('.').unwrap_or_default();
    if let Some(letter) = letters.get_mut(first_dot + 12) {
        *letter = if *letter == 'A' { 'B' } else { 'A' };
    }
    letters.into_iter().collect()
}

impl Home<'_> {
    /// The user confirms in Ring's app, lands on the partner's page, sees whose account it is, and links it.
    async fn link(&self) -> Result<Proved<String>, Failure> {
        let confirmed = self
            .stack
            .ring()
            .order(Method::POST, &format!("users/{}/confirm", self.account), None)
            .await?;
        let nonce = json!({ "nonce": confirmed["nonce"], "time": confirmed["time"] });

        let preview = soon("the preview knows the nonce", async || {
            let preview = self.call(Method::POST, "/v1/links/preview", Some(&nonce)).await?;
            // Ring's redirect may come before its code has been exchanged.
            if preview.status == StatusCode::NOT_FOUND {
                Ok(Err(format!("{preview:?}")))
            } else {
                Ok(Ok(preview))
            }
        });
        let preview = preview
            .await?
            .must_be(StatusCode::OK, "the preview shows whose account it is")?;
        claim(
            preview.body["account_id"] == self.account.as_str(),
            "the preview names the account",
            &preview.body,
        )?;
        let seen = preview.text("ring_user")?;
        claim(
            seen == "J*** D**",
            "the preview shows the Ring user's name masked",
            &seen,
        )?;

        let made = self.call(Method::POST, "/v1/links", Some(&nonce)).await?;
        let made = made.must_be(StatusCode::CREATED, "the link is made")?;
        claim(made.body["status"] == "completed", "the link is completed", &made.body)?;
        let link = made.text("id")?;
        let again = self.call(Method::POST, "/v1/links", Some(&nonce)).await?;
        let again = again.must_be(StatusCode::OK, "the same nonce again is no second link")?;
        claim(again.body["id"] == link.as_str(), "it is the same link", &again.body)?;

        let state = at_ring(self.stack, &self.account).await?;
        let integration = &state["integration"];
        claim(
            integration["status"] == "completed",
            "the integration is completed at Ring",
            integration,
        )?;
        let identifier = integration["account_identifier"].as_str().unwrap_or_default();
        let masked = identifier.contains("***") && identifier.ends_with("@example.com");
        claim(
            masked && identifier != self.visitor.email,
            "Ring was told the user's e-mail masked",
            integration,
        )?;
        proved(
            link,
            format!("previewed as {seen}; completed at Ring for {identifier}; a repeat is the same link"),
        )
    }

    /// All of the account's devices are in the API, each with its four parts. Returns the doorbell's id.
    async fn devices(&self, link: &str) -> Result<Proved<String>, Failure> {
        let listed = soon("both devices are in the API", async || {
            let listed = self.call(Method::GET, "/v1/devices", None).await?;
            let listed = listed.must_be(StatusCode::OK, "a signed-in user sees their devices")?;
            let count = listed.body["items"].as_array().map_or(0, Vec::len);
            if count == 2 {
                Ok(Ok(listed.body))
            } else {
                Ok(Err(listed.body.to_string()))
            }
        });
        let listed = listed.await?;
        let named = |name: &str| {
            let items = listed["items"].as_array().into_iter().flatten();
            items
                .clone()
                .find(|device| device["name"] == name)
                .cloned()
                .unwrap_or_default()
        };
        let (door, garden) = (named("Front Door"), named("Garden"));
        claim(door["link"] == link, "the device is the link's", &door)?;
        claim(door["online"] == true, "its status is there", &door)?;
        let max_resolution = &door["capabilities"]["video"]["max_resolution"];
        claim(*max_resolution == 1080, "its capabilities are there", &door)?;
        claim(
            door["location"] == json!({ "country": "US", "state": "GA" }),
            "its location is there",
            &door,
        )?;
        claim(door["configurations"].is_object(), "its configuration is there", &door)?;
        claim(garden["privacy_zones"] == 2, "privacy zones are counted", &garden)?;

        let device = door["id"].as_str().unwrap_or_default().to_owned();
        let alone = self.call(Method::GET, &format!("/v1/devices/{device}"), None).await?;
        let alone = alone.must_be(StatusCode::OK, "a device can be asked for alone")?;
        claim(
            alone.body["id"] == device.as_str(),
            "it is the same device",
            &alone.body,
        )?;
        let stranger = self.stack.sign_in("stranger@example.com").await?;
        let hidden = call(
            self.stack,
            Some(&stranger),
            Method::GET,
            &format!("/v1/devices/{device}"),
            None,
        )
        .await?;
        hidden.must_be(StatusCode::NOT_FOUND, "somebody else's device is not found")?;
        proved(
            device,
            "both, each with status, capabilities, location, configuration; a stranger sees neither",
        )
    }

    /// Motion, told three times over, becomes one event.
    async fn event(&self, device: &str) -> Result<Proved<()>, Failure> {
        let motion =
            json!({ "type": "motion_detected", "sub_type": "human", "device": device, "copies": 3, "wait": true });
        let emitted = self.emit(&motion).await?;
        let answers = statuses(&emitted);
        claim(
            answers == [200, 200, 200],
            "each of three deliveries is answered with 200",
            &emitted,
        )?;
        self.events_settle().await?;

        let events = self.events_of(device).await?;
        claim(events.len() == 1, "the API shows one event", &events)?;
        let event = &events[0];
        claim(
            event["type"] == "motion_detected" && event["subtype"] == "human",
            "it is the motion",
            event,
        )?;
        let happened = emitted["body"]["data"]["attributes"]["timestamp"].as_i64();
        let occurred = event["occurred_at"]
            .as_str()
            .and_then(|text| text.parse::<Timestamp>().ok());
        claim(
            occurred.map(Timestamp::as_millisecond) == happened,
            "it has the time at which it happened",
            event,
        )?;
        let rows = rows_about(self.stack, "event", device).await?;
        for what in ["progress", "ledger"] {
            let of_this = rows.iter().filter(|row| row.contains_key(what)).count();
            claim(
                of_this == 1,
                "the table has one marker of it and one row of the history",
                &rows,
            )?;
        }
        proved((), "a motion delivered three times, each answered 200, recorded once")
    }

    /// A clip of what the doorbell recorded is fetched from Ring and kept in the bucket.
    async fn clip(&self, device: &str) -> Result<Proved<()>, Failure> {
        let start = clock::now().as_millisecond() - 300_000;
        // As long as the offline Ring's film is: how long a clip is, its file says.
        let window = json!({ "timestamp": start, "duration": 5_000 });
        let clip = self.fetched(device, "clips", &window).await?;
        claim(
            clip["requested"] == window && clip["actual"] == window,
            "the whole window was recorded",
            &clip,
        )?;
        claim(
            clip["origin"] == "recording" && clip["partial"] == false,
            "it is honest about its origin",
            &clip,
        )?;
        let bytes = self.same_as_served(&clip, "clip-avc.mp4").await?;
        proved(
            (),
            format!("{bytes} bytes in S3, with its true window and origin; the hash is that of what Ring served"),
        )
    }

    async fn snapshot(&self, device: &str) -> Result<Proved<()>, Failure> {
        let moment = clock::now().as_millisecond() - 240_000;
        let order = json!({ "type": "at_timestamp", "timestamp": moment, "image_options": { "format": "jpeg" } });
        let snapshot = self.fetched(device, "snapshots", &order).await?;
        claim(
            snapshot["origin"] == "recording",
            "it says where the frame comes from",
            &snapshot,
        )?;
        claim(
            snapshot["actual"]["timestamp"] == moment,
            "it says when the frame was taken",
            &snapshot,
        )?;
        let bytes = self.same_as_served(&snapshot, "snapshot.jpg").await?;
        proved(
            (),
            format!("{bytes} bytes in S3, with its true time and origin; the hash is that of what Ring served"),
        )
    }

    /// Live video is recorded: a session at Ring, over WebRTC, that is closed at the end, and a film of it in the bucket.
    async fn recording(&self, device: &str) -> Result<Proved<()>, Failure> {
        let order = json!({ "duration": 5_000 });
        let (capture, playable) = tokio::try_join!(self.fetched(device, "captures", &order), self.playable(device))?;
        claim(capture["origin"] == "live", "it is honest about its origin", &capture)?;
        let duration = capture["actual"]["duration"].as_i64().unwrap_or_default();
        claim(duration > 3_000, "it is about as long as asked", &capture)?;
        let sessions = format!("live?user={}", self.account);
        let sessions = self.stack.ring().order(Method::GET, &sessions, None).await?;
        let items = sessions["items"].as_array().cloned().unwrap_or_default();
        claim(
            !items.is_empty() && items.iter().all(|session| session["over"]["by"] == "delete"),
            "its session at Ring was opened, and closed by us",
            &sessions,
        )?;
        let sent: u64 = items.iter().filter_map(|session| session["frames"].as_u64()).sum();
        let film = self.stored(&capture).await?;
        claim(film.get(4..8) == Some(b"ftyp"), "it is an MP4", &capture)?;
        let bytes = film.len();
        claim(capture["bytes"] == bytes, "it is all there", &capture)?;
        let shown = Duration::from_millis(duration.unsigned_abs());
        proved(
            (),
            format!(
                "{} of live video over WebRTC, {sent} frames, as an MP4 of {bytes} bytes in S3, to be watched {} after it was \
                 asked for; the session at Ring is closed",
                seconds(shown),
                seconds(playable)
            ),
        )
    }

    /// How long it takes from now until a capture of this device can be watched: its first pictures are in the bucket, and it
    /// goes on.
    async fn playable(&self, device: &str) -> Result<Duration, Failure> {
        let since = Instant::now();
        soon("what is recorded can be watched", async || {
            let media = self
                .call(Method::GET, &format!("/v1/devices/{device}/media"), None)
                .await?;
            let mut items = media.body["items"].as_array().into_iter().flatten();
            let Some(capture) = items.find(|medium| medium["kind"] == "capture") else {
                return Ok(Err(media.body.to_string()));
            };
            let playlist = format!("/v1/media/{}/playlist.m3u8", capture["id"].as_str().unwrap_or_default());
            let playlist = self.call(Method::GET, &playlist, None).await?;
            let has_pictures = playlist.body.as_str().is_some_and(|list| list.contains("#EXTINF"));
            Ok(if has_pictures {
                Ok(since.elapsed())
            } else {
                Err(playlist.body.to_string())
            })
        })
        .await
    }

    /// Two days on by the schedule's time, the token is refreshed, and what comes after goes by the new one.
    async fn refresh(&self, device: &str) -> Result<Proved<()>, Failure> {
        let before = at_ring(self.stack, &self.account).await?;
        let old_bearer = self.newest_bearer().await?;
        let later = clock::now() + SignedDuration::from_hours(48);
        self.stack.invoke("token-refresh", &schedule_at(later)).await?;

        let after = at_ring(self.stack, &self.account).await?;
        let family = |state: &Value, field: &str| state["families"][0][field].clone();
        claim(after["live_families"] == 1, "the family of tokens lives", &after)?;
        let rotated = family(&after, "refresh_sha256") != family(&before, "refresh_sha256");
        claim(
            rotated && family(&after, "rotations") == 1,
            "the refresh token was rotated once",
            &after,
        )?;

        let start = clock::now().as_millisecond() - 400_000;
        let clip = self
            .fetched(device, "clips", &json!({ "timestamp": start, "duration": 5_000 }))
            .await?;
        claim(clip["state"] == "stored", "media still come after the refresh", &clip)?;
        let new_bearer = self.newest_bearer().await?;
        claim(
            new_bearer != old_bearer,
            "Ring is asked with the new access token",
            &new_bearer,
        )?;
        proved(
            (),
            "two days on by the schedule's time: rotated once at Ring, and the next clip came by the new token",
        )
    }

    /// While the signing key is rotated the previous one and the new one are good, and no other.
    async fn rotate(&self, device: &str) -> Result<Proved<()>, Failure> {
        let before = self.events_of(device).await?.len();
        let keys = self.stack.ring().order(Method::POST, "keys/rotate", None).await?;
        let key = |name: &str| keys[name].as_str().unwrap_or_default().to_owned();
        self.stack
            .write_secrets(&key("signing_key"), Some(&key("signing_key_previous")))
            .await?;

        for (key, expected) in [("previous", 200), ("current", 200), ("wrong", 401)] {
            let event = json!({ "type": "button_press", "device": device, "key": key, "wait": true });
            let emitted = self.emit(&event).await?;
            let claimed = format!("an event under the {key} key is answered with {expected}");
            claim(statuses(&emitted) == [expected], &claimed, &emitted)?;
        }
        self.events_settle().await?;
        let events = self.events_of(device).await?;
        claim(
            events.len() == before + 2,
            "the good ones are recorded, the other is not",
            &events,
        )?;
        proved(
            (),
            "events under the previous and the new key are recorded; one under a wrong key: 401, not recorded",
        )
    }

    /// Fetches a medium by its presigned URL, and holds it to the simulator's own file and to the object's size.
    async fn same_as_served(&self, medium: &Value, asset: &str) -> Result<usize, Failure> {
        let path = self
            .stack
            .place()
            .checkout()
            .join("tests/ring-simulator/assets")
            .join(asset);
        let served = fs::read(&path).or_fail(|| format!("{} can't be read", path.display()))?;
        let hash = hex::encode(Sha256::digest(&served));
        claim(
            medium["sha256"] == hash.as_str(),
            "the hash is that of what Ring served",
            medium,
        )?;
        claim(
            medium["bytes"] == served.len(),
            "the size is that of what Ring served",
            medium,
        )?;

        let stored = self.stored(medium).await?;
        claim(
            stored == served,
            "what is stored is what Ring served, byte for byte",
            &stored.len(),
        )?;

        let bucket = self.stack.output("MediaBucketName")?;
        let listed = self.stack.aws().objects.list_objects_v2().bucket(bucket).send().await;
        let listed = listed.or_fail(|| "The bucket can't be listed".into())?;
        let keys: Vec<&str> = listed.contents().iter().filter_map(|object| object.key()).collect();
        let url = medium["url"].as_str().unwrap_or_default();
        claim(
            keys.iter().any(|key| url.contains(key)),
            "the object is in the bucket",
            &keys,
        )?;
        Ok(served.len())
    }

    /// What the presigned URL of a medium gives.
    async fn stored(&self, medium: &Value) -> Result<Vec<u8>, Failure> {
        let what = || "The presigned URL gives nothing".to_owned();
        let url = medium["url"].as_str().unwrap_or_default();
        let stored = self.stack.http().get(url).send().await;
        let stored = stored.and_then(reqwest::Response::error_for_status).or_fail(what)?;
        Ok(stored.bytes().await.or_fail(what)?.to_vec())
    }

    /// The bearer that the newest request for a clip came with, as the simulator's journal shows it.
    async fn newest_bearer(&self) -> Result<Value, Failure> {
        let wanted = format!(
            "journal?door=api&user={}&path=*/media/video/download&limit=1",
            self.account
        );
        let journal = self.stack.ring().order(Method::GET, &wanted, None).await?;
        Ok(journal["items"][0]["bearer_sha256"].clone())
    }
}
