//! What only the stack can show of the intake: a key that changes under load, its role's rights, what is logged.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::Environment;
use aws_sdk_sqs::error::ProvideErrorMetadata;
use futures_util::future::join_all;
use local::outside::{Home, soon};
use local::{Failure, Stack};
use reqwest::{Method, StatusCode};
use uuid::Uuid;

use crate::stack::{alone_on_the_stack, on_the_stack};

use super::*;

/// Posts a body to the Webhook URL as Ring does: what is answered with 5xx comes again.
pub(crate) async fn post(stack: &Stack, body: &[u8], signature: &str) -> StatusCode {
    for _ in 0..4 {
        match post_once(stack, body, signature).await {
            failed if failed.is_server_error() => tokio::time::sleep(Duration::from_secs(1)).await,
            answer => return answer,
        }
    }
    post_once(stack, body, signature).await
}

/// Posts a body, whatever the answer.
pub(crate) async fn post_once(stack: &Stack, body: &[u8], signature: &str) -> StatusCode {
    let request = stack.request(Method::POST, "/ring/webhook");
    let request = request
        .header("X-Signature", signature)
        .header("Content-Type", "application/json");
    let answer = request.body(body.to_vec()).send().await.expect("the gateway answers");
    answer.status()
}

fn press(account: &str, device: &str, number: usize) -> Vec<u8> {
    let body = json!({
        "meta": {"version": "1.1", "time": clock::now().to_string(), "request_id": Uuid::new_v4().to_string(),
                 "account_id": account},
        "data": {"id": format!("{device}_press_{number}"), "type": "button_press",
                 "attributes": {"source": device, "source_type": "devices", "timestamp": clock::now().as_millisecond()}}
    });
    body.to_string().into_bytes()
}

/// A stream of signed events that does not stop while something changes.
struct Load<'a> {
    home: &'a Home<'a>,
    device: &'a str,
    /// What the events are signed with now, one after the other.
    keys: Mutex<Vec<String>>,
    sent: AtomicUsize,
    ended: AtomicUsize,
    refused: Mutex<Vec<(usize, StatusCode)>>,
}

impl Load<'_> {
    async fn sender(&self) {
        while self.ended.load(Ordering::Relaxed) == 0 {
            let number = self.sent.fetch_add(1, Ordering::Relaxed);
            let body = press(&self.home.account, self.device, number);
            let key = {
                let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
                keys[number % keys.len()].clone()
            };
            let status = post(self.home.stack, &body, &signed_by(&key, &body)).await;
            if status != StatusCode::OK {
                let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                refused.push((number, status));
            }
        }
    }

    fn sign_with(&self, keys: &[&str]) {
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys.iter().map(|&key| key.to_owned()).collect();
    }

    async fn for_more(&self, events: usize) {
        let until = self.sent.load(Ordering::Relaxed) + events;
        while self.sent.load(Ordering::Relaxed) < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Old, then both, then new: as the runbook has it.
    async fn rotate(&self, old: &str, new: &str) -> Result<(), Failure> {
        let stack = self.home.stack;
        self.for_more(40).await;
        stack.write_secrets(new, Some(old)).await?;
        self.for_more(20).await;
        // Ring goes over to the new one, and what it sends again is signed with either.
        self.sign_with(&[old, new]);
        self.for_more(60).await;
        self.sign_with(&[new]);
        self.for_more(20).await;
        stack.write_secrets(new, None).await?;
        self.for_more(60).await;
        Ok(())
    }

    /// Deploys both programs on an event's way anew, one after the other. The emulator ends the calls that are under way, which Lambda
    /// does not: Ring sends these again.
    async fn deploy(&self) -> Result<(), Failure> {
        for package in ["webhook-intake", "event-processor", "webhook-intake"] {
            self.for_more(40).await;
            deploy_anew(self.home.stack, package).await;
        }
        self.for_more(100).await;
        Ok(())
    }
}

/// Has a program's code written again, as a deployment does.
async fn deploy_anew(stack: &Stack, package: &str) {
    let (functions, name) = (&stack.aws().functions, &stack.outputs().functions[package]);
    let deployed = functions.get_function().function_name(name).send().await;
    let deployed = deployed.expect("the function");
    let place = deployed.code.and_then(|code| code.location).expect("where its code is");
    let code = stack.http().get(place).send().await.expect("its code");
    let code = code
        .error_for_status()
        .expect("its code")
        .bytes()
        .await
        .expect("its code");
    assert!(code.starts_with(b"PK"), "a zip file");
    let update = functions.update_function_code().function_name(name);
    let updated = update.zip_file(Blob::new(code)).send().await;
    updated.expect("the code is written");
}

#[test]
fn throughout_a_deployment_webhooks_are_answered_and_each_is_recorded() {
    alone_on_the_stack(async |stack| {
        let key = stack.ring().signing_key();
        let held = under_load(stack, key, async |load| load.deploy().await).await;
        if let Err(failure) = held {
            panic!("{failure}");
        }
    });
}

#[test]
fn while_the_signing_key_is_rotated_under_load_no_valid_event_is_refused_and_each_is_recorded() {
    alone_on_the_stack(async |stack| {
        // A process that somebody showed a forged signature does not look at the secret again for 10 s.
        anew(stack).await;
        let held = rotation(stack).await;
        // The keys of everybody else here, and no program that remembers others.
        let restored = stack.write_secrets(stack.ring().signing_key(), None).await;
        anew(stack).await;
        if let Err(failure) = held.and(restored) {
            panic!("{failure}");
        }
    });
}

async fn rotation(stack: &'static Stack) -> Result<(), Failure> {
    let old = stack.ring().signing_key();
    let new = Uuid::new_v4().to_string();
    under_load(stack, old, async |load| {
        load.rotate(old, &new).await?;
        let body = press(&load.home.account, load.device, 1_000_000);
        let forged = post(stack, &body, &signed_by("neither", &body)).await;
        assert_eq!(forged, StatusCode::UNAUTHORIZED);
        Ok(())
    })
    .await
}

/// Has this come about while events come that are signed with `key`: none of them is refused, and each is recorded once.
async fn under_load(
    stack: &'static Stack,
    key: &str,
    change: impl AsyncFnOnce(&Load<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let home = Home::linked(stack, &json!(["doorbell"])).await?;
    let device = home.device_ids().await?.into_values().next().expect("the doorbell");
    let load = Load {
        home: &home,
        device: &device,
        keys: Mutex::new(vec![key.to_owned()]),
        sent: AtomicUsize::new(0),
        ended: AtomicUsize::new(0),
        refused: Mutex::default(),
    };
    let senders = join_all((0..4).map(|_| load.sender()));
    let changes = async {
        let changed = change(&load).await;
        load.ended.store(1, Ordering::Relaxed);
        changed
    };
    let (changed, _) = tokio::join!(changes, senders);
    changed?;
    let refused = load.refused.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(refused.is_empty(), "{refused:?}");
    home.events_settle().await?;
    let sent = load.sent.load(Ordering::Relaxed);
    assert!(sent >= 200, "{sent} events");
    let recorded = soon("each event is recorded", async || {
        let recorded = all_events(&home, &device).await?;
        Ok(if recorded >= sent {
            Ok(recorded)
        } else {
            Err(format!("{recorded} of {sent}"))
        })
    });
    assert_eq!(recorded.await?, sent, "each once");
    Ok(())
}

/// How many events of a device the API shows, all pages together.
async fn all_events(home: &Home<'_>, device: &str) -> Result<usize, Failure> {
    let route = format!("/v1/devices/{device}/events?limit=100");
    let (mut count, mut cursor) = (0, String::new());
    loop {
        let page = home.call(Method::GET, &format!("{route}{cursor}"), None).await?;
        let page = page.must_be(StatusCode::OK, "a device's events can be listed")?;
        count += page.body["items"].as_array().map_or(0, Vec::len);
        match page.body["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(count),
        }
    }
}

/// Has the intake's processes end: the next event starts one that knows nothing.
async fn anew(stack: &Stack) {
    let intake = &stack.outputs().functions["webhook-intake"];
    let functions = &stack.aws().functions;
    let now = functions
        .get_function_configuration()
        .function_name(intake)
        .send()
        .await;
    let variables = now
        .expect("its settings")
        .environment
        .and_then(|environment| environment.variables);
    let environment = Environment::builder().set_variables(variables).build();
    let update = functions.update_function_configuration().function_name(intake);
    update
        .environment(environment)
        .send()
        .await
        .expect("the settings are written");
}

#[test]
fn a_body_that_no_queue_takes_comes_through_the_gateway_into_the_bucket() {
    on_the_stack(async |stack| {
        let key = stack.ring().signing_key();
        let mut body = Uuid::new_v4().to_string().into_bytes();
        body.resize(1024 * 1024 + 1, b' ');
        assert_eq!(post(stack, &body, &signed_by(key, &body)).await, StatusCode::OK);
        let bucket = stack.output("MediaBucketName").expect("the bucket");
        let listed = stack
            .aws()
            .objects
            .list_objects_v2()
            .bucket(bucket)
            .prefix("quarantine/");
        let listed = listed.send().await.expect("its objects");
        let mut found = 0;
        for object in listed.contents() {
            let object = stack
                .aws()
                .objects
                .get_object()
                .bucket(bucket)
                .key(object.key().expect("a key"));
            let object = object
                .send()
                .await
                .expect("an object")
                .body
                .collect()
                .await
                .expect("its bytes");
            found += usize::from(object.to_vec() == body);
        }
        assert_eq!(found, 1, "once, as it came");
    });
}

#[test]
fn the_intakes_role_may_do_what_the_intake_does_and_nothing_else() {
    on_the_stack(async |stack| {
        // The emulator knows a function's session from its first call on.
        let body = Uuid::new_v4().to_string().into_bytes();
        post(stack, &body, &signed_by("forged", &body)).await;
        let role = stack.aws_as("webhook-intake").await.expect("its role");
        for (name, url) in &stack.outputs().queues {
            // A message that the processor sets aside, where it may be sent.
            let sent = role
                .queues
                .send_message()
                .queue_url(url)
                .message_body("a right that is tried")
                .send()
                .await;
            let expected = matches!(name.as_str(), "events" | "quarantine");
            assert_eq!(sent.is_ok(), expected, "SendMessage to {name}: {sent:?}");
            assert!(
                role.queues.receive_message().queue_url(url).send().await.is_err(),
                "{name} is read"
            );
        }
        let bucket = stack.output("MediaBucketName").expect("the bucket");
        for (key, expected) in [
            ("quarantine/a-right", true),
            ("media/a-right", false),
            ("a-right", false),
        ] {
            let put = role
                .objects
                .put_object()
                .bucket(bucket)
                .key(key)
                .body(b"tried".to_vec().into());
            let put = put.send().await;
            assert_eq!(
                put.is_ok(),
                expected,
                "PutObject of {key}: {:?}",
                put.err().and_then(|e| e.code().map(str::to_owned))
            );
        }
        let read = role
            .objects
            .get_object()
            .bucket(bucket)
            .key("quarantine/a-right")
            .send()
            .await;
        assert!(read.is_err(), "what it puts there it does not read");
        let cleared = stack
            .aws()
            .objects
            .delete_object()
            .bucket(bucket)
            .key("quarantine/a-right")
            .send()
            .await;
        cleared.expect("cleared");
        for table in stack.outputs().tables.values() {
            let scanned = role.tables.scan().table_name(table).send().await;
            assert!(scanned.is_err(), "{table} is read");
        }
    });
}

#[test]
fn the_intake_logs_no_body_no_signature_and_no_account_whatever_comes() {
    on_the_stack(async |stack| {
        let key = stack.ring().signing_key();
        let marked = |what: &str| format!("{what}{}", Uuid::new_v4().simple());
        let (account, device) = (marked("account"), marked("device"));
        let mut large = press(&account, &device, 1);
        large.resize(1024 * 1024 + 1, b' ');
        let odd = format!("\u{1}{account}{device}").into_bytes();
        let bodies = [press(&account, &device, 2), odd, large];
        let mut sought = vec![account, device];
        for body in &bodies {
            let (right, forged) = (signed_by(key, body), signed_by("forged", body));
            assert_eq!(post(stack, body, &right).await, StatusCode::OK);
            assert_eq!(post(stack, body, &forged).await, StatusCode::UNAUTHORIZED);
            sought.extend([right, forged].map(|header| header["sha256=".len()..].to_owned()));
        }
        let logs = stack.gather_logs().await.expect("the logs");
        let logs = std::fs::read_to_string(logs).expect("a file");
        let of_the_intake: Vec<_> = logs
            .lines()
            .filter(|line| line.contains(r#""service":"webhook-intake""#))
            .collect();
        assert!(!of_the_intake.is_empty(), "a refusal is logged");
        let counted = of_the_intake
            .iter()
            .any(|line| line.contains(r#""signatures_refused":1"#));
        assert!(counted, "and counted");
        for line in of_the_intake {
            assert!(!sought.iter().any(|secret| line.contains(secret)), "{line}");
        }
    });
}
