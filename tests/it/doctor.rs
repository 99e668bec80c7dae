//! `ops doctor` on the stack: a stack that is well is fit, and each thing that is broken on it is found, with what to do.

use std::collections::BTreeMap;

use aws_sdk_lambda::error::SdkError;
use local::outside::schedule_at;
use local::{Failure, Stack};
use serde_json::{Value, json};
use shared::edge::clock;
use shared::event::synthetic::MARK;

use crate::grants::{set, set_back};
use crate::ops::{run, text};
use crate::stack::{alone_on_the_stack, published};

/// What it found, by check, and the status it ended with. Nothing of it shows a secret.
async fn doctor(stack: &Stack) -> (BTreeMap<String, Value>, Option<i32>) {
    let output = run(stack, &["--json", "doctor"]).await;
    let (said, error) = (text(&output.stdout), text(&output.stderr));
    let report: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}{error}"));
    let token_url = stack.output("TokenExchangeUrl").expect("an output");
    let client = stack.output("OAuthSecretId").expect("an output");
    let client = stack.aws().secrets.get_secret_value().secret_id(client).send().await;
    let client: Value =
        serde_json::from_str(client.expect("a secret").secret_string().expect("a string")).expect("JSON");
    for secret in [
        token_url.rsplit('/').next().expect("a key"),
        stack.ring().signing_key(),
        client["client_secret"].as_str().expect("a text"),
    ] {
        assert!(!said.contains(secret) && !error.contains(secret), "a secret is shown");
    }
    // A check may look at several things: of those, the worst.
    let mut findings = report["findings"].as_array().expect("findings").clone();
    findings.sort_by_key(|finding| finding["verdict"] == "fails");
    let findings: BTreeMap<_, _> = findings
        .into_iter()
        .map(|finding| (finding["check"].as_str().expect("a name").to_owned(), finding))
        .collect();
    let fails = findings.values().any(|finding| finding["verdict"] == "fails");
    assert_eq!(report["fit"], !fails, "{report}");
    assert_eq!(error.is_empty(), !fails, "{error}");
    (findings, output.status.code())
}

fn verdicts(findings: &BTreeMap<String, Value>) -> BTreeMap<&str, &str> {
    let verdicts = findings.iter().map(|(check, finding)| {
        let verdict = finding["verdict"].as_str().expect("a verdict");
        (check.as_str(), verdict)
    });
    verdicts.collect()
}

/// What a stack on the emulator is found to be when all is well.
fn well() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("account-link-page", "holds"),
        ("canary-runs", "holds"),
        ("client-secret-age", "holds"),
        ("gateway-throttle", "holds"),
        ("home-page", "holds"),
        ("kms-keys", "holds"),
        ("lambda-concurrency", "holds"),
        ("oauth-secret", "holds"),
        ("schedules", "holds"),
        ("signing-key-age", "holds"),
        ("signing-secret", "holds"),
        ("tls", "not_checked"),
        ("token-exchange-key", "holds"),
        ("token-exchange-url", "holds"),
        ("token-refresh-runs", "holds"),
        ("webhook-recorded", "holds"),
        ("webhook-refuses", "holds"),
        ("webhook-takes", "holds"),
    ])
}

/// The physical id of what the template calls so.
async fn physical(stack: &Stack, logical: &str) -> String {
    let name = &stack.outputs().stack_name;
    let resource = stack.aws().stacks.describe_stack_resource().stack_name(name);
    let resource = resource.logical_resource_id(logical).send().await;
    let resource = resource.expect("it is there");
    let detail = resource.stack_resource_detail().expect("its details");
    detail.physical_resource_id().expect("its id").to_owned()
}

#[test]
fn a_stack_that_is_well_is_fit_and_nobody_hears_of_the_event_that_tried_it() {
    alone_on_the_stack(async |stack| {
        for package in ["token-refresh", "canary"] {
            let woken = stack.invoke(package, &schedule_at(clock::now())).await;
            woken.expect("what its schedule wakes runs");
        }
        let (findings, status) = doctor(stack).await;
        assert_eq!(verdicts(&findings), well(), "{findings:#?}");
        assert_eq!(status, Some(0));
        assert_eq!(published(MARK).await, 0);
        // As a person reads it.
        let said = text(&run(stack, &["doctor"]).await.stdout);
        assert!(said.contains("18 hold, 0 fail, 1 could not be checked"), "{said}");
    });
}

/// Breaks what Ring would feel, or would feel some day, but for the signing secret.
async fn break_it(stack: &Stack) -> Result<(), Failure> {
    let aws = stack.aws();
    let placeholder = json!({"client_id": "…", "client_secret": "…"}).to_string();
    let put = aws.secrets.put_secret_value().secret_id(stack.output("OAuthSecretId")?);
    put.secret_string(placeholder).send().await.expect("it is written");
    let rule = physical(stack, "TokenRefreshEachMinute").await;
    aws.buses
        .disable_rule()
        .name(rule)
        .send()
        .await
        .expect("it is disabled");
    let key = physical(stack, "TokenKey").await;
    aws.keys
        .disable_key_rotation()
        .key_id(key)
        .send()
        .await
        .expect("it is off");
    let portal = &stack.outputs().functions["portal"];
    let capped = aws.functions.put_function_concurrency().function_name(portal);
    let capped = capped.reserved_concurrent_executions(0).send().await;
    capped.expect("no process may run it");
    Ok(())
}

async fn mend_it(stack: &Stack) -> Result<(), Failure> {
    let aws = stack.aws();
    stack.write_secrets(stack.ring().signing_key(), None).await?;
    let rule = physical(stack, "TokenRefreshEachMinute").await;
    aws.buses.enable_rule().name(rule).send().await.expect("it is enabled");
    let key = physical(stack, "TokenKey").await;
    aws.keys
        .enable_key_rotation()
        .key_id(key)
        .send()
        .await
        .expect("it is on");
    let portal = &stack.outputs().functions["portal"];
    let uncapped = aws
        .functions
        .delete_function_concurrency()
        .function_name(portal)
        .send()
        .await;
    uncapped
        .map_err(SdkError::into_service_error)
        .expect("it may run again");
    Ok(())
}

#[test]
fn each_thing_that_is_broken_on_a_stack_is_found_with_what_to_do_about_it() {
    alone_on_the_stack(async |stack| {
        let wrong_queue = format!("{}-that-is-not", stack.outputs().queues["events"]);
        let before = set(stack, "webhook-intake", &[("EVENTS_QUEUE_URL", &wrong_queue)]).await;
        let broken = break_it(stack).await;
        let (findings, status) = doctor(stack).await;
        set_back(stack, "webhook-intake", &before).await;
        let mended = mend_it(stack).await;
        broken.and(mended).unwrap_or_else(|failure| panic!("{failure}"));

        assert_eq!(status, Some(1));
        for (check, said, advice) in [
            ("webhook-takes", "503", "queue"),
            ("oauth-secret", "placeholder", "ops init --secrets"),
            ("schedules", "1 of", "aws events enable-rule"),
            ("kms-keys", "never renewed", "aws kms enable-key-rotation"),
            ("home-page", "and not with 200", "log of portal"),
            ("account-link-page", "and not with 200", "log of portal"),
        ] {
            let finding = &findings[check];
            assert_eq!(finding["verdict"], "fails", "{finding}");
            let has = |field: &str, words: &str| finding[field].as_str().is_some_and(|text| text.contains(words));
            assert!(has("said", said) && has("advice", advice), "{finding}");
        }
        let found = verdicts(&findings);
        for (check, verdict) in [
            ("webhook-refuses", "holds"),
            ("token-exchange-url", "holds"),
            ("signing-secret", "holds"),
        ] {
            assert_eq!(
                found[check], verdict,
                "what is not broken is not blamed: {}",
                findings[check]
            );
        }

        // Without its key nothing is signed, and nothing is said of what was not tried.
        let signing = stack.output("SigningSecretId").expect("an output");
        let put = stack.aws().secrets.put_secret_value().secret_id(signing);
        let put = put
            .secret_string(json!({"hmac_signing_key": ""}).to_string())
            .send()
            .await;
        let (findings, status) = doctor(stack).await;
        let mended = stack.write_secrets(stack.ring().signing_key(), None).await;
        put.expect("it is written");
        mended.unwrap_or_else(|failure| panic!("{failure}"));
        let found = verdicts(&findings);
        assert_eq!((found["signing-secret"], status), ("fails", Some(1)));
        assert_eq!(found["webhook-takes"], "not_checked");
    });
}

#[test]
fn the_guide_to_deploying_has_each_check_by_its_name() {
    let guide = include_str!("../../docs/deploy.md");
    let table = guide.split("| what has to hold | checks |").nth(1).expect("its table");
    let table = table.split("\n\n").next().expect("its end");
    let checks = table
        .lines()
        .filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next());
    let mut named: Vec<_> = checks.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    named.sort_unstable();
    // On the emulator there is no certificate, nothing left from a rotation, and no CodeDeploy.
    let mut all: Vec<_> = well()
        .into_keys()
        .chain([
            "certificate",
            "client-secret-previous",
            "gradual-deployment",
            "signing-key-previous",
        ])
        .collect();
    all.sort_unstable();
    assert_eq!(named, all);
}
