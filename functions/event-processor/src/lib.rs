//! The queue -> recorded event, device state, effects.
//!
//! Each message is an event's body as the intake queued it, or asks for a recorded event to be looked at again or to be
//! published again; a body that no queue takes lies in the bucket, when it was put back from there. What becomes of it is [`shared::event::process`]. A body that is signed and makes no sense goes to
//! quarantine at once; what may succeed later stays in the queue.

mod config;

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
pub use config::Config;
use lambda_runtime::{Error, LambdaEvent};
use ring_partner::webhook::Webhook;
use shared::audit::store::Audit;
use shared::capture::session::live::Closer;
use shared::capture::session::store::SessionTable;
use shared::capture::store::Slots;
use shared::device::store::Devices;
use shared::edge::batch::{self, BASE64, ENCODING, Outcome, Source};
use shared::edge::bus::Bus;
use shared::edge::function::Function;
use shared::edge::metrics::Metrics;
use shared::edge::quarantine::{OBJECT, Quarantine};
use shared::edge::queue::Queue;
use shared::edge::{aws, clock};
use shared::event::ports::Queues;
use shared::event::process::Processor;
use shared::event::silence::{Heart, store::Pulse};
use shared::event::store::Events;
use shared::event::synthetic::{MARK, is_synthetic};
use shared::event::{Delivery, EventId, GONE, REPLAY, RESUME, Views};
use shared::grant::access::Access;
use shared::grant::store::GrantTable;
use shared::grant::vault::{Kms, Vault};
use shared::link::effects::Downstream;
use shared::link::settle::Settler;
use shared::link::store::{LinkLedger, LinkTable};
use shared::media::store::Media;
use shared::world::{Deployed, System};

/// The program's name.
pub const SERVICE: &str = env!("CARGO_PKG_NAME");

/// How long a renewed token is waited for.
const REFRESH_WITHIN: Duration = Duration::from_secs(20);

/// The event processor.
#[derive(Debug)]
pub struct EventProcessor {
    source: Source,
    processor: Processor<Deployed, Function>,
    quarantine: Quarantine,
    heart: Heart,
    pulse: Pulse,
}

impl EventProcessor {
    /// A processor with these settings.
    pub fn new(aws: &aws::SdkConfig, config: Config) -> Result<Self, ring_partner::client::SettingsError> {
        let refresh = Function::new(aws, config.token_refresh_function, REFRESH_WITHIN);
        let grants = GrantTable::new(aws, config.grants_table);
        let audit = Audit::new(
            aws,
            config.audit_table,
            config.audit_retention_days,
            &config.links_table,
        );
        let ring = config.ring.client()?;
        let live = Closer {
            sessions: SessionTable::new(aws, &config.devices_table),
            ring: ring.clone(),
        };
        let devices = Devices::new(aws, config.devices_table);
        let events = Events::new(aws, &config.events_table);
        let events_queue = Queue::new(aws, config.events_queue_url);
        let bus = Bus::new(aws, config.event_bus_name);
        let captures = config.captures_queue_url.map(|url| Queue::new(aws, url));
        let records_captures = captures.is_some();
        Ok(Self {
            heart: Heart::default(),
            pulse: Pulse::new(aws, config.events_table),
            source: Source {
                queue: events_queue.clone(),
                quarantine: Some(Queue::new(aws, &config.quarantine_queue_url)),
            },
            quarantine: Quarantine::new(aws, config.media_bucket),
            processor: Processor {
                settler: Settler {
                    nature: System,
                    grants: grants.clone(),
                    links: LinkLedger::new(LinkTable::new(aws, config.links_table), grants.clone(), audit.clone()),
                    effects: Downstream {
                        audit,
                        devices: devices.clone(),
                        live,
                        events: events.clone(),
                        events_queue,
                        bus: bus.clone(),
                        watch: None,
                    },
                    ring,
                    access: Access::new(grants, Vault::new(Kms::new(aws, config.token_key_id)), refresh),
                },
                records: events,
                devices,
                captures: Slots::new(aws, &config.media_table),
                media: Media::new(aws, config.media_table),
                workers: Queues {
                    media: Queue::new(aws, config.media_queue_url),
                    captures,
                },
                bus,
                views: Views::default(),
                metrics: Metrics::new(&config.metrics_namespace, SERVICE),
                kept_for: config.history_kept_for,
                regions: config.privacy_regions,
                removed_media: config.removed_media,
                records_captures,
            },
        })
    }

    /// Handles one batch.
    pub async fn handle(&self, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
        let came = event.payload.records.iter().filter(|message| is_new(message)).count();
        let each = self
            .source
            .each(event.payload, async |message| self.message(message).await);
        let (response, ()) = tokio::join!(each, self.beat(came as u64));
        self.processor.metrics.flush(clock::now());
        Ok(response)
    }

    /// So many webhooks came: whoever listens for silence learns of them, at most once a minute from each process.
    async fn beat(&self, came: u64) {
        let now = clock::now();
        if let Some(events) = self.heart.saw(came, now)
            && let Err(error) = self.pulse.beat(events, now).await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "that events came is not told on"
            );
        }
    }

    async fn message(&self, message: &SqsMessage) -> Outcome {
        let id = message.message_id.clone().unwrap_or_default();
        if let Some(event) = batch::attribute(message, RESUME) {
            return self.processor.resume(&EventId::from(event.to_owned()), &id).await;
        }
        if let Some(event) = batch::attribute(message, REPLAY) {
            return self.processor.replay(&EventId::from(event.to_owned()), &id).await;
        }
        if batch::attribute(message, GONE).is_some() {
            let gone = serde_json::from_str(message.body.as_deref().unwrap_or_default());
            return match gone {
                Ok(gone) => self.processor.gone(&gone).await,
                Err(_) => Outcome::Discard("unparsable"),
            };
        }
        let body = match batch::attribute(message, OBJECT) {
            Some(key) => match self.quarantine.large(key).await {
                Ok(body) => body,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a large body is not at hand yet"
                    );
                    return Outcome::Retry;
                }
            },
            None => body_of(message),
        };
        let Some(body) = body else {
            return Outcome::Discard("undecodable");
        };
        let delivery = Delivery {
            message: id,
            received_at: batch::queued_at(message).unwrap_or_else(clock::now),
        };
        self.processor.webhook(&body, &delivery).await
    }
}

/// Whether this is a webhook that came just now: no other try of one, and nothing of our own, which would drown Ring's silence.
fn is_new(message: &SqsMessage) -> bool {
    let ours = [RESUME, REPLAY, GONE]
        .iter()
        .any(|name| batch::attribute(message, name).is_some());
    !ours && batch::received(message) <= 1 && !is_synthetic_message(message)
}

/// Whether it carries a synthetic event. Few bodies have the mark in them, and only those are read twice.
fn is_synthetic_message(message: &SqsMessage) -> bool {
    let Some(body) = body_of(message) else {
        return false;
    };
    let marked = body.windows(MARK.len()).any(|text| text == MARK.as_bytes());
    marked && Webhook::parse(&body).is_ok_and(|webhook| is_synthetic(&webhook))
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
    fn only_a_webhook_that_came_just_now_counts_against_silence() {
        let mut again = message("{}", None);
        again
            .attributes
            .insert("ApproximateReceiveCount".to_owned(), "2".to_owned());
        let mut ours = message("evt_1", Some("evt_1"));
        let attribute = ours.message_attributes.remove(ENCODING).unwrap();
        ours.message_attributes.insert(REPLAY.to_owned(), attribute);
        assert!(is_new(&message("{}", None)));
        assert!(!is_new(&again));
        assert!(!is_new(&ours));
        let (synthetic, _) = shared::event::synthetic::made("one", clock::now());
        assert!(!is_new(&message(&synthetic, None)));
        assert!(is_new(&message(&format!(r#"{{"said": "{MARK}"}}"#), None)));
    }
}
