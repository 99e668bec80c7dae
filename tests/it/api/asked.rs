//! The API asked by somebody who knows its description alone: `schemathesis` makes requests of it that the description allows,
//! and such as it does not, and holds each answer to it. Answers that the gateway itself makes are left aside.

use std::fs;

use local::outside::Home;
use local::{Failure, Stack, Tools};
use serde_json::json;
use tokio::process::Command;

use super::email;
use crate::traps::{among_others, only_device};

/// How many requests of each kind are made of each route.
const EXAMPLES: &str = "12";

/// Asks as this user, with these further arguments. What was wrong, if anything was.
async fn asked(stack: &Stack, token: &str, settings: &str, arguments: &[&str]) -> Result<Option<String>, Failure> {
    let program = Tools::schemathesis(stack.place()).await?;
    let folder = tempfile::tempdir().expect("a folder");
    let document = folder.path().join("openapi.json");
    fs::write(&document, partner_api::DESCRIPTION).expect("the description is written");
    let settings = format!("hooks = \"hooks\"\n{settings}");
    fs::write(folder.path().join("schemathesis.toml"), settings).expect("the settings are written");
    fs::write(folder.path().join("hooks.py"), include_str!("hooks.py")).expect("what it can't know is written");
    let mut command = Command::new(program);
    command
        .current_dir(folder.path())
        .arg("run")
        .arg(&document)
        .args(["--url", &stack.outputs().api_url])
        .args(["--header", &format!("Authorization:Bearer {token}")])
        .args(["--header", &format!("Host:{}", stack.outputs().api_host)])
        .args(["--checks", "all"])
        // What a route has no method for, the gateway answers with its own 404.
        .args(["--exclude-checks", "unsupported_method"])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", EXAMPLES, "--seed", "1", "--no-shrink"])
        .args([
            "--workers",
            "2",
            "--continue-on-failure",
            "--suppress-health-check",
            "all",
        ])
        .args(["--request-timeout", "30", "--warnings", "off"])
        .args(arguments)
        .env("NO_COLOR", "1");
    let output = command.output().await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // It shows the requests to be repeated, with the token in them.
    let said = said.replace(token, "<token>");
    Ok((!output.status.success()).then_some(said))
}

#[test]
fn whatever_is_asked_the_api_answers_as_its_description_says() {
    among_others(async |stack| {
        let home = Home::linked(
            stack,
            &json!([{
                "preset": "doorbell", "live": {},
                // Whatever the description has can be asked for of it.
                "capabilities": { "video": { "codecs": ["AVC", "HEVC"], "max_resolution": 1080, "ratio": "16:9" } },
            }]),
        )
        .await?;
        let device = only_device(&home).await?;
        // Of some routes the device is there, so that more than its absence is answered.
        let settings = format!(
            "[[operations]]\ninclude-path-regex = \"^/v1/devices/[^/]+/(policy|events|media|clips|snapshots)$\"\n\
             parameters = {{ \"path.device\" = {} }}\n",
            json!(device)
        );
        let found = asked(
            stack,
            &home.visitor.token,
            &settings,
            &["--exclude-operation-id", "eraseAccount"],
        )
        .await?;
        assert_eq!(found, None, "{}", found.clone().unwrap_or_default());
        let stranger = stack.sign_in(&email()).await?;
        let only = ["--include-operation-id", "eraseAccount"];
        let found = asked(stack, &stranger, "", &only).await?;
        assert_eq!(found, None, "{}", found.clone().unwrap_or_default());
        Ok(())
    });
}
