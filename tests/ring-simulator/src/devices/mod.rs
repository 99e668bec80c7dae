//! Devices and their four parts, as compound documents (Ring: "Device Discovery" and its sub-pages).

mod presets;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Extension, Path, RawQuery, State};
use axum::routing::get;
use axum::{Json, Router};
use http::HeaderMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub(crate) use presets::{DeviceOrder, PRESETS, merge};

use crate::error::ApiError;
use crate::journal::Note;
use crate::live::{Habits, Power};
use crate::media::Footage;
use crate::oauth::{Holder, scope};
use crate::ring::{Ring, opaque, segment};
use crate::users::{User, Users};

/// A device that its user shares with the partner.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Device {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) online: bool,
    pub(crate) location: Option<Location>,
    pub(crate) capabilities: Value,
    pub(crate) configurations: Value,
    /// What was recorded, and can be had as clips and pictures.
    pub(crate) footage: Vec<Footage>,
    /// Stored stills, by epoch milliseconds.
    pub(crate) snapshots: Vec<i64>,
    /// Recordings are kept away from the device, and so can be had while it is offline.
    pub(crate) cloud_storage: bool,
    /// How often a clip's request is redirected before it is answered.
    pub(crate) clip_redirects: u8,
    /// What limits its live sessions.
    pub(crate) power: Power,
    /// How they go.
    pub(crate) live: Habits,
    /// When it last told of motion, in epoch milliseconds.
    #[serde(skip)]
    pub(crate) motion_at: Option<i64>,
}

/// Where a device is, coarsely. Several devices may share one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Location {
    pub(crate) id: String,
    pub(crate) country: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<String>,
}

/// The four parts of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Status,
    Capabilities,
    Location,
    Configurations,
}

impl Part {
    const ALL: [Self; 4] = [Self::Status, Self::Capabilities, Self::Configurations, Self::Location];

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }

    /// The name of the relationship, and the last segment of its path.
    fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Capabilities => "capabilities",
            Self::Location => "location",
            Self::Configurations => "configurations",
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Status => "device-status",
            Self::Capabilities => "device-capabilities",
            Self::Location => "locations",
            Self::Configurations => "device-configurations",
        }
    }
}

impl Device {
    fn path(&self) -> String {
        format!("/v1/devices/{}", segment(&self.id))
    }

    /// The id of a part, which nobody can derive from the device's.
    fn part_id(&self, part: Part) -> Option<String> {
        match part {
            Part::Location => self.location.as_ref().map(|location| location.id.clone()),
            _ => Some(format!(
                "ava1.ring.device.{}.{}",
                part.name(),
                opaque(&format!("{}{}", part.name(), self.id))
            )),
        }
    }

    fn resource(&self) -> Value {
        let relationships: Map<String, Value> = Part::ALL
            .into_iter()
            .map(|part| {
                let data = self
                    .part_id(part)
                    .map_or(Value::Null, |id| json!({ "type": part.kind(), "id": id }));
                let related = format!("{}/{}", self.path(), part.name());
                (
                    part.name().to_owned(),
                    json!({ "data": data, "links": { "related": related } }),
                )
            })
            .collect();
        json!({
            "type": "devices",
            "id": self.id,
            "attributes": { "name": self.name },
            "relationships": relationships,
        })
    }

    fn part(&self, part: Part) -> Option<Value> {
        let attributes = match part {
            Part::Status => json!({ "online": self.online }),
            Part::Capabilities => self.capabilities.clone(),
            Part::Configurations => self.configurations.clone(),
            Part::Location => {
                let location = self.location.as_ref()?;
                match &location.state {
                    Some(state) => json!({ "country": location.country, "state": state }),
                    None => json!({ "country": location.country }),
                }
            }
        };
        let mut resource = json!({ "type": part.kind(), "id": self.part_id(part)?, "attributes": attributes });
        if part == Part::Capabilities {
            let related = format!("{}/configurations", self.path());
            resource["relationships"] = json!({ "configurations": { "links": { "related": related } } });
        }
        Some(resource)
    }

    /// Whether clips come as HEVC when nothing else is asked for.
    pub(crate) fn prefers_hevc(&self) -> bool {
        self.capabilities["video"]["codecs"][0] == "HEVC"
    }
}

pub(crate) fn router(ring: Arc<Ring>) -> Router {
    Router::new()
        .route("/v1/devices", get(list))
        .route("/v1/devices/{device}", get(one))
        .route("/v1/devices/{device}/{part}", get(part))
        .with_state(ring)
}

async fn list(
    State(ring): State<Arc<Ring>>,
    Extension(note): Extension<Note>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let caller = caller(&ring, &headers, &note)?;
    let query = Query::parse(query.as_deref().unwrap_or_default(), &caller)?;
    let page_size = ring
        .settings()
        .page_size
        .map_or(usize::MAX, |size| size.max(1) as usize);
    let users = ring.users();
    let devices = &shared_by(&users, &caller)?.devices;
    let from = query.after.min(devices.len());
    let shown = &devices[from..from.saturating_add(page_size).min(devices.len())];
    let mut document = document(&query.include, shown, ring.clock.now());
    document["data"] = shown.iter().map(Device::resource).collect();
    if from + shown.len() < devices.len() {
        let include: Vec<&str> = query.include.iter().map(|part| part.name()).collect();
        let include = if include.is_empty() {
            String::new()
        } else {
            format!("include={}&", include.join(","))
        };
        let next = format!("/v1/devices?{include}page%5Bafter%5D={}", from + shown.len());
        document["links"] = json!({ "next": next });
    }
    Ok(Json(document))
}

async fn one(
    State(ring): State<Arc<Ring>>,
    Extension(note): Extension<Note>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    note.device(&id);
    let caller = caller(&ring, &headers, &note)?;
    let query = Query::parse(query.as_deref().unwrap_or_default(), &caller)?;
    let users = ring.users();
    let device = shared_by(&users, &caller)?
        .device(&id)
        .ok_or_else(ApiError::not_found)?;
    let mut document = document(&query.include, std::slice::from_ref(device), ring.clock.now());
    document["data"] = device.resource();
    Ok(Json(document))
}

async fn part(
    State(ring): State<Arc<Ring>>,
    Extension(note): Extension<Note>,
    Path((id, part)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    note.device(&id);
    let caller = caller(&ring, &headers, &note)?;
    let part = Part::parse(&part).ok_or_else(ApiError::not_found)?;
    allow(part, &caller)?;
    let users = ring.users();
    let device = shared_by(&users, &caller)?
        .device(&id)
        .ok_or_else(ApiError::not_found)?;
    let data = device.part(part).ok_or_else(ApiError::not_found)?;
    Ok(Json(
        json!({ "meta": { "time": ring.clock.now().to_string() }, "data": data }),
    ))
}

/// A document's `meta`, and its `included` when something was asked for: each resource once, however many devices share it.
fn document(include: &BTreeSet<Part>, devices: &[Device], now: Timestamp) -> Value {
    let mut document = json!({ "meta": { "time": now.to_string() } });
    if include.is_empty() {
        return document;
    }
    let mut seen = BTreeSet::new();
    let mut included = Vec::new();
    for device in devices {
        for part in include {
            if let Some(resource) = device.part(*part)
                && seen.insert((part.kind(), device.part_id(*part)))
            {
                included.push(resource);
            }
        }
    }
    document["included"] = included.into();
    document
}

#[derive(Debug)]
struct Query {
    include: BTreeSet<Part>,
    after: usize,
}

impl Query {
    fn parse(query: &str, caller: &Holder) -> Result<Self, ApiError> {
        let mut parsed = Self {
            include: BTreeSet::new(),
            after: 0,
        };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "include" => {
                    for name in value.split(',').filter(|name| !name.is_empty()) {
                        let part = Part::parse(name);
                        let part = part.ok_or_else(|| ApiError::bad_request(format!("Unknown include: {name}")))?;
                        allow(part, caller)?;
                        parsed.include.insert(part);
                    }
                }
                "page[after]" => {
                    parsed.after = value.parse().map_err(|_| ApiError::bad_request("Invalid page"))?;
                }
                _ => {}
            }
        }
        Ok(parsed)
    }
}

fn allow(part: Part, caller: &Holder) -> Result<(), ApiError> {
    if part == Part::Configurations && !caller.may(scope::CONFIGURATIONS) {
        return Err(ApiError::out_of_scope());
    }
    Ok(())
}

fn caller(ring: &Ring, headers: &HeaderMap, note: &Note) -> Result<Holder, ApiError> {
    let caller = ring.caller(headers, note).map_err(|_| ApiError::invalid_client())?;
    if caller.may(scope::DEVICES) {
        Ok(caller)
    } else {
        Err(ApiError::out_of_scope())
    }
}

/// The caller's user, once the link is confirmed: before it no device can be reached.
fn shared_by<'a>(users: &'a Users, caller: &Holder) -> Result<&'a User, ApiError> {
    let user = users.get(&caller.user).ok_or_else(ApiError::not_found)?;
    if user.integration.status.opens_devices() {
        Ok(user)
    } else {
        Err(ApiError::out_of_scope().because("The account link is not confirmed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_78_a_shared_location_is_included_once_and_joins_by_type_and_id() {
        let now = Timestamp::UNIX_EPOCH;
        let devices: Vec<Device> = ["doorbell", "indoor_camera", "no_location"]
            .into_iter()
            .filter_map(|preset| Device::preset(preset, "user", preset, now))
            .collect();
        let document = document(&BTreeSet::from(Part::ALL), &devices, now);
        let included = document["included"].as_array().expect("an array");
        let locations: Vec<_> = included
            .iter()
            .filter(|resource| resource["type"] == "locations")
            .collect();
        assert_eq!(locations.len(), 1);
        assert_eq!(included.len(), 3 * 3 + 1);
        let linkage = &devices[1].resource()["relationships"]["location"]["data"];
        assert_eq!(
            (&linkage["type"], &linkage["id"]),
            (&locations[0]["type"], &locations[0]["id"])
        );
        assert!(devices[2].resource()["relationships"]["location"]["data"].is_null());
    }

    #[test]
    fn trap_79_no_id_of_a_part_holds_the_devices_id() {
        let device = Device::preset("doorbell", "user", "seed", Timestamp::UNIX_EPOCH).expect("a preset");
        let own = device.id.rsplit('.').next().expect("a last part").to_owned();
        for part in Part::ALL {
            assert!(!device.part_id(part).expect("it has all four").contains(&own));
        }
    }
}
