//! The walk of an event: recorded once, then its effects, then done.
//!
//! The marker is written under a condition, before any effect, with all of them in it. A repeat finds it; it looks for the
//! event's row in the history, and where there is none the event was left half-way, and goes on. Effects may come twice, so
//! each is one that may. While it is warm, an event reads nothing: links and devices are those of a moment ago.

use std::time::Duration;

use jiff::Timestamp;
use ring_partner::devices::DeviceId;
use ring_partner::users::AccountId;
use ring_partner::webhook::Webhook;

use super::ports::{Devices as _, Records as _};
use super::views::Seen;
use super::{Delivery, EventId, Plan, Record, Step, Views, synthetic};
use crate::device::Gone;
use crate::edge::batch::Outcome;
use crate::edge::bus::BusError;
use crate::edge::clock::signed;
use crate::edge::metrics::Metrics;
use crate::edge::queue::QueueError;
use crate::edge::table::StoreError;
use crate::edge::telemetry;
use crate::grant::access::{CallError, Refresh};
use crate::link::Link;
use crate::link::ports::Links as _;
use crate::link::settle::{SettleError, Settler};
use crate::media::RemovedMedia;
use crate::policy::Regions;
use crate::world::{EventWorld, Nature as _};

mod effects;

/// For how long whoever recorded an event is taken to be at it, so that a repeat in that time waits. In step with the time-out
/// of the program in the template: after it, nobody is.
pub const AT_IT_FOR: Duration = Duration::from_secs(60);
/// The longest detail-type that EventBridge takes, in bytes.
const LONGEST_DETAIL_TYPE: usize = 128;

/// Processes events.
#[derive(Debug)]
pub struct Processor<W: EventWorld, R> {
    /// The accounts' links and what opens them, Ring, time and chance; it ends links, too.
    pub settler: Settler<W, R>,
    /// Where events are kept.
    pub records: W::Records,
    /// Where devices are kept.
    pub devices: W::Devices,
    /// Where media are kept.
    pub media: W::Media,
    /// Who has which device to record.
    pub captures: W::Captures,
    /// Who fetches and records.
    pub workers: W::Workers,
    /// Who is told.
    pub bus: W::Bus,
    /// What was read a moment ago.
    pub views: Views,
    /// What is counted.
    pub metrics: Metrics,
    /// For how long events are kept.
    pub kept_for: Duration,
    /// Where more care is taken with privacy zones than a policy might.
    pub regions: Regions,
    /// What becomes of a removed device's media.
    pub removed_media: RemovedMedia,
    /// Whether anybody records captures here.
    pub records_captures: bool,
}

/// Why an event is tried again.
#[derive(Debug, thiserror::Error)]
enum Undone {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Settle(#[from] SettleError),
    #[error("Ring took too long to tell about a device")]
    Slow,
}

impl<W: EventWorld, R: Refresh> Processor<W, R> {
    /// A webhook whose signature was verified: its body as it came.
    pub async fn webhook(&self, body: &[u8], delivery: &Delivery) -> Outcome {
        let now = self.settler.nature.now();
        let Ok(webhook) = Webhook::parse(body) else {
            return self.discard("unparsable");
        };
        let record = Record::of(&webhook, body, delivery, self.kept_for, now);
        if synthetic::is_synthetic(&webhook) {
            return self.outcome(self.keep_synthetic(record).await);
        }
        if record.is_too_old() {
            return self.discard("too-old");
        }
        if record.kind.as_str().len() > LONGEST_DETAIL_TYPE {
            return self.discard("type-too-long");
        }
        self.measure_lag(&record, now);
        self.outcome(self.take(record, body).await)
    }

    /// Records a synthetic event, as far as a day: it waits for no account, has no effects, and no lag that is Ring's.
    async fn keep_synthetic(&self, record: Record) -> Result<Outcome, Undone> {
        let now = self.settler.nature.now();
        let record = Record {
            expires_at: (now + signed(synthetic::KEPT_FOR)).as_second(),
            ..record
        };
        match self.records.record(&record, now).await {
            Ok(()) => self.metrics.count("synthetic_events_recorded", 1),
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Outcome::Done)
    }

    /// An event that is to be looked at again: it was parked, or left half-way.
    pub async fn resume(&self, id: &EventId, message: &str) -> Outcome {
        self.outcome(self.look_again(id, message).await)
    }

    /// An event that is to be published again.
    pub async fn replay(&self, id: &EventId, message: &str) -> Outcome {
        self.outcome(self.publish_again(id, message).await)
    }

    /// A device that a listing did not show any more.
    pub async fn gone(&self, gone: &Gone) -> Outcome {
        self.outcome(self.device_is_gone(gone).await)
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
        let now = self.settler.nature.now();
        let Some(link) = self.link_of(&come).await? else {
            return self.park(come, body).await;
        };
        let message = come.message.clone();
        let pending = self.pending(come, &link, &message).await?;
        match self.records.record(&pending, now).await {
            Ok(()) => {
                self.metrics.count("events_recorded", 1);
                if telemetry::tells_of(pending.event_id.as_str()) {
                    tracing::info!(
                        event.id = pending.event_id.as_str(),
                        event.kind = pending.kind.as_str(),
                        "event {} is recorded",
                        pending.event_id.as_str(),
                    );
                }
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
        let now = self.settler.nature.now();
        if let Some(link) = self.views.link(account, now) {
            return Ok(Some(link));
        }
        let link = self.settler.links.of_account(account).await?.filter(Link::is_live);
        if let Some(link) = &link {
            self.views.keep_link(link, now);
        }
        Ok(link)
    }

    /// A device and the policy that holds for it: its own, or its link's.
    async fn seen(&self, account: &AccountId, device: &DeviceId) -> Result<Option<Seen>, StoreError> {
        let now = self.settler.nature.now();
        if let Some(seen) = self.views.device(account, device, now) {
            return Ok(Some(seen));
        }
        let Some(known) = self.devices.get(account, device).await? else {
            return Ok(None);
        };
        let policy = match &known.policy {
            Some(policy) => policy.clone(),
            None => self.devices.link_policy(account).await?.unwrap_or_default(),
        };
        let seen = Seen { known, policy };
        self.views.keep_device(&seen, now);
        Ok(Some(seen))
    }

    /// The record with all its effects to come.
    async fn pending(&self, record: Record, link: &Link, message: &str) -> Result<Record, StoreError> {
        let seen = match &record.device_id {
            Some(device) => self.seen(&link.account_id, device).await?,
            None => None,
        };
        let plan = Plan::of(&record, seen.as_ref(), &self.regions);
        Ok(record.pending(&link.account_id, plan, message, self.settler.nature.now()))
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
        let somebody = known.message != message && self.settler.nature.now() < known.recorded_at + signed(AT_IT_FOR);
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
        match self.records.park(&record, self.settler.nature.now()).await {
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
            at: self.settler.nature.now(),
            note: Some("unlinked".to_owned()),
        };
        self.done(record, vec![step], Vec::new()).await
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
