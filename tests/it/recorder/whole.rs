//! The recorder as it is deployed, but for the container: a process on the stack, fed by the API through the queue.

use local::Failure;
use local::outside::{Home, claim, soon};
use reqwest::{Method, StatusCode};
use ring_partner::devices::DeviceId;
use ring_partner::users::AccountId;
use serde_json::{Value, json};
use shared::capture;
use shared::capture::session::ports::Sessions as _;
use shared::capture::session::store::SessionTable;
use shared::capture::store::Slots;
use shared::edge::clock;
use shared::media::{CaptureRequest, Medium, MediumId, Request};
use tokio::process::{Child, Command};

use crate::api::Operation;
use crate::grants::{set, set_back};
use crate::media::message_comes;
use crate::traps::{alone, leaving_none_open, only_device};

/// Asks for a capture of so many milliseconds. Its id.
async fn asked(home: &Home<'_>, device: &str, duration: u64) -> Result<String, Failure> {
    let route = format!("/v1/devices/{device}/captures");
    let asked = home
        .call(Method::POST, &route, Some(&json!({ "duration": duration })))
        .await?;
    asked
        .must_be(StatusCode::ACCEPTED, "a capture is asked for")?
        .text("id")
}

/// The medium, once it is in this state.
async fn in_state(home: &Home<'_>, id: &str, state: &str) -> Result<Value, Failure> {
    soon(&format!("the capture is {state}"), async || {
        let medium = home.call(Method::GET, &format!("/v1/media/{id}"), None).await?;
        let medium = medium.must_be(StatusCode::OK, "the medium can be asked for")?;
        let is = medium.body["state"] == state;
        Ok(if is {
            Ok(medium.body)
        } else {
            Err(medium.body.to_string())
        })
    })
    .await
}

/// The live sessions that were opened of a user's devices.
async fn sessions(home: &Home<'_>) -> Result<Vec<Value>, Failure> {
    let path = format!("live?user={}", home.account);
    let live = home.stack.ring().order(Method::GET, &path, None).await?;
    Ok(live["items"].as_array().cloned().unwrap_or_default())
}

async fn are_closed(home: &Home<'_>) -> Result<(), Failure> {
    let sessions = sessions(home).await?;
    claim(!sessions.is_empty(), "a session was opened", &sessions)?;
    let all = sessions.iter().all(|session| session["over"]["by"] == "delete");
    claim(all, "every session was closed by us", &sessions)
}

async fn is_shown(home: &Home<'_>) -> Result<(), Failure> {
    soon("a session shows something", async || {
        let sessions = sessions(home).await?;
        let shown = sessions.iter().any(|session| session["frames"].as_u64() > Some(30));
        Ok(if shown { Ok(()) } else { Err(format!("{sessions:?}")) })
    })
    .await
}

/// A film that is there, as far as its start tells.
async fn is_film(home: &Home<'_>, medium: &Value) -> Result<(), Failure> {
    let url = medium["url"].as_str().unwrap_or_default();
    let film = home.stack.http().get(url).send().await;
    let film = film.and_then(reqwest::Response::error_for_status);
    let film = match film {
        Ok(film) => film.bytes().await.unwrap_or_default(),
        Err(error) => return Err(Failure::new("The film can't be fetched").because(error.without_url().to_string())),
    };
    claim(
        film.len() as u64 == medium["bytes"].as_u64().unwrap_or_default(),
        "it is all there",
        medium,
    )?;
    claim(film.get(4..8) == Some(b"ftyp"), "it is an MP4", medium)
}

#[test]
fn a_capture_that_is_asked_for_is_recorded_and_its_session_closed() {
    leaving_none_open(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        let id = asked(&home, &device, 5_000).await?;
        let medium = in_state(&home, &id, "stored").await?;
        are_closed(&home).await?;
        claim(medium["origin"] == "live", "it is live video", &medium)?;
        claim(
            medium["actual"]["duration"].as_i64() > Some(3_000),
            "it is as long as asked",
            &medium,
        )?;
        is_film(&home, &medium).await
    });
}

/// What is read at each of these URLs, put together; `None`: one of them is not there.
async fn read_all(home: &Home<'_>, urls: &[&str]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    for url in urls {
        let answer = home.stack.http().get(*url).send().await.ok()?;
        all.extend_from_slice(&answer.error_for_status().ok()?.bytes().await.ok()?);
    }
    Some(all)
}

#[test]
fn where_nobody_records_a_capture_is_refused_at_the_door_and_left_out_of_a_policy() {
    alone(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        let policy = json!({ "on": { "button_press": ["snapshot", "capture"] } });
        home.call(Method::PUT, &format!("/v1/devices/{device}/policy"), Some(&policy))
            .await?
            .must_be(StatusCode::OK, "a policy may name captures")?;
        let nobody = [("CAPTURES_QUEUE_URL", "")];
        let before = (
            set(stack, "partner-api", &nobody).await,
            set(stack, "event-processor", &nobody).await,
        );
        let asked = async {
            for (route, body) in [
                ("captures", json!({ "duration": 5_000 })),
                ("clips", json!({ "duration": 5_000, "record": true })),
            ] {
                let route = format!("/v1/devices/{device}/{route}");
                let refused = home.call(Method::POST, &route, Some(&body)).await?;
                let refused = refused.must_be(StatusCode::CONFLICT, "nobody would record it")?;
                claim(
                    refused.body["type"] == "/problems/recording-off",
                    "it says why",
                    &refused.body,
                )?;
            }
            home.emit(&json!({ "type": "button_press", "device": device, "wait": true }))
                .await?;
            soon("the still that the policy names too is there", async || {
                let media = home
                    .call(Method::GET, &format!("/v1/devices/{device}/media"), None)
                    .await?;
                let items = media.body["items"].as_array().cloned().unwrap_or_default();
                Ok(match items.as_slice() {
                    [only] if only["kind"] == "snapshot" => Ok(()),
                    other => Err(format!("{other:?}")),
                })
            })
            .await
        }
        .await;
        set_back(stack, "partner-api", &before.0).await;
        set_back(stack, "event-processor", &before.1).await;
        asked?;
        claim(sessions(&home).await?.is_empty(), "no session was opened", &device)
    });
}

#[test]
fn a_capture_plays_by_its_playlist_for_its_user_alone_and_deleted_leaves_nothing_in_the_bucket() {
    leaving_none_open(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        let id = asked(&home, &device, 4_000).await?;
        let medium = in_state(&home, &id, "stored").await?;
        let route = format!("/v1/media/{id}/playlist.m3u8");
        let playlist = home.call(Method::GET, &route, None).await?;
        let playlist = playlist.must_be(StatusCode::OK, "the playlist can be asked for")?;
        claim(
            playlist.headers["content-type"] == "application/vnd.apple.mpegurl",
            "it is a playlist",
            &playlist,
        )?;
        let list = playlist.body.as_str().unwrap_or_default();
        Operation::of("getPlaylist").may_answer(playlist.status, &playlist.headers, list);
        claim(
            list.starts_with("#EXTM3U\n") && list.ends_with("#EXT-X-ENDLIST\n"),
            "it is whole",
            &list,
        )?;
        let map = list.lines().filter_map(|line| line.strip_prefix("#EXT-X-MAP:URI=\""));
        let map: Vec<_> = map.map(|line| line.trim_end_matches('"')).collect();
        let segments: Vec<_> = list.lines().filter(|line| !line.starts_with('#')).collect();
        claim(
            map.len() == 1 && segments.len() > 1,
            "it has a start and segments",
            &list,
        )?;
        let urls: Vec<_> = map.iter().chain(&segments).copied().collect();
        let read = read_all(&home, &urls).await.unwrap_or_default();
        claim(
            read.get(4..8) == Some(b"ftyp") && read.len() as u64 > medium["bytes"].as_u64().unwrap_or_default() / 2,
            "all of it can be read",
            &read.len(),
        )?;

        let stranger = Home::of_strangers(stack, &json!([])).await?;
        let theirs = stranger.call(Method::GET, &route, None).await?;
        theirs.must_be(StatusCode::NOT_FOUND, "a stranger sees no playlist")?;

        let deleted = home.call(Method::DELETE, &format!("/v1/media/{id}"), None).await?;
        deleted.must_be(StatusCode::NO_CONTENT, "it is deleted")?;
        let film = medium["url"].as_str().unwrap_or_default();
        for url in urls.iter().chain([&film]) {
            claim(read_all(&home, &[url]).await.is_none(), "nothing is left", url)?;
        }
        let gone = home.call(Method::GET, &route, None).await?;
        gone.must_be(StatusCode::NOT_FOUND, "there is no playlist any more")?;
        Ok(())
    });
}

#[test]
fn a_capture_whose_medium_is_deleted_stops_and_leaves_nothing_open() {
    leaving_none_open(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        let id = asked(&home, &device, 60_000).await?;
        is_shown(&home).await?;
        let deleted = home.call(Method::DELETE, &format!("/v1/media/{id}"), None).await?;
        deleted.must_be(StatusCode::NO_CONTENT, "it is deleted")?;
        soon("the session is closed", async || {
            Ok(are_closed(&home).await.map_err(|failure| failure.to_string()))
        })
        .await
    });
}

#[test]
fn trap_94_a_recorder_that_is_killed_leaves_a_session_that_the_next_one_closes_and_goes_on() {
    leaving_none_open(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        let id = asked_quietly(&home, &device, 25_000).await?;
        let mut first = once(stack, &id)?;
        is_shown(&home).await?;
        first
            .kill()
            .await
            .map_err(|error| Failure::new("The recorder can't be killed").because(error.to_string()))?;
        let left = sessions(&home).await?;
        claim(
            left.iter().any(|session| session["open"] == true),
            "a session is left open",
            &left,
        )?;

        let mut second = once(stack, &id)?;
        let medium = in_state(&home, &id, "stored").await?;
        are_closed(&home).await?;
        let _ended = second.wait().await;
        claim(
            medium["actual"]["duration"].as_i64() > Some(1_500),
            "what the first recorded is there",
            &medium,
        )?;
        is_film(&home, &medium).await
    });
}

#[test]
fn trap_94_a_recorder_that_is_killed_for_good_leaves_a_session_that_the_message_closes() {
    leaving_none_open(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = only_device(&home).await?;
        let id = asked_quietly(&home, &device, 25_000).await?;
        let mut recorder = once(stack, &id)?;
        is_shown(&home).await?;
        let killed = recorder.kill().await;
        killed.map_err(|error| Failure::new("The recorder can't be killed").because(error.to_string()))?;

        let account = AccountId::new(home.account.as_str()).expect("an id");
        let ledger = SessionTable::new(&stack.aws().config, &stack.outputs().tables["device"]);
        let left = ledger.of_account(&account).await.expect("the table answers");
        let [session] = &left[..] else {
            return Err(Failure::new("There is not one session in the ledger").because(format!("{left:?}")));
        };
        claim(
            session.capture.as_ref().map(MediumId::as_str) == Some(id.as_str()),
            "it is the capture's",
            &left,
        )?;
        // Nobody watches beside it.
        let now = clock::now();
        claim(session.blocks(now), "the device is kept for it", &left)?;

        let close = json!({ "close_session": { "account_id": home.account, "session_id": session.id } });
        message_comes(stack, &close).await?;
        are_closed(&home).await?;
        let left = ledger.of_account(&account).await.expect("the table answers");
        claim(left.is_empty(), "nothing is left of it", &left)
    });
}

/// A capture that is asked for without a word to the queue, so that nobody else records it.
async fn asked_quietly(home: &Home<'_>, device: &str, duration: i64) -> Result<String, Failure> {
    let account = AccountId::new(home.account.as_str()).expect("an id");
    let device = DeviceId::new(device).expect("an id");
    let request = Request::Capture(CaptureRequest { duration, audio: false });
    let now = clock::now();
    let medium = Medium {
        id: MediumId::now(&account, &device, request.kind(), "quietly"),
        ..Medium::requested(account, device, request, now)
    };
    let stack = home.stack;
    let slots = Slots::new(&stack.aws().config, &stack.outputs().tables["media"]);
    let begun = capture::begin(&slots, &medium, now).await;
    let begun = begun.map_err(|error| Failure::new("The capture can't be begun").because(error.to_string()))?;
    Ok(begun.medium_id().as_str().to_owned())
}

/// A recorder of this one capture.
fn once(stack: &local::Stack, id: &str) -> Result<Child, Failure> {
    let recorder = stack.recorder();
    Command::new(&recorder.program)
        .args(["--once", &json!({ "medium_id": id }).to_string()])
        .env_clear()
        .envs(&recorder.environment)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failure::new("The recorder can't be started").because(error.to_string()))
}

#[test]
fn trap_107_a_clip_that_is_recorded_first_is_the_window_of_a_session_that_was_held_and_closed() {
    leaving_none_open(async |stack| {
        // What was shown can be had three seconds after it: Ring says 416 until then.
        let live = json!({ "records": true, "record_ready_ms": 8_000 });
        let home = Home::linked(stack, &json!([{ "preset": "doorbell", "live": live }])).await?;
        let device = only_device(&home).await?;
        let route = format!("/v1/devices/{device}/clips");
        let order = json!({ "duration": 4_000, "record": true });
        let asked = home.call(Method::POST, &route, Some(&order)).await?;
        let id = asked.must_be(StatusCode::ACCEPTED, "a clip is asked for")?.text("id")?;
        let clip = in_state(&home, &id, "stored").await?;
        claim(
            clip["kind"] == "clip" && clip["origin"] == "recording",
            "it is a clip",
            &clip,
        )?;
        are_closed(&home).await?;
        let [session] = &sessions(&home).await?[..] else {
            return Err(Failure::new("There was more than one session"));
        };
        claim(session["frames"].as_u64() > Some(30), "somebody received it", session)?;
        let opened_at = session["opened_at"]
            .as_str()
            .and_then(|at| at.parse::<jiff::Timestamp>().ok());
        let began = opened_at.map(jiff::Timestamp::as_millisecond).unwrap_or_default();
        let begins = clip["requested"]["timestamp"].as_i64().unwrap_or_default();
        claim(
            (began..began + 5_000).contains(&begins),
            "its window is the session's",
            &(&clip, began),
        )?;
        let path = format!("journal?path=*/media/video/download&device={device}");
        let asked_for = home.stack.ring().order(Method::GET, &path, None).await?;
        let times = asked_for["items"].as_array().map_or(0, Vec::len);
        claim((2..=4).contains(&times), "it was asked for again, and seldom", &times)?;

        let long = home
            .call(
                Method::POST,
                &route,
                Some(&json!({ "duration": 61_000, "record": true })),
            )
            .await?;
        long.must_be(StatusCode::BAD_REQUEST, "no session is that long")?;
        let nowhere = home
            .call(Method::POST, &route, Some(&json!({ "duration": 4_000 })))
            .await?;
        nowhere.must_be(StatusCode::BAD_REQUEST, "it begins nowhere")?;
        Ok(())
    });
}
