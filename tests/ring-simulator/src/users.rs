//! Ring's users and what is theirs, and `GET /v1/users/me` (Ring: "Users API").

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::devices::Device;
use crate::error::ApiError;
use crate::integrations::Integration;
use crate::journal::Note;
use crate::media::Footage;
use crate::ring::Ring;

/// All users, by account id.
#[derive(Default)]
pub(crate) struct Users(BTreeMap<String, User>);

/// A Ring user.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) email: String,
    pub(crate) phone_number: String,
    /// Those shared with the partner.
    pub(crate) devices: Vec<Device>,
    pub(crate) integration: Integration,
}

impl Users {
    pub(crate) fn add(&mut self, user: User) {
        self.0.insert(user.id.clone(), user);
    }

    pub(crate) fn get(&self, id: &str) -> Option<&User> {
        self.0.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut User> {
        self.0.get_mut(id)
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<User> {
        self.0.remove(id)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &User> {
        self.0.values()
    }

    /// Whether any user has a device of this id.
    pub(crate) fn knows_device(&self, id: &str) -> bool {
        self.0.values().any(|user| user.device(id).is_some())
    }

    /// The demo world: two users, with devices as varied as Ring's own.
    pub(crate) fn populate(&mut self, now: Timestamp) {
        let person = |id: &str, first: &str, last: &str, email: &str| User {
            id: id.into(),
            first_name: first.into(),
            last_name: last.into(),
            email: email.into(),
            phone_number: "18006561918".into(),
            devices: Vec::new(),
            integration: Integration::default(),
        };
        let mut john = person("ava1.ring.account.DEMO.JOHN_1", "John", "Doe", "johndoe@example.com");
        for preset in ["doorbell", "hevc_camera", "privacy_camera", "no_location"] {
            john.devices.extend(demo_device(preset, &john.id, now));
        }
        let mut jane = person("ava1.ring.account.DEMO.JANE_2", "Jane", "Roe", "jane.roe@example.com");
        for preset in ["indoor_camera", "odd_id"] {
            jane.devices.extend(demo_device(preset, &jane.id, now));
        }
        for user in [john, jane] {
            self.add(user);
        }
    }
}

impl User {
    pub(crate) fn device(&self, id: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.id == id)
    }

    pub(crate) fn device_mut(&mut self, id: &str) -> Option<&mut Device> {
        self.devices.iter_mut().find(|device| device.id == id)
    }
}

/// A preset with the same id at each start, ten minutes recorded half an hour ago, and a still for each five minutes.
fn demo_device(preset: &str, user: &str, now: Timestamp) -> Option<Device> {
    let mut device = Device::preset(preset, user, &format!("{user} {preset}"), now)?;
    let minutes_ago = |minutes: i64| now.as_millisecond() - minutes * 60_000;
    let recording = Footage {
        start: minutes_ago(30),
        end: minutes_ago(20),
        ready_at: None,
        corrupt: false,
    };
    device.footage = vec![recording];
    device.snapshots = (1..=24).rev().map(|step| minutes_ago(5 * step)).collect();
    Some(device)
}

pub(crate) fn router(ring: Arc<Ring>) -> Router {
    Router::new().route("/v1/users/me", get(me)).with_state(ring)
}

/// A bad token is 403 here, where it is 401 everywhere else.
async fn me(
    State(ring): State<Arc<Ring>>,
    Extension(note): Extension<Note>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let unauthenticated = |_| {
        ApiError::new(StatusCode::FORBIDDEN, "Forbidden").because("Client is not authenticated or token is invalid")
    };
    let caller = ring.caller(&headers, &note).map_err(unauthenticated)?;
    let users = ring.users();
    let user = users.get(&caller.user).ok_or_else(ApiError::not_found)?;
    Ok(Json(json!({
        "data": {
            "type": "users",
            "id": user.id,
            "attributes": {
                "first_name": user.first_name,
                "last_name": user.last_name,
                "email": user.email,
                "phone_number": user.phone_number,
            }
        }
    })))
}
