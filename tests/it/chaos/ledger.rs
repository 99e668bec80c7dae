//! What was sent, what is in the devices' histories, and what the bus was told: each event is looked for in all three, by its
//! device and the millisecond at which it happened. No id is worked out here, so that two ids for one event would show.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_eventbridge::types::Target;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, QueueAttributeName};
use jiff::Timestamp;
use local::outside::{Home, claim};
use local::{Failure, Stack};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use uuid::Uuid;

use super::text;
use crate::published::holds;

/// An event, as everybody can tell it: its device, and when it happened in epoch milliseconds.
pub(super) type Event = (String, i64);

/// What was found of one event.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The ids of its entries in the history of its device.
    pub(super) entries: Vec<String>,
    /// The ids that the bus was told it under.
    pub(super) announced: Vec<String>,
}

/// All that was found.
#[derive(Debug, Default)]
pub(super) struct Ledger(pub(super) BTreeMap<Event, Found>);

/// What the ledger comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Sent events with one entry and one id, announced at least once.
    pub(super) ok: usize,
    /// Sent, and without an entry or an announcement.
    pub(super) lost: Vec<Event>,
    /// Found, and never sent.
    pub(super) unexpected: Vec<Event>,
    /// More than one entry, or more than one id.
    pub(super) duplicated: Vec<Event>,
    /// How often the bus was told again what it knew: allowed, and counted.
    pub(super) announced_again: usize,
}

impl Ledger {
    /// Adds the history of a device, as the API shows it to whom it belongs to.
    pub(super) async fn read_history(&mut self, home: &Home<'_>, device: &str) -> Result<(), Failure> {
        let mut cursor = String::new();
        loop {
            let route = format!("/v1/devices/{device}/events?limit=100{cursor}");
            let page = home.call(Method::GET, &route, None).await?;
            let page = page.must_be(StatusCode::OK, "a device's history can be read")?;
            for item in page.body["items"].as_array().into_iter().flatten() {
                let event = (text(&item["device_id"]), at(&item["occurred_at"])?);
                self.0.entry(event).or_default().entries.push(text(&item["event_id"]));
            }
            match page.body["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(()),
            }
        }
    }

    /// Adds what the bus was told.
    pub(super) fn hear(&mut self, announcements: &[Value]) -> Result<(), Failure> {
        for detail in announcements {
            let event = (text(&detail["device_id"]), at(&detail["occurred_at"])?);
            self.0
                .entry(event)
                .or_default()
                .announced
                .push(text(&detail["event_id"]));
        }
        Ok(())
    }

    pub(super) fn verdict(&self, sent: &BTreeSet<Event>) -> Verdict {
        let mut verdict = Verdict::default();
        for event in sent {
            let nothing = Found::default();
            let found = self.0.get(event).unwrap_or(&nothing);
            let ids: BTreeSet<_> = found.entries.iter().chain(&found.announced).collect();
            if found.entries.is_empty() || found.announced.is_empty() {
                verdict.lost.push(event.clone());
            } else if found.entries.len() > 1 || ids.len() > 1 {
                verdict.duplicated.push(event.clone());
            } else {
                verdict.ok += 1;
                verdict.announced_again += found.announced.len() - 1;
            }
        }
        verdict.unexpected = self.0.keys().filter(|event| !sent.contains(*event)).cloned().collect();
        // One id stands for one event.
        let mut known: BTreeMap<&String, &Event> = BTreeMap::new();
        for (event, found) in &self.0 {
            for id in found.entries.iter().chain(&found.announced) {
                if known.insert(id, event).is_some_and(|other| other != event) {
                    verdict.duplicated.push(event.clone());
                }
            }
        }
        verdict
    }
}

impl Verdict {
    /// Fails unless nothing is lost, unexpected or duplicated, and shows what is.
    pub(super) fn must_be_clean(&self) -> Result<(), Failure> {
        let some = |events: &[Event]| events.iter().take(5).cloned().collect::<Vec<_>>();
        let wrong = (some(&self.lost), some(&self.unexpected), some(&self.duplicated));
        let clean = self.lost.is_empty() && self.unexpected.is_empty() && self.duplicated.is_empty();
        claim(clean, "no event is lost, unexpected or duplicated", &wrong)
    }
}

fn at(time: &Value) -> Result<i64, Failure> {
    let at: Result<Timestamp, _> = text(time).parse();
    at.map(Timestamp::as_millisecond)
        .map_err(|error| Failure::new(format!("{time} is no time")).because(error.to_string()))
}

/// A queue of the test's own that hears what is published of Ring's events.
pub(super) struct Ear {
    queue: String,
    rule: String,
}

impl Ear {
    pub(super) async fn on_the_bus(stack: &Stack) -> Result<Self, Failure> {
        let rule = format!("ear-{}", Uuid::new_v4().simple());
        let heard = async {
            let aws = stack.aws();
            let made = aws.queues.create_queue().queue_name(&rule).send().await?;
            let queue = made.queue_url.unwrap_or_default();
            let asked = aws.queues.get_queue_attributes().queue_url(&queue);
            let asked = asked.attribute_names(QueueAttributeName::QueueArn).send().await?;
            let arn = asked
                .attributes
                .and_then(|mut found| found.remove(&QueueAttributeName::QueueArn));
            let bus = stack.output("EventBusName")?;
            let pattern = r#"{"source":["ring.partner"]}"#;
            let put = aws.buses.put_rule().name(&rule).event_bus_name(bus);
            put.event_pattern(pattern).send().await?;
            let target = Target::builder().id("queue").arn(arn.unwrap_or_default()).build()?;
            let put = aws.buses.put_targets().rule(&rule).event_bus_name(bus).targets(target);
            put.send().await?;
            Ok::<_, Box<dyn std::error::Error>>(queue)
        };
        let queue = heard
            .await
            .map_err(|error| Failure::new("The bus can't be heard").because(format!("{error:?}")))?;
        Ok(Self { queue, rule })
    }

    /// All of Ring's events that were published since, in no order; the queue is empty afterwards. Whatever was published is held
    /// to its schema.
    pub(super) async fn heard(&self, stack: &Stack) -> Result<Vec<Value>, Failure> {
        let queues = &stack.aws().queues;
        let failed =
            |error: &dyn std::fmt::Debug| Failure::new("What the bus said can't be read").because(format!("{error:?}"));
        let mut all = Vec::new();
        loop {
            let received = queues
                .receive_message()
                .queue_url(&self.queue)
                .max_number_of_messages(10);
            let messages = received
                .send()
                .await
                .map_err(|error| failed(&error))?
                .messages
                .unwrap_or_default();
            if messages.is_empty() {
                return Ok(all);
            }
            let mut delete = queues.delete_message_batch().queue_url(&self.queue);
            for (number, message) in messages.iter().enumerate() {
                let published: Value =
                    serde_json::from_str(message.body().unwrap_or_default()).map_err(|e| failed(&e))?;
                holds(&published);
                let detail = &published["detail"];
                if text(&detail["schema"]).starts_with("ring_event/") {
                    all.push(detail.clone());
                }
                let entry = DeleteMessageBatchRequestEntry::builder()
                    .id(number.to_string())
                    .receipt_handle(message.receipt_handle().unwrap_or_default());
                delete = delete.entries(entry.build().map_err(|error| failed(&error))?);
            }
            delete.send().await.map_err(|error| failed(&error))?;
        }
    }

    pub(super) async fn closed(self, stack: &Stack) -> Result<(), Failure> {
        let gone = async {
            let (aws, bus) = (stack.aws(), stack.output("EventBusName")?);
            let removed = aws.buses.remove_targets().rule(&self.rule).event_bus_name(bus);
            removed.ids("queue").send().await?;
            aws.buses
                .delete_rule()
                .name(&self.rule)
                .event_bus_name(bus)
                .send()
                .await?;
            aws.queues.delete_queue().queue_url(&self.queue).send().await?;
            Ok::<_, Box<dyn std::error::Error>>(())
        };
        gone.await
            .map_err(|error| Failure::new("The rule can't be removed").because(format!("{error:?}")))
    }
}
