//! What waits in the queue: more than the processor may take at once, and good records beside a bad one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use aws_sdk_lambda::types::ScalingConfig;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use local::Failure;
use local::outside::{claim, soon};
use serde_json::{Value, json};
use shared::edge::clock;
use uuid::Uuid;

use super::ledger::{Ear, Event, Ledger};
use super::proxy::Fault;
use super::{Chaos, in_chaos, number, text};

/// How many wait in the gate; `CHAOS_BACKLOG` says otherwise, and the long tier has 10,000.
const BACKLOG: u64 = 400;

/// What a webhook of motion says, and the event in it.
fn motion(account: &str, device: &str, at: i64) -> (Event, String) {
    let body = json!({
        "meta": {
            "version": "1.1", "time": clock::now().to_string(), "request_id": Uuid::new_v4().to_string(),
            "account_id": account,
        },
        "data": {
            "id": format!("{device}_human_{at}"), "type": "motion_detected", "subType": "human",
            "attributes": { "source": device, "source_type": "devices", "timestamp": at },
        },
    });
    ((device.to_owned(), at), body.to_string())
}

impl Chaos {
    /// Puts bodies into the queue of events, as the intake does.
    async fn queue(&self, bodies: &[String]) -> Result<(), Failure> {
        let failed =
            |error: &dyn std::fmt::Debug| Failure::new("The backlog can't be queued").because(format!("{error:?}"));
        for ten in bodies.chunks(10) {
            let mut send = self.stack.aws().queues.send_message_batch();
            send = send.queue_url(&self.stack.outputs().queues["events"]);
            for (number, body) in ten.iter().enumerate() {
                let entry = SendMessageBatchRequestEntry::builder()
                    .id(number.to_string())
                    .message_body(body);
                send = send.entries(
                    entry
                        .message_group_id("backlog")
                        .build()
                        .map_err(|error| failed(&error))?,
                );
            }
            let sent = send.send().await.map_err(|error| failed(&error))?;
            claim(sent.failed().is_empty(), "all of the backlog is queued", &sent.failed())?;
        }
        Ok(())
    }

    /// How the processor takes from the queue: whether it does, and in how many processes at most.
    async fn processor_takes(&self, enabled: bool, at_once: i32) -> Result<(), Failure> {
        let changed = async {
            let functions = &self.stack.aws().functions;
            let name = &self.stack.outputs().functions["event-processor"];
            let listed = functions
                .list_event_source_mappings()
                .function_name(name)
                .send()
                .await?;
            for mapping in listed.event_source_mappings() {
                let update = functions
                    .update_event_source_mapping()
                    .uuid(mapping.uuid().unwrap_or_default());
                let scaling = ScalingConfig::builder().maximum_concurrency(at_once).build();
                update.enabled(enabled).scaling_config(scaling).send().await?;
            }
            Ok::<_, aws_sdk_lambda::Error>(listed.event_source_mappings().len())
        };
        let mappings = changed
            .await
            .map_err(|error| Failure::new("The event source can't be changed").because(format!("{error:?}")))?;
        claim(mappings == 1, "the processor has one source", &mappings)
    }
}

/// As the template has it.
const AT_ONCE: i32 = 50;

#[test]
fn a_backlog_at_a_concurrency_of_two_is_taken_and_the_dead_letter_queue_stays_empty() {
    in_chaos(async |chaos| {
        let backlog = number("CHAOS_BACKLOG", BACKLOG);
        let homes = chaos.homes(1, 2).await?;
        let (home, devices) = &homes[0];
        let ear = Ear::on_the_bus(&chaos.stack).await?;
        chaos.processor_takes(false, 2).await?;
        let begin = clock::now().as_millisecond() - 3_600_000;
        let (sent, bodies): (BTreeSet<Event>, Vec<String>) = (0..i64::try_from(backlog).unwrap_or(0))
            .map(|number| motion(&home.account, &devices[usize::from(number % 2 == 0)], begin + number))
            .unzip();
        chaos.queue(&bodies).await?;
        // Who is throttled is the processor, by its concurrency; and its tables are too.
        let throttled = |call: &super::proxy::Call, dice: &mut super::proxy::Dice| {
            (call.service == "DynamoDB" && dice.in_thousand(100)).then_some(Fault::Throttled)
        };
        chaos.proxy.weather(1, Box::new(throttled));
        chaos.processor_takes(true, 2).await?;
        let took = chaos.drain(Duration::from_secs(120 + backlog / 10)).await?;
        chaos.proxy.calm();
        chaos.processor_takes(true, AT_ONCE).await?;
        let mut ledger = Ledger::default();
        for device in devices {
            ledger.read_history(home, device).await?;
        }
        ledger.hear(&ear.heard(&chaos.stack).await?)?;
        ear.closed(&chaos.stack).await?;
        let verdict = ledger.verdict(&sent);
        println!(
            "a backlog of {backlog} at a concurrency of 2: {took:.1?}, {:.0} a second; {} ok; struck: {:?}",
            backlog as f64 / took.as_secs_f64(),
            verdict.ok,
            chaos.proxy.struck(),
        );
        verdict.must_be_clean()?;
        chaos.nothing_set_aside().await
    });
}

/// Nine good bodies and this one, in one batch; what the bus was told of each of the nine, how often.
async fn nine_beside(
    chaos: &Chaos,
    bad: String,
    meanwhile: impl AsyncFnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let homes = chaos.homes(1, 1).await?;
    let (home, devices) = &homes[0];
    let ear = Ear::on_the_bus(&chaos.stack).await?;
    let begin = clock::now().as_millisecond() - 60_000;
    let good: Vec<_> = (0..9)
        .map(|number| motion(&home.account, &devices[0], begin + number))
        .collect();
    let mut bodies: Vec<_> = good.iter().map(|(_, body)| body.clone()).collect();
    bodies.insert(4, bad);
    chaos.processor_takes(false, AT_ONCE).await?;
    chaos.queue(&bodies).await?;
    chaos.processor_takes(true, AT_ONCE).await?;
    let mut told: BTreeMap<Event, usize> = BTreeMap::new();
    let since = Instant::now();
    soon("the nine are announced", async || {
        let mut ledger = Ledger::default();
        ledger.hear(&ear.heard(&chaos.stack).await?)?;
        for (event, found) in ledger.0 {
            *told.entry(event).or_default() += found.announced.len();
        }
        let all = good.iter().all(|(event, _)| told.contains_key(event));
        Ok(if all { Ok(()) } else { Err(format!("{told:?}")) })
    })
    .await?;
    let took = since.elapsed();
    meanwhile().await?;
    chaos.drain(Duration::from_secs(60)).await?;
    let mut later = Ledger::default();
    later.hear(&ear.heard(&chaos.stack).await?)?;
    for (event, found) in later.0 {
        *told.entry(event).or_default() += found.announced.len();
    }
    ear.closed(&chaos.stack).await?;
    println!("nine good records beside a bad one: announced within {took:.1?}");
    let of_nine: Vec<_> = good
        .iter()
        .map(|(event, _)| told.get(event).copied().unwrap_or(0))
        .collect();
    claim(of_nine == [1; 9], "each of the nine is announced once", &of_nine)
}

#[test]
fn nine_good_records_are_not_touched_by_one_that_makes_no_sense() {
    in_chaos(async |chaos| {
        nine_beside(chaos, "{ no sense".to_owned(), async || Ok(())).await?;
        let quarantine = &chaos.stack.outputs().queues["quarantine"];
        let queues = &chaos.stack.aws().queues;
        let received = queues
            .receive_message()
            .queue_url(quarantine)
            .message_attribute_names("All")
            .send()
            .await;
        let received =
            received.map_err(|error| Failure::new("Quarantine can't be read").because(format!("{error:?}")))?;
        let kept: Vec<_> = received
            .messages()
            .iter()
            .map(|message| {
                let reason = message
                    .message_attributes()
                    .and_then(|all| all.get("reason")?.string_value());
                (text(&Value::from(message.body())), text(&Value::from(reason)))
            })
            .collect();
        claim(
            kept == [("{ no sense".to_owned(), "unparsable".to_owned())],
            "the bad one is in quarantine with its reason",
            &kept,
        )?;
        for message in received.messages() {
            let delete = queues.delete_message().queue_url(quarantine);
            let deleted = delete
                .receipt_handle(message.receipt_handle().unwrap_or_default())
                .send()
                .await;
            deleted.map_err(|error| Failure::new("Quarantine can't be emptied").because(format!("{error:?}")))?;
        }
        chaos.nothing_set_aside().await
    });
}

#[test]
fn nine_good_records_are_not_touched_by_one_that_has_to_wait() {
    in_chaos(async |chaos| {
        // Of an account that is not linked here: the table does not take it for a while.
        let account = format!("ava1.ring.account.{}", Uuid::new_v4().simple());
        let (_, bad) = motion(&account, "somewhere", clock::now().as_millisecond());
        let words = account.clone();
        let stands = move |call: &super::proxy::Call, _: &mut super::proxy::Dice| {
            let is_its = call.service == "DynamoDB" && call.body.to_string().contains(&words);
            is_its.then_some(Fault::Throttled)
        };
        chaos.proxy.weather(1, Box::new(stands));
        nine_beside(chaos, bad, async || {
            soon("the bad one alone is in the queue", async || {
                let waits = chaos.depth("events").await?;
                Ok(if waits.iter().sum::<u64>() == 1 {
                    Ok(())
                } else {
                    Err(format!("{waits:?}"))
                })
            })
            .await?;
            let struck = chaos.proxy.struck();
            claim(struck.contains_key("throttled"), "it was held back", &struck)?;
            chaos.proxy.calm();
            Ok(())
        })
        .await?;
        chaos.nothing_set_aside().await
    });
}

#[test]
fn a_fault_of_one_second_delays_an_event_by_less_than_ten() {
    in_chaos(async |chaos| {
        let homes = chaos.homes(1, 1).await?;
        let (home, devices) = &homes[0];
        let ear = Ear::on_the_bus(&chaos.stack).await?;
        for (service, fault) in [
            ("DynamoDB", Fault::Throttled),
            ("DynamoDB", Fault::NeverArrives),
            ("AWSEvents", Fault::Failed(500)),
            ("AmazonSQS", Fault::Failed(503)),
        ] {
            let mut begun = None;
            let gone = move |call: &super::proxy::Call, _: &mut super::proxy::Dice| {
                let is_its = call.service == service;
                // From the first call that it would have answered.
                let is_gone = is_its && begun.get_or_insert_with(Instant::now).elapsed() < Duration::from_secs(1);
                is_gone.then_some(fault)
            };
            let at = clock::now().as_millisecond();
            chaos.proxy.weather(1, Box::new(gone));
            let since = Instant::now();
            let order = json!({
                "type": "motion_detected", "device": devices[0], "timestamp": at, "wait": true, "effects": false,
            });
            home.emit(&order).await?;
            let event = (devices[0].clone(), at);
            soon("the event is announced", async || {
                let mut ledger = Ledger::default();
                ledger.hear(&ear.heard(&chaos.stack).await?)?;
                let told = ledger.0.contains_key(&event);
                Ok(if told { Ok(()) } else { Err(format!("{:?}", ledger.0)) })
            })
            .await?;
            let (late, struck) = (since.elapsed(), chaos.proxy.struck());
            println!("{service} out for a second ({fault:?}): the event is announced after {late:.1?}, {struck:?}");
            claim(!struck.is_empty(), "the fault struck", &struck)?;
            claim(
                late < Duration::from_secs(10),
                "it is announced within ten seconds",
                &late,
            )?;
            chaos.proxy.calm();
            chaos.drain(Duration::from_secs(30)).await?;
        }
        ear.closed(&chaos.stack).await?;
        chaos.nothing_set_aside().await
    });
}
