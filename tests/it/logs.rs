//! What is in no log, whoever did whatever on this stack so far: whose it is, and what opens it.

use std::collections::BTreeSet;
use std::fs;

use local::outside::Home;
use local::{Failure, Stack};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::edge::clock;

use crate::traps::{among_others, events, only_device, over, text};

/// All texts in it.
fn texts(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => _ = found.insert(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| texts(field, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What all users of the offline Ring, and of the pool, are known by, and what opens what is theirs.
async fn known_by(stack: &Stack) -> Result<BTreeSet<String>, Failure> {
    let mut known = BTreeSet::new();
    let users = stack.ring().order(Method::GET, "users", None).await?;
    for user in users["items"].as_array().expect("users") {
        let id = text(&user["id"]);
        known.insert(id.to_owned());
        let devices = user["devices"].as_array().into_iter().flatten();
        known.extend(devices.map(|device| text(&device["id"]).to_owned()));
        texts(
            &stack
                .ring()
                .order(Method::GET, &format!("users/{id}/secrets"), None)
                .await?,
            &mut known,
        );
    }
    let settings = stack.ring().order(Method::GET, "config", None).await?;
    known.extend(["client_secret", "signing_key"].map(|name| text(&settings[name]).to_owned()));
    let listed = stack.aws().users.list_users().user_pool_id(stack.output("UserPoolId")?);
    let mut pages = listed.into_paginator().send();
    while let Some(page) = pages.next().await {
        for user in page.expect("the pool answers").users() {
            known.extend(user.username().map(str::to_owned));
            known.extend(
                user.attributes()
                    .iter()
                    .filter_map(|attribute| attribute.value().map(str::to_owned)),
            );
        }
    }
    known.extend(["@example.com", "18006561918", "X-Amz-Signature"].map(str::to_owned));
    // `true` of a verified address, a name of one letter: too short to tell of anybody.
    known.retain(|word| word.len() >= 8);
    Ok(known)
}

#[test]
fn no_log_line_tells_of_an_account_a_device_or_a_person_or_has_what_opens_something() {
    among_others(async |stack| {
        let start = clock::now().as_millisecond() - 3_600_000;
        let footage = json!([{ "start": start, "end": start + 60_000 }]);
        let home = Home::linked(stack, &json!([{ "preset": "doorbell", "footage": footage }])).await?;
        let device = only_device(&home).await?;
        home.emit(&json!({ "type": "motion_detected", "device": device, "wait": true }))
            .await?;
        events(&home, &device).await?;
        over(
            &home,
            &device,
            "clips",
            &json!({ "timestamp": start, "duration": 5_000 }),
        )
        .await?;
        // Somebody else is refused what is theirs already, and the account goes.
        let stranger = Home::of_strangers(stack, &json!(["doorbell"])).await?;
        let theirs = stranger.link_with(&home.confirm().await?).await?;
        assert!(theirs.status.is_client_error(), "{:?}", theirs.status);
        let gone = home.call(Method::DELETE, "/v1/account", None).await?;
        gone.must_be(StatusCode::ACCEPTED, "the account is erased")?;

        let known = known_by(stack).await?;
        assert!(known.len() > 10 && known.contains(&home.account) && known.contains(&device));
        let logs = fs::read_to_string(stack.gather_logs().await?).expect("the logs");
        let mut programs = BTreeSet::new();
        for line in logs.lines() {
            if let Ok(line) = serde_json::from_str::<Value>(line) {
                programs.extend(line["service"].as_str().map(str::to_owned));
            }
            let told = known.iter().find(|word| line.contains(word.as_str()));
            assert_eq!(told, None, "{line}");
        }
        for program in ["account-link", "event-processor", "media-fetch", "token-exchange"] {
            assert!(programs.contains(program), "{program} has logged nothing: {programs:?}");
        }
        Ok(())
    });
}
