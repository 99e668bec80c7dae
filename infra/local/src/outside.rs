//! The stack as those outside see it: a Ring user at the offline Ring, a partner's user at the API, and whoever looks into
//! the tables. The demo and the system tests walk with these.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::QueueAttributeName;
use jiff::Timestamp;
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::failure::{Doing, Failure};
use crate::progress::seconds;
use crate::stack::Stack;

/// How long something that happens in the background may take on a busy machine.
const SOON: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// Fails where a claim does not hold, and shows what was found instead.
pub fn claim(holds: bool, claimed: &str, found: &impl fmt::Debug) -> Result<(), Failure> {
    if holds {
        return Ok(());
    }
    Err(Failure::new(format!("It does not hold that {claimed}")).because(format!("found {found:#?}")))
}

/// A partner's user, signed in.
pub struct Visitor {
    /// Their e-mail address.
    pub email: String,
    /// Their ID token.
    pub token: String,
}

/// An answer of the API.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; a text where it is no JSON.
    pub body: Value,
}

impl Answer {
    /// Fails unless it has this status.
    pub fn must_be(self, status: StatusCode, claimed: &str) -> Result<Self, Failure> {
        claim(self.status == status, claimed, &self)?;
        Ok(self)
    }

    /// A field of the body that is a text.
    pub fn text(&self, field: &str) -> Result<String, Failure> {
        let found = self.body[field].as_str().map(str::to_owned);
        found.ok_or_else(|| Failure::new(format!("An answer has no {field}")).because(format!("found {}", self.body)))
    }
}

/// Calls a route of the API, as whoever the token says.
pub async fn call(
    stack: &Stack,
    token: Option<&str>,
    method: Method,
    route: &str,
    body: Option<&Value>,
) -> Result<Answer, Failure> {
    let what = || format!("The API does not answer {method} {route}");
    let mut request = stack.request(method.clone(), route);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    let answer = request.send().await.or_fail(what)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let text = answer.text().await.or_fail(what)?;
    let body = if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    };
    Ok(Answer { status, headers, body })
}

/// Looks until there is something to see.
pub async fn soon<V>(
    awaited: &str,
    mut look: impl AsyncFnMut() -> Result<Result<V, String>, Failure>,
) -> Result<V, Failure> {
    let since = Instant::now();
    loop {
        match look().await? {
            Ok(seen) => return Ok(seen),
            Err(instead) if since.elapsed() > SOON => {
                return Err(
                    Failure::new(format!("It has not come about in {} that {awaited}", seconds(SOON)))
                        .because(format!("found {instead}")),
                );
            }
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// A Ring user, and the partner's user that they become linked to.
pub struct Home<'a> {
    /// The stack.
    pub stack: &'a Stack,
    /// The Ring user's account.
    pub account: String,
    /// The partner's user.
    pub visitor: Visitor,
}

impl<'a> Home<'a> {
    /// A new Ring user with these devices (presets of the offline Ring), and a new user of the partner's: strangers still.
    pub async fn of_strangers(stack: &'a Stack, devices: &Value) -> Result<Self, Failure> {
        let user = stack
            .ring()
            .order(Method::POST, "users", Some(&json!({ "devices": devices })))
            .await?;
        let account = user["id"].as_str().unwrap_or_default().to_owned();
        let email = format!("visitor-{}@example.com", uuid::Uuid::new_v4().simple());
        let token = stack.sign_in(&email).await?;
        Ok(Self {
            stack,
            account,
            visitor: Visitor { email, token },
        })
    }

    /// The same, all the way to a completed link.
    pub async fn linked(stack: &'a Stack, devices: &Value) -> Result<Self, Failure> {
        let home = Self::of_strangers(stack, devices).await?;
        let installed = home.install().await?;
        claim(installed["partner_status"] == 200, "the code is taken", &installed)?;
        let nonce = home.confirm().await?;
        let mut made = home.link_with(&nonce).await?;
        // As a page does that is told to come again: the token, or a signing key that was changed a moment ago, is on its way.
        for _ in 0..7 {
            if made.status != StatusCode::NOT_FOUND {
                break;
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
            made = home.link_with(&nonce).await?;
        }
        made.must_be(StatusCode::CREATED, "the link is made")?;
        Ok(home)
    }

    /// The Ring user installs the app: its code is pushed to the Token Exchange URL. Returns what came of it.
    pub async fn install(&self) -> Result<Value, Failure> {
        self.stack
            .ring()
            .order(Method::POST, &format!("users/{}/install", self.account), None)
            .await
    }

    /// The Ring user confirms the app. Returns the nonce and the time of the URL that they are sent to.
    pub async fn confirm(&self) -> Result<Value, Failure> {
        let path = format!("users/{}/confirm", self.account);
        let confirmed = self.stack.ring().order(Method::POST, &path, None).await?;
        Ok(json!({ "nonce": confirmed["nonce"], "time": confirmed["time"] }))
    }

    /// The partner's user links with this nonce.
    pub async fn link_with(&self, nonce: &Value) -> Result<Answer, Failure> {
        self.call(Method::POST, "/v1/links", Some(nonce)).await
    }

    /// The ids of the devices that the API shows, by name.
    pub async fn device_ids(&self) -> Result<HashMap<String, String>, Failure> {
        let listed = self.call(Method::GET, "/v1/devices", None).await?;
        let listed = listed.must_be(StatusCode::OK, "a signed-in user sees their devices")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let items = listed.body["items"].as_array().cloned().unwrap_or_default();
        Ok(items
            .iter()
            .map(|device| (text(&device["name"]), text(&device["id"])))
            .collect())
    }

    /// Calls a route of the API as the partner's user.
    pub async fn call(&self, method: Method, route: &str, body: Option<&Value>) -> Result<Answer, Failure> {
        call(self.stack, Some(&self.visitor.token), method, route, body).await
    }

    /// Has the offline Ring send an event of this account.
    pub async fn emit(&self, event: &Value) -> Result<Value, Failure> {
        self.stack
            .ring()
            .order(Method::POST, &format!("users/{}/events", self.account), Some(event))
            .await
    }

    /// What the API shows of a device's events, newest first.
    pub async fn events_of(&self, device: &str) -> Result<Vec<Value>, Failure> {
        let events = self
            .call(Method::GET, &format!("/v1/devices/{device}/events"), None)
            .await?;
        let events = events.must_be(StatusCode::OK, "a device's events can be listed")?;
        Ok(events.body["items"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until the queue of events is empty, with nothing under way.
    pub async fn events_settle(&self) -> Result<(), Failure> {
        let what = || "The queue of events can't be looked at".to_owned();
        let url = self.stack.outputs().queues.get("events");
        let url = url.ok_or_else(|| Failure::new(what()).because("the stack has none"))?;
        let (visible, in_flight) = (
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        );
        soon("the queue of events is empty", async || {
            let ask = self.stack.aws().queues.get_queue_attributes().queue_url(url);
            let found = ask
                .attribute_names(visible.clone())
                .attribute_names(in_flight.clone())
                .send()
                .await
                .or_fail(what)?;
            let found = found.attributes.unwrap_or_default();
            let idle = [&visible, &in_flight]
                .iter()
                .all(|name| found.get(*name).is_some_and(|count| count == "0"));
            Ok(if idle { Ok(()) } else { Err(format!("{found:?}")) })
        })
        .await
    }

    /// Asks for a medium and waits until it is stored.
    pub async fn fetched(&self, device: &str, what: &str, order: &Value) -> Result<Value, Failure> {
        let route = format!("/v1/devices/{device}/{what}");
        let asked = self.call(Method::POST, &route, Some(order)).await?;
        let asked = asked.must_be(StatusCode::ACCEPTED, "a medium that was asked for is on its way")?;
        let id = asked.text("id")?;
        let location = asked
            .headers
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        claim(
            location == format!("/v1/media/{id}"),
            "the answer says where the medium will be",
            &asked,
        )?;
        let again = self.call(Method::POST, &route, Some(order)).await?;
        claim(
            again.body["id"] == id.as_str(),
            "the same request again is the same medium",
            &again,
        )?;

        soon("the medium is stored", async || {
            let medium = self.call(Method::GET, &format!("/v1/media/{id}"), None).await?;
            let medium = medium.must_be(StatusCode::OK, "the medium can be asked for")?;
            match medium.body["state"].as_str() {
                Some("stored") => Ok(Ok(medium.body)),
                Some("failed" | "no_media") => {
                    Err(Failure::new("The medium was not stored").because(medium.body.to_string()))
                }
                _ => Ok(Err(medium.body.to_string())),
            }
        })
        .await
    }
}

/// What the simulator knows of a user.
pub async fn at_ring(stack: &Stack, account: &str) -> Result<Value, Failure> {
    let state = stack.ring().order(Method::GET, "state", None).await?;
    Ok(state["users"][account].clone())
}

/// The first answer to each delivery.
pub fn statuses(emitted: &Value) -> Vec<i64> {
    let outcomes = emitted["outcomes"].as_array().into_iter().flatten();
    outcomes
        .filter_map(|outcome| outcome["attempts"][0]["status"].as_i64())
        .collect()
}

/// What the rule of the schedule sends at a time.
pub fn schedule_at(time: Timestamp) -> Value {
    json!({
        "version": "0",
        "id": uuid::Uuid::new_v4().to_string(),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "000000000000",
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "region": "us-east-1",
        "resources": ["arn:aws:events:us-east-1:000000000000:rule/each-minute"],
        "detail": {},
    })
}

/// The rows of a noun's table that have these words in one of their attributes.
pub async fn rows_about(
    stack: &Stack,
    noun: &str,
    words: &str,
) -> Result<Vec<HashMap<String, AttributeValue>>, Failure> {
    let what = || format!("The table of {noun}s can't be read");
    let table = stack
        .outputs()
        .tables
        .get(noun)
        .ok_or_else(|| Failure::new(what()).because("the stack has none"))?;
    let pages = stack
        .aws()
        .tables
        .scan()
        .table_name(table)
        .consistent_read(true)
        .into_paginator()
        .items()
        .send();
    let rows: Vec<_> = pages.try_collect().await.or_fail(what)?;
    Ok(rows
        .into_iter()
        .filter(|row| row.values().any(|value| mentions(value, words)))
        .collect())
}

fn mentions(value: &AttributeValue, words: &str) -> bool {
    match value {
        AttributeValue::S(text) => text.contains(words),
        AttributeValue::L(values) => values.iter().any(|value| mentions(value, words)),
        AttributeValue::M(values) => values.values().any(|value| mentions(value, words)),
        AttributeValue::Ss(texts) => texts.iter().any(|text| text.contains(words)),
        _ => false,
    }
}
