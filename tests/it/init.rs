//! `ops init`: what it writes is what sam deploys with, and what is typed into it goes to Secrets Manager and nowhere else.

use std::path::Path;
use std::process::{Output, Stdio};

use local::outside::soon;
use local::{Failure, Stack};
use reqwest::StatusCode;
use ring_partner::signature::{SigningKey, sign};
use serde_json::{Value, json};
use shared::edge::clock;
use shared::event::synthetic::made;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use uuid::Uuid;

use crate::intake::deployed;
use crate::ops::{program, text};
use crate::stack::alone_on_the_stack;

/// What sam itself reads: its configuration's parameters, and what it makes of the overrides.
const READ_BY_SAM: &str = "
import json, sys
from samcli.cli.types import CfnParameterOverridesType
from samcli.lib.config.samconfig import SamConfig
read = SamConfig(sys.argv[1], 'samconfig.toml').get_all(['deploy'], 'parameters', sys.argv[2])
read['parameter_overrides'] = CfnParameterOverridesType().convert(read['parameter_overrides'], None, None)
print(json.dumps(read))
";
/// What would end a value, did nobody mark it.
const QUOTED: &str = "MediaOrigin=https://a\"b";
const AT_A_TERMINAL: &str = include_str!("at_a_terminal.py");

/// Who is signed in to the stack's account.
pub(crate) fn signed_in<'c>(stack: &Stack, command: &'c mut Command) -> &'c mut Command {
    let outputs = stack.outputs();
    command
        .env_clear()
        .env("AWS_ENDPOINT_URL", &outputs.aws_endpoint_url)
        .env("AWS_REGION", &outputs.aws_region)
        // sam knows the one and not the other.
        .env("AWS_DEFAULT_REGION", &outputs.aws_region)
        .env("SAM_CLI_TELEMETRY", "0")
        .env("AWS_ACCESS_KEY_ID", &outputs.aws_access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &outputs.aws_secret_access_key)
}

/// Runs the tool in a folder, with this on its standard input.
pub(crate) async fn ops(stack: &Stack, folder: &Path, input: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program(stack));
    let command = signed_in(stack, &mut command).args(arguments).current_dir(folder);
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the tool starts");
    let mut standard_input = child.stdin.take().expect("an input");
    // A tool that asks nothing may be gone before it reads.
    let _ = standard_input.write_all(input.as_bytes()).await;
    drop(standard_input);
    child.wait_with_output().await.expect("the tool ends")
}

/// Runs a program at a terminal, with answers to its prompts, and returns what is shown there.
pub(crate) async fn typed(
    stack: &Stack,
    folder: &Path,
    program: &Path,
    answers: &[(&str, &str)],
    arguments: &[&str],
) -> String {
    let mut command = Command::new(stack.tools().deployers().join("python"));
    let command = signed_in(stack, &mut command).current_dir(folder);
    let answers = json!(answers).to_string();
    let command = command.args(["-c", AT_A_TERMINAL, &answers]).arg(program);
    let output = command.args(arguments).output().await.expect("a terminal");
    let (shown, error) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{shown}{error}");
    shown
}

async fn read_by_sam(stack: &Stack, folder: &Path, name: &str) -> Value {
    let mut python = Command::new(stack.tools().deployers().join("python"));
    let read = python.args(["-c", READ_BY_SAM]).arg(folder).arg(name).output().await;
    let read = read.expect("sam's Python runs");
    serde_json::from_slice(&read.stdout).unwrap_or_else(|_| panic!("{}", text(&read.stderr)))
}

/// What a secret holds, by the output that names it.
async fn held(stack: &Stack, output: &str) -> Value {
    let id = stack.output(output).expect("an output");
    let read = stack.aws().secrets.get_secret_value().secret_id(id).send().await;
    serde_json::from_str(read.expect("it is read").secret_string().expect("a string")).expect("JSON")
}

#[test]
fn a_newcomer_is_guided_through_the_parameters_and_sam_reads_just_what_was_answered() {
    alone_on_the_stack(async |stack| {
        let folder = tempfile::tempdir().expect("a folder");
        let template = stack.place().checkout().join("template.yaml");
        std::fs::copy(template, folder.path().join("template.yaml")).expect("the template");
        let answers = [
            ("The region to deploy to", "eu-west-1"),
            ("TokenUrlKey: ", "too-short"),
            ("TokenUrlKey must be 16 to 128", "a_key_that_nobody_sees"),
            ("OidcIssuer: ", ""),
            ("AllowedOrigins: ", "https://a.example.com,https://b.example.com"),
            ("PrivacyRegions: ", "-"),
            ("AlarmTopicArn: ", ""),
            ("ConcurrencyLimit: ", "3000"),
            ("DomainName: ", "ring.example.com"),
            ("CaptureMode: ", ""),
            ("DomainCertificateArn: ", "arn:aws:acm:eu-west-1:1:certificate/c"),
        ];
        let shown = typed(
            stack,
            folder.path(),
            &program(stack),
            &answers,
            &["--stack", "ring-staging", "init"],
        )
        .await;
        assert!(!shown.contains("a_key_that") && !shown.contains("too-short"), "{shown}");
        for next in [
            "cargo lambda build --release --arm64",
            "sam deploy --config-env ring-staging",
            "ops --stack ring-staging init --secrets",
            "ops --stack ring-staging doctor",
        ] {
            assert!(shown.contains(next), "{shown}");
        }
        let read = read_by_sam(stack, folder.path(), "ring-staging").await;
        let expected = json!({
            "stack_name": "ring-staging",
            "region": "eu-west-1",
            "resolve_s3": true,
            "confirm_changeset": true,
            "capabilities": "CAPABILITY_IAM CAPABILITY_AUTO_EXPAND",
            "parameter_overrides": {
                "TokenUrlKey": "a_key_that_nobody_sees",
                "AllowedOrigins": "https://a.example.com,https://b.example.com",
                "PrivacyRegions": "",
                "ConcurrencyLimit": "3000",
                "DomainName": "ring.example.com",
                "DomainCertificateArn": "arn:aws:acm:eu-west-1:1:certificate/c",
            },
        });
        assert_eq!(read, expected);

        // Another stack beside it, by a script; the first one is as it was.
        let in_a_script = [
            "--json",
            "--stack",
            "ring-prod",
            "init",
            "--yes",
            "--region",
            "eu-west-1",
        ];
        let said = ops(
            stack,
            folder.path(),
            "",
            &[&in_a_script[..], &["--set", "LogLevel=warn", "--set", QUOTED]].concat(),
        )
        .await;
        let said: Value = serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{}", text(&said.stderr)));
        assert_eq!(
            said["parameters"],
            json!({"LogLevel": "warn", "MediaOrigin": "https://a\"b", "TokenUrlKey": "****"})
        );
        let of_script = read_by_sam(stack, folder.path(), "ring-prod").await;
        assert_eq!(of_script["parameter_overrides"]["MediaOrigin"], "https://a\"b");
        assert_eq!(of_script["parameter_overrides"]["LogLevel"], "warn");
        assert_eq!(read_by_sam(stack, folder.path(), "ring-staging").await, expected);
        let file = folder.path().join("samconfig.toml");
        let before = std::fs::read_to_string(&file).expect("it is there");

        // Of a stack that is deployed, what it was deployed with; its key stays, as Ring has the URL that it is in.
        let outputs = stack.outputs();
        let of_this = ["--json", "--stack", &outputs.stack_name, "init", "--yes", "--dry-run"];
        let said = ops(stack, folder.path(), "", &of_this).await;
        let said: Value = serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{}", text(&said.stderr)));
        assert_eq!(said["parameters"]["RingApiUrl"], json!(outputs.ring.api_url));
        assert_eq!(said["parameters"].get("TokenUrlKey"), None, "{said}");

        // Said no to, tried out, or wrong: nothing is written.
        let all_as_offered = format!("{}n\n", "\n".repeat(9));
        for (input, arguments, status) in [
            (all_as_offered.as_str(), &["--stack", "ring-prod", "init"][..], 1),
            (
                "",
                &[&in_a_script[..], &["--set", "LogLevel=debug", "--dry-run"]].concat(),
                0,
            ),
            ("", &[&in_a_script[..], &["--set", "LogLevel=loud"]].concat(), 2),
            ("", &[&in_a_script[..], &["--set", "CaptureMode=task"]].concat(), 2),
            ("", &["init", "--yes"], 2),
        ] {
            let output = ops(stack, folder.path(), input, arguments).await;
            assert_eq!(
                output.status.code(),
                Some(status),
                "{arguments:?}: {}",
                text(&output.stderr)
            );
            assert_eq!(
                std::fs::read_to_string(&file).expect("it is there"),
                before,
                "{arguments:?}"
            );
        }
    });
}

/// Ring's credentials, anew: first typed, then by a script.
async fn renewed(stack: &Stack, folder: &Path) -> Result<(), Failure> {
    let name = stack.outputs().stack_name.as_str();
    let first = held(stack, "OAuthSecretId").await;
    let answers = [
        ("Client id and secret are there already. Replace?", "n"),
        ("An HMAC signing key is there already. Replace?", "y"),
        ("HMAC signing key: ", "typed_and_seen_by_nobody"),
    ];
    let shown = typed(
        stack,
        folder,
        &program(stack),
        &answers,
        &["--stack", name, "init", "--secrets"],
    )
    .await;
    assert!(!shown.contains("typed_and"), "{shown}");
    assert!(shown.contains(&format!("ops --stack {name} doctor")), "{shown}");
    let ring_has = stack.ring().signing_key();
    assert_eq!(
        held(stack, "SigningSecretId").await,
        json!({"hmac_signing_key": "typed_and_seen_by_nobody", "hmac_signing_key_previous": ring_has})
    );
    assert_eq!(
        held(stack, "OAuthSecretId").await,
        first,
        "what was not to be replaced is as it was"
    );
    for key in ["typed_and_seen_by_nobody", ring_has] {
        let (body, _) = made(&Uuid::new_v4().to_string(), clock::now());
        let signature = sign(&SigningKey::new(key).expect("a key"), body.as_bytes());
        // A process that was shown a signature of no key lately looks at the secret again within ten seconds.
        soon("both keys are taken", async || {
            let status = deployed::post(stack, body.as_bytes(), &signature).await;
            Ok(if status == StatusCode::OK {
                Ok(())
            } else {
                Err(status.to_string())
            })
        })
        .await?;
    }

    let credentials = json!({"client_id": "another", "client_secret": "of_a_script"}).to_string();
    let from_input = ["--stack", name, "init", "--secrets", "--from", "-"];
    let refused = ops(stack, folder, &credentials, &from_input).await;
    let error = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{error}");
    assert!(error.contains("--yes") && !error.contains("of_a_script"), "{error}");
    assert_eq!(held(stack, "OAuthSecretId").await, first);
    let replaced = ops(stack, folder, &credentials, &[&from_input[..], &["--yes"]].concat()).await;
    let said = [text(&replaced.stdout), text(&replaced.stderr)].concat();
    assert!(replaced.status.success() && !said.contains("of_a_script"), "{said}");
    assert_eq!(
        held(stack, "OAuthSecretId").await,
        json!({"client_id": "another", "client_secret": "of_a_script"})
    );
    let left: Vec<_> = std::fs::read_dir(folder).expect("a folder").collect();
    assert!(left.is_empty(), "no file has them: {left:?}");
    Ok(())
}

#[test]
fn credentials_that_are_typed_are_not_shown_and_reach_the_programs_without_a_gap() {
    alone_on_the_stack(async |stack| {
        let folder = tempfile::tempdir().expect("a folder");
        let held = renewed(stack, folder.path()).await;
        let mended = stack.write_secrets(stack.ring().signing_key(), None).await;
        held.and(mended).unwrap_or_else(|failure| panic!("{failure}"));
    });
}
