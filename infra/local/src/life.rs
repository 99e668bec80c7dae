//! A home at the offline Ring in which something happens by itself, for a newcomer who opens the console: linked to a user of the
//! local pool, with pictures taken of all that moves. It stands still until somebody opens a page, so that nobody else is in
//! its way.

use std::collections::HashMap;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::edge::clock;

use crate::failure::{Doing, Failure};
use crate::outside::{Home, Visitor};
use crate::stack::Stack;

/// Who signs in to see it.
pub(crate) const EMAIL: &str = "home@example.com";

/// How often it is looked whether a page was opened.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long after that the first thing happens: the page is there by then.
const FIRST: Duration = Duration::from_secs(4);
/// How far apart things happen at first, while each camera has its turn, and later.
const SOON: Duration = Duration::from_secs(5);
const LATER: Duration = Duration::from_secs(20);

/// What happens, one after the other, again and again: where, of what type, and what moved.
const COURSE: [(&str, &str, Option<&str>); 8] = [
    ("Front Door", "motion_detected", Some("human")),
    ("Garage", "motion_detected", Some("vehicle")),
    ("Garden", "motion_detected", Some("animal")),
    ("Front Door", "button_press", None),
    ("Living Room", "motion_detected", Some("human")),
    ("Garden", "motion_detected", Some("human")),
    ("Front Door", "motion_detected", Some("package")),
    ("Garage", "motion_detected", Some("other_motion")),
];

/// The home, linked.
pub struct Life<'a> {
    home: Home<'a>,
    devices: HashMap<String, String>,
}

impl<'a> Life<'a> {
    /// Has the cameras' owner install the app and link, and pictures taken of what moves.
    pub async fn begin(stack: &'a Stack) -> Result<Self, Failure> {
        let recorded = {
            let now = clock::now().as_millisecond();
            json!([{ "start": now - 3_600_000, "end": now }])
        };
        let camera =
            |preset: &str, name: &str| json!({ "preset": preset, "name": name, "footage": recorded, "snapshots": [] });
        let person = json!({
            "first_name": "Nora", "last_name": "Newcomer",
            "devices": [
                camera("doorbell", "Front Door"), camera("privacy_camera", "Garden"), camera("no_location", "Garage"),
                camera("indoor_camera", "Living Room"), "hevc_camera",
            ],
        });
        let user = stack.ring().order(Method::POST, "users", Some(&person)).await?;
        let account = user["id"].as_str().unwrap_or_default().to_owned();
        let visitor = Visitor {
            email: EMAIL.to_owned(),
            token: stack.sign_in(EMAIL).await?,
        };
        let home = Home {
            stack,
            account,
            visitor,
        };
        home.install().await?;
        let nonce = home.confirm().await?;
        let link = home.link_with(&nonce).await?;
        let link = link.must_be(StatusCode::CREATED, "the home is linked")?.text("id")?;
        let policy = json!({
            "on": {
                "motion_detected": { "human": ["snapshot", "clip"], "default": ["snapshot"] },
                "button_press": ["snapshot", "clip"],
            },
            "duration": 10_000,
        });
        let of_link = json!({ "link": link, "policy": policy });
        let set = home.call(Method::PUT, "/v1/policies", Some(&of_link)).await?;
        set.must_be(StatusCode::OK, "the policy is set")?;
        let devices = home.device_ids().await?;
        Ok(Self { home, devices })
    }

    /// Lets things happen from when somebody opens a page. Ends only with a failure.
    pub async fn go_on(&self) -> Failure {
        if let Err(failure) = self.somebody_looks().await {
            return failure;
        }
        tokio::time::sleep(FIRST).await;
        for (turn, (camera, kind, moved)) in COURSE.iter().cycle().enumerate() {
            let Some(device) = self.devices.get(*camera) else {
                continue;
            };
            if let Err(failure) = self.happens(device, kind, *moved).await {
                return failure;
            }
            tokio::time::sleep(if turn < COURSE.len() / 2 { SOON } else { LATER }).await;
        }
        Failure::new("Nothing happens any more")
    }

    async fn happens(&self, device: &str, kind: &str, moved: Option<&str>) -> Result<Value, Failure> {
        let mut event = json!({ "type": kind, "device": device });
        if let Some(moved) = moved {
            event["sub_type"] = json!(moved);
        }
        self.home.emit(&event).await
    }

    /// Waits until the pages' program has logged its start: the first page is asked for then.
    async fn somebody_looks(&self) -> Result<(), Failure> {
        let what = || "The logs of the pages can't be looked at".to_owned();
        let stack = self.home.stack;
        let name = stack.outputs().functions.get("portal");
        let name = name.ok_or_else(|| Failure::new(what()).because("the stack has no such function"))?;
        let group = format!("/aws/lambda/{name}");
        loop {
            let streams = stack.aws().logs.describe_log_streams().log_group_name(&group).send();
            if !streams.await.or_fail(what)?.log_streams().is_empty() {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
