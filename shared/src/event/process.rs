//! The walk of an event: recorded once, then its effects, then done.
//!
//! The marker is written under a condition, before any effect, with all of them in it. A repeat finds it; it looks for the
//! event's row in the history, and where there is none the event was left half-way, and goes on. Effects may come twice, so
//! each is one that may. While it is warm, an event reads nothing: links and devices are those of a moment ago.

use std::time::Duration;

use jiff::Timestamp;
use ring_partner::devices::DeviceId;
use ring_partner::error::Decision;
use ring_partner::users::AccountId;
use ring_partner::webhook::Webhook;

use super::ports::{DeviceEndpoint as _, Devices as _, Publisher as _, Records as _};
use super::{Delivery, Effect, EventId, Progress, Record, Step, Views};
use crate::device::{self, Known};
use crate::edge::batch::Outcome;
use crate::edge::bus::BusError;
use crate::edge::clock::signed;
use crate::edge::metrics::Metrics;
use crate::edge::table::StoreError;
use crate::grant::access::{Access, AccessError, CallError, Refresh};
use crate::link::Link;
use crate::link::ports::Links as _;
use crate::world::{EventWorld, Nature as _};

/// For how long whoever recorded an event is taken to be at it, so that a repeat in that time waits. In step with the time-out
/// of the program in the template: after it, nobody is.
pub const AT_IT_FOR: Duration = Duration::from_secs(60);
/// How long an added device is asked for. In step with the same time-out.
const FETCH_WITHIN: Duration = Duration::from_secs(25);
/// The longest detail-type that EventBridge takes, in bytes.
const LONGEST_DETAIL_TYPE: usize = 128;

/// Processes events.
#[derive(Debug)]
pub struct Processor<W: EventWorld, R> {
    /// Time and chance.
    pub nature: W::Nature,
    /// Where events are kept.
    pub records: W::Records,
    /// Whose accounts are linked.
    pub links: W::Links,
    /// Where devices are kept.
    pub devices: W::Devices,
    /// Who is told.
    pub bus: W::Bus,
    /// Ring.
    pub ring: W::Ring,
    /// The access tokens to ask it with.
    pub access: Access<W, R>,
    /// What was read a moment ago.
    pub views: Views,
    /// What is counted.
    pub metrics: Metrics,
    /// For how long events are kept.
    pub kept_for: Duration,
}

/// Why an event is tried again.
#[derive(Debug, thiserror::Error)]
enum Undone {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("Ring took too long to tell about a device")]
    Slow,
}

impl<W: EventWorld, R: Refresh> Processor<W, R> {
    /// A webhook whose signature was verified: its body as it came.
    pub async fn webhook(&self, body: &[u8], delivery: &Delivery) -> Outcome {
        let now = self.nature.now();
        let Ok(webhook) = Webhook::parse(body) else {
            return self.discard("unparsable");
        };
        let record = Record::of(&webhook, body, delivery, self.kept_for, now);
        if record.is_too_old() {
            return self.discard("too-old");
        }
        if record.kind.as_str().len() > LONGEST_DETAIL_TYPE {
            return self.discard("type-too-long");
        }
        self.measure_lag(&record, now);
        self.outcome(self.take(record, body).await)
    }

    /// An event that is to be looked at again: it was parked, or left half-way.
    pub async fn resume(&self, id: &EventId, message: &str) -> Outcome {
        self.outcome(self.look_again(id, message).await)
    }

    /// An event that is to be published again.
    pub async fn replay(&self, id: &EventId, message: &str) -> Outcome {
        self.outcome(self.publish_again(id, message).await)
    }

    fn outcome(&self, taken: Result<Outcome, Undone>) -> Outcome {
        taken.unwrap_or_else(|error| {
            self.metrics.count("events_retried", 1);
            tracing::warn!(error = &error as &dyn std::error::Error, "an event is tried again");
            Outcome::Retry
        })
    }

    fn discard(&self, reason: &'static str) -> Outcome {
        self.metrics.count("events_discarded", 1);
        Outcome::Discard(reason)
    }

    /// How long the event was on its way: from when it happened until Ring sent it, and from then until now. It is measured
    /// on each attempt; it never decides anything.
    fn measure_lag(&self, record: &Record, now: Timestamp) {
        if let Some(sent_at) = record.sent_at {
            self.metrics.time("delivery_lag_ms", now.duration_since(sent_at));
            self.metrics
                .time("ring_lag_ms", sent_at.duration_since(record.occurred_at));
        }
    }

    /// Takes an event from the queue: records it once, and has it take effect.
    async fn take(&self, come: Record, body: &[u8]) -> Result<Outcome, Undone> {
        let now = self.nature.now();
        let Some(link) = self.link_of(&come).await? else {
            return self.park(come, body).await;
        };
        let message = come.message.clone();
        let pending = self.pending(come, &link, &message).await?;
        match self.records.record(&pending, now).await {
            Ok(()) => {
                self.metrics.count("events_recorded", 1);
                tracing::info!(
                    event.id = pending.event_id.as_str(),
                    event.kind = pending.kind.as_str(),
                    "event {} is recorded",
                    pending.event_id.as_str(),
                );
                self.take_effect(&pending, &link).await
            }
            Err(StoreError::Conflict) => {
                let known = self.known(&pending, body).await?;
                self.go_on(known, Some(&link), &message).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The link that this event belongs to: of the account that it names, or that its device belongs to.
    async fn link_of(&self, record: &Record) -> Result<Option<Link>, StoreError> {
        let account = match (&record.account_id, &record.device_id) {
            (Some(account), _) => Some(account.clone()),
            (None, Some(device)) => self.devices.account_of(device).await?,
            (None, None) => None,
        };
        match account {
            Some(account) => self.link(&account).await,
            None => Ok(None),
        }
    }

    async fn link(&self, account: &AccountId) -> Result<Option<Link>, StoreError> {
        let now = self.nature.now();
        if let Some(link) = self.views.link(account, now) {
            return Ok(Some(link));
        }
        let link = self.links.of_account(account).await?.filter(Link::is_live);
        if let Some(link) = &link {
            self.views.keep_link(link, now);
        }
        Ok(link)
    }

    async fn device(&self, account: &AccountId, device: &DeviceId) -> Result<Option<Known>, StoreError> {
        let now = self.nature.now();
        if let Some(known) = self.views.device(account, device, now) {
            return Ok(Some(known));
        }
        let known = self.devices.get(account, device).await?;
        if let Some(known) = &known {
            self.views.keep_device(known, now);
        }
        Ok(known)
    }

    /// The record with all its effects to come.
    async fn pending(&self, record: Record, link: &Link, message: &str) -> Result<Record, StoreError> {
        let effects = record.effects();
        Ok(record.pending(&link.account_id, effects, message, self.nature.now()))
    }

    /// The marker that stands for this event already. What this repeat has of its own is kept beside it.
    async fn known(&self, come: &Record, body: &[u8]) -> Result<Record, Undone> {
        // It is gone again: it ran out in this moment.
        let known = self.records.get(&come.event_id).await?.ok_or(StoreError::Conflict)?;
        self.metrics.count("events_repeated", 1);
        if let Some(repeat) = known.repeated_by(come, body) {
            if repeat.content != known.content {
                self.metrics.count("events_that_differ", 1);
                tracing::warn!(
                    event.id = known.event_id.as_str(),
                    "a repeat of event {} says something else; the first one stands",
                    known.event_id.as_str(),
                );
            }
            self.records.repeated(&known.event_id, &repeat).await?;
        }
        Ok(known)
    }

    /// An event that is recorded already: done, left half-way, somebody's at this moment, or parked.
    async fn go_on(&self, known: Record, link: Option<&Link>, message: &str) -> Result<Outcome, Undone> {
        let Some(place) = known.place() else {
            return match link {
                Some(link) => self.release(known, link, message).await,
                None => Ok(Outcome::Done),
            };
        };
        if self.records.past(&place).await?.is_some() {
            tracing::info!(
                event.id = known.event_id.as_str(),
                "a repeat of event {} does nothing",
                known.event_id.as_str(),
            );
            return Ok(Outcome::Done);
        }
        let somebody = known.message != message && self.nature.now() < known.recorded_at + signed(AT_IT_FOR);
        if somebody {
            return Ok(Outcome::Retry);
        }
        self.metrics.count("events_resumed", 1);
        match link {
            Some(link) => self.take_effect(&known, link).await,
            None => self.end(&known).await,
        }
    }

    /// A parked event takes its course.
    async fn release(&self, parked: Record, link: &Link, message: &str) -> Result<Outcome, Undone> {
        let released = self.pending(parked.clone(), link, message).await?;
        self.records.release(&released, &parked).await?;
        self.metrics.count("events_released", 1);
        self.take_effect(&released, link).await
    }

    /// Parks an event whose account is not linked here, and looks once more: it may have been linked in this moment, and
    /// then nobody else would release it.
    async fn park(&self, record: Record, body: &[u8]) -> Result<Outcome, Undone> {
        match self.records.park(&record, self.nature.now()).await {
            Ok(()) => {
                self.metrics.count("events_parked", 1);
                tracing::info!(
                    event.id = record.event_id.as_str(),
                    "an event of no linked account is parked"
                );
            }
            Err(StoreError::Conflict) => {
                self.known(&record, body).await?;
            }
            Err(error) => return Err(error.into()),
        }
        self.look_again(&record.event_id, &record.message).await
    }

    async fn look_again(&self, id: &EventId, message: &str) -> Result<Outcome, Undone> {
        let Some(known) = self.records.get(id).await? else {
            return Ok(Outcome::Done);
        };
        let link = self.link_of(&known).await?;
        self.go_on(known, link.as_ref(), message).await
    }

    /// The account is linked no more: none of the effects can come. That is the end of the event, so that nobody looks again.
    async fn end(&self, record: &Record) -> Result<Outcome, Undone> {
        let step = Step {
            effect: "none".to_owned(),
            at: self.nature.now(),
            note: Some("unlinked".to_owned()),
        };
        self.done(record, vec![step], Vec::new()).await
    }

    async fn take_effect(&self, record: &Record, link: &Link) -> Result<Outcome, Undone> {
        let Progress::Pending { effects } = &record.progress else {
            return Ok(Outcome::Done);
        };
        let mut ledger = Vec::with_capacity(effects.len());
        for effect in effects {
            let note = self.effect(*effect, record, link).await?;
            ledger.push(Step {
                effect: effect.as_str().to_owned(),
                at: self.nature.now(),
                note: note.map(str::to_owned),
            });
        }
        self.done(record, ledger, Vec::new()).await
    }

    async fn done(&self, record: &Record, ledger: Vec<Step>, media: Vec<String>) -> Result<Outcome, Undone> {
        let Some(account) = &record.account_id else {
            return Ok(Outcome::Done);
        };
        self.records.done(&record.past(account, ledger, media)).await?;
        Ok(Outcome::Done)
    }

    /// One effect, and what there is to say about it.
    async fn effect(&self, effect: Effect, record: &Record, link: &Link) -> Result<Option<&'static str>, Undone> {
        match (effect, &record.device_id) {
            (Effect::DeviceState, Some(device)) => self.tell(record, device, link).await,
            // The others of the batch do not wait for longer than this.
            (Effect::FetchDevice, Some(device)) => tokio::time::timeout(FETCH_WITHIN, self.fetch(link, device))
                .await
                .map_err(|_| Undone::Slow)?,
            (Effect::DeviceState | Effect::FetchDevice, None) => Ok(None),
            (Effect::Announce, _) => {
                self.announce(record, link).await?;
                Ok(None)
            }
        }
    }

    async fn tell(&self, record: &Record, device: &DeviceId, link: &Link) -> Result<Option<&'static str>, Undone> {
        let Some(change) = device::change(record) else {
            return Ok(None);
        };
        let stands = self.devices.tell(&link.account_id, device, &change).await?;
        self.views.forget_device(&link.account_id, device);
        Ok((!stands).then_some("older"))
    }

    /// Asks Ring about a device that was added. One that is gone again, or not for us, is left as the events tell.
    async fn fetch(&self, link: &Link, device: &DeviceId) -> Result<Option<&'static str>, Undone> {
        let asked_at = self.nature.now();
        let ring = &self.ring;
        // Linked anew a moment ago, it has another grant.
        let link = self.links.of_account(&link.account_id).await?;
        let Some(link) = link.filter(Link::is_live) else {
            return Ok(Some("unlinked"));
        };
        let answer = self.access.call(&link.grant_id, asked_at, |token| async move {
            ring.device(&token, device).await
        });
        match answer.await {
            Ok(found) => {
                self.devices.keep(&link.account_id, found, asked_at).await?;
                self.views.forget_device(&link.account_id, device);
                Ok(None)
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
                Ok(Some("out_of_reach"))
            }
            // The daily listing asks again once the account is linked anew.
            Err(CallError::Access(AccessError::RelinkRequired | AccessError::Ended)) => Ok(Some("no_token")),
            Err(error) => Err(error.into()),
        }
    }

    async fn announce(&self, record: &Record, link: &Link) -> Result<(), Undone> {
        let name = match &record.device_id {
            Some(device) => self
                .device(&link.account_id, device)
                .await?
                .and_then(|known| known.name),
            None => None,
        };
        self.bus
            .announce(&record.announcement(&link.account_id, &link.user_id, name))
            .await?;
        Ok(())
    }

    /// Publishes an event again, and does first what was left of it.
    async fn publish_again(&self, id: &EventId, message: &str) -> Result<Outcome, Undone> {
        let Some(known) = self.records.get(id).await? else {
            return Ok(Outcome::Done);
        };
        let Some(link) = self.link_of(&known).await? else {
            return Ok(Outcome::Done);
        };
        let is_done = match known.place() {
            Some(place) => self.records.past(&place).await?.is_some(),
            None => false,
        };
        if !is_done {
            return self.go_on(known, Some(&link), message).await;
        }
        self.announce(&known, &link).await?;
        self.metrics.count("events_replayed", 1);
        Ok(Outcome::Done)
    }
}
