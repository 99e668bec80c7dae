//! Ready-made devices, as varied as Ring's own, and the order by which a device is made or changed.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Device, Location};
use crate::live::{Habits, Power};
use crate::media::Footage;
use crate::ring::{fresh_id, opaque};

/// The names of the presets, and what each is.
pub(crate) const PRESETS: [(&str, &str); 6] = [
    (
        "doorbell",
        "AVC, 1080p, on a battery, motion zones; shares its user's location in the US",
    ),
    (
        "hevc_camera",
        "HEVC only, 2160p, on mains power, offline, its recordings only on the device; in the UK",
    ),
    ("privacy_camera", "AVC, two privacy zones; in Germany, without a state"),
    ("no_location", "AVC and HEVC, without a location, motion detection off"),
    (
        "indoor_camera",
        "AVC, on mains power, without motion detection; shares its user's location in the US",
    ),
    (
        "odd_id",
        "an id with a percent sign, zones of two vertices and of none, keys missing and keys unknown",
    ),
];

/// A new device, or a change to one. What is left out comes from the preset, or stays.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DeviceOrder {
    pub(crate) preset: Option<String>,
    pub(crate) id: Option<String>,
    name: Option<String>,
    pub(crate) online: Option<bool>,
    /// Null takes the location away.
    #[serde(deserialize_with = "present")]
    location: Option<Option<Location>>,
    /// Merged into what is there (RFC 7396: null removes).
    capabilities: Option<Value>,
    /// Merged likewise.
    configurations: Option<Value>,
    footage: Option<Vec<Footage>>,
    snapshots: Option<Vec<i64>>,
    cloud_storage: Option<bool>,
    clip_redirects: Option<u8>,
    power: Option<Power>,
    /// Merged into how its live sessions go.
    live: Option<Value>,
    /// Also emit `device_added`, or `device_online` and `device_offline`.
    pub(crate) announce: bool,
}

fn present<'de, D: Deserializer<'de>>(found: D) -> Result<Option<Option<Location>>, D::Error> {
    Option::deserialize(found).map(Some)
}

impl DeviceOrder {
    /// A preset's name alone, or an object.
    pub(crate) fn read(order: Value) -> Result<Self, String> {
        match order {
            Value::String(preset) => Ok(Self {
                preset: Some(preset),
                ..Self::default()
            }),
            other => serde_json::from_value(other).map_err(|error| error.to_string()),
        }
    }

    /// The device that this order makes for a user.
    pub(crate) fn make(self, user: &str, now: Timestamp) -> Result<Device, String> {
        let preset = self.preset.as_deref().unwrap_or("doorbell");
        let mut device = Device::preset(preset, user, &fresh_id(), now).ok_or_else(|| {
            let names: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
            format!("there is no preset {preset:?}; there are {}", names.join(", "))
        })?;
        if let Some(id) = self.id.clone().filter(|id| !id.is_empty()) {
            device.id = id;
        }
        self.apply(&mut device)?;
        Ok(device)
    }

    /// Changes a device; its id and its preset stay.
    pub(crate) fn apply(self, device: &mut Device) -> Result<(), String> {
        if let Some(footage) = self.footage {
            if footage.iter().any(|piece| piece.start >= piece.end) {
                return Err("footage must end after it starts: {\"start\": ms, \"end\": ms}".into());
            }
            device.footage = footage;
        }
        if let Some(change) = &self.live {
            device.live = device.live.changed(change)?;
        }
        if let Some(name) = self.name {
            device.name = name;
        }
        if let Some(location) = self.location {
            device.location = location;
        }
        if let Some(change) = &self.capabilities {
            merge(&mut device.capabilities, change);
        }
        if let Some(change) = &self.configurations {
            merge(&mut device.configurations, change);
        }
        device.online = self.online.unwrap_or(device.online);
        device.power = self.power.unwrap_or(device.power);
        device.snapshots = self.snapshots.unwrap_or_else(|| std::mem::take(&mut device.snapshots));
        device.cloud_storage = self.cloud_storage.unwrap_or(device.cloud_storage);
        device.clip_redirects = self.clip_redirects.unwrap_or(device.clip_redirects);
        Ok(())
    }
}

impl Device {
    /// A ready-made device of a user. The same seed gives the same id.
    pub(crate) fn preset(preset: &str, user: &str, seed: &str, now: Timestamp) -> Option<Self> {
        let tag = opaque(seed);
        let (front, back) = tag.split_at(6);
        let home = Location {
            id: Uuid::from_slice(&Sha256::digest(user)[..16]).ok()?.to_string(),
            country: "US".into(),
            state: Some("GA".into()),
        };
        let mut device = Self {
            id: format!("ava1.ring.device.{front}_{back}"),
            name: "Front Door".into(),
            online: true,
            location: Some(home),
            capabilities: capabilities(&["AVC"], 1080),
            configurations: configurations(),
            footage: Vec::new(),
            snapshots: Vec::new(),
            cloud_storage: true,
            clip_redirects: 0,
            power: Power::Battery,
            live: Habits::default(),
            motion_at: None,
        };
        let elsewhere = |country: &str| Location {
            id: format!("loc.{tag}_{country}"),
            country: country.into(),
            state: None,
        };
        match preset {
            "doorbell" => {}
            "hevc_camera" => {
                device.name = "Driveway 4K".into();
                device.online = false;
                device.cloud_storage = false;
                device.power = Power::Mains;
                device.location = Some(elsewhere("GB"));
                device.capabilities = capabilities(&["HEVC"], 2160);
            }
            "privacy_camera" => {
                device.name = "Garden".into();
                device.location = Some(elsewhere("DE"));
                device.configurations["image_enhancements"]["privacy_zones"] = json!([
                    zone(seed, "left", &[(0.0, 0.0), (0.25, 0.0), (0.25, 1.0), (0.0, 1.0)]),
                    zone(seed, "window", &[(0.6, 0.1), (0.9, 0.15), (0.8, 0.4)]),
                ]);
            }
            "no_location" => {
                device.name = "Garage".into();
                device.location = None;
                device.capabilities = capabilities(&["AVC", "HEVC"], 1440);
                device.configurations["motion_detection"]["enabled"] = json!("off");
            }
            "indoor_camera" => {
                device.name = "Wohnzimmer · Küche".into();
                device.power = Power::Mains;
                merge(
                    &mut device.capabilities,
                    &json!({ "motion_detection": null, "image_enhancements": null }),
                );
                merge(&mut device.configurations, &json!({ "motion_detection": null }));
            }
            "odd_id" => {
                device.id = format!("ava1.ring.device.50%25_{front}.~{back}");
                device.name = "A \"quoted\" <name> 🔔".into();
                device.capabilities = json!({ "video": { "codecs": ["AVC"] }, "teleportation": { "enabled": true } });
                device.configurations = json!({
                    "motion_detection": {
                        "enabled": "on",
                        "motion_zones": [zone(seed, "line", &[(0.0, 0.0), (1.0, 1.0)]), zone(seed, "empty", &[])],
                    },
                    "added_in_a_later_version": now.to_string(),
                });
            }
            _ => return None,
        }
        Some(device)
    }
}

fn capabilities(codecs: &[&str], resolution: u32) -> Value {
    json!({
        "video": {
            "configurations": ["resolution_mode"],
            "codecs": codecs,
            "ratio": "16:9",
            "max_resolution": resolution,
            "supported_resolutions": [resolution],
        },
        "motion_detection": { "configurations": ["enabled", "motion_zones"] },
        "image_enhancements": {
            "configurations": ["color_night_vision", "hdr", "ir_led_night_vision", "privacy_zones"],
        },
    })
}

/// The documentation's own example, whole numbers as integers among them (Ring: "Configurations").
fn configurations() -> Value {
    json!({
        "motion_detection": {
            "enabled": "on",
            "motion_zones": [{
                "id": "a9d225a6-3122-4f4d-a933-0c24e53cc535",
                "vertices": [
                    { "x": 0, "y": 0.2 }, { "x": 0.5, "y": 0.2 }, { "x": 1, "y": 0.2 }, { "x": 1, "y": 0.6 },
                    { "x": 1, "y": 1 }, { "x": 0.5, "y": 1 }, { "x": 0, "y": 1 }, { "x": 0, "y": 0.6 },
                ],
            }],
        },
        "image_enhancements": {
            "color_night_vision": "off",
            "hdr": "off",
            "ir_led_night_vision": "off",
            "auto_zoom_track": "off",
            "privacy_zones": [],
        },
    })
}

/// A zone. Whole numbers are written without a fraction, as Ring writes them.
fn zone(seed: &str, name: &str, vertices: &[(f64, f64)]) -> Value {
    let number = |value: f64| {
        if value == 0.0 {
            json!(0)
        } else if value == 1.0 {
            json!(1)
        } else {
            json!(value)
        }
    };
    let vertices: Vec<Value> = vertices
        .iter()
        .map(|(x, y)| json!({ "x": number(*x), "y": number(*y) }))
        .collect();
    let hash = Sha256::digest(format!("{seed}{name}"));
    let id = Uuid::from_slice(&hash[..16]).unwrap_or_default();
    json!({ "id": id.to_string(), "vertices": vertices })
}

/// RFC 7396: objects merge, null removes, anything else replaces.
pub(crate) fn merge(target: &mut Value, change: &Value) {
    let Value::Object(change) = change else {
        *target = change.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(target) = target.as_object_mut() else { return };
    for (name, value) in change {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.as_str()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_that_is_listed_can_be_made() {
        for (name, _) in PRESETS {
            assert!(
                Device::preset(name, "user", "seed", Timestamp::UNIX_EPOCH).is_some(),
                "{name}"
            );
        }
        assert!(Device::preset("toaster", "user", "seed", Timestamp::UNIX_EPOCH).is_none());
    }

    #[test]
    fn merging_follows_rfc_7396() {
        #[track_caller]
        fn check(target: Value, change: Value, expected: Value) {
            let mut merged = target;
            merge(&mut merged, &change);
            assert_eq!(merged, expected);
        }
        check(
            json!({"a": {"b": 1, "c": 2}}),
            json!({"a": {"b": null, "d": 3}}),
            json!({"a": {"c": 2, "d": 3}}),
        );
        check(json!({"a": [1]}), json!({"a": "x"}), json!({"a": "x"}));
        check(json!("x"), json!({"a": {"b": null}}), json!({"a": {}}));
    }

    #[test]
    fn an_order_changes_what_it_names_and_tells_null_from_absent() {
        let now = Timestamp::UNIX_EPOCH;
        let order = DeviceOrder::read(json!({"preset": "doorbell", "location": null, "name": "Gate"})).expect("good");
        let mut device = order.make("user", now).expect("made");
        assert!(device.location.is_none() && device.name == "Gate");
        let patch =
            DeviceOrder::read(json!({"configurations": {"motion_detection": {"enabled": "off"}}})).expect("good");
        patch.apply(&mut device).expect("applied");
        assert_eq!(device.configurations["motion_detection"]["enabled"], "off");
        assert_eq!(device.name, "Gate");
        assert!(
            DeviceOrder::read(json!({"nmae": "x"})).is_err(),
            "an unknown field is an error"
        );
    }
}
