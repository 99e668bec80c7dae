//! The queue -> recorded event, device state, effects.
//!
//! The event's record is the marker: it is written under a condition with its effects pending, before any of them. A
//! repeat finds it and does nothing; what was killed half-way is found pending, and goes on. Effects may come twice, so
//! each is one that may. A body that is signed and makes no sense goes to quarantine at once, an event of an account that
//! is not linked here is parked until it is.

mod config;

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
pub use config::Config;
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent};
use ring_partner::Ring;
use ring_partner::devices::DeviceId;
use ring_partner::error::Decision;
use ring_partner::users::AccountId;
use ring_partner::webhook::Webhook;
use shared::device::{self, store::Devices};
use shared::edge::batch::{self, BASE64, ENCODING, Outcome, Source};
use shared::edge::bus::{Bus, BusError};
use shared::edge::function::Function;
use shared::edge::queue::Queue;
use shared::edge::table::StoreError;
use shared::edge::{aws, clock};
use shared::event::store::Events;
use shared::event::{Effect, EventId, Progress, RESUME, Record};
use shared::grant::access::{Access, AccessError, CallError};
use shared::grant::store::GrantTable;
use shared::grant::vault::{Kms, Vault};
use shared::link::Link;
use shared::link::store::LinkTable;
use shared::world::Deployed;

/// The program's name.
pub const SERVICE: &str = env!("CARGO_PKG_NAME");

/// The longest detail-type that EventBridge takes, in bytes.
const LONGEST_DETAIL_TYPE: usize = 128;
/// How long an added device is asked for. In step with the function's time-out in the template.
const FETCH_WITHIN: Duration = Duration::from_secs(25);
/// How long a renewed token is waited for.
const REFRESH_WITHIN: Duration = Duration::from_secs(20);

/// The event processor.
#[derive(Debug)]
pub struct EventProcessor {
    source: Source,
    events: Events,
    links: LinkTable,
    devices: Devices,
    bus: Bus,
    ring: Ring,
    access: Access<Deployed, Function>,
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

impl EventProcessor {
    /// A processor with these settings.
    pub fn new(aws: &aws::SdkConfig, config: Config) -> Result<Self, ring_partner::client::SettingsError> {
        let refresh = Function::new(aws, config.token_refresh_function, REFRESH_WITHIN);
        Ok(Self {
            source: Source {
                queue: Queue::new(aws, config.events_queue_url),
                quarantine: Some(Queue::new(aws, config.quarantine_queue_url)),
            },
            events: Events::new(aws, config.events_table),
            links: LinkTable::new(aws, config.links_table),
            devices: Devices::new(aws, config.devices_table),
            bus: Bus::new(aws, config.event_bus_name),
            ring: config.ring.client()?,
            access: Access::new(
                GrantTable::new(aws, config.grants_table),
                Vault::new(Kms::new(aws, config.token_key_id)),
                refresh,
            ),
        })
    }

    /// Handles one batch.
    pub async fn handle(&self, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
        Ok(self
            .source
            .each(event.payload, async |message| self.message(message).await)
            .await)
    }

    async fn message(&self, message: &SqsMessage) -> Outcome {
        let taken = match batch::attribute(message, RESUME) {
            Some(id) => self.resume(&EventId::from(id.to_owned())).await,
            None => {
                let Some(body) = body_of(message) else {
                    return Outcome::Discard("undecodable");
                };
                let Ok(webhook) = Webhook::parse(&body) else {
                    return Outcome::Discard("unparsable");
                };
                let record = Record::of(&webhook, &body, sent_at(message));
                if record.is_too_old() {
                    return Outcome::Discard("too-old");
                }
                if record.kind.as_str().len() > LONGEST_DETAIL_TYPE {
                    return Outcome::Discard("type-too-long");
                }
                self.take(record).await
            }
        };
        match taken {
            Ok(()) => Outcome::Done,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "an event is tried again");
                Outcome::Retry
            }
        }
    }

    /// Takes an event from the queue: records it once, and has it take effect.
    async fn take(&self, record: Record) -> Result<(), Undone> {
        let Some(link) = self.link_of(&record).await? else {
            return self.park(record).await;
        };
        let record = self.recorded(record, &link).await?;
        match &record {
            Some(record) => self.take_effect(record, &link).await,
            None => Ok(()),
        }
    }

    /// The link that this event belongs to: of the account that it names, or that its device belongs to.
    async fn link_of(&self, record: &Record) -> Result<Option<Link>, StoreError> {
        let account = match (&record.account_id, &record.device_id) {
            (Some(account), _) => Some(account.clone()),
            (None, Some(device)) => self.devices.account_of(device).await?,
            (None, None) => None,
        };
        let Some(account) = account else { return Ok(None) };
        Ok(self.links.of_account(&account).await?.filter(Link::is_live))
    }

    /// Records an event whose effects are to come. What is returned is to take effect: this record, or one that was left
    /// pending; `None`: it was done before.
    async fn recorded(&self, record: Record, link: &Link) -> Result<Option<Record>, StoreError> {
        let pending = pending(record, link);
        match self.events.record(&pending).await {
            Ok(()) => {
                tracing::info!(
                    event.id = pending.event_id.as_str(),
                    event.kind = pending.kind.as_str(),
                    "event {} is recorded",
                    pending.event_id.as_str(),
                );
                Ok(Some(pending))
            }
            Err(StoreError::Conflict) => self.known(&pending.event_id, link).await,
            Err(error) => Err(error),
        }
    }

    /// An event that is recorded already.
    async fn known(&self, id: &EventId, link: &Link) -> Result<Option<Record>, StoreError> {
        let Some(known) = self.events.get(id).await? else {
            return Err(StoreError::Conflict);
        };
        match known.progress {
            Progress::Done => {
                tracing::info!(event.id = id.as_str(), "a repeat of event {} does nothing", id.as_str());
                Ok(None)
            }
            Progress::Pending { .. } => Ok(Some(known)),
            Progress::Parked => {
                let unparked = pending(known.clone(), link);
                self.events.unpark(&unparked, &known).await?;
                Ok(Some(unparked))
            }
        }
    }

    /// Parks an event whose account is not linked here, and looks once more: it may have been linked in this moment, and
    /// then nobody else would release it.
    async fn park(&self, record: Record) -> Result<(), Undone> {
        match self.events.park(&record).await {
            Ok(()) => tracing::info!(
                event.id = record.event_id.as_str(),
                "an event of no linked account is parked"
            ),
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
        self.resume(&record.event_id).await
    }

    /// Looks at a recorded event again.
    async fn resume(&self, id: &EventId) -> Result<(), Undone> {
        let Some(record) = self.events.get(id).await? else {
            return Ok(());
        };
        let Some(link) = self.link_of(&record).await? else {
            return Ok(());
        };
        match self.known(id, &link).await? {
            Some(record) => self.take_effect(&record, &link).await,
            None => Ok(()),
        }
    }

    async fn take_effect(&self, record: &Record, link: &Link) -> Result<(), Undone> {
        let Progress::Pending { effects } = &record.progress else {
            return Ok(());
        };
        for effect in effects {
            self.effect(*effect, record, link).await?;
        }
        self.events.done(&record.event_id).await?;
        Ok(())
    }

    async fn effect(&self, effect: Effect, record: &Record, link: &Link) -> Result<(), Undone> {
        match (effect, &record.device_id) {
            (Effect::DeviceState, Some(device)) => {
                if let Some(change) = device::change(record) {
                    self.devices.tell(&link.account_id, device, &change).await?;
                }
                Ok(())
            }
            // The others of the batch do not wait for longer than this.
            (Effect::FetchDevice, Some(device)) => tokio::time::timeout(FETCH_WITHIN, self.fetch(link, device))
                .await
                .map_err(|_| Undone::Slow)?,
            (Effect::DeviceState | Effect::FetchDevice, None) => Ok(()),
            (Effect::Announce, device) => {
                let name = match device {
                    Some(device) => self.device_name(&link.account_id, device).await?,
                    None => None,
                };
                self.bus
                    .announce(&record.announcement(&link.account_id, &link.user_id, name))
                    .await?;
                Ok(())
            }
        }
    }

    /// Asks Ring about a device that was added. One that is gone again, or not for us, is left as the events tell.
    async fn fetch(&self, link: &Link, device: &DeviceId) -> Result<(), Undone> {
        let asked_at = clock::now();
        let ring = &self.ring;
        let answer = self.access.call(&link.grant_id, asked_at, |token| async move {
            ring.device(&token, device).await
        });
        match answer.await {
            Ok(found) => Ok(self.devices.keep(&link.account_id, found, asked_at).await?),
            Err(CallError::Ring(error)) if matches!(error.decision(), Decision::Gone | Decision::OutOfScope) => {
                tracing::info!(
                    error = &error as &dyn std::error::Error,
                    "an added device is not within reach"
                );
                Ok(())
            }
            // The daily listing asks again once the account is linked anew.
            Err(CallError::Access(AccessError::RelinkRequired | AccessError::Ended)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn device_name(&self, account: &AccountId, device: &DeviceId) -> Result<Option<String>, StoreError> {
        Ok(self.devices.get(account, device).await?.and_then(|known| known.name))
    }
}

/// A record of this link's account with all its effects to come.
fn pending(record: Record, link: &Link) -> Record {
    let effects = record.effects();
    Record {
        account_id: Some(link.account_id.clone()),
        progress: Progress::Pending { effects },
        ..record
    }
}

/// The body as Ring sent it.
fn body_of(message: &SqsMessage) -> Option<Vec<u8>> {
    let text = message.body.as_deref().unwrap_or_default();
    match batch::attribute(message, ENCODING) {
        Some(BASE64) => STANDARD.decode(text.trim()).ok(),
        Some(_) => None,
        None => Some(text.as_bytes().to_vec()),
    }
}

/// When the intake queued it.
fn sent_at(message: &SqsMessage) -> Timestamp {
    let sent = message
        .attributes
        .get("SentTimestamp")
        .and_then(|sent| sent.parse().ok());
    sent.and_then(|sent| Timestamp::from_millisecond(sent).ok())
        .unwrap_or_else(clock::now)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use aws_lambda_events::event::sqs::SqsMessageAttribute;

    use super::*;

    fn message(body: &str, encoding: Option<&str>) -> SqsMessage {
        let mut message = SqsMessage::default();
        message.body = Some(body.to_owned());
        message.message_attributes = encoding
            .map(|encoding| {
                let mut attribute = SqsMessageAttribute::default();
                attribute.string_value = Some(encoding.to_owned());
                HashMap::from([(ENCODING.to_owned(), attribute)])
            })
            .unwrap_or_default();
        message
    }

    #[test]
    fn a_body_comes_out_as_the_intake_put_it_in() {
        assert_eq!(body_of(&message("{}", None)).unwrap(), b"{}");
        assert_eq!(body_of(&message("/+4= ", Some(BASE64))).unwrap(), b"\xff\xee");
        assert_eq!(body_of(&message(" ", Some(BASE64))).unwrap(), b"");
        assert_eq!(body_of(&message("???", Some(BASE64))), None);
        assert_eq!(body_of(&message("x", Some("rot13"))), None);
    }

    #[test]
    fn an_event_is_received_when_the_intake_queued_it() {
        let mut message = message("{}", None);
        message
            .attributes
            .insert("SentTimestamp".to_owned(), "1770989998000".to_owned());
        assert_eq!(
            sent_at(&message),
            Timestamp::from_millisecond(1_770_989_998_000).unwrap()
        );
    }
}
