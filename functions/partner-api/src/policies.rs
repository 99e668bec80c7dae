//! Policies: what is done by itself when something happens at a device.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use ring_partner::object;
use schemars::JsonSchema;
use serde::Deserialize;
use shared::device::Known;
use shared::edge::gateway::{Id, JsonBody, SignedIn, private};
use shared::edge::problem::{FieldError, Problem, ProblemType};
use shared::edge::table::StoreError;
use shared::policy::Policy;

use crate::{App, unavailable};

/// The most devices that one request sets the policy of by their ids.
const MOST_DEVICES: usize = 100;

/// The policy of a device
pub(crate) async fn of_device(State(app): State<Arc<App>>, user: SignedIn, Id(id): Id) -> Result<Response, Problem> {
    let (_, known) = app.device_of(&user, &id).await?;
    let policy = app.policies.holding_for(&known).await;
    Ok(private(axum::Json(policy.map_err(|error| unavailable(&error))?)))
}

/// Gives a device a policy
pub(crate) async fn set(
    State(app): State<Arc<App>>,
    user: SignedIn,
    Id(id): Id,
    JsonBody(policy): JsonBody<Policy>,
) -> Result<Response, Problem> {
    checked(&policy, "")?;
    let (_, known) = app.device_of(&user, &id).await?;
    give(&app, &known, &policy).await?;
    Ok(private(axum::Json(policy)))
}

/// A policy for many: either `devices` or `link` names them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PolicyForMany", extend("oneOf" = [
    { "required": ["devices"], "properties": { "devices": { "type": "array" }, "link": { "type": "null" } } },
    { "required": ["link"], "properties": { "link": { "type": "string" }, "devices": { "type": "null" } } },
]), example = serde_json::json!({ "link": "lnk_3", "policy": { "on": { "button_press": ["clip"] } } }))]
pub(crate) struct Many {
    /// These.
    #[schemars(length(min = 1, max = 100))]
    devices: Option<Vec<String>>,
    /// All of this link, those that come later too.
    link: Option<String>,
    #[serde(deserialize_with = "object::required")]
    policy: Policy,
}

/// The devices are named one by one, or by their link: then those that come to it later get this policy, too.
pub(crate) async fn set_many(
    State(app): State<Arc<App>>,
    user: SignedIn,
    JsonBody(asked): JsonBody<Many>,
) -> Result<Response, Problem> {
    let Many { devices, link, policy } = asked;
    checked(&policy, "/policy")?;
    match (devices, link) {
        (Some(ids), None) => {
            if !(1..=MOST_DEVICES).contains(&ids.len()) {
                return Err(Problem::field(
                    "/devices",
                    format!("1 to {MOST_DEVICES} devices; all of a link can be named by it"),
                ));
            }
            // All of them, or none: a device that is not this user's changes nothing of the others.
            let mut known = Vec::with_capacity(ids.len());
            for id in &ids {
                known.push(app.device_of(&user, id).await?.1);
            }
            for known in &known {
                give(&app, known, &policy).await?;
            }
        }
        (None, Some(id)) => {
            let links = app.links_of(&user).await?;
            let link = links.into_iter().find(|link| link.id == id);
            let link = link.ok_or_else(|| Problem::new(ProblemType::NotFound))?;
            let set = app.policies.set_of_link(&link.account_id, &policy).await;
            set.map_err(|error| unavailable(&error))?;
            let known = app.devices.of_account(&link.account_id).await;
            for known in &known.map_err(|error| unavailable(&error))? {
                give(&app, known, &policy).await?;
            }
        }
        (None, None) => return Err(Problem::field("/devices", "devices or a link must be named")),
        (Some(_), Some(_)) => return Err(Problem::field("/link", "either devices or a link can be named")),
    }
    Ok(private(axum::Json(policy)))
}

async fn give(app: &App, known: &Known, policy: &Policy) -> Result<(), Problem> {
    match app.policies.set(&known.account_id, &known.device_id, policy).await {
        Ok(()) => Ok(()),
        // Unlinked in this moment.
        Err(StoreError::Conflict) => Err(Problem::new(ProblemType::NotFound)),
        Err(error) => Err(unavailable(&error)),
    }
}

/// Fails with all that is wrong with a policy that stands at this place of the body.
fn checked(policy: &Policy, place: &str) -> Result<(), Problem> {
    let in_place = |wrong: shared::policy::Wrong| FieldError {
        pointer: format!("{place}{}", wrong.pointer),
        detail: wrong.detail,
    };
    policy
        .check()
        .map_err(|wrong| Problem::fields(wrong.into_iter().map(in_place).collect()))
}
