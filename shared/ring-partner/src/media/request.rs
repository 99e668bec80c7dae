//! What can be asked for, by Ring's limits, so that a request that must fail is never sent.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::devices::Codec;

/// The longest clip, in milliseconds.
const LONGEST_CLIP: i64 = 900_000;

/// The most frames a second that a clip can be asked for.
const MOST_FRAMES: u32 = 25;

/// How far back snapshots go.
const OLDEST_SNAPSHOT: SignedDuration = SignedDuration::from_hours(180 * 24);

/// The longest window that snapshots are searched in.
const LONGEST_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// How far a caller's clock may be ahead of ours: such a time counts as now.
const SKEW: SignedDuration = SignedDuration::from_secs(2);

/// A clip to ask for. Ring: Media Clips, Request Parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClipRequest {
    /// Where it begins, in epoch milliseconds.
    pub timestamp: i64,
    /// How long it is, in milliseconds.
    pub duration: i64,
    /// How it is encoded; as the device has it where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video_options: Option<VideoOptions>,
    /// Whether it has sound: none where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_options: Option<AudioOptions>,
}

/// How a clip is encoded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoOptions {
    /// The codec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<Codec>,
    /// Frames a second, 25 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_rate: Option<u32>,
    /// The resolution, 1920×1080 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
}

/// The sound of a clip.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioOptions {
    /// Whether there is any.
    #[serde(default)]
    pub audio_enabled: bool,
}

/// A size in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// The width, 1 to 1920.
    pub width: u32,
    /// The height, 1 to 1080.
    pub height: u32,
}

impl Resolution {
    pub(crate) const GREATEST_WIDTH: u32 = 1920;

    /// The greatest that clips and snapshots can have, whatever the camera can do.
    pub const GREATEST: Self = Self {
        width: Self::GREATEST_WIDTH,
        height: 1080,
    };
}

/// A snapshot to ask for. Ring: Image Snapshots, Request Body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SnapshotRequest {
    /// The frame at a time, or near it: what comes says from when it is.
    AtTimestamp {
        /// The time, in epoch milliseconds.
        timestamp: i64,
        /// How it is encoded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image_options: Option<ImageOptions>,
    },
    /// The latest image within a window.
    LatestInRange {
        /// Where the window begins, in epoch milliseconds.
        start_timestamp: i64,
        /// Where it ends; now where nothing is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end_timestamp: Option<i64>,
        /// How the image is encoded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image_options: Option<ImageOptions>,
    },
}

/// How a snapshot is encoded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageOptions {
    /// The format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<ImageFormat>,
    /// The resolution, 1920×1080 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
}

/// The formats of snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// `image/jpeg`.
    Jpeg,
    /// `image/png`.
    Png,
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Which field, as a JSON pointer (RFC 6901) into the request.
    pub pointer: Cow<'static, str>,
    /// What is wrong, for whoever made the request.
    pub detail: Cow<'static, str>,
}

impl ClipRequest {
    /// Whether Ring could answer this at all.
    pub fn validate(&self, now: Timestamp) -> Result<(), Vec<FieldError>> {
        let mut check = Check::default();
        check.past("/timestamp", self.timestamp, now);
        check.that(
            (1..=LONGEST_CLIP).contains(&self.duration),
            "/duration",
            "has to be from 1 to 900000 milliseconds (15 minutes)",
        );
        if let Some(video) = &self.video_options {
            check.that(
                !matches!(video.codec, Some(Codec::Other(_))),
                "/video_options/codec",
                "has to be \"avc\" or \"hevc\"",
            );
            check.that(
                video.frame_rate.is_none_or(|rate| (1..=MOST_FRAMES).contains(&rate)),
                "/video_options/frame_rate",
                "has to be from 1 to 25",
            );
            check.resolution("/video_options", video.resolution);
        }
        check.done()
    }

    /// The request with a start that is a clock's skew ahead taken as `now`, after [`validate`](Self::validate).
    pub fn checked(self, now: Timestamp) -> Result<Self, Vec<FieldError>> {
        self.validate(now)?;
        Ok(Self {
            timestamp: self.timestamp.min(now.as_millisecond()),
            ..self
        })
    }
}

impl SnapshotRequest {
    /// Whether Ring could answer this at all.
    pub fn validate(&self, now: Timestamp) -> Result<(), Vec<FieldError>> {
        let mut check = Check::default();
        match *self {
            Self::AtTimestamp { timestamp, .. } => {
                check.past("/timestamp", timestamp, now);
                check.kept("/timestamp", timestamp, now);
            }
            Self::LatestInRange {
                start_timestamp: start,
                end_timestamp,
                ..
            } => {
                let end = end_timestamp.unwrap_or(now.as_millisecond());
                check.past("/start_timestamp", start, now);
                check.kept("/start_timestamp", start, now);
                check.past("/end_timestamp", end, now);
                check.that(
                    start < end,
                    "/start_timestamp",
                    "has to be before the end of the window",
                );
                check.that(
                    i128::from(end) - i128::from(start) <= LONGEST_WINDOW.as_millis(),
                    "/end_timestamp",
                    "has to be within 24 hours of the start",
                );
            }
        }
        check.resolution(
            "/image_options",
            self.image_options().and_then(|image| image.resolution),
        );
        check.done()
    }

    /// The request with times that are a clock's skew ahead taken as `now`, after [`validate`](Self::validate).
    pub fn checked(self, now: Timestamp) -> Result<Self, Vec<FieldError>> {
        self.validate(now)?;
        let now = now.as_millisecond();
        Ok(match self {
            Self::AtTimestamp {
                timestamp,
                image_options,
            } => Self::AtTimestamp {
                timestamp: timestamp.min(now),
                image_options,
            },
            Self::LatestInRange {
                start_timestamp,
                end_timestamp,
                image_options,
            } => Self::LatestInRange {
                start_timestamp,
                end_timestamp: end_timestamp.map(|end| end.min(now)),
                image_options,
            },
        })
    }

    fn image_options(&self) -> Option<&ImageOptions> {
        match self {
            Self::AtTimestamp { image_options, .. } | Self::LatestInRange { image_options, .. } => {
                image_options.as_ref()
            }
        }
    }
}

/// Collects what is wrong, so that a caller learns all of it at once.
#[derive(Default)]
struct Check(Vec<FieldError>);

impl Check {
    fn that(&mut self, right: bool, pointer: impl Into<Cow<'static, str>>, detail: &'static str) {
        if !right {
            self.0.push(FieldError {
                pointer: pointer.into(),
                detail: detail.into(),
            });
        }
    }

    fn past(&mut self, pointer: &'static str, timestamp: i64, now: Timestamp) {
        self.that(timestamp > 0, pointer, "has to be a time in epoch milliseconds");
        self.that(
            i128::from(timestamp) <= i128::from(now.as_millisecond()) + SKEW.as_millis(),
            pointer,
            "can't lie in the future",
        );
    }

    fn kept(&mut self, pointer: &'static str, timestamp: i64, now: Timestamp) {
        self.that(
            i128::from(timestamp) >= i128::from(now.as_millisecond()) - OLDEST_SNAPSHOT.as_millis(),
            pointer,
            "has to be within the last 180 days",
        );
    }

    fn resolution(&mut self, options: &str, resolution: Option<Resolution>) {
        let Some(Resolution { width, height }) = resolution else {
            return;
        };
        let Resolution {
            width: widest,
            height: highest,
        } = Resolution::GREATEST;
        self.that(
            (1..=widest).contains(&width),
            format!("{options}/resolution/width"),
            "has to be from 1 to 1920",
        );
        self.that(
            (1..=highest).contains(&height),
            format!("{options}/resolution/height"),
            "has to be from 1 to 1080",
        );
    }

    fn done(self) -> Result<(), Vec<FieldError>> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }
}
