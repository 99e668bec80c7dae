//! Ring's own shapes within ours, for the description alone: the crate that has them knows nothing of our documents. Ring may
//! add to what it tells of a device; what is asked of it is as it stands here.
#![expect(dead_code, reason = "these are read by the description alone")]

use std::collections::HashMap;

use schemars::JsonSchema;
use serde_json::Value;

/// What a device can do. Each is there if the device has it.
#[derive(JsonSchema)]
pub(crate) struct Capabilities {
    video: Option<Video>,
    motion_detection: Option<Feature>,
    image_enhancements: Option<Feature>,
    #[schemars(flatten)]
    other: HashMap<String, Value>,
}

/// What a device's video is like.
#[derive(JsonSchema)]
pub(crate) struct Video {
    /// What can be configured about it.
    configurations: Vec<String>,
    /// The codecs it has: `avc`, `hevc`, or another.
    codecs: Vec<String>,
    /// The aspect ratio, as `16:9`.
    ratio: Option<String>,
    /// The greatest height, in pixels.
    max_resolution: Option<u32>,
    /// The heights it has, in pixels.
    supported_resolutions: Vec<u32>,
    #[schemars(flatten)]
    other: HashMap<String, Value>,
}

/// Something that can be configured.
#[derive(JsonSchema)]
pub(crate) struct Feature {
    /// What can be configured about it.
    configurations: Vec<String>,
    #[schemars(flatten)]
    other: HashMap<String, Value>,
}

/// Where a device is; never finer than a state.
#[derive(JsonSchema)]
pub(crate) struct Location {
    /// The country, by its ISO code.
    country: Option<String>,
    /// The state or province, where Ring tells.
    state: Option<String>,
    #[schemars(flatten)]
    other: HashMap<String, Value>,
}

/// How a device's owner has set it up.
#[derive(JsonSchema)]
pub(crate) struct Configurations {
    motion_detection: Option<MotionDetection>,
    image_enhancements: Option<ImageEnhancements>,
    #[schemars(flatten)]
    other: HashMap<String, Value>,
}

/// How motion detection is set.
#[derive(JsonSchema)]
pub(crate) struct MotionDetection {
    /// `on`, `off`, or another word of Ring's.
    enabled: Option<String>,
    /// Where motion is looked for.
    motion_zones: Vec<Zone>,
    #[schemars(flatten)]
    other: HashMap<String, Value>,
}

/// How the image is set: `on`, `off`, or another word of Ring's.
#[derive(JsonSchema)]
pub(crate) struct ImageEnhancements {
    color_night_vision: Option<String>,
    hdr: Option<String>,
    ir_led_night_vision: Option<String>,
    auto_zoom_track: Option<String>,
    /// What must not be seen.
    privacy_zones: Vec<Zone>,
    #[schemars(flatten)]
    other: HashMap<String, Value>,
}

/// A polygon, for motion or for privacy.
#[derive(JsonSchema)]
pub(crate) struct Zone {
    id: String,
    /// Its corners in order.
    vertices: Vec<Vertex>,
}

/// A corner, in parts of the image: from left to right, and from top to bottom.
#[derive(JsonSchema)]
pub(crate) struct Vertex {
    x: f64,
    y: f64,
}

/// How a clip is encoded.
#[derive(JsonSchema)]
pub(crate) struct VideoOptions {
    /// `avc` or `hevc`.
    codec: Option<Codec>,
    /// Frames a second.
    #[schemars(range(min = 1, max = 25))]
    frame_rate: Option<u32>,
    resolution: Option<Resolution>,
}

/// A codec that can be asked for.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(crate) enum Codec {
    Avc,
    Hevc,
}

/// The sound of a clip.
#[derive(JsonSchema)]
pub(crate) struct AudioOptions {
    /// Whether there is any.
    #[schemars(default)]
    audio_enabled: bool,
}

/// How a snapshot is encoded.
#[derive(JsonSchema)]
pub(crate) struct ImageOptions {
    format: Option<ImageFormat>,
    resolution: Option<Resolution>,
}

/// The formats of snapshots.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(crate) enum ImageFormat {
    Jpeg,
    Png,
}

/// The size of what is stored, in pixels.
#[derive(JsonSchema)]
#[schemars(rename = "Resolution")]
pub(crate) struct Size {
    width: u32,
    height: u32,
}

/// A size that can be asked for, in pixels.
#[derive(JsonSchema)]
pub(crate) struct Resolution {
    #[schemars(range(min = 1, max = 1920))]
    width: u32,
    #[schemars(range(min = 1, max = 1080))]
    height: u32,
}
