//! The effects of an event, one after the other. Each may come twice: what it asks for has an id that is made of the event's,
//! and a state that was told is told again.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ring_partner::devices::DeviceId;
use ring_partner::error::Decision;
use ring_partner::media::{AudioOptions, ClipRequest, SnapshotRequest};
use ring_partner::webhook::EventKind;

use super::{Processor, Undone};
use crate::audit::{Deed, Entry};
use crate::capture::{self, BEGINS_WITHIN, Begun, Stop, ports::Captures as _};
use crate::device::{self, Gone, Known, Mark};
use crate::edge::batch::Outcome;
use crate::edge::clock::signed;
use crate::event::ports::{DeviceEndpoint as _, Devices as _, Media as _, Publisher as _, Records as _, Workers as _};
use crate::event::{Effect, Progress, Record, Step};
use crate::grant::EndReason;
use crate::grant::access::{AccessError, CallError, Refresh};
use crate::link::Link;
use crate::link::ports::{Effects as _, Links as _};
use crate::media::{CaptureRequest, Medium, MediumId, Progress as MediumProgress, Request, Retired};
use crate::world::{EventWorld, Nature as _};

/// How long an added device is asked for. In step with the program's time-out in the template.
const FETCH_WITHIN: Duration = Duration::from_secs(25);

/// What came of an effect.
#[derive(Debug, Default)]
struct Came {
    /// What there is to say about it.
    note: Option<&'static str>,
    /// The medium that it asked for.
    medium: Option<MediumId>,
}

impl Came {
    fn with(note: &'static str) -> Self {
        Self::noting(Some(note))
    }

    fn noting(note: Option<&'static str>) -> Self {
        Self { note, medium: None }
    }

    fn asked(medium: MediumId) -> Self {
        Self {
            note: None,
            medium: Some(medium),
        }
    }
}

/// Something newer is known.
const OLDER: &str = "older";

impl<W: EventWorld, R: Refresh> Processor<W, R> {
    /// Has a pending event take effect. When this is done, so is the event.
    pub(super) async fn take_effect(&self, record: &Record, link: &Link) -> Result<Outcome, Undone> {
        let Progress::Pending { effects } = &record.progress else {
            return Ok(Outcome::Done);
        };
        let (mut ledger, mut media) = (Vec::with_capacity(effects.len()), Vec::new());
        // The device, once its state was told.
        let mut known = None;
        for effect in effects {
            let came = match (effect, &record.device_id) {
                (Effect::DeviceState, Some(device)) => {
                    known = self.tell(record, device, link).await?;
                    Came::noting(known.is_none().then_some(OLDER))
                }
                (effect, Some(device)) if effect.follows_the_state() => match &known {
                    Some(known) => self.follow(*effect, record, link, device, known).await?,
                    None => Came::noting(Some(OLDER)),
                },
                _ => self.effect(*effect, record, link).await?,
            };
            media.extend(came.medium.map(|id| id.as_str().to_owned()));
            ledger.push(Step {
                effect: effect.as_str().to_owned(),
                at: self.settler.nature.now(),
                note: came.note.map(str::to_owned),
            });
        }
        self.done(record, ledger, media).await
    }

    /// The event is done: its row goes into the history.
    pub(super) async fn done(&self, record: &Record, ledger: Vec<Step>, media: Vec<String>) -> Result<Outcome, Undone> {
        let Some(account) = &record.account_id else {
            return Ok(Outcome::Done);
        };
        self.records.done(&record.past(account, ledger, media)).await?;
        Ok(Outcome::Done)
    }

    async fn effect(&self, effect: Effect, record: &Record, link: &Link) -> Result<Came, Undone> {
        let Some(device) = &record.device_id else {
            return match effect {
                Effect::Announce => self.announce(record, link).await.map(|()| Came::default()),
                Effect::Unlink => self.unlink(record, link).await,
                // Of no device, and so of nothing.
                _ => Ok(Came::default()),
            };
        };
        match effect {
            // The others of the batch do not wait for longer than this.
            Effect::FetchDevice => tokio::time::timeout(FETCH_WITHIN, self.fetch_device(link, device))
                .await
                .map_err(|_| Undone::Slow)?,
            Effect::Audit => {
                let deed = match record.kind {
                    EventKind::DeviceAdded => Deed::DeviceAdded,
                    _ => Deed::DeviceRemoved,
                };
                self.audit(deed, record.occurred_at, link, device, None).await?;
                Ok(Came::default())
            }
            Effect::Snapshot => {
                let request = Request::Snapshot(SnapshotRequest::AtTimestamp {
                    timestamp: record.occurred_at.as_millisecond(),
                    image_options: None,
                });
                self.ask(record, link, device, request).await
            }
            Effect::Clip { duration, audio } => {
                let request = Request::Clip(ClipRequest {
                    timestamp: record.occurred_at.as_millisecond(),
                    duration,
                    video_options: None,
                    audio_options: audio.then_some(AudioOptions { audio_enabled: true }),
                });
                self.ask(record, link, device, request).await
            }
            Effect::Capture { duration, audio } => {
                let request = Request::Capture(CaptureRequest { duration, audio });
                self.capture(record, link, self.caused(record, link, device, request))
                    .await
            }
            Effect::Announce => self.announce(record, link).await.map(|()| Came::default()),
            Effect::Unlink => self.unlink(record, link).await,
            // These are seen to where the state is told.
            Effect::DeviceState
            | Effect::RestoreMedia
            | Effect::ReleaseMedia
            | Effect::StopCapture
            | Effect::CloseLive
            | Effect::RetireMedia => Ok(Came::default()),
        }
    }

    /// What follows from a state that stands. What never waited, and never was captured or watched, is not looked for.
    async fn follow(
        &self,
        effect: Effect,
        record: &Record,
        link: &Link,
        device: &DeviceId,
        known: &Known,
    ) -> Result<Came, Undone> {
        match effect {
            Effect::RestoreMedia => {
                let added_at = record.occurred_at.as_millisecond();
                self.media.restore(&link.account_id, device, added_at).await?;
                Ok(Came::default())
            }
            Effect::ReleaseMedia if known.awaited => self.release_media(link, device).await,
            Effect::StopCapture if known.captured => {
                let why = match record.kind {
                    EventKind::DeviceRemoved => Stop::DeviceRemoved,
                    _ => Stop::DeviceOffline,
                };
                self.stop_capture(why, link, device).await
            }
            Effect::CloseLive if known.watched => self.close_live(record.occurred_at, link, device).await,
            Effect::RetireMedia => self.retire_media(record.occurred_at, link, device).await,
            _ => Ok(Came::default()),
        }
    }

    /// Tells the device's state, and returns the device as it is then; `None`: something newer is known.
    async fn tell(&self, record: &Record, device: &DeviceId, link: &Link) -> Result<Option<Known>, Undone> {
        let Some(change) = device::change(record) else {
            return Ok(None);
        };
        let account = &link.account_id;
        let known = match self.devices.tell(account, device, &change).await? {
            Some(known) => Some(known),
            // Something newer may have told the same: a listing, or Ring's answer about a device that was added, which an
            // attempt before this one has kept. Then what follows from the state is still to be done.
            None => {
                let known = self.devices.get(account, device).await?;
                known.filter(|known| known.agrees(&change))
            }
        };
        if let Some(known) = &known {
            self.views.tell_device(known, self.settler.nature.now());
        }
        Ok(known)
    }

    /// Asks Ring about a device that was added. One that is gone again, or not for us, is left as the events tell.
    async fn fetch_device(&self, link: &Link, device: &DeviceId) -> Result<Came, Undone> {
        let asked_at = self.settler.nature.now();
        let ring = &self.settler.ring;
        let account = &link.account_id;
        // Linked anew a moment ago, it has another grant than the view of it.
        let link = self.settler.links.of_account(account).await?;
        let Some(link) = link.filter(Link::is_live) else {
            return Ok(Came::with("unlinked"));
        };
        let answer = self.settler.access.call(&link.grant_id, asked_at, |token| async move {
            ring.device(&token, device).await
        });
        match answer.await {
            Ok(found) => {
                self.devices.keep(account, found, asked_at).await?;
                if let Some(policy) = self.devices.link_policy(account).await? {
                    self.devices.give_policy(account, device, &policy).await?;
                }
                self.views.forget_device(account, device);
                Ok(Came::default())
            }
            Err(CallError::Ring(error))
                if matches!(
                    error.decision(),
                    Decision::Gone | Decision::OutOfScope | Decision::GiveUp
                ) =>
            {
                tracing::info!(
                    error = &error as &dyn std::error::Error,
                    "an added device is not within reach"
                );
                Ok(Came::with("out_of_reach"))
            }
            // The daily listing asks again once the account is linked anew.
            Err(CallError::Access(AccessError::RelinkRequired | AccessError::Ended)) => Ok(Came::with("no_token")),
            Err(error) => Err(error.into()),
        }
    }

    /// What waits for the device goes back into the queue: first that, so that a crash in between loses nothing.
    async fn release_media(&self, link: &Link, device: &DeviceId) -> Result<Came, Undone> {
        let account = &link.account_id;
        for id in self.media.waiting(account, device).await? {
            self.workers.fetch(account, &id, Duration::ZERO).await?;
            self.media.waits_no_more(account, device, &id).await?;
        }
        Ok(Came::default())
    }

    async fn stop_capture(&self, why: Stop, link: &Link, device: &DeviceId) -> Result<Came, Undone> {
        capture::stop(&self.captures, &link.account_id, device, None, why).await?;
        Ok(Came::default())
    }

    /// Has the sessions closed that were opened before the device went. It may be back by now, and watched again.
    async fn close_live(&self, went_at: Timestamp, link: &Link, device: &DeviceId) -> Result<Came, Undone> {
        self.workers.close_live(&link.account_id, device, went_at).await?;
        Ok(Came::default())
    }

    async fn retire_media(&self, removed_at: Timestamp, link: &Link, device: &DeviceId) -> Result<Came, Undone> {
        let Some(kept_for) = self.removed_media.kept_for() else {
            return Ok(Came::with("held"));
        };
        let retired = Retired {
            account_id: link.account_id.clone(),
            device_id: device.clone(),
            removed_at: removed_at.as_millisecond(),
            purge_at: (removed_at + signed(kept_for)).as_millisecond(),
        };
        self.media.retire(&retired).await?;
        if kept_for.is_zero() {
            self.workers.sweep().await?;
        }
        Ok(Came::default())
    }

    /// What a policy did because of an event.
    async fn audit_cause(&self, deed: Deed, record: &Record, link: &Link, device: &DeviceId) -> Result<(), Undone> {
        let why = Some(record.event_id.as_str().to_owned());
        self.audit(deed, record.occurred_at, link, device, why).await
    }

    async fn audit(
        &self,
        deed: Deed,
        at: Timestamp,
        link: &Link,
        device: &DeviceId,
        why: Option<String>,
    ) -> Result<(), Undone> {
        let entry = Entry {
            at,
            user_id: link.user_id.clone(),
            deed,
            account_id: Some(link.account_id.clone()),
            link_id: Some(link.id.clone()),
            device_id: Some(device.clone()),
            why,
        };
        Ok(self.settler.effects.audit(&entry).await?)
    }

    /// What follows from a removal that no event told of. It comes again with each listing, and does the same then.
    pub(super) async fn device_is_gone(&self, gone: &Gone) -> Result<Outcome, Undone> {
        let (account, device) = (&gone.account_id, &gone.device_id);
        let Some(link) = self.settler.links.of_account(account).await?.filter(Link::is_live) else {
            return Ok(Outcome::Done);
        };
        // It is back, or an event has told the same.
        let is_so = |known: &Known| {
            known
                .present
                .as_ref()
                .is_some_and(|told| !told.is && told.at == gone.at)
        };
        let Some(known) = self.devices.get(account, device).await?.filter(is_so) else {
            return Ok(Outcome::Done);
        };
        let Ok(at) = Timestamp::from_millisecond(gone.at) else {
            return Ok(Outcome::Done);
        };
        if known.captured {
            self.stop_capture(Stop::DeviceRemoved, &link, device).await?;
        }
        if known.watched {
            self.close_live(at, &link, device).await?;
        }
        if known.awaited {
            self.release_media(&link, device).await?;
        }
        self.retire_media(at, &link, device).await?;
        self.audit(Deed::DeviceRemoved, at, &link, device, None).await?;
        self.views.forget_device(account, device);
        Ok(Outcome::Done)
    }

    fn caused(&self, record: &Record, link: &Link, device: &DeviceId, request: Request) -> Medium {
        Medium::caused(
            &record.event_id,
            link.account_id.clone(),
            device.clone(),
            request,
            record.notify,
            self.settler.nature.now(),
        )
    }

    /// Asks for a clip or a still, once.
    async fn ask(&self, record: &Record, link: &Link, device: &DeviceId, request: Request) -> Result<Came, Undone> {
        let asked = self.caused(record, link, device, request);
        let medium = self.media.request_once(asked).await?;
        if medium.progress == MediumProgress::Requested {
            let after = medium.request.comes_after(self.settler.nature.now());
            self.workers.fetch(&medium.account_id, &medium.id, after).await?;
        }
        self.audit_cause(Deed::Fetched, record, link, device).await?;
        Ok(Came::asked(medium.id))
    }

    /// Begins a capture, or prolongs the one that goes on, once.
    async fn capture(&self, record: &Record, link: &Link, asked: Medium) -> Result<Came, Undone> {
        if !self.records_captures {
            return Ok(Came::with("recording_off"));
        }
        let now = self.settler.nature.now();
        let is_late =
            now.duration_since(record.occurred_at) > SignedDuration::try_from(BEGINS_WITHIN).unwrap_or_default();
        if is_late && self.captures.asked(&asked.id).await?.is_none() {
            return Ok(Came::with("too_late"));
        }
        // First that, so that a word that the device is gone does not pass by the capture.
        let (account, device) = (&asked.account_id, &asked.device_id);
        let is_marked = self
            .views
            .device(account, device, now)
            .is_some_and(|seen| seen.known.captured);
        if !is_marked {
            self.devices.mark(account, device, Mark::Captured).await?;
            self.views.forget_device(account, device);
        }
        let begun = capture::begin(&self.captures, &asked, now).await?;
        let id = begun.medium_id().clone();
        let is_to_be_recorded = match &begun {
            Begun::Now(_) => true,
            // It may have been left before anybody was told to record it.
            Begun::Before(id) if *id == asked.id => {
                let medium = self.media.request_once(asked.clone()).await?;
                medium.progress == MediumProgress::Requested
            }
            Begun::Before(_) | Begun::Prolonged(_) => false,
        };
        if is_to_be_recorded {
            self.workers.record(&asked).await?;
        }
        self.audit_cause(Deed::Recorded, record, link, device).await?;
        Ok(Came {
            note: matches!(begun, Begun::Prolonged(_)).then_some("prolonged"),
            medium: Some(id),
        })
    }

    /// Publishes the event.
    pub(super) async fn announce(&self, record: &Record, link: &Link) -> Result<(), Undone> {
        let name = match &record.device_id {
            Some(device) => self
                .seen(&link.account_id, device)
                .await?
                .and_then(|seen| seen.known.name),
            None => None,
        };
        self.bus
            .announce(&record.announcement(&link.account_id, &link.user_id, name))
            .await?;
        Ok(())
    }

    /// Ring's user took back what they had allowed: the link ends, unless they linked again since.
    async fn unlink(&self, record: &Record, link: &Link) -> Result<Came, Undone> {
        let now_linked = self.settler.links.of_account(&link.account_id).await?;
        let Some(link) = now_linked.filter(Link::is_live) else {
            return Ok(Came::with("unlinked"));
        };
        if record.occurred_at < link.linked_at {
            return Ok(Came::with(OLDER));
        }
        let account = link.account_id.clone();
        self.settler.unlink(link, EndReason::RemovedAtRing).await?;
        self.views.forget_link(&account);
        Ok(Came::default())
    }
}
