//! Devices and their four parts. Ring: Device Discovery; Capabilities; Status; Locations; Configurations.
//!
//! Parts and fields may be missing, and new ones may come: what is not known here is kept in `other`, so that a device
//! that is stored and read again has lost nothing. A field of an unexpected type is left out, and never takes its
//! device with it; a privacy zone is the exception, as leaving one out would show what its owner hid.

mod document;
mod zone;

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::media::Resolution;
use crate::opaque::opaque_id;

pub(crate) use document::{Document, Missing, PARTS, attributes};
pub use zone::{Pixel, Vertex, Zone};

opaque_id! {
    /// A device, by the id that the devices API and webhooks share. Opaque: it may have dots, underscores, anything.
    DeviceId
}

impl DeviceId {
    /// The id as one segment of a URL's path.
    pub fn path_segment(&self) -> String {
        /// All but RFC 3986's unreserved characters.
        const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
        utf8_percent_encode(self.as_str(), RESERVED).to_string()
    }
}

/// A device, as far as Ring tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// The device's id.
    pub id: DeviceId,
    /// The name its owner gave it.
    pub name: Option<String>,
    /// Whether it can be reached.
    pub status: Option<Status>,
    /// What it can do.
    pub capabilities: Option<Capabilities>,
    /// Where it is, roughly.
    pub location: Option<Location>,
    /// How its owner has set it up.
    pub configurations: Option<Configurations>,
}

/// Ring: Status.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Whether the device is connected, where Ring tells.
    #[serde(default, deserialize_with = "lenient")]
    pub online: Option<bool>,
    /// Attributes that are not known here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Ring: Capabilities. Each is there if the device has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Video.
    #[serde(default, deserialize_with = "lenient")]
    pub video: Option<Video>,
    /// Motion detection.
    #[serde(default, deserialize_with = "lenient")]
    pub motion_detection: Option<Feature>,
    /// Image enhancements.
    #[serde(default, deserialize_with = "lenient")]
    pub image_enhancements: Option<Feature>,
    /// Capabilities that are not known here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What a device's video is like.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Video {
    /// What can be configured about it.
    #[serde(default, deserialize_with = "lenient_list")]
    pub configurations: Vec<String>,
    /// The codecs it has. There are devices with [`Codec::Hevc`] alone.
    #[serde(default, deserialize_with = "lenient_list")]
    pub codecs: Vec<Codec>,
    /// The aspect ratio, as `16:9`.
    #[serde(default, deserialize_with = "lenient")]
    pub ratio: Option<String>,
    /// The greatest height, in pixels. More than clips can have: see [`Video::clip_resolution`].
    #[serde(default, deserialize_with = "lenient")]
    pub max_resolution: Option<u32>,
    /// The heights it has, in pixels.
    #[serde(default, deserialize_with = "lenient_list")]
    pub supported_resolutions: Vec<u32>,
    /// Attributes that are not known here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Video {
    /// The greatest resolution that a clip of this device can be asked for: within Ring's bounds for clips, however
    /// much more the camera has, and in its ratio. `None` if Ring does not tell enough.
    pub fn clip_resolution(&self) -> Option<Resolution> {
        let height = self
            .max_resolution
            .filter(|height| *height > 0)?
            .min(Resolution::GREATEST.height);
        let (across, down) = self.ratio()?;
        let width = u64::from(height) * across / down;
        match u32::try_from(width) {
            Ok(width @ 1..=Resolution::GREATEST_WIDTH) => Some(Resolution { width, height }),
            Ok(0) => None,
            _ => {
                let width = Resolution::GREATEST.width;
                let height = u32::try_from(u64::from(width) * down / across)
                    .ok()
                    .filter(|height| *height > 0)?;
                Some(Resolution { width, height })
            }
        }
    }

    /// Whether a resolution has this device's ratio, within a pixel. Another one may come out distorted or cropped.
    pub fn keeps_ratio(&self, resolution: Resolution) -> bool {
        self.ratio().is_none_or(|(across, down)| {
            let (width, height) = (
                u64::from(resolution.width) * down,
                u64::from(resolution.height) * across,
            );
            width.abs_diff(height) <= across.max(down)
        })
    }

    /// The greatest resolution of this device's ratio within this one.
    pub fn in_ratio(&self, within: Resolution) -> Resolution {
        let Some((across, down)) = self.ratio().filter(|_| !self.keeps_ratio(within)) else {
            return within;
        };
        let (width, height) = (u64::from(within.width), u64::from(within.height));
        // Neither is larger than what it is made from.
        let side = |side: u64| u32::try_from(side.max(1)).unwrap_or(u32::MAX);
        if width * down > height * across {
            Resolution {
                width: side(height * across / down),
                height: within.height,
            }
        } else {
            Resolution {
                width: within.width,
                height: side(width * down / across),
            }
        }
    }

    fn ratio(&self) -> Option<(u64, u64)> {
        let (across, down) = self.ratio.as_deref()?.split_once(':')?;
        let side = |text: &str| text.trim().parse::<u32>().ok().filter(|side| *side > 0).map(u64::from);
        Some((side(across)?, side(down)?))
    }
}

/// A capability that is known by what can be configured about it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    /// What can be configured about it.
    #[serde(default, deserialize_with = "lenient_list")]
    pub configurations: Vec<String>,
    /// Attributes that are not known here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Feature {
    /// Whether this can be configured: `privacy_zones`, `hdr`, …
    pub fn has(&self, configuration: &str) -> bool {
        self.configurations.iter().any(|name| name == configuration)
    }
}

/// Ring: Locations. Never finer than a state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Location {
    /// The country, by its ISO code.
    #[serde(default, deserialize_with = "lenient")]
    pub country: Option<String>,
    /// The state or province, where Ring tells.
    #[serde(default, deserialize_with = "lenient")]
    pub state: Option<String>,
    /// Attributes that are not known here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Ring: Configurations.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Configurations {
    /// Motion detection.
    #[serde(default, deserialize_with = "lenient")]
    pub motion_detection: Option<MotionDetection>,
    /// Image enhancements, privacy zones among them.
    #[serde(default, deserialize_with = "lenient")]
    pub image_enhancements: Option<ImageEnhancements>,
    /// Settings that are not known here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Configurations {
    /// The zones that have to be obscured. One of fewer than three vertices could not be read, or hides nothing that
    /// could be told: [`Zone::is_area`].
    pub fn privacy_zones(&self) -> &[Zone] {
        self.image_enhancements
            .as_ref()
            .map_or(&[], |image| &image.privacy_zones)
    }
}

/// How motion detection is set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MotionDetection {
    /// Whether it is on.
    #[serde(default)]
    pub enabled: Option<Toggle>,
    /// Where motion is looked for. Webhooks have no coordinates: which zone saw it can't be told.
    #[serde(default, deserialize_with = "zone::all")]
    pub motion_zones: Vec<Zone>,
    /// Settings that are not known here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// How the image is set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageEnhancements {
    /// Colour at night.
    #[serde(default)]
    pub color_night_vision: Option<Toggle>,
    /// High dynamic range.
    #[serde(default)]
    pub hdr: Option<Toggle>,
    /// Infrared light at night.
    #[serde(default)]
    pub ir_led_night_vision: Option<Toggle>,
    /// Zoom that follows what moves.
    #[serde(default)]
    pub auto_zoom_track: Option<Toggle>,
    /// What must not be seen.
    #[serde(default, deserialize_with = "zone::all")]
    pub privacy_zones: Vec<Zone>,
    /// Settings that are not known here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A setting that is `"on"` or `"off"` in Ring's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Value", into = "String")]
pub enum Toggle {
    /// `on`.
    On,
    /// `off`.
    Off,
    /// Anything else, as it came.
    Unknown(String),
}

impl Toggle {
    /// Ring's word for it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Unknown(word) => word,
        }
    }
}

impl From<Value> for Toggle {
    fn from(value: Value) -> Self {
        match value {
            Value::Bool(true) => Self::On,
            Value::Bool(false) => Self::Off,
            Value::String(word) => match word.as_str() {
                "on" => Self::On,
                "off" => Self::Off,
                _ => Self::Unknown(word),
            },
            other => Self::Unknown(other.to_string()),
        }
    }
}

impl From<Toggle> for String {
    fn from(toggle: Toggle) -> Self {
        toggle.as_str().to_owned()
    }
}

/// A video codec. Capabilities write it `AVC` and `HEVC`, requests `avc` and `hevc`: read in any case, written small.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Codec {
    /// H.264.
    Avc,
    /// H.265.
    Hevc,
    /// Another one, as it came.
    Other(String),
}

impl Codec {
    /// As requests write it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Avc => "avc",
            Self::Hevc => "hevc",
            Self::Other(word) => word,
        }
    }
}

impl From<String> for Codec {
    fn from(word: String) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "avc" => Self::Avc,
            "hevc" => Self::Hevc,
            _ => Self::Other(word),
        }
    }
}

impl From<Codec> for String {
    fn from(codec: Codec) -> Self {
        codec.as_str().to_owned()
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A field of another type than it should have counts as not there.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// An element of another type than it should have is left out of its list.
fn lenient_list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Array(list) => list
            .into_iter()
            .filter_map(|element| serde_json::from_value(element).ok())
            .collect(),
        _ => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read<T: DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn trap_53_an_id_is_one_segment_of_a_path() {
        let id = DeviceId::new("ava1.ring.device.A_b~c-d/e?f#g h%ü").unwrap();
        assert_eq!(id.path_segment(), "ava1.ring.device.A_b~c-d%2Fe%3Ff%23g%20h%25%C3%BC");
        assert!(DeviceId::new("..").is_err());
    }

    proptest! {
        #[test]
        fn any_id_comes_back_out_of_a_url(id in "\\PC{1,40}") {
            prop_assume!(id != "." && id != "..");
            let device = DeviceId::new(id.as_str()).unwrap();
            let url = url::Url::parse(&format!("https://ring/v1/devices/{}/status", device.path_segment())).unwrap();
            let segments: Vec<&str> = url.path_segments().unwrap().collect();
            prop_assert_eq!(segments.len(), 4);
            let back = percent_encoding::percent_decode_str(segments[2]).decode_utf8().unwrap();
            prop_assert_eq!(back, id);
        }
    }

    #[test]
    fn trap_83_a_switch_has_three_states_and_may_be_missing() {
        let night = |value: Value| read::<ImageEnhancements>(json!({"hdr": value})).hdr;
        assert_eq!(night(json!("on")), Some(Toggle::On));
        assert_eq!(night(json!("off")), Some(Toggle::Off));
        assert_eq!(night(json!(true)), Some(Toggle::On));
        assert_eq!(night(json!("auto")), Some(Toggle::Unknown("auto".to_owned())));
        assert_eq!(night(json!("ON")), Some(Toggle::Unknown("ON".to_owned())));
        assert_eq!(
            night(json!({"mode": 1})),
            Some(Toggle::Unknown(r#"{"mode":1}"#.to_owned()))
        );
        assert_eq!(night(Value::Null), None);
        assert_eq!(read::<ImageEnhancements>(json!({})).hdr, None);
    }

    #[test]
    fn a_field_of_a_wrong_type_does_not_take_the_rest_with_it() {
        let capabilities: Capabilities = read(json!({
            "video": {"codecs": ["AVC", 7, "hevc"], "max_resolution": "large", "ratio": "16:9", "supported_resolutions": 9},
            "motion_detection": "yes",
            "speaker": {"volume": 11},
        }));
        let video = capabilities.video.unwrap();
        assert_eq!(video.codecs, [Codec::Avc, Codec::Hevc]);
        assert_eq!((video.max_resolution, video.ratio.as_deref()), (None, Some("16:9")));
        assert_eq!(video.supported_resolutions, [0; 0]);
        assert_eq!(capabilities.motion_detection, None);
        assert_eq!(capabilities.other["speaker"], json!({"volume": 11}));
        assert_eq!(read::<Status>(json!({"online": "true"})).online, None);
    }

    #[test]
    fn a_privacy_zone_that_cannot_be_read_is_still_one() {
        let zones = |value: Value| {
            let configurations: Configurations = read(json!({"image_enhancements": {"privacy_zones": value}}));
            configurations
                .privacy_zones()
                .iter()
                .map(Zone::is_area)
                .collect::<Vec<_>>()
        };
        assert_eq!(zones(json!([])), [true; 0]);
        assert_eq!(zones(Value::Null), [true; 0]);
        let area = json!({"id": "z", "vertices": [{"x": 0, "y": 0}, {"x": 1, "y": 0}, {"x": 1, "y": 1}]});
        assert_eq!(zones(json!([area])), [true]);
        assert_eq!(
            zones(json!([area, "?", {"id": "y", "vertices": [{"x": 0, "y": 0}]}])),
            [true, false, false]
        );
        assert_eq!(zones(json!("all of it")), [false]);
        assert_eq!(zones(json!({"0": area})), [false]);
    }

    #[test]
    fn trap_111_codecs_are_read_in_any_case_and_written_small() {
        for (word, codec) in [
            ("AVC", Codec::Avc),
            ("avc", Codec::Avc),
            ("HEVC", Codec::Hevc),
            ("Hevc", Codec::Hevc),
        ] {
            assert_eq!(read::<Codec>(json!(word)), codec);
            assert_eq!(serde_json::to_value(&codec).unwrap(), json!(codec.as_str()));
        }
        assert_eq!(Codec::Hevc.to_string(), "hevc");
        assert_eq!(read::<Codec>(json!("AV1")), Codec::Other("AV1".to_owned()));
    }

    #[test]
    fn trap_112_a_clip_is_never_larger_than_ring_gives() {
        let check = |max: Value, ratio: &str, expected: Option<(u32, u32)>| {
            let video: Video = read(json!({"max_resolution": max, "ratio": ratio}));
            let resolution = video.clip_resolution();
            assert_eq!(
                resolution.map(|size| (size.width, size.height)),
                expected,
                "{max} {ratio}"
            );
            assert!(resolution.is_none_or(|size| video.keeps_ratio(size)));
        };
        check(json!(2160), "16:9", Some((1920, 1080)));
        check(json!(1080), "16:9", Some((1920, 1080)));
        check(json!(720), "16:9", Some((1280, 720)));
        check(json!(1536), "1:1", Some((1080, 1080)));
        check(json!(1080), "21:9", Some((1920, 822)));
        check(json!(1536), "3:4", Some((810, 1080)));
        check(json!(0), "16:9", None);
        check(json!(null), "16:9", None);
        check(json!(1080), "wide", None);
        check(json!(1080), "0:9", None);
        check(json!(1080), "1:4294967295", None);
        check(json!(1080), "4294967295:1", None);
    }

    #[test]
    fn trap_113_a_resolution_of_another_ratio_is_noticed() {
        let video: Video = read(json!({"ratio": "16:9"}));
        assert!(video.keeps_ratio(Resolution {
            width: 1280,
            height: 720
        }));
        assert!(video.keeps_ratio(Resolution {
            width: 854,
            height: 480
        }));
        // The documentation's own example.
        assert!(!video.keeps_ratio(Resolution {
            width: 1080,
            height: 720
        }));
        assert!(read::<Video>(json!({})).keeps_ratio(Resolution {
            width: 1080,
            height: 720
        }));
    }

    #[test]
    fn what_is_not_known_here_survives_being_stored() {
        let device: Device = read(json!({
            "id": "a",
            "name": null,
            "status": {"online": true, "battery": 0.5},
            "capabilities": {"video": {"codecs": ["AV1"], "hdr": {"x": [1]}}},
            "location": {"country": "GB"},
            "configurations": {"motion_detection": {"enabled": "auto", "sensitivity": 3}},
        }));
        let stored = serde_json::to_value(&device).unwrap();
        assert_eq!(stored["status"]["battery"], json!(0.5));
        assert_eq!(stored["capabilities"]["video"]["hdr"], json!({"x": [1]}));
        assert_eq!(stored["configurations"]["motion_detection"]["sensitivity"], json!(3));
        assert_eq!(read::<Device>(stored), device);
    }
}
