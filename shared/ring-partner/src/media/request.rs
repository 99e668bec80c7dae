//! What can be asked for, by Ring's limits, so that a request that must fail is never sent.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::devices::{Codec, Video};
use crate::object;

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
    #[serde(
        default,
        deserialize_with = "object::optional",
        skip_serializing_if = "Option::is_none"
    )]
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
    #[serde(
        default,
        deserialize_with = "object::optional",
        skip_serializing_if = "Option::is_none"
    )]
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

    /// Whether a device with such video has what is asked for, as far as Ring tells what it has. Ring: Capabilities.
    pub fn fits(&self, video: &Video) -> Result<(), Vec<FieldError>> {
        let mut check = Check::default();
        if let Some(options) = &self.video_options {
            check.that(
                options
                    .codec
                    .as_ref()
                    .is_none_or(|codec| video.codecs.is_empty() || video.codecs.contains(codec)),
                "/video_options/codec",
                "this device does not have this codec",
            );
            check.within("/video_options", options.resolution, video);
        }
        check.done()
    }

    /// The request with its resolution in the ratio of a device with such video: what is asked for is the most that comes. Ring's
    /// own example asks for 1080×720 of a camera of 16:9, and nothing says whether that is cut or distorted.
    #[must_use]
    pub fn in_ratio(mut self, video: &Video) -> Self {
        if let Some(options) = &mut self.video_options {
            options.resolution = options.resolution.map(|asked| video.in_ratio(asked));
        }
        self
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

    /// Whether a device with such video has what is asked for, as far as Ring tells what it has. Ring: Capabilities.
    pub fn fits(&self, video: &Video) -> Result<(), Vec<FieldError>> {
        let mut check = Check::default();
        check.within(
            "/image_options",
            self.image_options().and_then(|image| image.resolution),
            video,
        );
        check.done()
    }

    /// The request with its resolution in the ratio of a device with such video: see [`ClipRequest::in_ratio`].
    #[must_use]
    pub fn in_ratio(mut self, video: &Video) -> Self {
        let (Self::AtTimestamp { image_options, .. } | Self::LatestInRange { image_options, .. }) = &mut self;
        if let Some(options) = image_options {
            options.resolution = options.resolution.map(|asked| video.in_ratio(asked));
        }
        self
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

    /// What is larger than the camera's own picture would be nothing but blown up.
    fn within(&mut self, options: &str, asked: Option<Resolution>, video: &Video) {
        let (Some(asked), Some(greatest)) = (asked, video.clip_resolution()) else {
            return;
        };
        for (side, asked, greatest) in [
            ("width", asked.width, greatest.width),
            ("height", asked.height, greatest.height),
        ] {
            self.that(
                asked <= greatest,
                format!("{options}/resolution/{side}"),
                "is larger than the picture of this device",
            );
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_771_027_372_393;
    const DAY: i64 = 86_400_000;

    fn now() -> Timestamp {
        Timestamp::from_millisecond(NOW).unwrap()
    }

    fn pointers(result: Result<(), Vec<FieldError>>) -> Vec<String> {
        result
            .err()
            .unwrap_or_default()
            .into_iter()
            .map(|error| error.pointer.into_owned())
            .collect()
    }

    fn clip(body: Value, expected: &[&str]) {
        let request: ClipRequest = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(pointers(request.validate(now())), expected, "{body}");
        assert_eq!(request.checked(now()).is_ok(), expected.is_empty());
    }

    fn snapshot(body: Value, expected: &[&str]) {
        let request: SnapshotRequest = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(pointers(request.validate(now())), expected, "{body}");
        assert_eq!(request.checked(now()).is_ok(), expected.is_empty());
    }

    #[test]
    fn the_documented_requests_are_valid_and_written_as_they_are() {
        let body = json!({
            "timestamp": 1_699_457_230_000_i64,
            "duration": 5000,
            "video_options": {"codec": "avc", "frame_rate": 5, "resolution": {"width": 1080, "height": 720}},
            "audio_options": {"audio_enabled": true},
        });
        let request: ClipRequest = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(request.validate(now()), Ok(()));
        assert_eq!(serde_json::to_value(&request).unwrap(), body);

        let then = Timestamp::from_millisecond(1_699_457_230_000).unwrap();
        for body in [
            json!({"type": "at_timestamp", "timestamp": 1_699_457_230_000_i64, "image_options": {"format": "jpeg"}}),
            json!({"type": "latest_in_range", "start_timestamp": 1_699_450_000_000_i64,
                "end_timestamp": 1_699_457_230_000_i64, "image_options": {"format": "jpeg"}}),
        ] {
            let request: SnapshotRequest = serde_json::from_value(body.clone()).unwrap();
            assert_eq!(request.validate(then), Ok(()));
            assert_eq!(serde_json::to_value(&request).unwrap(), body);
        }
    }

    #[test]
    fn trap_109_a_clip_lies_in_the_past_and_has_a_length() {
        for (timestamp, duration, expected) in [
            (NOW, 1, &[][..]),
            (NOW - 365 * DAY, 900_000, &[]),
            (NOW + 2_000, 1_000, &[]),
            (NOW + 2_001, 1_000, &["/timestamp"]),
            (0, 1_000, &["/timestamp"]),
            (-1, 1_000, &["/timestamp"]),
            (NOW, 0, &["/duration"]),
            (NOW, -5, &["/duration"]),
            (NOW, 900_001, &["/duration"]),
            (i64::MAX, i64::MIN, &["/timestamp", "/duration"]),
        ] {
            clip(json!({"timestamp": timestamp, "duration": duration}), expected);
        }
    }

    #[test]
    fn trap_109_a_clock_s_skew_counts_as_now() {
        let request = ClipRequest {
            timestamp: NOW + 1_500,
            duration: 1,
            video_options: None,
            audio_options: None,
        };
        assert_eq!(request.checked(now()).unwrap().timestamp, NOW);
        let request = SnapshotRequest::AtTimestamp {
            timestamp: NOW + 1_500,
            image_options: None,
        };
        assert_eq!(
            request.checked(now()),
            Ok(SnapshotRequest::AtTimestamp {
                timestamp: NOW,
                image_options: None
            })
        );
    }

    #[test]
    fn trap_112_options_stay_within_ring_s_bounds() {
        let check = |options: Value, expected: &[&str]| {
            clip(
                json!({"timestamp": NOW, "duration": 1, "video_options": options}),
                expected,
            );
        };
        check(json!({}), &[]);
        check(
            json!({"codec": "HEVC", "frame_rate": 25, "resolution": {"width": 1920, "height": 1080}}),
            &[],
        );
        check(json!({"codec": "av1"}), &["/video_options/codec"]);
        check(json!({"frame_rate": 0}), &["/video_options/frame_rate"]);
        check(json!({"frame_rate": 26}), &["/video_options/frame_rate"]);
        check(
            json!({"resolution": {"width": 3840, "height": 2160}}),
            &["/video_options/resolution/width", "/video_options/resolution/height"],
        );
        check(
            json!({"resolution": {"width": 0, "height": 1080}}),
            &["/video_options/resolution/width"],
        );
    }

    #[test]
    fn trap_116_snapshots_have_a_window_and_a_limit() {
        let at = |timestamp: i64| json!({"type": "at_timestamp", "timestamp": timestamp});
        snapshot(at(NOW), &[]);
        snapshot(at(NOW - 180 * DAY), &[]);
        snapshot(at(NOW - 180 * DAY - 1), &["/timestamp"]);
        snapshot(at(NOW + 2_001), &["/timestamp"]);
        let range =
            |start: i64, end: Value| json!({"type": "latest_in_range", "start_timestamp": start, "end_timestamp": end});
        snapshot(range(NOW - DAY, json!(NOW)), &[]);
        snapshot(range(NOW - DAY, json!(null)), &[]);
        snapshot(range(NOW - DAY - 1, json!(null)), &["/end_timestamp"]);
        snapshot(range(NOW - 3 * DAY, json!(NOW - 2 * DAY)), &[]);
        snapshot(range(NOW - 3 * DAY, json!(NOW - 2 * DAY + 1)), &["/end_timestamp"]);
        snapshot(range(NOW, json!(NOW)), &["/start_timestamp"]);
        snapshot(range(NOW, json!(null)), &["/start_timestamp"]);
        snapshot(range(NOW - 1, json!(NOW - 2)), &["/start_timestamp"]);
        snapshot(range(NOW - 181 * DAY, json!(NOW - 180 * DAY)), &["/start_timestamp"]);
        snapshot(range(NOW, json!(NOW + DAY)), &["/end_timestamp"]);
        snapshot(
            json!({"type": "at_timestamp", "timestamp": NOW, "image_options": {"resolution": {"width": 1921, "height": 0}}}),
            &["/image_options/resolution/width", "/image_options/resolution/height"],
        );
    }

    #[test]
    fn trap_97_111_and_112_what_the_device_does_not_have_is_named_before_ring_is_asked() {
        let video = |value: Value| serde_json::from_value::<Video>(value).unwrap();
        let camera = video(json!({"codecs": ["HEVC"], "ratio": "16:9", "max_resolution": 720}));
        let fits = |options: Value, video: &Video| {
            let request = json!({"timestamp": NOW, "duration": 1, "video_options": options});
            let request: ClipRequest = serde_json::from_value(request).unwrap();
            let wrong = request.fits(video).err().unwrap_or_default();
            wrong
                .into_iter()
                .map(|error| error.pointer.into_owned())
                .collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        assert_eq!(
            fits(
                json!({"codec": "hevc", "resolution": {"width": 1280, "height": 720}}),
                &camera
            ),
            none
        );
        assert_eq!(fits(json!({}), &camera), none);
        assert_eq!(fits(json!({"codec": "avc"}), &camera), ["/video_options/codec"]);
        let large = json!({"resolution": {"width": 1281, "height": 721}});
        let both = ["/video_options/resolution/width", "/video_options/resolution/height"];
        assert_eq!(fits(large.clone(), &camera), both);
        // More than clips can have is no reason to give more; and what Ring does not tell forbids nothing.
        let great = video(json!({"codecs": ["AVC"], "ratio": "16:9", "max_resolution": 2160}));
        assert_eq!(
            fits(json!({"resolution": {"width": 1920, "height": 1080}}), &great),
            none
        );
        assert_eq!(
            fits(
                json!({"codec": "avc", "resolution": {"width": 1920, "height": 1080}}),
                &video(json!({}))
            ),
            none
        );
        let still: SnapshotRequest = serde_json::from_value(
            json!({"type": "at_timestamp", "timestamp": NOW, "image_options": {"resolution": {"width": 1920, "height": 720}}}),
        )
        .unwrap();
        assert_eq!(
            still.fits(&camera).unwrap_err()[0].pointer,
            "/image_options/resolution/width"
        );
    }

    #[test]
    fn trap_113_a_resolution_keeps_the_ratio_of_the_device_within_what_was_asked_for() {
        let video =
            |ratio: &str| serde_json::from_value::<Video>(json!({"ratio": ratio, "max_resolution": 1080})).unwrap();
        let asked = |width, height, video: &Video| {
            let options = json!({"resolution": {"width": width, "height": height}});
            let clip = json!({"timestamp": NOW, "duration": 1, "video_options": options});
            let clip: ClipRequest = serde_json::from_value(clip).unwrap();
            let still = json!({"type": "at_timestamp", "timestamp": NOW, "image_options": options});
            let still: SnapshotRequest = serde_json::from_value(still).unwrap();
            let clip = clip.in_ratio(video).video_options.unwrap().resolution.unwrap();
            let still = still.in_ratio(video).image_options().unwrap().resolution.unwrap();
            assert_eq!(clip, still);
            assert!(
                clip.width <= width && clip.height <= height && video.keeps_ratio(clip),
                "{clip:?}"
            );
            (clip.width, clip.height)
        };
        let wide = video("16:9");
        // Ring's own example, and what has the ratio already.
        assert_eq!(asked(1080, 720, &wide), (1080, 607));
        assert_eq!(asked(1280, 720, &wide), (1280, 720));
        assert_eq!(asked(1920, 540, &wide), (960, 540));
        assert_eq!(asked(1, 1, &wide), (1, 1));
        assert_eq!(asked(1080, 720, &video("1:1")), (720, 720));
        assert_eq!(asked(1080, 720, &video("unheard of")), (1080, 720));
    }
}
