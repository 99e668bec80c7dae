//! The bodies of the two download requests, checked as Ring documents them ("Media Clips, Request Parameters" and "Image
//! Snapshots, Request Body"). The first thing that is wrong is named by its pointer.

use serde_json::Value;

use super::footage::Window;
use crate::error::MediaError;

const CLIP_LIMIT_MS: i64 = 900_000;
const PICTURE_AGE_LIMIT_MS: i64 = 180 * 24 * 3_600_000;
const PICTURE_RANGE_LIMIT_MS: i64 = 24 * 3_600_000;

/// A clip that is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClipOrder {
    pub(super) window: Window,
    /// None: the device's own.
    pub(super) hevc: Option<bool>,
    pub(super) audio: bool,
}

/// A picture that is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PictureOrder {
    pub(super) search: Search,
    pub(super) png: bool,
}

/// Which picture.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Search {
    At(i64),
    LatestIn(Window),
}

impl ClipOrder {
    pub(super) fn parse(body: &[u8], now: i64) -> Result<Self, MediaError> {
        let body = object(body)?;
        let timestamp = required(&body, "timestamp")?;
        let duration = required(&body, "duration")?;
        if timestamp < 0 || timestamp > now {
            return Err(MediaError::invalid("timestamp", "timestamp must not be in the future"));
        }
        if duration <= 0 {
            return Err(MediaError::invalid("duration", "duration must be positive"));
        }
        if duration > CLIP_LIMIT_MS {
            return Err(MediaError::invalid(
                "duration",
                format!("duration must be at most {CLIP_LIMIT_MS}"),
            ));
        }
        let hevc = match field(&body, "video_options.codec")? {
            None => None,
            Some(Value::String(codec)) if codec == "avc" => Some(false),
            Some(Value::String(codec)) if codec == "hevc" => Some(true),
            Some(_) => {
                return Err(MediaError::invalid(
                    "video_options.codec",
                    "codec must be \"avc\" or \"hevc\"",
                ));
            }
        };
        within(&body, "video_options.frame_rate", 25)?;
        resolution(
            &body,
            "video_options.resolution.width",
            "video_options.resolution.height",
        )?;
        let audio = match field(&body, "audio_options.audio_enabled")? {
            None => false,
            Some(Value::Bool(audio)) => *audio,
            Some(_) => {
                return Err(MediaError::invalid(
                    "audio_options.audio_enabled",
                    "audio_enabled must be a boolean",
                ));
            }
        };
        Ok(Self {
            window: Window {
                start: timestamp,
                end: timestamp + duration,
            },
            hevc,
            audio,
        })
    }
}

impl PictureOrder {
    pub(super) fn parse(body: &[u8], now: i64) -> Result<Self, MediaError> {
        let body = object(body)?;
        let kind = match field(&body, "type")? {
            Some(Value::String(kind)) => kind.as_str(),
            _ => {
                return Err(MediaError::invalid(
                    "type",
                    "type must be \"at_timestamp\" or \"latest_in_range\"",
                ));
            }
        };
        let search = match kind {
            "at_timestamp" => Search::At(recent(&body, "timestamp", now)?),
            "latest_in_range" => {
                let start = recent(&body, "start_timestamp", now)?;
                let end = integer(&body, "end_timestamp")?.unwrap_or(now);
                if end <= start {
                    return Err(MediaError::invalid(
                        "end_timestamp",
                        "end_timestamp must be after start_timestamp",
                    ));
                }
                if end - start > PICTURE_RANGE_LIMIT_MS {
                    return Err(MediaError::invalid(
                        "end_timestamp",
                        "the window must be at most 24 hours",
                    ));
                }
                Search::LatestIn(Window { start, end })
            }
            _ => {
                return Err(MediaError::invalid(
                    "type",
                    "type must be \"at_timestamp\" or \"latest_in_range\"",
                ));
            }
        };
        let png = match field(&body, "image_options.format")? {
            None => false,
            Some(Value::String(format)) if format == "jpeg" => false,
            Some(Value::String(format)) if format == "png" => true,
            Some(_) => {
                return Err(MediaError::invalid(
                    "image_options.format",
                    "format must be \"jpeg\" or \"png\"",
                ));
            }
        };
        resolution(
            &body,
            "image_options.resolution.width",
            "image_options.resolution.height",
        )?;
        Ok(Self { search, png })
    }
}

fn object(body: &[u8]) -> Result<Value, MediaError> {
    match serde_json::from_slice(body) {
        Ok(body @ Value::Object(_)) => Ok(body),
        _ => Err(MediaError::unreadable("the body must be a JSON object")),
    }
}

/// The value at a dotted path; null counts as left out.
fn field<'a>(body: &'a Value, pointer: &'static str) -> Result<Option<&'a Value>, MediaError> {
    let mut found = body;
    for name in pointer.split('.') {
        let Some(object) = found.as_object() else {
            return Err(MediaError::invalid(pointer, format!("{name} is not in an object")));
        };
        match object.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(value) => found = value,
        }
    }
    Ok(Some(found))
}

fn integer(body: &Value, pointer: &'static str) -> Result<Option<i64>, MediaError> {
    let wrong = || MediaError::invalid(pointer, format!("{pointer} must be an integer"));
    field(body, pointer)?
        .map(|value| value.as_i64().ok_or_else(wrong))
        .transpose()
}

fn required(body: &Value, pointer: &'static str) -> Result<i64, MediaError> {
    integer(body, pointer)?.ok_or_else(|| MediaError::invalid(pointer, format!("{pointer} is required")))
}

fn recent(body: &Value, pointer: &'static str, now: i64) -> Result<i64, MediaError> {
    let moment = required(body, pointer)?;
    if moment > now {
        return Err(MediaError::invalid(
            pointer,
            format!("{pointer} must not be in the future"),
        ));
    }
    if moment < now - PICTURE_AGE_LIMIT_MS {
        return Err(MediaError::invalid(
            pointer,
            format!("{pointer} must be within the last 180 days"),
        ));
    }
    Ok(moment)
}

fn within(body: &Value, pointer: &'static str, most: i64) -> Result<(), MediaError> {
    match integer(body, pointer)? {
        Some(value) if !(1..=most).contains(&value) => Err(MediaError::invalid(
            pointer,
            format!("{pointer} must be from 1 to {most}"),
        )),
        _ => Ok(()),
    }
}

fn resolution(body: &Value, width: &'static str, height: &'static str) -> Result<(), MediaError> {
    within(body, width, 1920)?;
    within(body, height, 1080)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_699_460_000_000;

    /// The pointer of the first thing that is wrong, by way of the error itself; none: good.
    #[track_caller]
    fn check<T: std::fmt::Debug>(parsed: Result<T, MediaError>, pointer: Option<&'static str>) {
        match (parsed, pointer) {
            (Ok(_), None) => {}
            (Err(error), Some(pointer)) => {
                assert!(
                    format!("{error:?}").contains(&format!("Some({pointer:?})")),
                    "{error:?} names not {pointer}"
                );
            }
            (parsed, pointer) => panic!("{parsed:?}, expected {pointer:?}"),
        }
    }

    #[test]
    fn trap_109_a_clips_parameters_are_checked_one_by_one() {
        let clip = |body: Value| ClipOrder::parse(body.to_string().as_bytes(), NOW);
        let documented = json!({
            "timestamp": 1_699_457_230_000_i64, "duration": 5000,
            "video_options": {"codec": "avc", "frame_rate": 5, "resolution": {"width": 1080, "height": 720}},
            "audio_options": {"audio_enabled": true},
        });
        let order = clip(documented).expect("the documentation's own example");
        assert_eq!((order.hevc, order.audio), (Some(false), true));
        check(clip(json!({"timestamp": NOW, "duration": 900_000})), None);
        check(clip(json!({"timestamp": NOW + 1, "duration": 1})), Some("timestamp"));
        check(clip(json!({"duration": 1})), Some("timestamp"));
        check(
            clip(json!({"timestamp": "1699457230000", "duration": 1})),
            Some("timestamp"),
        );
        check(clip(json!({"timestamp": 1.5, "duration": 1})), Some("timestamp"));
        check(clip(json!({"timestamp": 1, "duration": 0})), Some("duration"));
        check(clip(json!({"timestamp": 1, "duration": 900_001})), Some("duration"));
        check(
            clip(json!({"timestamp": 1, "duration": 1, "video_options": {"codec": "AVC"}})),
            Some("video_options.codec"),
        );
        check(
            clip(json!({"timestamp": 1, "duration": 1, "video_options": {"frame_rate": 26}})),
            Some("video_options.frame_rate"),
        );
        check(
            clip(json!({"timestamp": 1, "duration": 1, "video_options": {"resolution": {"width": 1921}}})),
            Some("video_options.resolution.width"),
        );
        check(
            clip(json!({"timestamp": 1, "duration": 1, "audio_options": {"audio_enabled": "yes"}})),
            Some("audio_options.audio_enabled"),
        );
        assert!(ClipOrder::parse(b"[]", NOW).is_err() && ClipOrder::parse(b"\xff", NOW).is_err());
    }

    #[test]
    fn trap_116_a_pictures_parameters_are_checked_one_by_one() {
        let picture = |body: Value| PictureOrder::parse(body.to_string().as_bytes(), NOW);
        let day = PICTURE_RANGE_LIMIT_MS;
        check(
            picture(json!({"type": "at_timestamp", "timestamp": NOW, "image_options": {"format": "png"}})),
            None,
        );
        check(
            picture(json!({"type": "latest_in_range", "start_timestamp": NOW - day})),
            None,
        );
        check(
            picture(json!({"type": "latest_in_range", "start_timestamp": NOW - day - 1})),
            Some("end_timestamp"),
        );
        check(
            picture(json!({"type": "latest_in_range", "start_timestamp": 5, "end_timestamp": 6})),
            Some("start_timestamp"),
        );
        check(
            picture(json!({"type": "latest_in_range", "start_timestamp": NOW - 5, "end_timestamp": NOW - 5})),
            Some("end_timestamp"),
        );
        check(picture(json!({"type": "at_timestamp"})), Some("timestamp"));
        check(
            picture(json!({"type": "at_timestamp", "timestamp": NOW - 181 * day})),
            Some("timestamp"),
        );
        check(picture(json!({"timestamp": NOW})), Some("type"));
        check(
            picture(json!({"type": "at_timestamp", "timestamp": NOW, "image_options": {"format": "gif"}})),
            Some("image_options.format"),
        );
        check(
            picture(json!({"type": "at_timestamp", "timestamp": NOW, "image_options": {"resolution": {"height": 0}}})),
            Some("image_options.resolution.height"),
        );
    }
}
