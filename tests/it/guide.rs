//! What `docs/deploy.md` has somebody type, typed: a stack that `sam deploy --guided` makes is given its secrets, looked at as
//! Ring's reviewers would, deployed again, and deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::symlink;
use std::path::Path;

use local::outside::soon;
use local::{Stack, Tools};
use reqwest::StatusCode;
use serde_json::Value;
use shared::edge::clock;
use shared::edge::config::{Environment as _, Process};
use shared::event::synthetic::made;
use uuid::Uuid;

use crate::init::{ops, signed_in, typed};
use crate::ops::{post, text};
use crate::papers::read;
use crate::traps::among_others;

/// The stack of whoever follows the guide.
const NAME: &str = "ring-guided";
/// What Ring's portal has shown them.
const SHOWN: &str = r#"{"client_id":"an_id","client_secret":"a_secret","hmac_signing_key":"a_key_of_rings"}"#;
/// What their reviewers look at, and whether it is recorded.
const LOOKED_AT: [&str; 8] = [
    "account-link-page",
    "home-page",
    "oauth-secret",
    "signing-secret",
    "token-exchange-url",
    "webhook-recorded",
    "webhook-refuses",
    "webhook-takes",
];

/// A checkout, as far as sam needs one, with the programs built.
fn checkout(stack: &Stack, folder: &Path) {
    let (checkout, target) = (stack.place().checkout(), stack.place().target());
    std::fs::create_dir(folder.join("target")).expect("a folder");
    for (from, to) in [
        (checkout.join("template.yaml"), "template.yaml"),
        (checkout.join("infra"), "infra"),
        (target.join("lambda"), "target/lambda"),
    ] {
        symlink(from, folder.join(to)).expect("a link");
    }
}

/// What sam asks, and what is answered: a name for each parameter that needs one, and what it suggests for the rest.
fn answers() -> Vec<(String, String)> {
    let answer = |prompt: &str, answer: &str| (prompt.to_owned(), answer.to_owned());
    let mut answers = vec![answer("Stack Name", NAME), answer("AWS Region", "us-east-1")];
    let template = read("template.yaml");
    let parameters = template.split("\nParameters:\n").nth(1).expect("parameters");
    let parameters = parameters.split("\nRules:\n").next().unwrap_or_default();
    let names = parameters
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
    for name in names.filter(|name| !name.starts_with(' ')) {
        let value = match name {
            "TokenUrlKey" => "a_key_that_nobody_guesses",
            "Architecture" if cfg!(target_arch = "x86_64") => "x86_64",
            _ => "",
        };
        answers.push(answer(&format!("Parameter {name}"), value));
    }
    answers.extend([
        answer("Confirm changes before deploy", "n"),
        answer("Allow SAM CLI IAM role creation", "y"),
        answer("Disable rollback", "n"),
        answer("Save arguments to configuration file", "y"),
        answer("SAM configuration file", ""),
        answer("SAM configuration environment", NAME),
    ]);
    answers
}

/// What the stack consists of: the names of the template, the types, and the ids.
async fn parts(stack: &Stack) -> Vec<[String; 3]> {
    let mut pages = stack
        .aws()
        .stacks
        .list_stack_resources()
        .stack_name(NAME)
        .into_paginator()
        .items()
        .send();
    let mut parts = Vec::new();
    while let Some(part) = pages.next().await {
        let part = part.expect("a part");
        let told = [part.logical_resource_id, part.resource_type, part.physical_resource_id];
        parts.push(told.map(|text| text.expect("it is told")));
    }
    parts
}

/// Whether this is there still; `None`: of this kind nobody asks.
async fn is_there(stack: &Stack, kind: &str, id: &str) -> Option<bool> {
    let aws = stack.aws();
    Some(match kind {
        "AWS::DynamoDB::Table" => aws.tables.describe_table().table_name(id).send().await.is_ok(),
        "AWS::SQS::Queue" => aws.queues.get_queue_attributes().queue_url(id).send().await.is_ok(),
        "AWS::S3::Bucket" => aws.objects.head_bucket().bucket(id).send().await.is_ok(),
        "AWS::SecretsManager::Secret" => aws.secrets.get_secret_value().secret_id(id).send().await.is_ok(),
        "AWS::KMS::Key" => {
            let key = aws.keys.describe_key().key_id(id).send().await;
            key.is_ok_and(|key| key.key_metadata.is_some_and(|key| key.enabled))
        }
        "AWS::Cognito::UserPool" => aws.users.describe_user_pool().user_pool_id(id).send().await.is_ok(),
        "AWS::Lambda::Function" => aws.functions.get_function().function_name(id).send().await.is_ok(),
        "AWS::ApiGatewayV2::Api" => aws.gateway.get_api().api_id(id).send().await.is_ok(),
        "AWS::Logs::LogGroup" => {
            let groups = aws.logs.describe_log_groups().log_group_name_prefix(id).send().await;
            groups.is_ok_and(|groups| !groups.log_groups().is_empty())
        }
        _ => return None,
    })
}

async fn sam(stack: &Stack, folder: &Path, arguments: &[&str]) {
    let mut command = tokio::process::Command::new(stack.tools().deployers().join("sam"));
    let command = signed_in(stack, &mut command).args(arguments).current_dir(folder);
    let output = command.output().await.expect("sam runs");
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
}

#[test]
fn whoever_follows_the_guide_has_a_stack_that_ring_may_look_at_and_that_leaves_what_is_kept() {
    among_others(async |stack| {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        checkout(stack, folder);
        let guided = [
            "deploy",
            "--guided",
            "--capabilities",
            "CAPABILITY_IAM",
            "CAPABILITY_AUTO_EXPAND",
        ];
        let answers = answers();
        let answers: Vec<_> = answers.iter().map(|(prompt, answer)| (&**prompt, &**answer)).collect();
        let sam_itself = stack.tools().deployers().join("sam");
        let shown = typed(stack, folder, &sam_itself, &answers, &guided).await;
        assert!(
            shown.contains("Successfully created/updated stack - ring-guided"),
            "{shown}"
        );

        let secrets = ["--stack", NAME, "init", "--secrets", "--from", "-"];
        let given = ops(stack, folder, SHOWN, &secrets).await;
        assert!(given.status.success(), "{}", text(&given.stderr));
        let looked = ops(stack, folder, "", &["--json", "--quiet", "--stack", NAME, "doctor"]).await;
        let report: Value = serde_json::from_slice(&looked.stdout).expect("its report");
        let findings = report["findings"].as_array().expect("findings").iter();
        let held = findings.filter(|finding| finding["verdict"] == "holds");
        let held: BTreeSet<_> = held.filter_map(|finding| finding["check"].as_str()).collect();
        let missed: Vec<_> = LOOKED_AT.iter().filter(|check| !held.contains(**check)).collect();
        assert!(missed.is_empty(), "{missed:?} in {report:#}");

        // What was answered is kept, and serves for an update.
        let again = [
            "deploy",
            "--config-env",
            NAME,
            "--no-confirm-changeset",
            "--no-fail-on-empty-changeset",
        ];
        sam(stack, folder, &again).await;

        let parts = parts(stack).await;
        let deleted = stack.aws().stacks.delete_stack().stack_name(NAME).send().await;
        deleted.expect("it is begun");
        soon("the stack is gone", async || {
            let left = stack.aws().stacks.describe_stacks().stack_name(NAME).send().await;
            Ok(if left.is_err() {
                Ok(())
            } else {
                Err("it is there".to_owned())
            })
        })
        .await?;
        let template = read("template.yaml");
        let mut seen = BTreeMap::new();
        for [name, kind, id] in &parts {
            let Some(is_there) = is_there(stack, kind, id).await else {
                continue;
            };
            let block = template.split(&format!("\n  {name}:\n")).nth(1).unwrap_or_default();
            let retained = block.lines().take(3).any(|line| line == "    DeletionPolicy: Retain");
            assert_eq!(is_there, retained, "{name} once its stack is gone");
            *seen.entry(retained).or_insert(0) += 1;
        }
        assert_eq!(seen.get(&true), Some(&20), "what is kept: {seen:?}");
        assert!(seen.get(&false).is_some_and(|gone| *gone > 15), "what goes: {seen:?}");
        Ok(())
    });
}

/// The tool that brings it is half a gigabyte: this is for the long tier.
#[test]
#[ignore = "it needs cargo-lambda, which .ci/full brings"]
fn a_program_is_changed_by_cargo_lambda_and_nothing_else_of_it() {
    among_others(async |stack| {
        let tools = Tools::lambda(stack.place()).await?;
        let name = &stack.outputs().functions["webhook-intake"];
        let settings = async || {
            let settings = stack.aws().functions.get_function_configuration().function_name(name);
            let settings = settings.send().await.expect("its settings");
            (
                settings.environment,
                settings.timeout,
                settings.memory_size,
                settings.role,
                settings.runtime,
            )
        };
        let revision = async || {
            let settings = stack.aws().functions.get_function_configuration().function_name(name);
            settings.send().await.expect("its settings").revision_id
        };
        let (before, older) = (settings().await, revision().await);
        let mut command = tokio::process::Command::new(tools.join("cargo-lambda"));
        let command = signed_in(stack, &mut command).current_dir(stack.place().checkout());
        // It asks cargo about the workspace.
        let command = command.envs(["PATH", "HOME"].map(|name| (name, Process.get(name).unwrap_or_default())));
        let command = command.args(["lambda", "deploy", "--binary-name", "webhook-intake", name]);
        let command = command.args(["--endpoint-url", &stack.outputs().aws_endpoint_url]);
        let command = command.arg("--lambda-dir").arg(stack.place().target().join("lambda"));
        let output = command.output().await.expect("it runs");
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert_ne!(revision().await, older, "it was changed");
        assert_eq!(settings().await, before, "its settings are as they were");
        let (body, _) = made(&Uuid::new_v4().to_string(), clock::now());
        assert_eq!(post(stack, body.as_bytes()).await, StatusCode::OK);
        Ok(())
    });
}
