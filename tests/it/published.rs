//! Everything that the bus carries while the tests run, held to its schema: after each test, what was published since the
//! last one.

use std::collections::BTreeMap;
use std::sync::Mutex;

use aws_sdk_eventbridge::types::Target;
use aws_sdk_sqs::types::QueueAttributeName;
use jsonschema::Validator;
use local::Stack;
use serde_json::Value;

use crate::samples::schema;

/// What was heard of the bus.
pub(crate) struct Published {
    queue: String,
    /// Of each kind, how many.
    seen: Mutex<BTreeMap<String, usize>>,
    /// Why each capture ended, by its medium.
    captures: Mutex<BTreeMap<String, String>>,
}

impl Published {
    /// From now on everything is heard.
    pub(crate) async fn overheard(stack: &Stack) -> Self {
        let (aws, name) = (stack.aws(), "published");
        let made = aws
            .queues
            .create_queue()
            .queue_name(name)
            .send()
            .await
            .expect("a queue");
        let queue = made.queue_url.expect("its URL");
        let asked = aws.queues.get_queue_attributes().queue_url(&queue);
        let asked = asked.attribute_names(QueueAttributeName::QueueArn).send().await;
        let mut found = asked.expect("its attributes").attributes.expect("its attributes");
        let arn = found.remove(&QueueAttributeName::QueueArn).expect("its ARN");
        let bus = stack.output("EventBusName").expect("the bus");
        let put = aws.buses.put_rule().name(name).event_bus_name(bus);
        let put = put.event_pattern(r#"{"source":["ring.partner"]}"#).send().await;
        put.expect("a rule");
        let target = Target::builder().id("queue").arn(arn).build().expect("a target");
        let put = aws.buses.put_targets().rule(name).event_bus_name(bus).targets(target);
        put.send().await.expect("the rule leads to the queue");
        Self {
            queue,
            seen: Mutex::default(),
            captures: Mutex::default(),
        }
    }

    /// Holds what was published since the last time to its schemas.
    pub(crate) async fn hold(&self, stack: &Stack) {
        loop {
            let receive = stack.aws().queues.receive_message().queue_url(&self.queue);
            let received = receive.max_number_of_messages(10).send().await;
            let messages = received.expect("what was published").messages.unwrap_or_default();
            if messages.is_empty() {
                return;
            }
            for message in messages {
                let event: Value = serde_json::from_str(message.body().unwrap_or_default()).expect("an event");
                let receipt = message.receipt_handle().unwrap_or_default();
                let delete = stack.aws().queues.delete_message().queue_url(&self.queue);
                delete.receipt_handle(receipt).send().await.expect("it was heard");
                holds(&event);
                let kind = event["detail-type"].as_str().unwrap_or_default();
                if kind == "capture_finished" {
                    let said = |name: &str| event["detail"][name].as_str().unwrap_or_default().to_owned();
                    let mut captures = self.captures.lock().expect("nobody panics with it");
                    captures.insert(said("medium_id"), said("reason"));
                }
                let mut seen = self.seen.lock().expect("nobody panics with it");
                *seen.entry(kind.to_owned()).or_default() += 1;
            }
        }
    }

    /// Why this capture ended, if that was heard.
    pub(crate) fn capture_ended(&self, medium: &str) -> Option<String> {
        self.captures
            .lock()
            .expect("nobody panics with it")
            .get(medium)
            .cloned()
    }

    /// How many of this kind were heard so far.
    pub(crate) fn seen(&self, kind: &str) -> usize {
        let seen = self.seen.lock().expect("nobody panics with it");
        seen.get(kind).copied().unwrap_or(0)
    }
}

/// Holds an event of the bus to the schema that it names.
#[track_caller]
pub(crate) fn holds(event: &Value) {
    let detail = &event["detail"];
    let name = detail["schema"]
        .as_str()
        .unwrap_or_else(|| panic!("an event names no schema: {event:#}"));
    let schema: Validator = schema(&format!("{}.json", name.replace('/', ".")));
    if let Err(error) = schema.validate(detail) {
        panic!("{name}, at {:?}: {error} in {event:#}", error.instance_path());
    }
    // What is not of Ring goes by the name of its schema.
    let kind = event["detail-type"].as_str().unwrap_or_default();
    match name {
        "ring_event/1" => assert_eq!(detail["type"], kind, "{event:#}"),
        _ => assert_eq!(format!("{kind}/1"), name, "{event:#}"),
    }
}
