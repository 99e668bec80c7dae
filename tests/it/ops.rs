//! The operator's tool on the stack, run as a person runs it: the built program, with the stack's name, or its outputs.

use std::path::PathBuf;
use std::process::Output;

use aws_sdk_sqs::types::MessageAttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use local::outside::{Home, soon};
use local::{Failure, Stack};
use reqwest::StatusCode;
use ring_partner::signature::{SigningKey, sign};
use serde_json::{Value, json};
use shared::edge::clock;
use uuid::Uuid;

use crate::canary::places::Bus;
use crate::grants::{set, set_back};
use crate::intake::deployed;
use crate::stack::alone_on_the_stack;

type Held = Result<(), Failure>;

/// Alone: who looks through a queue hides its messages for a moment, and who moves them moves all.
#[track_caller]
fn alone(test: impl AsyncFnOnce(&'static Stack) -> Held) {
    alone_on_the_stack(async |stack| {
        if let Err(failure) = test(stack).await {
            panic!("{failure}");
        }
    });
}

/// Runs the tool against the stack by its name, with the environment of somebody who is signed in.
pub(crate) async fn run(stack: &Stack, arguments: &[&str]) -> Output {
    let outputs = stack.outputs();
    let mut named = vec!["--stack", outputs.stack_name.as_str()];
    named.extend(arguments);
    let mut command = tokio::process::Command::new(program(stack));
    command
        .args(named)
        .env_clear()
        .env("AWS_ENDPOINT_URL", &outputs.aws_endpoint_url)
        .env("AWS_REGION", &outputs.aws_region)
        .env("AWS_ACCESS_KEY_ID", &outputs.aws_access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &outputs.aws_secret_access_key);
    command.output().await.expect("the tool runs")
}

/// Built with the functions, when the stack was brought up.
pub(crate) fn program(stack: &Stack) -> PathBuf {
    stack.place().target().join("debug/ops")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs the tool for its JSON, and it must succeed.
pub(crate) async fn ask(stack: &Stack, arguments: &[&str]) -> Value {
    let mut with_json = vec!["--json", "--quiet"];
    with_json.extend(arguments);
    let output = run(stack, &with_json).await;
    let (said, error) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {said}{error}");
    assert_eq!(error, "", "{arguments:?}");
    serde_json::from_str(&said).unwrap_or_else(|_| panic!("{arguments:?}: {said}"))
}

/// Runs the tool, and it must say no with this status, and these words.
async fn refused(stack: &Stack, arguments: &[&str], status: i32, words: &str) {
    let output = run(stack, arguments).await;
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {error}");
    assert!(error.contains(words), "{arguments:?}: {error}");
}

/// Posts a signed body as Ring does.
pub(crate) async fn post(stack: &Stack, body: &[u8]) -> StatusCode {
    deployed::post(stack, body, &signature(stack, body)).await
}

fn signature(stack: &Stack, body: &[u8]) -> String {
    sign(&SigningKey::new(stack.ring().signing_key()).expect("a key"), body)
}

/// Puts a message into a queue as a program would have.
pub(crate) async fn put(stack: &Stack, queue: &str, body: &str, attributes: &[(&str, &str)]) {
    let mut send = stack
        .aws()
        .queues
        .send_message()
        .queue_url(&stack.outputs().queues[queue])
        .message_body(body);
    for (name, value) in attributes {
        let value = MessageAttributeValue::builder()
            .data_type("String")
            .string_value(*value)
            .build();
        send = send.message_attributes(*name, value.expect("a value"));
    }
    send.send().await.expect("the queue takes it");
}

/// A button press as Ring would tell of it.
fn press(home: &Home<'_>, device: &str) -> String {
    let (id, request_id) = (Uuid::new_v4(), Uuid::new_v4());
    let body = json!({
        "meta": {"version": "1.1", "time": clock::now().to_string(), "request_id": request_id.to_string(),
                 "account_id": home.account},
        "data": {"id": id.to_string(), "type": "button_press",
                 "attributes": {"source": device, "source_type": "devices", "timestamp": clock::now().as_millisecond()}}
    });
    body.to_string()
}

async fn doorbell(home: &Home<'_>) -> Result<String, Failure> {
    Ok(home.device_ids().await?.into_values().next().expect("a device"))
}

/// What of this size lies in quarantine.
async fn of_size(stack: &Stack, bytes: usize) -> Vec<Value> {
    let listed = ask(stack, &["quarantine", "list"]).await;
    let items = listed["items"].as_array().cloned().unwrap_or_default();
    items.into_iter().filter(|item| item["bytes"] == bytes).collect()
}

/// The one of this size, once it has come, and is another than the one before.
async fn arrived(stack: &Stack, bytes: usize, before: Option<&str>) -> Result<Value, Failure> {
    soon("it lies in quarantine", async || {
        let found = of_size(stack, bytes).await;
        Ok(match &found[..] {
            [one] if one["id"].as_str() != before => Ok(one.clone()),
            _ => Err(format!("{found:?}")),
        })
    })
    .await
}

#[test]
fn trap_46_what_makes_no_sense_is_listed_shown_put_back_and_dropped_without_being_lost_on_the_way() {
    alone(async |stack| {
        // A size that nothing else has tells it from what other tests left there.
        let body = format!("{{\"marker\": \u{1b}[2J {}", "x".repeat(3_210));
        assert_eq!(post(stack, body.as_bytes()).await, StatusCode::OK);
        let entry = arrived(stack, body.len(), None).await?;
        let id = entry["id"].as_str().expect("an id").to_owned();
        assert_eq!(entry["reason"], "unparsable");
        let why = entry["reads_as"]["nothing"]["why"].as_str().expect("why");
        assert!(why.contains("not JSON") && !why.contains("marker"), "{why}");
        assert!(entry.get("body_base64").is_none(), "no body unless it is asked for");

        let short = &id[..8];
        let shown = run(stack, &["quarantine", "show", short]).await;
        let said = text(&shown.stdout);
        assert!(
            said.contains(&id) && said.contains("unparsable") && !said.contains("marker"),
            "{said}"
        );
        let bytes = run(stack, &["quarantine", "show", short, "--body"]).await.stdout;
        assert_eq!(
            text(&bytes),
            body,
            "redirected, the body is what Ring signed, byte for byte"
        );
        let whole = ask(stack, &["quarantine", "show", short, "--body"]).await;
        assert_eq!(whole["body_base64"], STANDARD.encode(&body));

        // Looking, and asking what would be, leaves it where it is.
        let would = ask(stack, &["quarantine", "retry", &id, "--dry-run"]).await;
        assert_eq!(
            (&would["dry_run"], &would["items"][0]["id"]),
            (&json!(true), &json!(id))
        );
        assert_eq!(of_size(stack, body.len()).await.len(), 1);

        // Put back, it still makes no sense, and comes again: as another message, once.
        let done = ask(stack, &["quarantine", "retry", &id]).await;
        assert_eq!(done["items"].as_array().map(Vec::len), Some(1), "{done}");
        let again = arrived(stack, body.len(), Some(&id)).await?;
        let id = again["id"].as_str().expect("an id");

        refused(stack, &["quarantine", "drop", id], 2, "--yes").await;
        let would = ask(stack, &["quarantine", "drop", id, "--dry-run"]).await;
        assert_eq!(would["dry_run"], true);
        assert_eq!(of_size(stack, body.len()).await.len(), 1);
        ask(stack, &["quarantine", "drop", id, "--yes"]).await;
        assert_eq!(of_size(stack, body.len()).await, Vec::<Value>::new());
        refused(stack, &["quarantine", "show", id], 1, "quarantine list").await;
        Ok(())
    });
}

#[test]
fn a_body_that_was_set_aside_takes_effect_once_when_it_is_put_back() {
    alone(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = doorbell(&home).await?;
        let (plain, encoded) = (press(&home, &device), press(&home, &device));
        // As a version of the programs would have left them that did not understand them yet.
        put(stack, "quarantine", &plain, &[("reason", "an-older-version")]).await;
        let in_base64 = format!("{} ", STANDARD.encode(&encoded));
        put(
            stack,
            "quarantine",
            &in_base64,
            &[("reason", "an-older-version"), ("encoding", "base64")],
        )
        .await;
        let retry = ["quarantine", "retry", "--all", "--reason", "an-older-version"];
        let done = ask(stack, &retry).await;
        assert_eq!(done["items"].as_array().map(Vec::len), Some(2), "{done}");
        assert_eq!(done["items"][0]["reads_as"]["event"]["type"], "button_press", "{done}");
        home.events_settle().await?;
        assert_eq!(home.events_of(&device).await?.len(), 2);

        // Ended between sending and deleting, the tool leaves it there: put back again, it does nothing.
        put(stack, "quarantine", &plain, &[("reason", "an-older-version")]).await;
        ask(stack, &retry).await;
        home.events_settle().await?;
        assert_eq!(home.events_of(&device).await?.len(), 2);
        Ok(())
    });
}

#[test]
fn a_body_that_no_queue_takes_is_shown_whole_takes_effect_when_it_is_put_back_and_is_dropped_from_the_bucket() {
    alone(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = doorbell(&home).await?;
        let mut event: Value = serde_json::from_str(&press(&home, &device)).expect("JSON");
        event["extra"] = json!("y".repeat(1_345_678));
        let body = event.to_string();
        assert_eq!(post(stack, body.as_bytes()).await, StatusCode::OK);
        let entry = arrived(stack, body.len(), None).await?;
        let id = entry["id"].as_str().expect("an id").to_owned();
        let key = entry["object"].as_str().expect("where it lies").to_owned();
        assert_eq!(
            (&entry["reason"], &entry["reads_as"]),
            (&json!("too-large"), &json!("unread"))
        );
        let bytes = run(stack, &["quarantine", "show", &id, "--body"]).await.stdout;
        assert!(text(&bytes) == body, "{} bytes", bytes.len());

        let done = ask(stack, &["quarantine", "retry", &id]).await;
        assert_eq!(done["items"][0]["reads_as"]["event"]["type"], "button_press", "{done}");
        home.events_settle().await?;
        assert_eq!(home.events_of(&device).await?.len(), 1);
        assert_eq!(of_size(stack, body.len()).await, Vec::<Value>::new());

        // Ring's replay of it lies there again, and nobody needs it.
        assert_eq!(post(stack, body.as_bytes()).await, StatusCode::OK);
        let entry = arrived(stack, body.len(), Some(&id)).await?;
        ask(
            stack,
            &["quarantine", "drop", entry["id"].as_str().expect("an id"), "--yes"],
        )
        .await;
        let object = stack
            .aws()
            .objects
            .get_object()
            .bucket(stack.output("MediaBucketName")?)
            .key(&key);
        assert!(object.send().await.is_err(), "the body is gone with what pointed to it");
        assert_eq!(of_size(stack, body.len()).await, Vec::<Value>::new());
        Ok(())
    });
}

#[test]
fn what_no_program_got_done_goes_back_and_takes_effect_once() {
    alone(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = doorbell(&home).await?;
        let (plain, encoded) = (press(&home, &device), press(&home, &device));
        put(stack, "events_dlq", &plain, &[]).await;
        put(stack, "events_dlq", &plain, &[]).await;
        put(
            stack,
            "events_dlq",
            &format!("{} ", STANDARD.encode(&encoded)),
            &[("encoding", "base64")],
        )
        .await;

        let put_by = clock::now();

        let would = ask(stack, &["dlq", "redrive", "events", "--dry-run"]).await;
        assert_eq!((&would["dry_run"], &would["moved"]), (&json!(true), &json!(3)));
        let first = ask(stack, &["dlq", "redrive", "events", "--max", "1"]).await;
        assert_eq!((&first["moved"], &first["more"]), (&json!(1), &json!(true)));
        let rest = ask(stack, &["dlq", "redrive", "events"]).await;
        assert_eq!((&rest["moved"], &rest["more"]), (&json!(2), &json!(false)));
        home.events_settle().await?;
        let events = home.events_of(&device).await?;
        assert_eq!(events.len(), 2, "each once, its attributes with it");
        for event in &events {
            let received_at = event["received_at"]
                .as_str()
                .and_then(|at| at.parse::<Timestamp>().ok());
            assert!(received_at < Some(put_by), "it came when it was first queued: {event}");
        }

        let listed = ask(stack, &["dlq", "list"]).await;
        let queues = listed["items"].as_array().expect("queues");
        let left = queues
            .iter()
            .find(|queue| queue["queue"] == "events_dlq")
            .expect("it is listed");
        assert_eq!((&left["waiting"], &left["in_flight"]), (&json!(0), &json!(0)));
        Ok(())
    });
}

/// Waits until an event is done, and returns its ledger.
async fn done(stack: &Stack, id: &str) -> Result<Value, Failure> {
    soon("the event is done", async || {
        let shown = ask(stack, &["event", "show", id]).await;
        Ok(if shown["state"] == "done" {
            Ok(shown)
        } else {
            Err(shown.to_string())
        })
    })
    .await
}

#[test]
fn an_event_shows_its_ledger_and_what_came_again() {
    alone(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = doorbell(&home).await?;
        let body = press(&home, &device);
        assert_eq!(post(stack, body.as_bytes()).await, StatusCode::OK);
        home.events_settle().await?;
        let id = home.events_of(&device).await?[0]["event_id"]
            .as_str()
            .expect("an id")
            .to_owned();
        let shown = done(stack, &id).await?;
        let time = |value: &Value| {
            value
                .as_str()
                .and_then(|time| time.parse::<Timestamp>().ok())
                .expect("a time")
        };
        let steps: Vec<_> = ["received_at", "recorded_at"]
            .iter()
            .map(|field| time(&shown[field]))
            .collect();
        let ledger = shown["ledger"].as_array().expect("a ledger");
        assert!(ledger.iter().any(|step| step["effect"] == "announce"), "{shown}");
        let effects = ledger.iter().map(|step| time(&step["at"]));
        // A step is kept by the millisecond.
        let in_order: Vec<_> = steps
            .into_iter()
            .chain(effects)
            .map(Timestamp::as_millisecond)
            .collect();
        assert!(in_order.is_sorted(), "{shown}");
        assert_eq!(
            (&shown["account_id"], &shown["device_id"]),
            (&json!(home.account), &json!(device))
        );

        let mut again: Value = serde_json::from_str(&body).expect("JSON");
        again["meta"]["request_id"] = json!(Uuid::new_v4().to_string());
        assert_eq!(post(stack, again.to_string().as_bytes()).await, StatusCode::OK);
        home.events_settle().await?;
        let shown = done(stack, &id).await?;
        assert_eq!(
            shown["repeats"][0]["request_id"], again["meta"]["request_id"],
            "{shown}"
        );
        assert_eq!(shown["repeats"][0]["differs"], false, "{shown}");
        let said = text(&run(stack, &["event", "show", &id]).await.stdout);
        assert!(said.contains("came again") && said.contains("is done"), "{said}");
        refused(stack, &["event", "show", "evt_of-nobody"], 1, "There is no event").await;
        Ok(())
    });
}

/// What the bus has published of these events, by id, so far.
async fn heard(stack: &Stack, bus: &Bus, ids: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let receive = stack
            .aws()
            .queues
            .receive_message()
            .queue_url(&bus.queue)
            .max_number_of_messages(10);
        let some = receive.wait_time_seconds(1).send().await.expect("the queue answers");
        let some = some.messages.unwrap_or_default();
        if some.is_empty() {
            return found;
        }
        for message in some {
            let said: Value = serde_json::from_str(message.body().unwrap_or_default()).expect("JSON");
            let id = said["detail"]["event_id"].as_str().unwrap_or_default().to_owned();
            if ids.contains(&id) {
                found.push(id);
            }
            let delete = stack.aws().queues.delete_message().queue_url(&bus.queue);
            let receipt = message.receipt_handle().unwrap_or_default();
            delete.receipt_handle(receipt).send().await.expect("it is deleted");
        }
    }
}

#[test]
fn a_replay_publishes_again_under_the_same_ids_and_doubles_nothing() {
    alone(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let other = Home::linked(stack, &json!(["doorbell"])).await?;
        let device = doorbell(&home).await?;
        let since = clock::now() - SignedDuration::from_secs(1);
        for home in [&home, &home, &other] {
            let device = doorbell(home).await?;
            assert_eq!(post(stack, press(home, &device).as_bytes()).await, StatusCode::OK);
        }
        home.events_settle().await?;
        let before = home.events_of(&device).await?;
        let mut ids: Vec<_> = before
            .iter()
            .map(|event| event["event_id"].as_str().expect("an id").to_owned())
            .collect();
        ids.sort();
        let ledger = done(stack, &ids[0]).await?;

        let bus = Bus::overheard(stack).await;
        let asked = async {
            let since = since.to_string();
            let replay = [
                "replay",
                "--since",
                &since,
                "--account",
                &home.account,
                "--type",
                "button_press",
            ];
            let would = ask(stack, &[&replay[..], &["--dry-run"]].concat()).await;
            assert_eq!((&would["found"], &would["sent"]), (&json!(2), &json!(0)), "{would}");
            refused(
                stack,
                &[&replay[..], &["--max", "1"]].concat(),
                2,
                "nothing was replayed",
            )
            .await;
            home.events_settle().await?;
            assert_eq!(
                heard(stack, &bus, &ids).await,
                Vec::<String>::new(),
                "so far nothing was changed"
            );

            assert_eq!(ask(stack, &replay).await["sent"], 2);
            home.events_settle().await?;
            let mut published = heard(stack, &bus, &ids).await;
            published.sort();
            assert_eq!(published, ids, "each once more, and none of the other account");
            // The whole table read through finds the other account's too.
            let all = ask(
                stack,
                &["replay", "--since", &since, "--type", "button_press", "--dry-run"],
            )
            .await;
            assert_eq!(all["by_type"]["button_press"], 3, "{all}");
            let none = ask(
                stack,
                &[
                    "replay",
                    "--since",
                    "3d",
                    "--until",
                    &since,
                    "--account",
                    &home.account,
                    "--type",
                    "button_press",
                ],
            )
            .await;
            assert_eq!(none["found"], 0, "{none}");
            Ok(())
        };
        let asked: Held = asked.await;
        bus.silenced(stack).await;
        asked?;
        assert_eq!(home.events_of(&device).await?, before, "the history is as it was");
        assert_eq!(done(stack, &ids[0]).await?, ledger, "and the ledger");
        Ok(())
    });
}

#[test]
fn trap_62_a_window_in_which_ring_was_failed_is_found_with_its_reasons_and_what_it_means() {
    alone(async |stack| {
        let since = clock::now();
        let wrong_queue = format!("{}-that-is-not", stack.outputs().queues["events"]);
        let before = set(stack, "webhook-intake", &[("EVENTS_QUEUE_URL", &wrong_queue)]).await;
        let body = b"{\"data\":{\"type\":\"button_press\"}}";
        let not_queued = deployed::post_once(stack, body, &signature(stack, body)).await;
        set_back(stack, "webhook-intake", &before).await;
        // Without a process that may run it answers nothing at all: only what was counted tells.
        let (functions, intake) = (&stack.aws().functions, &stack.outputs().functions["webhook-intake"]);
        let cap = functions
            .put_function_concurrency()
            .function_name(intake)
            .reserved_concurrent_executions(0);
        cap.send().await.expect("it is capped");
        let not_run = post(stack, b"{\"data\":{\"type\":\"button_press\"}}").await;
        let uncapped = functions
            .delete_function_concurrency()
            .function_name(intake)
            .send()
            .await;
        uncapped.expect("it is not capped any more");
        assert_eq!(not_queued, StatusCode::SERVICE_UNAVAILABLE);
        assert_ne!(not_run, StatusCode::OK);

        let since_text = (since - SignedDuration::from_secs(60)).to_string();
        let found = soon("the outage is found by both", async || {
            let found = ask(stack, &["outages", "--since", &since_text]).await;
            let items = found["items"].as_array().cloned().unwrap_or_default();
            let of = |source: &str| items.iter().any(|item| item["failed"][source].as_u64() > Some(0));
            // Another test may have failed the webhook in the same minute: what is waited for is both of this one's reasons.
            let of_both = ["queue_out_of_reach", "the function was throttled"]
                .iter()
                .all(|reason| {
                    let why = items.iter().filter_map(|item| item["why"].as_array());
                    why.flatten().any(|why| why == reason)
                });
            Ok(if of("intake_log") && of("metrics") && of_both {
                Ok(items)
            } else {
                Err(found.to_string())
            })
        })
        .await?;
        for outage in &found {
            let time = |field: &str| {
                outage[field]
                    .as_str()
                    .expect("a time")
                    .parse::<Timestamp>()
                    .expect("a time")
            };
            let (from, until) = (time("from"), time("until"));
            assert!(
                from < until && until.as_second() % 60 == 0,
                "it ends with its last minute: {outage}"
            );
            assert_eq!(
                outage["dead_letters"],
                Value::Null,
                "Ring's later tries find us up again"
            );
        }
        refused(
            stack,
            &["outages", "--since", &since_text, "--letter"],
            1,
            "nothing to write",
        )
        .await;
        Ok(())
    });
}

#[test]
fn the_tool_finds_a_local_stack_by_its_outputs_and_says_what_to_do_where_it_finds_none() {
    alone(async |stack| {
        let folder = stack.folder().join("for-ops");
        std::fs::create_dir_all(&folder).expect("a folder");
        let (file, other) = (folder.join("outputs.json"), folder.join("of-nobody.json"));
        let mut of_nobody = stack.outputs().clone();
        of_nobody.stack_name = "ring-nobody".to_owned();
        std::fs::write(&other, serde_json::to_vec(&of_nobody).expect("JSON")).expect("written");
        std::fs::write(&file, serde_json::to_vec(stack.outputs()).expect("JSON")).expect("written");
        let ops = async |arguments: &[&str]| {
            let mut command = tokio::process::Command::new(program(stack));
            command.args(arguments).env_clear().current_dir(&folder);
            command.output().await.expect("the tool runs")
        };
        let [file, other] = [&file, &other].map(|path| path.to_str().expect("a path"));
        let listed = ops(&["--local", "--outputs", file, "dlq", "list"]).await;
        assert!(listed.status.success(), "{}", text(&listed.stderr));
        assert!(text(&listed.stdout).contains("events_dlq"), "{}", text(&listed.stdout));

        for (arguments, status, words) in [
            (&["dlq", "list"][..], 2, "--stack NAME"),
            (&["--local", "dlq", "list"], 1, "cargo run -p local"),
            (&["--local", "--outputs", other, "dlq", "list"], 1, "ring-nobody"),
            (&["--local", "--stack", "x", "dlq", "list"], 2, "cannot be used with"),
        ] {
            let output = ops(arguments).await;
            assert_eq!(
                output.status.code(),
                Some(status),
                "{arguments:?}: {}",
                text(&output.stderr)
            );
            assert!(
                text(&output.stderr).contains(words),
                "{arguments:?}: {}",
                text(&output.stderr)
            );
        }
        Ok(())
    });
}

#[test]
fn the_audit_trail_says_who_linked_and_unlinked_until_they_are_erased() {
    alone(async |stack| {
        let home = Home::linked(stack, &json!(["doorbell"])).await?;
        let deeds = async |arguments: &[&str]| {
            let trail = ask(stack, &[&["audit"], arguments].concat()).await;
            let entries = trail["entries"].as_array().cloned().unwrap_or_default();
            let deeds: Vec<_> = entries.iter().map(|entry| entry["deed"].clone()).collect();
            (deeds, entries)
        };
        let (linked, entries) = deeds(&["--account", &home.account]).await;
        assert_eq!(linked, ["linked"]);
        let user = entries[0]["user_id"].as_str().expect("a user").to_owned();
        assert!(entries[0]["link_id"].is_string(), "{entries:?}");
        let nothing = deeds(&["--user", &user, "--deed", "unlinked"]).await.0;
        assert_eq!(nothing, Vec::<Value>::new());
        let erased = home.call(reqwest::Method::DELETE, "/v1/account", None).await?;
        assert_eq!(erased.status, StatusCode::ACCEPTED);
        assert_eq!(deeds(&["--account", &home.account]).await.0, Vec::<Value>::new());
        assert_eq!(deeds(&["--user", &user]).await.0, Vec::<Value>::new());
        let who = entries[0]["who"].as_str().expect("a drawn name");
        let (all, entries) = deeds(&["--since", "1h", "--max", "100000"]).await;
        assert!(all.contains(&json!("erased")));
        let theirs: Vec<_> = entries.iter().filter(|entry| entry["who"] == who).collect();
        let deeds: Vec<_> = theirs.iter().map(|entry| entry["deed"].clone()).collect();
        assert_eq!(deeds.len(), 3, "it says still what was done: {deeds:?}");
        assert!(
            theirs
                .iter()
                .all(|entry| entry["erased"] == true && entry["user_id"].is_null())
        );
        Ok(())
    });
}
