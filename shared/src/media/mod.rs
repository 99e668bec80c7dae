//! A medium: a clip or a snapshot that somebody asked for, from the request to the stored object with its honest
//! description. This file does no I/O; [`store`] keeps the rows, [`archive`] the objects.

use std::time::Duration;

use jiff::Timestamp;
use ring_partner::devices::DeviceId;
use ring_partner::media::{ClipRequest, ImageFormat, SnapshotRequest};
use ring_partner::users::AccountId;
use serde::{Deserialize, Serialize};

use crate::edge::bus::Announcement;
use crate::edge::key;
use crate::edge::queue::Message;
use crate::event;

pub mod archive;
pub mod store;

/// How long one attempt to fetch holds a medium: longer than a function may run.
pub const FETCH_FOR: Duration = Duration::from_secs(16 * 60);
/// A snapshot this much older than the moment it was asked for is stale.
pub const STALE_AFTER: Duration = Duration::from_secs(60);

/// A medium's id: ours, opaque.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediumId(String);

impl MediumId {
    /// The id of a request: the same request of the same device has the same one.
    #[must_use]
    pub fn of(account: &AccountId, device: &DeviceId, request: &Request) -> Self {
        // serde_json writes a struct's fields in the order of their declaration: the text is the same each time.
        let request = serde_json::to_string(request).unwrap_or_default();
        Self(key::derived("med", &[account.as_str(), device.as_str(), &request]))
    }

    /// The id of a request for what is there now: nothing but its name tells it from another.
    #[must_use]
    pub fn now(account: &AccountId, device: &DeviceId, kind: &str, name: &str) -> Self {
        Self(key::derived(
            "med",
            &[account.as_str(), device.as_str(), kind, "now", name],
        ))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for MediumId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

/// What was asked for, in Ring's terms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of", rename_all = "snake_case")]
pub enum Request {
    /// A clip (Ring: Media Clips).
    Clip(ClipRequest),
    /// A still image (Ring: Image Snapshots).
    Snapshot(SnapshotRequest),
}

impl Request {
    /// `clip` or `snapshot`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Clip(_) => "clip",
            Self::Snapshot(_) => "snapshot",
        }
    }

    /// The window that was asked for. A still has no duration; the latest in a range is asked for at the range's end.
    #[must_use]
    pub fn window(&self, requested_at: Timestamp) -> Window {
        match self {
            Self::Clip(clip) => Window {
                timestamp: clip.timestamp,
                duration: clip.duration,
            },
            Self::Snapshot(SnapshotRequest::AtTimestamp { timestamp, .. }) => Window {
                timestamp: *timestamp,
                duration: 0,
            },
            Self::Snapshot(SnapshotRequest::LatestInRange { end_timestamp, .. }) => Window {
                timestamp: end_timestamp.unwrap_or_else(|| requested_at.as_millisecond()),
                duration: 0,
            },
        }
    }
}

/// A window of time, as Ring has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Its start, in epoch milliseconds.
    pub timestamp: i64,
    /// Its length, in milliseconds.
    pub duration: i64,
}

/// One medium.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Medium {
    /// Its id.
    pub id: MediumId,
    /// Whose it is.
    pub account_id: AccountId,
    /// Of which device.
    pub device_id: DeviceId,
    /// The event that asked for it.
    pub event_id: Option<String>,
    /// What was asked for.
    pub request: Request,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// How often it was begun anew after it had failed. With the time of the request it makes the ids of what we publish
    /// differ.
    pub round: u32,
    /// How far it has come.
    pub progress: Progress,
}

/// How far a medium has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Progress {
    /// It waits in the queue.
    Requested,
    /// Somebody is at it.
    Fetching {
        /// Until when nobody else begins.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        until: Timestamp,
    },
    /// It is in the bucket.
    Stored {
        /// What it is.
        object: Object,
        /// Whether the bus was told.
        announced: bool,
    },
    /// Ring has no footage of that time.
    NoMedia {
        /// Ring's word for it.
        reason: String,
        /// Whether the bus was told.
        announced: bool,
    },
    /// It can't be had.
    Failed {
        /// Why.
        reason: String,
        /// Whether the bus was told.
        announced: bool,
    },
}

/// What is stored, described honestly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// Where it lies in the bucket.
    pub key: String,
    /// Its media type.
    pub content_type: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
    /// What it truly shows, as Ring told; `None` where Ring told nothing.
    pub actual: Option<Window>,
    /// Where it comes from: `recording` or `snapshot`, as Ring told.
    pub origin: Option<String>,
    /// Whether it is less than what was asked for.
    pub partial: bool,
    /// Whether it shows another moment than the one asked for.
    pub stale: bool,
    /// Ring's id of the request.
    pub ring_request_id: Option<String>,
}

impl Medium {
    /// A request for a medium.
    #[must_use]
    pub fn requested(account_id: AccountId, device_id: DeviceId, request: Request, now: Timestamp) -> Self {
        Self {
            id: MediumId::of(&account_id, &device_id, &request),
            account_id,
            device_id,
            event_id: None,
            request,
            requested_at: now,
            round: 0,
            progress: Progress::Requested,
        }
    }

    /// Its place in a device's list.
    #[must_use]
    pub fn position(&self) -> String {
        event::position(self.requested_at, self.id.as_str())
    }

    /// Where its object lies. The account and the device are not readable from it.
    #[must_use]
    pub fn object_key(&self) -> String {
        let ending = match &self.request {
            Request::Clip(_) => "mp4",
            Request::Snapshot(
                SnapshotRequest::AtTimestamp { image_options, .. }
                | SnapshotRequest::LatestInRange { image_options, .. },
            ) => match image_options.as_ref().and_then(|options| options.format) {
                Some(ImageFormat::Png) => "png",
                Some(ImageFormat::Jpeg) | None => "jpg",
            },
        };
        let account = key::derived("acc", &[self.account_id.as_str()]);
        let device = event::device_key(&self.account_id, &self.device_id);
        format!("media/{account}/{device}/{}.{ending}", self.id.as_str())
    }

    /// Whether nothing more will happen to it unless somebody asks again.
    #[must_use]
    pub fn may_begin_anew(&self) -> bool {
        matches!(self.progress, Progress::Failed { .. } | Progress::NoMedia { .. })
    }

    /// The message that has it fetched.
    #[must_use]
    pub fn fetch_message(&self) -> Message {
        let body = serde_json::json!({ "medium_id": self.id.as_str() }).to_string();
        Message::new(body).group(key::derived("acc", &[self.account_id.as_str()]))
    }

    /// What the bus is told once it is over; `None` while it is not.
    #[must_use]
    pub fn announcement(&self, user_id: &str, device_name: Option<String>, now: Timestamp) -> Option<Announcement> {
        let mut more = serde_json::Map::new();
        more.insert("medium_id".into(), self.id.as_str().into());
        more.insert("kind".into(), self.request.kind().into());
        let what = match &self.progress {
            Progress::Requested | Progress::Fetching { .. } => return None,
            Progress::Stored { object, .. } => {
                more.insert("partial".into(), object.partial.into());
                more.insert("stale".into(), object.stale.into());
                "media_stored"
            }
            Progress::NoMedia { reason, .. } | Progress::Failed { reason, .. } => {
                more.insert("reason".into(), reason.as_str().into());
                "media_failed"
            }
        };
        Some(Announcement {
            kind: what.to_owned(),
            schema: format!("{what}/1"),
            event_id: key::derived(
                "evt",
                &[
                    what,
                    self.id.as_str(),
                    &self.requested_at.to_string(),
                    &self.round.to_string(),
                ],
            ),
            account_id: self.account_id.to_string(),
            user_id: Some(user_id.to_owned()),
            device_id: Some(self.device_id.to_string()),
            device_name,
            cause_event_id: self.event_id.clone(),
            occurred_at: now,
            more,
        })
    }
}

/// Whether what Ring gave shows another moment than the one asked for: stale.
#[must_use]
pub fn is_stale(asked: Window, actual: Option<Window>) -> bool {
    let Some(actual) = actual else { return false };
    let most = i64::try_from(STALE_AFTER.as_millis()).unwrap_or(i64::MAX);
    (asked.timestamp - actual.timestamp).abs() > most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_770_000_000).unwrap()
    }

    fn clip(timestamp: i64) -> Request {
        Request::Clip(ClipRequest {
            timestamp,
            duration: 5_000,
            video_options: None,
            audio_options: None,
        })
    }

    fn medium(request: Request) -> Medium {
        Medium::requested(
            AccountId::new("a").unwrap(),
            DeviceId::new("d").unwrap(),
            request,
            now(),
        )
    }

    #[test]
    fn trap_119_the_same_request_is_the_same_medium_and_lies_in_the_same_place() {
        let (one, other) = (medium(clip(1)), medium(clip(1)));
        assert_eq!((&one.id, one.object_key()), (&other.id, other.object_key()));
        assert_ne!(one.id, medium(clip(2)).id);
    }

    #[test]
    fn an_object_key_names_neither_the_account_nor_the_device() {
        let account = AccountId::new("ava1.ring.account.XYZ").unwrap();
        let device = DeviceId::new("ava1.ring.device.XYZ").unwrap();
        let key = Medium::requested(account, device, clip(1), now()).object_key();
        assert!(!key.contains("ava1"), "{key}");
        assert!(key.ends_with(".mp4"), "{key}");
    }

    #[test]
    fn trap_117_a_still_of_another_moment_is_stale() {
        let asked = Window {
            timestamp: 1_000_000,
            duration: 0,
        };
        let at = |timestamp| Some(Window { timestamp, duration: 0 });
        assert!(!is_stale(asked, at(1_000_000 - 60_000)));
        assert!(is_stale(asked, at(1_000_000 - 60_001)));
        assert!(is_stale(asked, at(1_000_000 + 60_001)));
        assert!(!is_stale(asked, None));
    }

    #[test]
    fn only_an_end_is_announced_and_each_round_under_its_own_id() {
        let mut medium = medium(clip(1));
        assert!(medium.announcement("usr", None, now()).is_none());
        medium.progress = Progress::Failed {
            reason: "x".to_owned(),
            announced: false,
        };
        let first = medium.announcement("usr", None, now()).unwrap();
        assert_eq!(first.kind, "media_failed");
        medium.round = 1;
        assert_ne!(
            medium.announcement("usr", None, now()).unwrap().event_id,
            first.event_id
        );
    }
}
