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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::devices::{Codec, Toggle};

    fn devices(body: &str) -> Vec<(Device, Vec<Missing>)> {
        Document::parse(body.as_bytes()).unwrap().devices()
    }

    fn missing(part: &'static str, related: &str) -> Missing {
        Missing {
            part,
            related: Some(related.to_owned()),
        }
    }

    #[test]
    fn the_documented_list_names_all_four_parts_and_has_none() {
        let [(device, parts)] = devices(include_str!("../../tests/samples/devices.json"))
            .try_into()
            .unwrap();
        assert_eq!(device.id.as_str(), "ava1.ring.device.XXXYYY");
        assert_eq!(device.name.as_deref(), Some("Front Door Camera"));
        let related = |part| missing(part, &format!("/v1/devices/ava1.ring.device.XXXYYY/{part}"));
        assert_eq!(parts, PARTS.map(related));
    }

    #[test]
    fn trap_78_the_documented_compound_document_is_joined_by_type_and_id() {
        let [(device, parts)] = devices(include_str!("../../tests/samples/devices-included.json"))
            .try_into()
            .unwrap();
        assert_eq!(device.name.as_deref(), Some("Office"));
        assert_eq!(device.status.unwrap().online, Some(true));
        let capabilities = device.capabilities.unwrap();
        assert_eq!(capabilities.video.unwrap().codecs, [Codec::Avc]);
        assert!(capabilities.image_enhancements.unwrap().has("privacy_zones"));
        assert_eq!((device.location, device.configurations, parts), (None, None, vec![]));
    }

    #[test]
    fn trap_78_devices_that_share_a_location_all_have_it() {
        let device = |id: &str| {
            json!({"type": "devices", "id": id, "relationships": {
                "location": {"data": {"type": "locations", "id": "home"}},
                // Trap 79: ids of one form do not follow from ids of another.
                "status": {"data": {"type": "device-status", "id": "home"}},
            }})
        };
        let body = json!({
            "data": [device("a"), device("b"), device("c")],
            "included": [
                {"type": "locations", "id": "home", "attributes": {"country": "US", "state": "GA"}},
                {"type": "device-status", "id": "home", "attributes": {"online": false}},
            ],
        });
        let devices = devices(&body.to_string());
        assert_eq!(devices.len(), 3);
        for (device, missing) in devices {
            assert_eq!(device.location.unwrap().state.as_deref(), Some("GA"));
            assert_eq!(device.status.unwrap().online, Some(false));
            assert_eq!(missing, []);
        }
    }

    #[test]
    fn trap_78_what_is_not_included_is_missing_unless_there_is_none() {
        let check = |relationships: Value, expected: &[Missing]| {
            let body = json!({"data": {"id": "a", "type": "devices", "relationships": relationships}});
            let [(_, found)] = devices(&body.to_string()).try_into().unwrap();
            assert_eq!(found, expected, "{relationships}");
        };
        let data = json!({"type": "device-status", "id": "s"});
        check(json!({}), &[]);
        check(json!({"status": {"data": null, "links": {"related": "/s"}}}), &[]);
        check(
            json!({"status": {"data": data, "links": {"related": "/s"}}}),
            &[missing("status", "/s")],
        );
        check(
            json!({"status": {"links": {"related": {"href": "/s"}}}}),
            &[missing("status", "/s")],
        );
        check(
            json!({"status": {"data": data}}),
            &[Missing {
                part: "status",
                related: None,
            }],
        );
        check(json!({"other": {"data": data, "links": {"related": "/s"}}}), &[]);
        check(Value::Null, &PARTS.map(|part| Missing { part, related: None }));
    }

    #[test]
    fn what_is_no_device_is_left_out_and_what_is_no_document_is_told() {
        let body = json!({"data": [{"type": "locations", "id": "a"}, {"type": "devices"}, 7, {"id": "b"}]});
        let ids: Vec<String> = devices(&body.to_string())
            .into_iter()
            .map(|(device, _)| device.id.to_string())
            .collect();
        assert_eq!(ids, ["b"]);
        assert_eq!(devices(r#"{"data":[]}"#), []);
        for body in ["", "[]", "{}", r#"{"data":null}"#, r#"{"data":7}"#, r#"{"errors":[]}"#] {
            assert!(Document::parse(body.as_bytes()).is_none(), "{body}");
        }
    }

    #[test]
    fn trap_80_the_next_page_is_where_the_links_say() {
        let next = |links: Value| {
            Document::parse(json!({"data": [], "links": links}).to_string().as_bytes())
                .unwrap()
                .next
        };
        assert_eq!(
            next(json!({"next": "/v1/devices?page=2"})).as_deref(),
            Some("/v1/devices?page=2")
        );
        assert_eq!(next(json!({"next": {"href": "/p"}})).as_deref(), Some("/p"));
        assert_eq!(next(json!({"next": null})), None);
        assert_eq!(next(json!({})), None);
    }

    #[test]
    fn each_documented_part_is_read_from_its_own_endpoint() {
        let mut device = devices(r#"{"data":{"id":"a","relationships":{}}}"#).remove(0).0;
        for (part, body) in [
            ("status", include_str!("../../tests/samples/status.json")),
            ("capabilities", include_str!("../../tests/samples/capabilities.json")),
            ("location", include_str!("../../tests/samples/location.json")),
            (
                "configurations",
                include_str!("../../tests/samples/configurations.json"),
            ),
        ] {
            device.set(part, &attributes(body.as_bytes()).unwrap());
        }
        assert_eq!(device.status.as_ref().unwrap().online, Some(true));
        assert_eq!(device.location.as_ref().unwrap().country.as_deref(), Some("US"));
        let video = device.capabilities.as_ref().unwrap().video.as_ref().unwrap();
        assert_eq!(
            (video.codecs.as_slice(), video.max_resolution),
            (&[Codec::Hevc][..], Some(2160))
        );
        let configurations = device.configurations.as_ref().unwrap();
        let motion = configurations.motion_detection.as_ref().unwrap();
        assert_eq!(motion.enabled, Some(Toggle::On));
        assert_eq!(motion.motion_zones[0].vertices.len(), 8);
        assert_eq!(
            configurations.image_enhancements.as_ref().unwrap().hdr,
            Some(Toggle::Off)
        );
        assert_eq!(configurations.privacy_zones(), []);

        let stored = serde_json::to_string(&device).unwrap();
        assert_eq!(serde_json::from_str::<Device>(&stored).unwrap(), device);
    }
}
