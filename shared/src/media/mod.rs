//! A medium: a clip, a snapshot or a capture that somebody or a policy asked for, from the request to the stored object with
//! its honest description, and to its end once its device is gone. This file does no I/O; [`store`] keeps the rows, [`archive`]
//! the objects.

use std::time::Duration;

use jiff::Timestamp;
use ring_partner::devices::DeviceId;
use ring_partner::media::{ClipRequest, ImageFormat, ImageOptions, Resolution, SnapshotRequest};
use ring_partner::users::AccountId;
use serde::{Deserialize, Serialize};

use crate::account::{Collection, Erasure};
use crate::capture::session::{Close, CloseAll};
use crate::edge::bus::Announcement;
use crate::edge::clock::signed;
use crate::edge::key;
use crate::edge::queue::Message;
use crate::event::{self, EventId};
use crate::policy::{Action, Shown};
use pieces::{Part, Pieces, TAIL_AFTER};

pub mod archive;
pub mod film;
pub mod pieces;
pub mod still;
pub mod store;

/// How long one attempt to fetch holds a medium: longer than a function may run.
pub const FETCH_FOR: Duration = Duration::from_secs(16 * 60);
/// A snapshot this much older than the moment it was asked for is stale.
pub const STALE_AFTER: Duration = Duration::from_secs(60);
/// A medium that waits for its device is looked at this often besides: a word that the device is back may be lost.
pub const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(3600);
/// A medium waits for its device for so long, and is given up then.
pub const WAITS_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long after its end footage is to be had, at the soonest.
const FOOTAGE_COMES_AFTER: Duration = Duration::from_secs(5);

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

    /// The id of what an event asks for: it asks for one of a kind.
    #[must_use]
    pub fn caused(event: &EventId, action: Action) -> Self {
        Self(key::derived("med", &["event", event.as_str(), action.as_str()]))
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
    /// Live video from now on, recorded (Ring: Live Video). `stream-capture` does that, and no other program.
    Capture(CaptureRequest),
}

/// A capture to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureRequest {
    /// How long it is, in milliseconds. While it goes on, what happens at the device may prolong it.
    pub duration: i64,
    /// Whether it has sound.
    #[serde(default)]
    pub audio: bool,
}

impl Request {
    /// `clip`, `snapshot` or `capture`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.action().as_str()
    }

    /// What of a policy it is.
    #[must_use]
    pub fn action(&self) -> Action {
        match self {
            Self::Clip(_) => Action::Clip,
            Self::Snapshot(_) => Action::Snapshot,
            Self::Capture(_) => Action::Capture,
        }
    }

    /// The same of another window, where it is a clip.
    #[must_use]
    pub fn within(&self, window: Window) -> Self {
        match self {
            Self::Clip(clip) => Self::Clip(ClipRequest {
                timestamp: window.timestamp,
                duration: window.duration,
                ..clip.clone()
            }),
            other => other.clone(),
        }
    }

    /// How long from `now` on it can't be had at all: the footage of a clip has to be there first.
    #[must_use]
    pub fn comes_after(&self, now: Timestamp) -> Duration {
        let Self::Clip(clip) = self else { return Duration::ZERO };
        let ends_at = Timestamp::from_millisecond(clip.timestamp.saturating_add(clip.duration)).unwrap_or(now);
        let comes_at = ends_at + signed(FOOTAGE_COMES_AFTER);
        Duration::try_from(comes_at.duration_since(now)).unwrap_or_default()
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
            Self::Capture(capture) => Window {
                timestamp: requested_at.as_millisecond(),
                duration: capture.duration,
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
    /// Whether whoever hears of it is to be told, where a policy asked for it.
    #[serde(default)]
    pub notify: Option<bool>,
    /// Whether a live session is to be held before a clip is asked for, so that there is footage of it. Its window is the
    /// session's then.
    #[serde(default)]
    pub record_first: bool,
    /// How often it was begun anew after it had failed. With the time of the request it makes the ids of what we publish
    /// differ.
    pub round: u32,
    /// How far it has come.
    pub progress: Progress,
    /// Ring's ids of the last answer about it, for support.
    #[serde(default)]
    pub ring: Option<RingIds>,
    /// Why it did not come when it was last asked for, while it is asked for again.
    #[serde(default)]
    pub hindered: Option<String>,
    /// What there is of a clip that does not come in one go.
    #[serde(default)]
    pub pieces: Option<Pieces>,
}

/// What Ring calls a request of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingIds {
    /// `X-Request-ID`.
    pub request_id: Option<String>,
    /// The `id` of its error.
    pub error_id: Option<String>,
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
    /// Its device is offline: it waits for that to end.
    Waiting {
        /// Since when.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        since: Timestamp,
    },
    /// It is in the bucket.
    Stored {
        /// What it is.
        object: Box<Object>,
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

impl Progress {
    /// Whether nothing more comes of it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self {
            Self::Stored { .. } | Self::NoMedia { .. } | Self::Failed { .. } => true,
            Self::Requested | Self::Fetching { .. } | Self::Waiting { .. } => false,
        }
    }

    /// Whether the bus is to be told of it: it is over, and that was not told. From then on it counts as told.
    pub fn take_news(&mut self) -> bool {
        match self {
            Self::Stored { announced, .. } | Self::NoMedia { announced, .. } | Self::Failed { announced, .. } => {
                !std::mem::replace(announced, true)
            }
            Self::Requested | Self::Fetching { .. } | Self::Waiting { .. } => false,
        }
    }
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
    /// What was done about privacy zones: `none` (there are none), `obscured` or `as_recorded`.
    #[serde(default = "none")]
    pub privacy_zones: String,
    /// Whether it is less than what was asked for.
    pub partial: bool,
    /// Whether it shows another moment than the one asked for.
    pub stale: bool,
    /// The codec that the file itself names: `avc` or `hevc`; `None` for a still, and where it can't be read.
    #[serde(default)]
    pub codec: Option<String>,
    /// The size of its pictures, as the file itself has it.
    #[serde(default)]
    pub resolution: Option<Resolution>,
    /// What the clip is made of, where that is more than one object: all of them, in order of time. `key`, `bytes` and `sha256`
    /// are the first one's then, `actual` and `partial` those of all together.
    #[serde(default)]
    pub parts: Vec<Part>,
    /// The end that lacks, while it is still to be asked for once more.
    #[serde(default)]
    pub tail: Option<Window>,
    /// Where a clip's thumbnail lies in the bucket, where Ring had one.
    #[serde(default)]
    pub thumbnail: Option<String>,
    /// Ring's id of the request.
    pub ring_request_id: Option<String>,
}

/// The still that stands for what was recorded from this moment on.
#[must_use]
pub fn thumbnail_request(timestamp: i64) -> SnapshotRequest {
    SnapshotRequest::AtTimestamp {
        timestamp,
        image_options: Some(ImageOptions {
            format: Some(ImageFormat::Jpeg),
            resolution: None,
        }),
    }
}

fn none() -> String {
    "none".to_owned()
}

/// The word for what was done about the privacy zones of what is stored of a device that is shown so.
#[must_use]
pub fn privacy_word(shown: Shown) -> &'static str {
    match shown {
        Shown::All => "none",
        Shown::AsRecorded => "as_recorded",
        Shown::Masked | Shown::Nothing => "obscured",
    }
}

/// What is to become of a removed device's media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovedMedia {
    /// They are purged at once.
    Delete,
    /// They are purged after this.
    Retain(Duration),
    /// They are kept, until somebody deletes them.
    Hold,
}

impl RemovedMedia {
    /// How long they are kept; `None`: for as long as nobody deletes them.
    #[must_use]
    pub fn kept_for(self) -> Option<Duration> {
        match self {
            Self::Delete => Some(Duration::ZERO),
            Self::Retain(kept_for) => Some(kept_for),
            Self::Hold => None,
        }
    }
}

/// A removed device, whose media are to be purged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// Whose it was.
    pub account_id: AccountId,
    /// Which one.
    pub device_id: DeviceId,
    /// When it was removed, in epoch milliseconds.
    pub removed_at: i64,
    /// When its media are purged, unless it is back by then, in epoch milliseconds.
    pub purge_at: i64,
}

/// What lies in the queue of media.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Job {
    /// A medium to fetch.
    Fetch {
        /// Which one.
        medium_id: MediumId,
    },
    /// The end of a clip that lacked it.
    Tail {
        /// Of which one.
        tail_of: MediumId,
    },
    /// All that has come due: media of removed devices to be purged, media that wait to be looked at.
    Sweep {
        /// Always `due`.
        sweep: Sweep,
    },
    /// A live session whose time is over, to be closed if nobody has done it.
    Close {
        /// Which one.
        close_session: Close,
    },
    /// A part of what there is of somebody who is to be erased.
    Erase {
        /// Which part.
        erase: Box<Erasure>,
    },
    /// An archive of all that there is of somebody.
    Export {
        /// Of what.
        export: Box<Collection>,
    },
    /// The live sessions of a device that went.
    CloseAll {
        /// Which ones.
        close_live: CloseAll,
    },
}

/// The one word of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sweep {
    /// What is due.
    Due,
}

/// The message that has a medium fetched.
#[must_use]
pub fn fetch_message(account: &AccountId, id: &MediumId) -> Message {
    let body = serde_json::json!({ "medium_id": id.as_str() }).to_string();
    Message::new(body).group(event::account_key(account))
}

/// The message that has the end of a clip asked for once more, when it may have come.
#[must_use]
pub fn tail_message(account: &AccountId, id: &MediumId) -> Message {
    let body = serde_json::json!({ "tail_of": id.as_str() }).to_string();
    Message::new(body).group(event::account_key(account)).delay(TAIL_AFTER)
}

/// The message that has what is due looked at.
#[must_use]
pub fn sweep_message() -> Message {
    // In step with the template's hourly rule.
    Message::new(r#"{"sweep":"due"}"#)
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
            notify: None,
            record_first: false,
            round: 0,
            progress: Progress::Requested,
            ring: None,
            hindered: None,
            pieces: None,
        }
    }

    /// What an event asks for, by a policy.
    #[must_use]
    pub fn caused(
        event: &EventId,
        account_id: AccountId,
        device_id: DeviceId,
        request: Request,
        notify: Option<bool>,
        now: Timestamp,
    ) -> Self {
        Self {
            id: MediumId::caused(event, request.action()),
            event_id: Some(event.as_str().to_owned()),
            notify,
            ..Self::requested(account_id, device_id, request, now)
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
            Request::Clip(_) | Request::Capture(_) => "mp4",
            Request::Snapshot(
                SnapshotRequest::AtTimestamp { image_options, .. }
                | SnapshotRequest::LatestInRange { image_options, .. },
            ) => match image_options.as_ref().and_then(|options| options.format) {
                Some(ImageFormat::Png) => "png",
                Some(ImageFormat::Jpeg) | None => "jpg",
            },
        };
        let account = event::account_key(&self.account_id);
        let device = event::device_key(&self.account_id, &self.device_id);
        format!("media/{account}/{device}/{}.{ending}", self.id.as_str())
    }

    /// Where the part of a clip lies that begins there. Its key begins as all of a medium's do: see [`stem`].
    #[must_use]
    pub fn part_key(&self, window: Window) -> String {
        let key = self.object_key();
        format!("{}{}.mp4", stem(&key), window.timestamp)
    }

    /// Whether it is for a recorder to do: a capture, or a clip that is recorded first.
    #[must_use]
    pub fn is_for_recorder(&self) -> bool {
        self.record_first || matches!(self.request, Request::Capture(_))
    }

    /// Whether nothing more will happen to it unless somebody asks again.
    #[must_use]
    pub fn may_begin_anew(&self) -> bool {
        matches!(self.progress, Progress::Failed { .. } | Progress::NoMedia { .. })
    }

    /// The message that has it fetched.
    #[must_use]
    pub fn fetch_message(&self) -> Message {
        fetch_message(&self.account_id, &self.id)
    }

    /// What the bus is told once it is over; `None` while it is not.
    #[must_use]
    pub fn announcement(&self, user_id: &str, device_name: Option<String>, now: Timestamp) -> Option<Announcement> {
        let mut more = serde_json::Map::new();
        more.insert("medium_id".into(), self.id.as_str().into());
        more.insert("kind".into(), self.request.kind().into());
        let what = match &self.progress {
            Progress::Requested | Progress::Fetching { .. } | Progress::Waiting { .. } => return None,
            Progress::Stored { object, .. } => {
                more.insert("partial".into(), object.partial.into());
                more.insert("stale".into(), object.stale.into());
                more.insert("object_key".into(), object.key.as_str().into());
                if let Some(actual) = object.actual {
                    let window = serde_json::json!({ "timestamp": actual.timestamp, "duration": actual.duration });
                    more.insert("actual".into(), window);
                }
                if let Some(thumbnail) = &object.thumbnail {
                    more.insert("thumbnail_key".into(), thumbnail.as_str().into());
                }
                "media_stored"
            }
            Progress::NoMedia { reason, .. } | Progress::Failed { reason, .. } => {
                more.insert("reason".into(), reason.as_str().into());
                "media_failed"
            }
        };
        if let Some(notify) = self.notify {
            more.insert("notify".into(), notify.into());
        }
        let (asked_at, round) = (self.requested_at.to_string(), self.round.to_string());
        let mut named = vec![what, self.id.as_str(), &asked_at, &round];
        // One that has become more than it was is told of again, under another id.
        let parts = match &self.progress {
            Progress::Stored { object, .. } => object.parts.len().to_string(),
            _ => "0".to_owned(),
        };
        if parts != "0" {
            named.push(&parts);
        }
        Some(Announcement {
            kind: what.to_owned(),
            schema: format!("{what}/1"),
            event_id: key::derived("evt", &named),
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

/// What the keys of all objects of a medium begin with that lies at `key`: its file, its parts, and what lies beside them.
#[must_use]
pub fn stem(key: &str) -> &str {
    key.rfind('.').map_or(key, |dot| &key[..=dot])
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
    fn what_an_event_asks_for_has_one_id_of_each_kind_however_often_it_asks() {
        let event = EventId::from("evt_1".to_owned());
        let caused = |request| {
            let (account, device) = (AccountId::new("a").unwrap(), DeviceId::new("d").unwrap());
            Medium::caused(&event, account, device, request, Some(true), now())
        };
        assert_eq!(caused(clip(1)).id, caused(clip(2)).id);
        let capture = CaptureRequest {
            duration: 1_000,
            audio: false,
        };
        assert_ne!(caused(clip(1)).id, caused(Request::Capture(capture)).id);
        assert_eq!(caused(clip(1)).event_id.as_deref(), Some("evt_1"));
    }

    #[test]
    fn a_clip_is_not_fetched_before_its_footage_can_be_there() {
        let ms = now().as_millisecond();
        let at = |ago: i64| clip(ms - ago).comes_after(now()).as_secs();
        // It is five seconds long, and Ring has some seconds.
        assert_eq!((at(0), at(5_000), at(10_000), at(86_400_000)), (10, 5, 0, 0));
        let still = Request::Snapshot(SnapshotRequest::AtTimestamp {
            timestamp: ms,
            image_options: None,
        });
        assert_eq!(still.comes_after(now()), Duration::ZERO);
    }

    #[test]
    fn what_lies_in_the_queue_is_a_medium_a_sweep_or_a_session_to_close() {
        let job = |body: &str| serde_json::from_str::<Job>(body).ok();
        assert!(matches!(job(r#"{"medium_id":"med_1"}"#), Some(Job::Fetch { .. })));
        assert_eq!(job(r#"{"sweep":"due"}"#), Some(Job::Sweep { sweep: Sweep::Due }));
        assert!(matches!(
            job(r#"{"close_session":{"account_id":"a","session_id":"live_1"}}"#),
            Some(Job::Close { .. })
        ));
        assert!(matches!(job(r#"{"tail_of":"med_1"}"#), Some(Job::Tail { .. })));
        assert_eq!(job(r#"{"sweep":"all"}"#), None);
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
