//! Where something is kept or said: the functions' logs, tables, queues, the bus, objects, answers.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_eventbridge::types::Target;
use aws_sdk_lambda::types::Environment;
use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use local::outside::Answer;
use local::{Failure, Stack};
use uuid::Uuid;

use super::{Sought, forms, whole};

/// A message that was looked at comes back after so long.
const BACK_AFTER_SECONDS: i32 = 2;

/// What was found where.
#[derive(Debug)]
pub(super) struct Hit {
    /// The kind of place.
    pub(super) kind: &'static str,
    /// What is there. The secret itself is not shown.
    #[expect(dead_code, reason = "it is read in the message of a failure, by Debug")]
    what: String,
    /// Which place.
    #[expect(dead_code, reason = "it is read in the message of a failure, by Debug")]
    place: String,
    /// As what it lies there.
    pub(super) form: &'static str,
}

/// All that was seen.
#[derive(Default)]
pub(super) struct Places(Vec<Place>);

struct Place {
    kind: &'static str,
    name: String,
    text: String,
}

impl Places {
    /// The kinds of places that there are.
    pub(super) const KINDS: [&str; 6] = ["answer", "bus", "log", "object", "queue", "table"];

    fn saw(&mut self, kind: &'static str, name: impl Into<String>, text: String) {
        let name = name.into();
        self.0.push(Place { kind, name, text });
    }

    /// An answer to somebody outside.
    pub(super) fn answer(&mut self, route: &str, answer: &Answer) {
        self.saw("answer", route, whole(answer));
    }

    /// Looks into everything that keeps something.
    pub(super) async fn look_around(&mut self, stack: &Stack, when: &str) -> Result<(), Failure> {
        let gathered = stack.gather_logs().await?;
        let logs = fs::read_to_string(gathered).expect("the functions' logs");
        self.saw("log", format!("of all functions, {when}"), logs);
        // What a program writes past its own log is here, beside what the emulator says of itself.
        let log = fs::read(stack.folder().join("emulator.log")).expect("the emulator's log");
        let log = String::from_utf8_lossy(&log).into_owned();
        self.saw("log", format!("of the emulator, {when}"), log);

        for (noun, table) in &stack.outputs().tables {
            let scan = stack.aws().tables.scan().table_name(table).consistent_read(true);
            let rows: Result<Vec<_>, _> = scan.into_paginator().items().send().try_collect().await;
            for row in rows.expect("the table can be read") {
                self.saw("table", format!("{noun}, {when}"), fields(&row));
            }
        }
        for queue in stack.outputs().queues.keys() {
            self.peek(stack, queue, when).await;
        }
        self.look_into_the_bucket(stack, when).await
    }

    /// Every message of a queue, which comes back to it. Says how many there were.
    pub(super) async fn peek(&mut self, stack: &Stack, queue: &str, when: &str) -> usize {
        let messages = messages(stack, &stack.outputs().queues[queue], BACK_AFTER_SECONDS).await;
        for message in &messages {
            self.saw("queue", format!("{queue}, {when}"), format!("{message:?}"));
        }
        messages.len()
    }

    /// What the bus has carried.
    pub(super) async fn hear(&mut self, stack: &Stack, bus: &Bus) {
        for message in messages(stack, &bus.queue, BACK_AFTER_SECONDS).await {
            self.saw("bus", "", format!("{message:?}"));
        }
    }

    async fn look_into_the_bucket(&mut self, stack: &Stack, when: &str) -> Result<(), Failure> {
        let (objects, bucket) = (&stack.aws().objects, stack.output("MediaBucketName")?);
        let mut pages = objects.list_objects_v2().bucket(bucket).into_paginator().send();
        while let Some(page) = pages.next().await {
            for listed in page.expect("the bucket can be listed").contents() {
                let key = listed.key().unwrap_or_default();
                let object = objects.get_object().bucket(bucket).key(key).send().await;
                let object = object.expect("what is listed is there");
                let head = format!(
                    "{key} {:?} {:?} {:?}",
                    object.metadata, object.content_type, object.content_disposition
                );
                let body = object.body.collect().await.expect("its body").into_bytes();
                self.saw(
                    "object",
                    format!("{key}, {when}"),
                    format!("{head} {}", String::from_utf8_lossy(&body)),
                );
            }
        }
        Ok(())
    }

    /// Whether some place of a kind has this text.
    pub(super) fn hold(&self, kind: &str, text: &str) -> bool {
        let mut of_kind = self.0.iter().filter(|place| place.kind == kind);
        of_kind.any(|place| place.text.contains(text))
    }

    /// Where something lies of what is sought.
    pub(super) fn hits(&self, sought: &Sought) -> Vec<Hit> {
        let mut hits = Vec::new();
        for (what, secret) in sought {
            for (form, needle) in forms::of(secret) {
                let there = self.0.iter().filter(|place| place.text.contains(&needle));
                hits.extend(there.map(|place| Hit {
                    kind: place.kind,
                    what: what.clone(),
                    place: place.name.clone(),
                    form,
                }));
            }
        }
        hits
    }
}

/// Names and values of a row, whatever their types.
pub(crate) fn fields(row: &HashMap<String, AttributeValue>) -> String {
    row.iter()
        .map(|(name, value)| format!("{name} {}\n", text(value)))
        .collect()
}

fn text(value: &AttributeValue) -> String {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.clone(),
        AttributeValue::B(bytes) => String::from_utf8_lossy(bytes.as_ref()).into_owned(),
        AttributeValue::Ss(texts) | AttributeValue::Ns(texts) => texts.join("\n"),
        AttributeValue::Bs(values) => values
            .iter()
            .map(|bytes| String::from_utf8_lossy(bytes.as_ref()))
            .collect(),
        AttributeValue::L(values) => values.iter().map(|value| text(value) + "\n").collect(),
        AttributeValue::M(row) => fields(row),
        AttributeValue::Bool(_) | AttributeValue::Null(_) => String::new(),
        other => panic!("a new kind of attribute: {other:?}"),
    }
}

/// The messages of a queue, bodies and attributes, until none is left to see.
async fn messages(stack: &Stack, url: &str, back_after_seconds: i32) -> Vec<Message> {
    let mut all: BTreeMap<String, Message> = BTreeMap::new();
    loop {
        let received = stack.aws().queues.receive_message().queue_url(url);
        let received = received
            .max_number_of_messages(10)
            .visibility_timeout(back_after_seconds)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All")
            .send()
            .await
            .expect("the queue can be read");
        let before = all.len();
        let messages = received.messages.unwrap_or_default();
        all.extend(
            messages
                .into_iter()
                .map(|message| (message.message_id.clone().unwrap_or_default(), message)),
        );
        if all.len() == before {
            return all.into_values().collect();
        }
    }
}

/// A queue of the test's own that hears all that is published.
pub(crate) struct Bus {
    /// Where it can be heard.
    pub(crate) queue: String,
    rule: String,
}

impl Bus {
    pub(crate) async fn overheard(stack: &Stack) -> Self {
        let (aws, rule) = (stack.aws(), format!("canary-{}", Uuid::new_v4().simple()));
        let made = aws
            .queues
            .create_queue()
            .queue_name(&rule)
            .send()
            .await
            .expect("a queue");
        let queue = made.queue_url.expect("its URL");
        let asked = aws.queues.get_queue_attributes().queue_url(&queue);
        let asked = asked
            .attribute_names(QueueAttributeName::QueueArn)
            .send()
            .await
            .expect("its attributes");
        let arn = asked
            .attributes
            .and_then(|mut found| found.remove(&QueueAttributeName::QueueArn));
        let bus = stack.output("EventBusName").expect("the bus");
        let put = aws.buses.put_rule().name(&rule).event_bus_name(bus);
        let put = put.event_pattern(r#"{"source":["ring.partner"]}"#);
        put.send().await.expect("a rule");
        let target = Target::builder()
            .id("queue")
            .arn(arn.expect("its ARN"))
            .build()
            .expect("a target");
        let put = aws.buses.put_targets().rule(&rule).event_bus_name(bus).targets(target);
        put.send().await.expect("the rule leads to the queue");
        Self { queue, rule }
    }

    pub(crate) async fn silenced(self, stack: &Stack) {
        let (aws, bus) = (stack.aws(), stack.output("EventBusName").expect("the bus"));
        let removed = aws
            .buses
            .remove_targets()
            .rule(&self.rule)
            .event_bus_name(bus)
            .ids("queue");
        removed.send().await.expect("the rule leads nowhere");
        let deleted = aws.buses.delete_rule().name(&self.rule).event_bus_name(bus);
        deleted.send().await.expect("the rule is gone");
        let deleted = aws.queues.delete_queue().queue_url(self.queue);
        deleted.send().await.expect("the queue is gone");
    }
}

/// The functions' settings as they were.
pub(super) struct Settings(BTreeMap<String, HashMap<String, String>>);

/// Has every function log at this level from now on.
pub(super) async fn log_level(stack: &Stack, level: &str) -> Settings {
    let mut before = BTreeMap::new();
    for name in stack.outputs().functions.values() {
        let asked = stack.aws().functions.get_function_configuration().function_name(name);
        let settings = asked.send().await.expect("its settings");
        let variables = settings.environment.and_then(|environment| environment.variables);
        let variables = variables.expect("its variables");
        let mut changed = variables.clone();
        changed.insert("LOG_LEVEL".to_owned(), level.to_owned());
        set(stack, name, changed).await;
        before.insert(name.clone(), variables);
    }
    Settings(before)
}

impl Settings {
    pub(super) async fn restored(self, stack: &Stack) {
        for (name, variables) in self.0 {
            set(stack, &name, variables).await;
        }
    }
}

async fn set(stack: &Stack, function: &str, variables: HashMap<String, String>) {
    let environment = Environment::builder().set_variables(Some(variables)).build();
    let update = stack
        .aws()
        .functions
        .update_function_configuration()
        .function_name(function);
    update
        .environment(environment)
        .send()
        .await
        .expect("the settings are changed");
}

/// Queues that nobody takes from.
pub(super) struct HeldBack(Vec<String>);

/// Keeps what is queued in its queue, so that it can be looked at.
pub(super) async fn hold_back(stack: &Stack) -> HeldBack {
    let listed = stack.aws().functions.list_event_source_mappings().send().await;
    let mappings = listed.expect("the mappings").event_source_mappings.unwrap_or_default();
    let held = HeldBack(mappings.into_iter().filter_map(|mapping| mapping.uuid).collect());
    held.enable(stack, false).await;
    held
}

impl HeldBack {
    pub(super) async fn released(self, stack: &Stack) {
        self.enable(stack, true).await;
    }

    async fn enable(&self, stack: &Stack, enabled: bool) {
        for mapping in &self.0 {
            let update = stack.aws().functions.update_event_source_mapping().uuid(mapping);
            update.enabled(enabled).send().await.expect("the mapping is changed");
        }
    }
}

/// A token that the test has put where none belongs.
pub(super) struct Planted {
    key: String,
    receipt: String,
}

impl Planted {
    /// What a search has to find of it, in order. In the object one end of it had to be percent-encoded, the other not.
    pub(super) const FOUND: [(&str, &str); 5] = [
        ("object", "percent"),
        ("object", "plain"),
        ("queue", "Base64"),
        ("queue", "plain"),
        ("table", "hex"),
    ];

    pub(super) async fn in_places(stack: &Stack, token: &[u8]) -> Self {
        let (aws, outputs) = (stack.aws(), stack.outputs());
        let text = str::from_utf8(token).expect("a token is a text");
        let key = format!("canary/{}", Uuid::new_v4().simple());
        let put = aws.tables.put_item().table_name(&outputs.tables["event"]);
        let put = put
            .item("pk", AttributeValue::S(key.clone()))
            .item("sk", AttributeValue::S(key.clone()))
            .item(
                "deep",
                AttributeValue::M(HashMap::from([(
                    "list".to_owned(),
                    AttributeValue::L(vec![AttributeValue::S(hex::encode(token))]),
                )])),
            );
        put.send().await.expect("a row");
        let attribute = MessageAttributeValue::builder().data_type("String").string_value(text);
        let sent = aws.queues.send_message().queue_url(&outputs.queues["quarantine"]);
        let sent = sent
            .message_body(STANDARD.encode(format!("{{\"token\":\"{text}\"}}")))
            .message_attributes("token", attribute.build().expect("an attribute"));
        let sent = sent.send().await.expect("a message");
        let query = forms::percent_encoded(text);
        let put = aws
            .objects
            .put_object()
            .bucket(stack.output("MediaBucketName").expect("the bucket"))
            .key(&key);
        put.metadata("source", format!("https://example.com/?token={query}"))
            .send()
            .await
            .expect("an object");
        Self {
            key,
            receipt: sent.message_id.unwrap_or_default(),
        }
    }

    pub(super) async fn removed(self, stack: &Stack) {
        let (aws, outputs) = (stack.aws(), stack.outputs());
        let key = || AttributeValue::S(self.key.clone());
        let delete = aws
            .tables
            .delete_item()
            .table_name(&outputs.tables["event"])
            .key("pk", key())
            .key("sk", key());
        delete.send().await.expect("the row is gone");
        let delete = aws
            .objects
            .delete_object()
            .bucket(stack.output("MediaBucketName").expect("the bucket"));
        delete.key(&self.key).send().await.expect("the object is gone");
        tokio::time::sleep(std::time::Duration::from_secs(BACK_AFTER_SECONDS.unsigned_abs().into())).await;
        let quarantine = &outputs.queues["quarantine"];
        for message in messages(stack, quarantine, 0).await {
            if message.message_id.as_ref() == Some(&self.receipt) {
                let delete = aws.queues.delete_message().queue_url(quarantine);
                let delete = delete.set_receipt_handle(message.receipt_handle);
                delete.send().await.expect("the message is gone");
            }
        }
    }
}
