//! Users and their devices.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::events::{complaint, plain};
use super::{Ask, Order, no_user};
use crate::devices::{Device, DeviceOrder};
use crate::error::Problem;
use crate::integrations::Integration;
use crate::oauth::Which;
use crate::ring::{Ring, fresh_id, opaque};
use crate::users::User;
use crate::webhooks::{Sending, emit};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NewUser {
    id: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    email: Option<String>,
    phone_number: Option<String>,
    /// Names of presets, or objects.
    devices: Vec<Value>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Announce {
    announce: bool,
}

pub(super) async fn list(State(ring): State<Arc<Ring>>) -> Json<Value> {
    let users = ring.users();
    Json(json!({ "items": users.all().collect::<Vec<_>>() }))
}

pub(super) async fn create(
    State(ring): State<Arc<Ring>>,
    Order(order): Order<NewUser>,
) -> Result<(StatusCode, Json<User>), Problem> {
    let now = ring.clock.now();
    let id = order.id.filter(|id| !id.is_empty());
    let id = id.unwrap_or_else(|| format!("ava1.ring.account.{}", opaque(&fresh_id())));
    let mut devices: Vec<Device> = Vec::with_capacity(order.devices.len());
    for (position, device) in order.devices.into_iter().enumerate() {
        let made = DeviceOrder::read(device).and_then(|order| order.make(&id, now));
        devices.push(made.map_err(|why| Problem::bad_order(format!("devices[{position}]: {why}")))?);
    }
    let user = User {
        id,
        first_name: order.first_name.unwrap_or_else(|| "John".into()),
        last_name: order.last_name.unwrap_or_else(|| "Doe".into()),
        email: order.email.unwrap_or_else(|| "johndoe@example.com".into()),
        phone_number: order.phone_number.unwrap_or_else(|| "18006561918".into()),
        devices,
        integration: Integration::default(),
    };
    let mut users = ring.users();
    if users.get(&user.id).is_some() {
        return Err(Problem::conflict(format!(
            "there is a user {:?} already; DELETE it first",
            user.id
        )));
    }
    let twice =
        |(position, device): (usize, &Device)| user.devices[..position].iter().any(|other| other.id == device.id);
    if user.devices.iter().enumerate().any(twice) || user.devices.iter().any(|device| users.knows_device(&device.id)) {
        return Err(Problem::conflict(
            "a device's id is taken; leave it out, and one is given",
        ));
    }
    users.add(user.clone());
    Ok((StatusCode::CREATED, Json(user)))
}

pub(super) async fn show(State(ring): State<Arc<Ring>>, Path(id): Path<String>) -> Result<Json<User>, Problem> {
    ring.users().get(&id).cloned().map(Json).ok_or_else(|| no_user(&id))
}

/// What a partner must keep to itself: for a search of the places where it must not be.
pub(super) async fn secrets(State(ring): State<Arc<Ring>>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let devices: Vec<String> = {
        let users = ring.users();
        let user = users.get(&id).ok_or_else(|| no_user(&id))?;
        user.devices.iter().map(|device| device.id.clone()).collect()
    };
    let issued = ring.grants().issued(&id);
    Ok(Json(json!({
        "access_tokens": issued.access_tokens,
        "refresh_tokens": issued.refresh_tokens,
        "security_tokens": ring.presigned().of(&devices),
    })))
}

pub(super) async fn remove(State(ring): State<Arc<Ring>>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let removed = ring.users().remove(&id);
    removed.ok_or_else(|| no_user(&id))?;
    ring.grants().revoke(&id, Which::All, "the user is gone");
    ring.live.end_of_user(&id, ring.clock.now(), "user");
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn share(
    State(ring): State<Arc<Ring>>,
    Path(id): Path<String>,
    Order(order): Order<Value>,
) -> Result<(StatusCode, Json<Device>), Problem> {
    let order = DeviceOrder::read(order).map_err(Problem::bad_order)?;
    let announce = order.announce;
    let device = order.make(&id, ring.clock.now()).map_err(Problem::bad_order)?;
    {
        let mut users = ring.users();
        if users.knows_device(&device.id) {
            return Err(Problem::conflict(format!("there is a device {:?} already", device.id)));
        }
        users
            .get_mut(&id)
            .ok_or_else(|| no_user(&id))?
            .devices
            .push(device.clone());
    }
    if announce {
        tell(&ring, &id, "device_added", &device.id)?;
    }
    Ok((StatusCode::CREATED, Json(device)))
}

pub(super) async fn change(
    State(ring): State<Arc<Ring>>,
    Path((id, device)): Path<(String, String)>,
    Order(order): Order<Value>,
) -> Result<Json<Device>, Problem> {
    let order = DeviceOrder::read(order).map_err(Problem::bad_order)?;
    if order.id.is_some() || order.preset.is_some() {
        return Err(Problem::bad_order(
            "id and preset can't be changed; DELETE the device and POST another",
        ));
    }
    let (announce, online) = (order.announce, order.online);
    let changed = {
        let mut users = ring.users();
        let user = users.get_mut(&id).ok_or_else(|| no_user(&id))?;
        let device = user.device_mut(&device).ok_or_else(|| no_device(&device))?;
        let mut changed = device.clone();
        order.apply(&mut changed).map_err(Problem::bad_order)?;
        *device = changed.clone();
        changed
    };
    if online == Some(false) {
        ring.live.end_of_device(&device, ring.clock.now(), "offline");
    }
    if let (true, Some(online)) = (announce, online) {
        tell(
            &ring,
            &id,
            if online { "device_online" } else { "device_offline" },
            &device,
        )?;
    }
    Ok(Json(changed))
}

pub(super) async fn unshare(
    State(ring): State<Arc<Ring>>,
    Path((id, device)): Path<(String, String)>,
    Ask(ask): Ask<Announce>,
) -> Result<StatusCode, Problem> {
    {
        let mut users = ring.users();
        let user = users.get_mut(&id).ok_or_else(|| no_user(&id))?;
        let before = user.devices.len();
        user.devices.retain(|other| other.id != device);
        if user.devices.len() == before {
            return Err(no_device(&device));
        }
    }
    ring.live.end_of_device(&device, ring.clock.now(), "removed");
    if ask.announce {
        tell(&ring, &id, "device_removed", &device)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

fn tell(ring: &Arc<Ring>, user: &str, kind: &str, device: &str) -> Result<(), Problem> {
    let event = plain(kind, device);
    emit(ring, user, &event, &Sending::default(), false)
        .map(drop)
        .map_err(|why| complaint(&why, user))
}

fn no_device(id: &str) -> Problem {
    Problem::unknown(format!(
        "this user has no device {id:?}; percent-encode the id in the path"
    ))
}
