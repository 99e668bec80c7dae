//! Faults, done to a stack of its own, and who is told: the alarm that is meant, and no other that pages.
//!
//! The emulator's alarms are evaluated whenever somebody looks. Each fault is a real one: a message, a request, a setting that is
//! wrong. What takes hours, or what AWS alone counts, is in `counted`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use aws_sdk_apigatewayv2::types::RouteSettings;
use local::outside::{Home, claim, schedule_at, soon};
use local::{Failure, Options, Place, Profile, Progress, RingChoice, Stack};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::account::{Erasure, Part};
use shared::edge::clock;
use shared::edge::config::{Environment as _, Process};
use shared::media::store::Media;
use uuid::Uuid;

use super::{blocks, pictures, value};
use crate::grants::{set, set_back};
use crate::intake::deployed;
use crate::ops::{post, put};
use crate::stack::hold_the_floor;
use crate::traps::only_device;
use crate::viewer::Viewer;

/// Where nobody answers.
const NOBODY: &str = "http://127.0.0.1:9";
/// They tell of how quick this machine is, and not of what was done to the stack.
const OF_THE_MACHINE: [&str; 2] = ["IntakeSlow", "IntakeVerySlow"];

/// The alarms that page somebody.
pub(super) fn pages() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/alarms.yaml");
    let alarms = blocks(&fs::read_to_string(path).expect("the alarms"));
    let paging = alarms.into_iter().filter(|(_, lines)| {
        let action = lines.iter().find_map(|line| value(line, "AlarmActions"));
        action.is_some_and(|action| action.contains("PageTopicArn"))
    });
    paging.map(|(name, _)| name).collect()
}

/// Asks the emulator's CloudWatch, as its root.
pub(super) async fn ask(stack: &Stack, what: &str, question: &Value) -> Value {
    let outputs = stack.outputs();
    let who = format!(
        "AWS4-HMAC-SHA256 Credential={}/20260101/{}/monitoring/aws4_request",
        outputs.aws_access_key_id, outputs.aws_region
    );
    let request = stack.http().post(&outputs.aws_endpoint_url).header(AUTHORIZATION, who);
    let request = request
        .header("X-Amz-Target", format!("GraniteServiceVersion20100801.{what}"))
        .header("Content-Type", "application/x-amz-json-1.0");
    let answer = request
        .body(question.to_string())
        .send()
        .await
        .expect("the emulator answers");
    serde_json::from_slice(&answer.bytes().await.expect("an answer")).expect("JSON")
}

/// The alarms of a stack of this name that are on.
pub(super) async fn ringing(stack: &Stack, name: &str) -> Result<BTreeSet<String>, Failure> {
    let prefix = format!("{name}-");
    // All in one page, which has fifty otherwise.
    let question = json!({ "AlarmNamePrefix": prefix, "MaxRecords": 100 });
    let answer = ask(stack, "DescribeAlarms", &question).await;
    let alarms = answer["MetricAlarms"].as_array().expect("alarms").iter();
    let on = alarms.filter(|alarm| alarm["StateValue"] == "ALARM");
    let names = on.filter_map(|alarm| Some(alarm["AlarmName"].as_str()?.strip_prefix(&prefix)?.to_owned()));
    Ok(names.collect())
}

/// Does this to the stack: then the alarm is on, which it was not, and no alarm that pages is on but that one and those of before.
async fn tells(stack: &Stack, alarm: &str, fault: impl AsyncFnOnce()) -> Result<(), Failure> {
    let ringing = async || {
        let mut on = ringing(stack, &stack.outputs().stack_name).await?;
        on.retain(|name| !OF_THE_MACHINE.contains(&name.as_str()));
        Ok::<_, Failure>(on)
    };
    let before = ringing().await?;
    claim(
        !before.contains(alarm),
        &format!("{alarm} is off before its fault"),
        &before,
    )?;
    fault().await;
    is_on(stack, alarm).await;
    let after = ringing().await?;
    let others: Vec<_> = after
        .difference(&before)
        .filter(|name| *name != alarm && pages().contains(*name))
        .collect();
    claim(
        others.is_empty(),
        &format!("the fault of {alarm} pages nobody else"),
        &others,
    )
}

/// Waits until this alarm is on.
async fn is_on(stack: &Stack, alarm: &str) {
    let what = format!("{alarm} is on");
    let on = soon(&what, async || {
        let on = ringing(stack, &stack.outputs().stack_name).await?;
        Ok(if on.contains(alarm) {
            Ok(())
        } else {
            Err(format!("{on:?}"))
        })
    });
    on.await.unwrap_or_else(|failure| panic!("{failure}"));
}

/// An event of this home, made and happened so many seconds ago.
fn event(home: &Home<'_>, id: &str, seconds_ago: i64) -> Vec<u8> {
    let at = clock::now() - jiff::SignedDuration::from_secs(seconds_ago);
    let body = json!({
        "meta": {"version": "1.1", "time": at.to_string(), "request_id": Uuid::new_v4().to_string(),
                 "account_id": home.account},
        "data": {"id": id, "type": "button_press",
                 "attributes": {"source": "ava1.ring.device.FAULTS", "source_type": "devices",
                                "timestamp": at.as_millisecond()}}
    });
    body.to_string().into_bytes()
}

/// How many requests the gateway lets in at once: as though the account's quota were that.
async fn allow_a_burst(stack: &Stack, requests: i32) {
    let settings = RouteSettings::builder().throttling_burst_limit(requests).build();
    let (gateway, api) = (&stack.aws().gateway, stack.outputs().api_host.split('.').next());
    let update = gateway
        .update_stage()
        .set_api_id(api.map(str::to_owned))
        .stage_name("$default");
    let updated = update.default_route_settings(settings).send().await;
    updated.expect("the stage takes it");
}

async fn each_fault_is_told(stack: &Stack) -> Result<(), Failure> {
    let home = Home::linked(stack, &json!([])).await?;
    // There has been an event, so that shares are of something.
    assert_eq!(post(stack, &event(&home, "first", 0)).await, StatusCode::OK);

    tells(stack, "QuarantineHolds", async || {
        assert_eq!(post(stack, b"no JSON").await, StatusCode::OK);
    })
    .await?;
    tells(stack, "EventsLate", async || {
        assert_eq!(post(stack, &event(&home, "late", 300)).await, StatusCode::OK);
    })
    .await?;
    tells(stack, "EventsRepeated", async || {
        for _ in 0..6 {
            assert_eq!(post(stack, &event(&home, "again", 0)).await, StatusCode::OK);
        }
    })
    .await?;
    for (queue, alarm) in [
        ("events_dlq", "EventsGivenUp"),
        ("media_dlq", "MediaGivenUp"),
        ("captures_dlq", "CapturesGivenUp"),
        ("rescue", "RescueHolds"),
    ] {
        tells(stack, alarm, async || put(stack, queue, "{}", &[]).await).await?;
    }
    tells(stack, "SignaturesRefused", async || {
        let forged = format!("sha256={}", "0".repeat(64));
        for _ in 0..30 {
            let answer = deployed::post_once(stack, &event(&home, "forged", 0), &forged).await;
            assert_eq!(answer, StatusCode::UNAUTHORIZED);
        }
    })
    .await?;
    tells(stack, "GatewayFindsTooLarge", async || {
        let answer = deployed::post_once(stack, &vec![b' '; 10_000_001], "sha256=any").await;
        assert_eq!(answer, StatusCode::PAYLOAD_TOO_LARGE);
    })
    .await?;
    tells(stack, "GatewayThrottles", async || {
        allow_a_burst(stack, 0).await;
        let answer = deployed::post_once(stack, &event(&home, "throttled", 0), "sha256=any").await;
        assert_eq!(answer, StatusCode::TOO_MANY_REQUESTS);
        allow_a_burst(stack, 5_000).await;
    })
    .await?;
    tells(stack, "LinksFindNothing", async || {
        let old = json!({ "nonce": "A".repeat(43), "time": clock::now().as_millisecond().to_string() });
        for _ in 0..12 {
            let answer = home.link_with(&old).await.expect("the gateway answers");
            assert_eq!(answer.status, StatusCode::NOT_FOUND);
        }
    })
    .await?;
    tells(stack, "AuditNotWritten", async || {
        let before = set(stack, "account-link", &[("AUDIT_TABLE", "nowhere")]).await;
        let stranger = Home::of_strangers(stack, &json!([])).await.expect("a stranger");
        home.install().await.expect("it is installed again");
        let theirs = home.confirm().await.expect("Ring sends somebody over");
        let answer = stranger.link_with(&theirs).await.expect("the gateway answers");
        assert_eq!(answer.status, StatusCode::CONFLICT);
        set_back(stack, "account-link", &before).await;
    })
    .await?;
    tells(stack, "ExchangeFails", async || {
        let before = set(stack, "token-exchange", &[("GRANTS_TABLE", "nowhere")]).await;
        let stranger = Home::of_strangers(stack, &json!([])).await.expect("a stranger");
        let installed = stranger.install().await.expect("Ring tries");
        assert_eq!(installed["partner_status"], 503, "{installed}");
        set_back(stack, "token-exchange", &before).await;
    })
    .await?;
    tells(stack, "KeyOutOfReach", async || {
        let before = set(stack, "token-exchange", &[("TOKEN_KEY_ID", "nowhere")]).await;
        let stranger = Home::of_strangers(stack, &json!([])).await.expect("a stranger");
        let installed = stranger.install().await.expect("Ring tries");
        assert_eq!(installed["partner_status"], 503, "{installed}");
        set_back(stack, "token-exchange", &before).await;
    })
    .await?;
    tells(stack, "SecretUnreadable", async || {
        let before = set(stack, "account-link", &[("SIGNING_SECRET_ID", "nowhere")]).await;
        let any = json!({ "nonce": "A".repeat(43), "time": clock::now().as_millisecond().to_string() });
        let answer = home.link_with(&any).await.expect("the gateway answers");
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        set_back(stack, "account-link", &before).await;
    })
    .await?;
    tells(stack, "LiveFails", async || {
        let watched = Home::linked(stack, &json!([{ "preset": "doorbell", "live": {} }])).await;
        let watched = watched.expect("a home with a camera");
        let device = only_device(&watched).await.expect("its camera");
        let before = set(stack, "partner-api", &[("RING_API_URL", NOBODY)]).await;
        for _ in 0..3 {
            let request = stack.request(Method::POST, &format!("/v1/devices/{device}/live"));
            let request = request
                .bearer_auth(&watched.visitor.token)
                .header(CONTENT_TYPE, "application/sdp");
            let offer = Viewer::new(false).await.offer.clone();
            let answer = request.body(offer).send().await.expect("the gateway answers");
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
        set_back(stack, "partner-api", &before).await;
    })
    .await?;
    tells(stack, "EventsTriedAgain", async || {
        let before = set(stack, "event-processor", &[("EVENTS_TABLE", "nowhere")]).await;
        assert_eq!(post(stack, &event(&home, "in vain", 0)).await, StatusCode::OK);
        is_on(stack, "EventsTriedAgain").await;
        set_back(stack, "event-processor", &before).await;
    })
    .await?;
    tells(stack, "MediaTriedAgain", async || {
        let before = set(stack, "media-fetch", &[("MEDIA_TABLE", "nowhere")]).await;
        put(stack, "media", r#"{"medium_id":"med_in_vain"}"#, &[]).await;
        is_on(stack, "MediaTriedAgain").await;
        set_back(stack, "media-fetch", &before).await;
    })
    .await?;
    tells(stack, "EraseTakesLong", async || {
        // Its message was given up weeks ago.
        let erasure = Erasure {
            receipt: Uuid::new_v4().to_string(),
            requested_at: clock::now() - jiff::SignedDuration::from_hours(26 * 24),
            part: Part::Archive("exports/in_vain.tar".to_owned()),
        };
        let media = Media::new(&stack.aws().config, &stack.outputs().tables["media"]);
        media.owe(&erasure.owed(), clock::now()).await.expect("it is owed");
        put(stack, "media", r#"{"sweep":"due"}"#, &[]).await;
    })
    .await?;
    tells(stack, "IntakeFails", async || {
        let before = set(stack, "webhook-intake", &[("SIGNING_SECRET_ID", "nowhere")]).await;
        let signature = format!("sha256={}", "0".repeat(64));
        for _ in 0..3 {
            let answer = deployed::post_once(stack, &event(&home, "unseen", 0), &signature).await;
            assert_eq!(answer, StatusCode::SERVICE_UNAVAILABLE);
        }
        set_back(stack, "webhook-intake", &before).await;
    })
    .await?;
    renewals_fail(stack, &home).await
}

/// What is due is seen by the time of the schedule's event.
async fn minute(stack: &Stack, hours_later: i64) {
    let time = clock::now() + jiff::SignedDuration::from_hours(hours_later);
    let ran = stack.invoke("token-refresh", &schedule_at(time)).await;
    ran.expect("the schedule's program ends well, whatever Ring says");
}

async fn renewals_fail(stack: &Stack, home: &Home<'_>) -> Result<(), Failure> {
    tells(stack, "RescueUnreadable", async || minute(stack, 0).await).await?;
    // Each renewal comes a day after the one before.
    tells(stack, "RenewalsLate", async || minute(stack, 27).await).await?;
    tells(stack, "RenewalsVeryLate", async || minute(stack, 27 + 24 + 26).await).await?;
    tells(stack, "LinksRefused", async || {
        let revoke = json!({ "user": home.account, "which": "all" });
        let revoked = stack.ring().order(Method::POST, "tokens/revoke", Some(&revoke)).await;
        revoked.expect("Ring revokes them");
        minute(stack, 27 + 24 + 26 + 26).await;
    })
    .await?;
    tells(stack, "CredentialsRefused", async || {
        let id = stack.output("OAuthSecretId").expect("an output");
        let secrets = &stack.aws().secrets;
        let held = secrets
            .get_secret_value()
            .secret_id(id)
            .send()
            .await
            .expect("it is read");
        let right = held.secret_string().expect("a string");
        let mut wrong: Value = serde_json::from_str(right).expect("JSON");
        wrong["client_secret"] = "of_another_client".into();
        let put = async |text: &str| {
            let put = secrets
                .put_secret_value()
                .secret_id(id)
                .secret_string(text)
                .send()
                .await;
            put.expect("it is written");
        };
        put(&wrong.to_string()).await;
        let before = set(stack, "token-refresh", &[("LOG_LEVEL", "info")]).await; // another process, which reads it anew
        minute(stack, 27 + 24 + 26 + 26 + 26).await;
        put(right).await;
        set_back(stack, "token-refresh", &before).await;
    })
    .await?;
    // One grant that fails, minute by minute, pages nobody.
    for _ in 0..3 {
        Home::linked(stack, &json!([])).await?;
    }
    let down = json!({ "method": "POST", "path": "/oauth/token", "count": null, "do": "answer", "status": 503 });
    stack.ring().order(Method::POST, "faults", Some(&down)).await?;
    tells(stack, "MostRenewalsFail", async || {
        minute(stack, 200).await;
    })
    .await?;
    tells(stack, "TokensEndInDays", async || minute(stack, 26 * 24).await).await?;
    tells(stack, "TokensEndNow", async || minute(stack, 29 * 24 + 12).await).await?;
    stack.ring().order(Method::DELETE, "faults", None).await?;
    Ok(())
}

#[test]
fn each_fault_rings_the_alarm_that_is_meant_and_pages_nobody_else() {
    hold_the_floor(|runtime| {
        let held = runtime.block_on(async {
            let options = Options {
                kind: "faults",
                profile: Profile::Dev,
                port: None,
                ring: RingChoice::Simulator,
                aws_for_functions: None,
                progress: Progress::Quiet,
            };
            let stack = Stack::up(Place::find().await?, options).await?;
            each_fault_is_told(&stack).await?;
            if Process.get("PICTURES").is_some() {
                pictures::ordinary_minutes(&stack).await?;
                pictures::draw(&stack).await;
            }
            Ok::<_, Failure>(())
        });
        if let Err(failure) = held {
            panic!("{failure}");
        }
    });
}
