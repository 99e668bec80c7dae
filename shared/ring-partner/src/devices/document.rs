//! JSON:API as Ring's devices endpoints speak it: a document, and the join of devices with their parts by type and id.
//!
//! Ring: Device Discovery, Including Related Data. Many devices may share one location, so `included` has it once; ids
//! have no form that one could be derived from another.

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Capabilities, Configurations, Device, DeviceId, Location, Status};

/// The parts of a device, by the name of their relationship, in the order of `include`.
pub(crate) const PARTS: [&str; 4] = ["status", "capabilities", "location", "configurations"];

/// An answer of `/v1/devices` or `/v1/devices/{id}`.
pub(crate) struct Document {
    devices: Vec<Value>,
    included: HashMap<(String, String), Value>,
    /// `links.next`, as it came.
    pub(crate) next: Option<String>,
}

/// A part that a device relates to and that `included` does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The name of the relationship.
    pub(crate) part: &'static str,
    /// `links.related`, as it came.
    pub(crate) related: Option<String>,
}

impl Document {
    /// Reads an answer. `None` if it is no document with devices.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let mut body: Value = serde_json::from_slice(body).ok()?;
        let devices = match body.get_mut("data")?.take() {
            Value::Array(devices) => devices,
            device @ Value::Object(_) => vec![device],
            _ => return None,
        };
        let included = match body.get_mut("included").map(Value::take) {
            Some(Value::Array(included)) => included,
            _ => Vec::new(),
        };
        let included = included
            .into_iter()
            .filter_map(|mut part| Some((identity(&part)?, part.get_mut("attributes")?.take())))
            .collect();
        let next = body.pointer("/links/next").and_then(link);
        Some(Self {
            devices,
            included,
            next,
        })
    }

    /// The devices, joined with their parts, each with what is still to be fetched. Resources of another type, and
    /// those without an id, are no devices.
    pub(crate) fn devices(&self) -> Vec<(Device, Vec<Missing>)> {
        self.devices
            .iter()
            .filter_map(|resource| self.device(resource))
            .collect()
    }

    fn device(&self, resource: &Value) -> Option<(Device, Vec<Missing>)> {
        if resource
            .get("type")
            .and_then(Value::as_str)
            .is_some_and(|kind| kind != "devices")
        {
            return None;
        }
        let mut device = Device {
            id: DeviceId::new(resource.get("id")?.as_str()?).ok()?,
            name: resource
                .pointer("/attributes/name")
                .and_then(Value::as_str)
                .map(str::to_owned),
            status: None,
            capabilities: None,
            location: None,
            configurations: None,
        };
        let Some(relationships) = resource
            .get("relationships")
            .filter(|relationships| relationships.is_object())
        else {
            // It does not say what it relates to: all four have a documented place.
            return Some((device, PARTS.map(|part| Missing { part, related: None }).into()));
        };
        let mut missing = Vec::new();
        for part in PARTS {
            let Some(relationship) = relationships.get(part) else {
                continue;
            };
            match relationship.get("data") {
                // An empty relationship: the device has no such part.
                Some(Value::Null) => {}
                data => match data
                    .and_then(identity)
                    .and_then(|identity| self.included.get(&identity))
                {
                    Some(attributes) => device.set(part, attributes),
                    None => missing.push(Missing {
                        part,
                        related: relationship.pointer("/links/related").and_then(link),
                    }),
                },
            }
        }
        Some((device, missing))
    }
}

impl Device {
    /// Takes in a part by the name of its relationship.
    pub(crate) fn set(&mut self, part: &str, attributes: &Value) {
        fn read<T: DeserializeOwned>(attributes: &Value) -> Option<T> {
            serde_json::from_value(attributes.clone()).ok()
        }
        match part {
            "status" => self.status = read::<Status>(attributes),
            "capabilities" => self.capabilities = read::<Capabilities>(attributes),
            "location" => self.location = read::<Location>(attributes),
            "configurations" => self.configurations = read::<Configurations>(attributes),
            _ => {}
        }
    }
}

/// The attributes in the answer of a part's own endpoint.
pub(crate) fn attributes(body: &[u8]) -> Option<Value> {
    let mut body: Value = serde_json::from_slice(body).ok()?;
    Some(body.pointer_mut("/data/attributes")?.take())
}

/// JSON:API's resource identity.
fn identity(resource: &Value) -> Option<(String, String)> {
    Some((
        resource.get("type")?.as_str()?.to_owned(),
        resource.get("id")?.as_str()?.to_owned(),
    ))
}

/// A link is a string, or an object with an `href`.
fn link(link: &Value) -> Option<String> {
    link.as_str().or_else(|| link.get("href")?.as_str()).map(str::to_owned)
}
