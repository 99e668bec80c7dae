//! One capture, from the queue to the bus: it is taken, what an earlier recorder has left of it is closed and gone on with, it
//! is recorded for as long as its slot says, and described as what it came to.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ring_partner::media::Resolution;
use shared::capture::manifest::{Manifest, manifest_key};
use shared::capture::ports::Captures as _;
use shared::capture::store::Slots;
use shared::capture::{self, Slot, Stop};
use shared::device::Known;
use shared::device::store::Devices;
use shared::edge::bus::{Bus, BusError};
use shared::edge::clock::{self, signed};
use shared::edge::metrics::Metrics;
use shared::edge::queue::{Queue, QueueError};
use shared::edge::table::StoreError;
use shared::link::Link;
use shared::link::store::LinkTable;
use shared::media::store::Media;
use shared::media::{Medium, MediumId, Object, Progress, privacy_word};
use shared::policy::store::Policies;
use shared::policy::{Action, Regions, Shown};
use shared::world::System;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::capture::{Means, Order, Over};
use crate::ports::{Sink as _, SinkError};
use crate::receiver;
use crate::recording::Recording;
use crate::ring::{Live, OfDevice};
use crate::session::Patience;
use crate::sink::Bucket;

/// How long a recorder has a capture without saying so again; who comes after waits that long. Shorter than a session lasts:
/// what a recorder leaves open that was killed is closed by the next one, and not by Ring's limit.
pub const HELD_FOR: Duration = Duration::from_secs(15);
/// How often it says so, and looks whether the slot has changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
pub(crate) const HOLD_EVERY: Duration = Duration::from_secs(5);
/// A capture that an event asked for is of no use when it begins later than this.
const STALE_AFTER: Duration = capture::BEGINS_WITHIN;

/// What becomes of the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It is over.
    Over,
    /// Somebody else is at it, or is to go on: again after this.
    Later(Duration),
}

/// Why a job is not done this time.
#[derive(Debug, thiserror::Error)]
pub enum Undone {
    /// A table is out of reach.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue of media is out of reach.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The bucket is out of reach.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The bus is out of reach.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// What an earlier recorder has left can't be read.
    #[error("what was recorded before can't be gone on with")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What captures are recorded with.
#[derive(Debug)]
pub struct Recorder {
    pub(crate) media: Media,
    pub(crate) slots: Slots,
    pub(crate) links: LinkTable,
    pub(crate) devices: Devices,
    pub(crate) policies: Policies,
    pub(crate) regions: Regions,
    pub(crate) bus: Bus,
    pub(crate) bucket: Bucket,
    pub(crate) live: Arc<Live>,
    /// How many captures were stored, and how many were not.
    pub(crate) metrics: Arc<Metrics>,
    /// Who fetches clips that were recorded first.
    pub(crate) fetches: Queue,
    pub(crate) peers: receiver::Settings,
    /// How long Ring lets a session be that motion has begun.
    pub(crate) motion_session: Duration,
}

impl Recorder {
    /// Records a capture. `ending` says when this process is to end.
    pub async fn record(&self, id: &MediumId, ending: watch::Receiver<bool>) -> Result<Done, Undone> {
        let now = clock::now();
        let Some(medium) = self.media.begin_capture(id, now, now + signed(HELD_FOR)).await? else {
            return self.over(id).await;
        };
        if medium.record_first {
            return self.footage(medium, ending).await;
        }
        let Some(link) = self.links.of_account(&medium.account_id).await?.filter(Link::is_live) else {
            return self.end(medium, None, None, Over::Failed("unlinked")).await;
        };
        let known = self.devices.get(&medium.account_id, &medium.device_id).await?;
        let shown = self.shown(known.as_ref()).await?;
        let sessions = self.sessions(&medium, &link);
        sessions.close_left().await?;
        let recording = self.begun(&medium).await?;
        let slot = self.slot(&medium).await?;
        if let Some(reason) = hindered(&medium, known.as_ref(), shown, slot.as_ref(), &recording, clock::now()) {
            return self
                .end(
                    medium,
                    Some(&link),
                    Some((recording, shown)),
                    Over::Stopped(reason.to_owned()),
                )
                .await;
        }
        let until = slot.map_or(now, |slot| slot.until);
        let (order, orders) = watch::channel(Order {
            until,
            stop: None,
            hand_over: false,
        });
        let means = Means {
            peers: self.peers.clone(),
            sessions,
            sink: self.bucket.clone(),
            nature: System,
            patience: Patience::default(),
        };
        let mut held = medium;
        let recorded = tokio::select! {
            recorded = means.record(recording, orders) => recorded?,
            never = self.watch(&mut held, &order, ending) => match never {},
        };
        let (recording, over) = recorded;
        tracing::info!(medium.id = id.as_str(), over = ?over, "a capture is over");
        if over == Over::HandedOver {
            held.progress = Progress::Requested;
            self.keep(&held).await?;
            return Ok(Done::Later(Duration::ZERO));
        }
        self.end(held, Some(&link), Some((recording, shown)), over).await
    }

    /// Follows the slot and the process's own end, and holds the capture. It never ends: it is dropped.
    async fn watch(
        &self,
        medium: &mut Medium,
        order: &watch::Sender<Order>,
        mut ending: watch::Receiver<bool>,
    ) -> std::convert::Infallible {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut held_at = clock::now();
        loop {
            looks.tick().await;
            let now = clock::now();
            let is_ending = *ending.borrow_and_update();
            match self.slot(medium).await {
                Ok(slot) => {
                    let stop = match &slot {
                        Some(slot) => slot.stop.map(|stop| stop.as_str().to_owned()),
                        None => Some("superseded".to_owned()),
                    };
                    order.send_if_modified(|order| {
                        let before = order.clone();
                        order.until = slot.as_ref().map_or(order.until, |slot| slot.until);
                        order.stop = order.stop.take().or(stop);
                        order.hand_over |= is_ending;
                        *order != before
                    });
                }
                Err(error) => {
                    order.send_if_modified(|order| is_ending && !std::mem::replace(&mut order.hand_over, true));
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the slot of a capture can't be looked at"
                    );
                }
            }
            if now.duration_since(held_at) < signed(HOLD_EVERY) {
                continue;
            }
            match self.media.hold(medium, now + signed(HELD_FOR)).await {
                Ok(()) => held_at = now,
                Err(StoreError::Conflict) => {
                    order.send_modify(|order| order.stop = Some("deleted".to_owned()));
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a capture can't be held");
                }
            }
        }
    }

    pub(crate) fn sessions(&self, medium: &Medium, link: &Link) -> OfDevice {
        OfDevice {
            live: self.live.clone(),
            grant: link.grant_id.clone(),
            account: medium.account_id.clone(),
            device: medium.device_id.clone(),
            medium: medium.id.clone(),
            // Nothing that Ring tells says what began a session for it: an event's may count as motion's.
            limit: medium.event_id.as_ref().map(|_| self.motion_session),
        }
    }

    pub(crate) async fn shown(&self, known: Option<&Known>) -> Result<Shown, StoreError> {
        Ok(match known {
            Some(known) => self.policies.holding_for(known).await?.shows(known, &self.regions),
            None => Shown::Nothing,
        })
    }

    /// The slot, if it is this capture's.
    async fn slot(&self, medium: &Medium) -> Result<Option<Slot>, StoreError> {
        let slot = self.slots.slot(&medium.account_id, &medium.device_id).await?;
        Ok(slot.filter(|slot| slot.medium_id == medium.id))
    }

    /// The recording as an earlier recorder has left it, or a new one.
    async fn begun(&self, medium: &Medium) -> Result<Recording, Undone> {
        let key = medium.object_key();
        let manifest = match self.bucket.get(&manifest_key(&key)).await? {
            Some(stored) => serde_json::from_slice(&stored).map_err(|error| Undone::Unreadable(error.into()))?,
            None => Manifest::new(medium.id.as_str()),
        };
        Recording::new(manifest, key).map_err(|error| Undone::Unreadable(error.into()))
    }

    /// A capture that is not to be recorded: somebody is at it, or it is over, and the bus may not have been told.
    async fn over(&self, id: &MediumId) -> Result<Done, Undone> {
        let medium = self.media.get(id).await?;
        // A clip for which a session was held is its fetcher's from then on.
        let Some(medium) = medium.filter(|medium| medium.is_for_recorder()) else {
            return Ok(Done::Over);
        };
        if let Progress::Fetching { until } = medium.progress {
            let left = Duration::try_from(until.duration_since(clock::now())).unwrap_or_default();
            return Ok(Done::Later(left.max(Duration::from_secs(1))));
        }
        if let Some(link) = self.links.of_account(&medium.account_id).await? {
            self.tell(medium, &link, None).await?;
        }
        Ok(Done::Over)
    }

    /// A capture that is over: its film is made, it is described, the slot is given back, the bus is told.
    async fn end(
        &self,
        mut medium: Medium,
        link: Option<&Link>,
        recorded: Option<(Recording, Shown)>,
        over: Over,
    ) -> Result<Done, Undone> {
        let reason = reason(&over);
        if reason == Stop::Deleted.as_str() || reason == Stop::DeviceRemoved.as_str() && link.is_none() {
            if let Some((recording, _)) = &recorded {
                self.delete(recording).await?;
            }
            self.give_back(&medium).await?;
            return Ok(Done::Over);
        }
        let mut length = 0;
        medium.progress = match recorded {
            Some((recording, shown)) if recording.manifest().window().is_some() => {
                let recording = self.bucket.finish(recording).await?;
                let object = object(&medium, recording.manifest(), shown);
                length = object.actual.map_or(0, |actual| actual.duration);
                Progress::Stored {
                    object: Box::new(object),
                    announced: false,
                }
            }
            _ => Progress::Failed {
                reason: if reason == "complete" {
                    "no_video"
                } else {
                    reason.as_str()
                }
                .to_owned(),
                announced: false,
            },
        };
        match &medium.progress {
            Progress::Stored { .. } => self.metrics.count("captures_stored", 1),
            // What a device, its owner or a budget forbids is no failure.
            Progress::Failed { reason, .. } if ["no_video", "ring_unavailable"].contains(&reason.as_str()) => {
                self.metrics.count("captures_failed", 1);
            }
            _ => {}
        }
        let ended = capture::Ended {
            recorded: length,
            reason,
        };
        self.give_back(&medium).await?;
        match self.keep(&medium).await {
            Ok(()) => {}
            // It was deleted meanwhile: what was stored goes too.
            Err(StoreError::Conflict) => {
                let recording = self.begun(&medium).await?;
                self.delete(&recording).await?;
                return Ok(Done::Over);
            }
            Err(error) => return Err(error.into()),
        }
        if let Some(link) = link {
            self.tell(medium, link, Some(&ended)).await?;
        }
        Ok(Done::Over)
    }

    async fn keep(&self, medium: &Medium) -> Result<(), StoreError> {
        self.media.keep(medium).await
    }

    async fn delete(&self, recording: &Recording) -> Result<(), SinkError> {
        let manifest = recording.manifest_object().key;
        for key in recording.manifest().keys().chain([manifest.as_str()]) {
            self.bucket.delete(key).await?;
        }
        Ok(())
    }

    /// Another capture of the device may begin.
    async fn give_back(&self, medium: &Medium) -> Result<(), StoreError> {
        let (account, device) = (&medium.account_id, &medium.device_id);
        capture::stop(&self.slots, account, device, Some(&medium.id), Stop::Over).await?;
        Ok(())
    }

    /// Tells the bus that a capture is over, and that there is a medium, or none.
    async fn tell(&self, mut medium: Medium, link: &Link, ended: Option<&capture::Ended>) -> Result<(), Undone> {
        if !medium.progress.take_news() {
            return Ok(());
        }
        let known = self.devices.get(&medium.account_id, &medium.device_id).await?;
        let name = known.and_then(|known| known.name);
        let now = clock::now();
        let ended = ended.cloned().unwrap_or_else(|| told_before(&medium));
        self.bus
            .announce(&capture::finished(&medium, &link.user_id, name.clone(), &ended, now))
            .await?;
        if let Some(announcement) = medium.announcement(&link.user_id, name, now) {
            self.bus.announce(&announcement).await?;
        }
        match self.media.keep(&medium).await {
            Ok(()) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// How a capture ended whose recorder died before it told so.
fn told_before(medium: &Medium) -> capture::Ended {
    let (recorded, reason) = match &medium.progress {
        Progress::Stored { object, .. } => (object.actual.map_or(0, |actual| actual.duration), "complete"),
        Progress::Failed { reason, .. } | Progress::NoMedia { reason, .. } => (0, reason.as_str()),
        _ => (0, "complete"),
    };
    capture::Ended {
        recorded,
        reason: reason.to_owned(),
    }
}

/// Why a capture is not recorded (any more), if so. What was recorded of it before is finished.
fn hindered(
    medium: &Medium,
    known: Option<&Known>,
    shown: Shown,
    slot: Option<&Slot>,
    recording: &Recording,
    now: Timestamp,
) -> Option<&'static str> {
    let Some(slot) = slot else { return Some("superseded") };
    if let Some(stop) = slot.stop {
        return Some(stop.as_str());
    }
    if known.is_some_and(|known| !known.is_present()) {
        return Some(Stop::DeviceRemoved.as_str());
    }
    if known.is_some_and(Known::is_told_offline) {
        return Some(Stop::DeviceOffline.as_str());
    }
    if !shown.takes(Action::Capture) {
        return Some("privacy_zones");
    }
    let late = now.duration_since(medium.requested_at) > signed(STALE_AFTER);
    if now >= slot.until || late && recording.manifest().began_at.is_none() {
        return Some(if recording.manifest().began_at.is_some() {
            "complete"
        } else {
            "too_late"
        });
    }
    None
}

fn reason(over: &Over) -> String {
    match over {
        Over::Complete => "complete".to_owned(),
        Over::Stopped(why) => why.clone(),
        Over::HandedOver => "handed_over".to_owned(),
        Over::Failed(why) => (*why).to_owned(),
    }
}

/// What a recording came to, described.
fn object(medium: &Medium, manifest: &Manifest, shown: Shown) -> Object {
    let asked = medium.request.window(medium.requested_at);
    let actual = manifest.window();
    let film = manifest.films.first();
    let init = manifest.inits.iter().find(|init| init.film == 0);
    let shown_for = actual.map_or(0, |actual| actual.duration) - manifest.missing();
    Object {
        key: medium.object_key(),
        content_type: "video/mp4".to_owned(),
        bytes: film.map_or(0, |film| film.bytes),
        sha256: film.map(|film| film.sha256.clone()).unwrap_or_default(),
        actual,
        origin: Some("live".to_owned()),
        privacy_zones: privacy_word(shown).to_owned(),
        // It takes a moment for the first frame to come.
        partial: shown_for + STARTS_WITHIN < asked.duration,
        stale: false,
        codec: init.map(|init| init.codec.clone()),
        resolution: init.map(|init| Resolution {
            width: init.width,
            height: init.height,
        }),
        parts: Vec::new(),
        tail: None,
        thumbnail: None,
        ring_request_id: None,
    }
}

/// A capture that is less than it should be by no more than this is whole, in milliseconds.
const STARTS_WITHIN: i64 = 3_000;
