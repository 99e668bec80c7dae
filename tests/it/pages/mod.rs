//! The pages in a real browser: Chromium, driven by Playwright, against the stack and the offline Ring. What a person does and
//! sees stands in `scenarios.py`; this file sets the scene of each, and fails where the scenario does.

use std::process::Stdio;
use std::time::Duration;

use local::outside::{Home, claim};
use local::{Browser, Failure, PASSWORD, Stack};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::edge::clock;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::stack::{alone_on_the_stack, on_the_stack};

/// One browser at a time: two would slow each other down.
static BROWSER: Mutex<()> = Mutex::const_new(());
/// No scenario takes longer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Plays a scenario, with all that it has to know.
async fn play(stack: &Stack, scenario: &str, scene: Value) -> Result<(), Failure> {
    let _only = BROWSER.lock().await;
    let browser = Browser::ready(stack.place()).await?;
    let failed = |why: String| Failure::new(format!("The scenario {scenario} does not hold")).because(why);
    let mut told = scene;
    told["chromium"] = json!(browser.program);
    told["home_url"] = json!(stack.output("AppHomepageUrl")?);
    told["link_url"] = json!(stack.output("AccountLinkUrl")?);
    told["control_url"] = json!(stack.outputs().ring.control_url);
    told["api_url"] = json!(stack.outputs().api_url);
    told["api_host"] = json!(stack.outputs().api_host);
    told["password"] = json!(PASSWORD);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/it/pages/scenarios.py");
    let mut playing = Command::new(&browser.python)
        .args(["-B", script, scenario])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut input) = playing.stdin.take() {
        let written = input.write_all(told.to_string().as_bytes()).await;
        written.map_err(|error| failed(error.to_string()))?;
    }
    let played = tokio::time::timeout(PATIENCE, playing.wait_with_output()).await;
    let played = played.map_err(|_| failed("it takes too long".to_owned()))?;
    let played = played.map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&played.stdout).into_owned() + &String::from_utf8_lossy(&played.stderr);
    print!("{said}");
    claim(played.status.success(), "the scenario holds", &said).map_err(|_| failed(said.clone()))
}

/// Somebody with a home of cameras, and what they do on a page.
async fn at_home(stack: &Stack, scenario: &str, cameras: Value) -> Result<(), Failure> {
    let home = Home::linked(stack, &cameras).await?;
    let devices = home.device_ids().await?;
    let email = home.visitor.email.clone();
    let scene = json!({ "account": home.account, "email": email, "token": home.visitor.token, "devices": devices });
    play(stack, scenario, scene).await
}

/// Two cameras, one with something recorded a while ago.
fn cameras() -> Value {
    let now = clock::now().as_millisecond();
    let recorded = json!([{ "start": now - 900_000, "end": now }]);
    json!([
        { "preset": "doorbell", "footage": recorded, "snapshots": [now - 60_000] },
        { "preset": "privacy_camera", "footage": recorded, "snapshots": [now - 60_000] },
    ])
}

#[track_caller]
fn held(outcome: Result<(), Failure>) {
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn trap_29_a_person_links_after_they_have_seen_whose_account_it_is_and_its_nonce_leaves_the_address_bar() {
    on_the_stack(async |stack| {
        held(
            async {
                let home = Home::of_strangers(stack, &cameras()).await?;
                let scene = json!({ "account": home.account, "email": home.visitor.email });
                play(stack, "link", scene).await?;
                let links = home.call(Method::GET, "/v1/links", None).await?;
                let links = links.must_be(StatusCode::OK, "links are listed")?;
                claim(
                    links.body["items"][0]["account_id"] == home.account
                        && links.body["items"][0]["status"] == "completed",
                    "the link that the page says is made is made",
                    &links,
                )
            }
            .await,
        );
    });
}

#[test]
fn trap_28_whoever_comes_before_their_token_waits_and_goes_on_by_themselves() {
    on_the_stack(async |stack| {
        held(
            async {
                let home = Home::of_strangers(stack, &json!(["doorbell"])).await?;
                let scene = json!({ "account": home.account, "email": home.visitor.email });
                play(stack, "link_before_the_token", scene).await
            }
            .await,
        );
    });
}

#[test]
fn a_link_that_does_not_come_about_says_why_and_what_to_do() {
    // It orders a fault, which strikes whoever comes.
    alone_on_the_stack(async |stack| {
        held(
            async {
                let home = Home::linked(stack, &json!(["doorbell"])).await?;
                let other = Home::of_strangers(stack, &json!(["doorbell"])).await?;
                let installed = other.install().await?;
                claim(installed["partner_status"] == 200, "the code is taken", &installed)?;
                let scene = json!({
                    "account": home.account, "email": home.visitor.email,
                    "other_account": other.account, "other_email": other.visitor.email,
                });
                play(stack, "link_that_does_not_come_about", scene).await
            }
            .await,
        );
    });
}

#[test]
fn motion_is_on_the_page_within_four_seconds_and_its_clip_and_a_snapshot_are_two_clicks_away() {
    // It looks at a clock.
    alone_on_the_stack(async |stack| held(at_home(stack, "motion", cameras()).await));
}

#[test]
fn live_video_is_seen_goes_on_at_rings_limit_and_ends_when_nobody_looks() {
    on_the_stack(async |stack| held(at_home(stack, "live", cameras()).await));
}

#[test]
fn trap_40_the_console_completes_links_keeps_policies_and_says_what_is_wrong() {
    on_the_stack(async |stack| held(at_home(stack, "console", cameras()).await));
}

#[test]
fn a_copy_of_everything_is_had_from_the_page_and_everything_is_erased_there() {
    on_the_stack(async |stack| {
        held(
            async {
                let home = Home::linked(stack, &cameras()).await?;
                let scene = json!({
                    "account": home.account, "email": home.visitor.email, "token": home.visitor.token,
                    "devices": home.device_ids().await?,
                });
                play(stack, "account", scene).await?;
                let links = home.call(Method::GET, "/v1/links", None).await?;
                claim(links.body["items"] == json!([]), "nothing is linked any more", &links)
            }
            .await,
        );
    });
}

#[test]
fn the_pages_have_no_serious_finding_of_accessibility_in_light_and_dark_and_on_a_phone() {
    on_the_stack(async |stack| held(at_home(stack, "accessible", cameras()).await));
}

#[test]
fn the_pages_can_be_used_with_the_keyboard_alone() {
    on_the_stack(async |stack| {
        held(
            async {
                let home = Home::of_strangers(stack, &cameras()).await?;
                let installed = home.install().await?;
                claim(installed["partner_status"] == 200, "the code is taken", &installed)?;
                let scene = json!({ "account": home.account, "email": home.visitor.email });
                play(stack, "keyboard", scene).await
            }
            .await,
        );
    });
}

#[test]
fn the_pages_look_as_their_pictures_show() {
    // The pictures in docs/pages are made by this test, with PICTURES set; otherwise they lie beside the stack's logs.
    on_the_stack(async |stack| {
        held(
            async {
                let home = Home::linked(stack, &street()).await?;
                let other = Home::of_strangers(stack, &json!(["doorbell"])).await?;
                let installed = other.install().await?;
                claim(installed["partner_status"] == 200, "the code is taken", &installed)?;
                let folder = match std::env::var_os("PICTURES") {
                    Some(_) => stack.place().checkout().join("docs/pages"),
                    None => stack.folder().join("pages"),
                };
                let scene = json!({
                    "account": home.account, "email": home.visitor.email, "token": home.visitor.token,
                    "devices": home.device_ids().await?, "other_account": other.account, "folder": folder,
                });
                play(stack, "pictures", scene).await
            }
            .await,
        );
    });
}

/// Four cameras, as a home may have them.
fn street() -> Value {
    let now = clock::now().as_millisecond();
    let camera = |preset: &str, name: &str| {
        json!({
            "preset": preset, "name": name,
            "footage": [{ "start": now - 3_600_000, "end": now }], "snapshots": [now - 60_000],
        })
    };
    json!([
        camera("doorbell", "Front Door"),
        camera("privacy_camera", "Garden"),
        camera("indoor_camera", "Living Room"),
        "hevc_camera",
    ])
}
