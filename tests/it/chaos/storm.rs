//! The whole path, with the real programs, in bad weather: Ring's own way of sending, repeats, any order, throttles, failures,
//! lost answers, and processes killed in the middle of what they do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use local::Failure;
use local::outside::{Home, claim};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::edge::clock;
use uuid::Uuid;

use super::ledger::{Ear, Event, Ledger};
use super::proxy::{Call, Dice, Fault, Weather};
use super::{Chaos, in_chaos, number, processes, text};

/// How many the gate sends; `CHAOS_EVENTS` says otherwise, and the long tier has 5,000.
const EVENTS: u64 = 500;
const HOMES: usize = 4;
const DEVICES: usize = 4;
/// How many deliveries Ring has under way at once.
const AT_ONCE: usize = 16;
/// Each so manieth event is told twice.
const REPEATED: u64 = 10;

/// Something is always wrong; and for one second in six one of the services is all but gone.
fn bad() -> Weather {
    let begun = Instant::now();
    Box::new(move |call, dice| {
        let second = begun.elapsed().as_secs();
        let gone = ["DynamoDB", "AmazonSQS", "AWSEvents"][usize::try_from(second / 6 % 3).unwrap_or(0)];
        if second % 6 == 5 && call.service == gone && dice.below(10) < 9 {
            let faults = [
                Fault::Throttled,
                Fault::Failed(500),
                Fault::Failed(503),
                Fault::NeverArrives,
            ];
            return Some(faults[usize::try_from(dice.below(4)).unwrap_or(0)]);
        }
        always_wrong(call, dice)
    })
}

fn always_wrong(call: &Call, dice: &mut Dice) -> Option<Fault> {
    // The intake makes one call for each event, the processor some for each of a batch: with these, about one invocation in
    // a hundred is killed.
    let killed = if call.operation == "SendMessage" { 250 } else { 50 };
    if dice.below(10_000) < killed {
        return Some(match dice.below(3) {
            0 => Fault::KilledBefore,
            1 => Fault::KilledAfter(Duration::ZERO),
            _ => Fault::KilledAfter(Duration::from_millis(1 + dice.below(30))),
        });
    }
    match dice.below(1_000) {
        0..25 => Some(Fault::Throttled),
        25..35 => Some(Fault::Failed(500)),
        35..40 => Some(Fault::Failed(503)),
        40..50 => Some(Fault::AnswerLost),
        50..55 => Some(Fault::NeverArrives),
        55..75 => Some(Fault::Late(Duration::from_millis(dice.below(1_500)))),
        75..85 if call.operation == "PutEvents" => Some(Fault::EntryRefused),
        _ => None,
    }
}

/// What Ring is ordered to tell, and for whom.
struct Telling {
    home: usize,
    order: Value,
}

/// Events of all homes, each at a millisecond of its own, and the tellings of them in any order.
fn tellings(
    dice: &mut Dice,
    homes: &[(Home<'_>, Vec<String>)],
    events: u64,
) -> (BTreeMap<Event, String>, Vec<Telling>) {
    // After their devices were listed: what is told of them is newer than that.
    let begin = clock::now().as_millisecond();
    let (mut sent, mut tellings) = (BTreeMap::new(), Vec::new());
    for number in 0..events {
        let home = usize::try_from(dice.below(homes.len() as u64)).unwrap_or(0);
        let devices = &homes[home].1;
        let device = &devices[usize::try_from(dice.below(devices.len() as u64)).unwrap_or(0)];
        let (kind, sub_type) = match dice.below(16) {
            0..6 => ("motion_detected", Some("human")),
            6..10 => ("motion_detected", Some("vehicle")),
            10..12 => ("button_press", None),
            12..14 => ("device_online", None),
            _ => ("device_offline", None),
        };
        let at = begin + i64::try_from(number).unwrap_or(0) * 17;
        sent.insert((device.clone(), at), kind.to_owned());
        let order = json!({
            "type": kind, "device": device, "sub_type": sub_type, "timestamp": at,
            "id": format!("{device}_{kind}_{at}"), "request_id": Uuid::new_v4().to_string(),
            "wait": true, "effects": false,
        });
        if number % REPEATED == 0 {
            let mut again = order.clone();
            match number / REPEATED % 2 {
                // The very same body, at the same moment.
                0 => again["copies"] = json!(2),
                // The same event in another body, at another time.
                _ => {
                    again["request_id"] = json!(Uuid::new_v4().to_string());
                    tellings.push(Telling { home, order });
                }
            }
            tellings.push(Telling { home, order: again });
        } else {
            tellings.push(Telling { home, order });
        }
    }
    dice.shuffle(&mut tellings);
    (sent, tellings)
}

/// What Ring's deliveries came to.
#[derive(Debug, Default)]
struct Deliveries {
    all: usize,
    attempts: usize,
    acknowledged: usize,
    recovered: usize,
    most_attempts: usize,
    /// What the attempts were answered; 0: nothing, in time.
    answers: BTreeMap<u64, u64>,
    not_acknowledged: Vec<String>,
}

/// All of Ring's schedule, one moment at which something is due after the other; then its clock is put right again.
async fn ring_goes_on(chaos: &Chaos) -> Result<Deliveries, Failure> {
    let ring = chaos.stack.ring();
    // The whole schedule takes 4,356 s.
    ring.order(Method::PUT, "clock", Some(&json!({ "advance_seconds": 5_000 })))
        .await?;
    ring.order(Method::PUT, "clock", Some(&json!({ "now": clock::now().to_string() })))
        .await?;
    let listed = ring.order(Method::GET, "deliveries", None).await?;
    let mut deliveries = Deliveries::default();
    for delivery in listed["items"].as_array().into_iter().flatten() {
        let attempts = delivery["attempts"].as_array().map_or(0, Vec::len);
        deliveries.all += 1;
        deliveries.attempts += attempts;
        for attempt in delivery["attempts"].as_array().into_iter().flatten() {
            *deliveries
                .answers
                .entry(attempt["status"].as_u64().unwrap_or(0))
                .or_default() += 1;
        }
        deliveries.most_attempts = deliveries.most_attempts.max(attempts);
        if delivery["status"] == "delivered" {
            deliveries.acknowledged += 1;
            deliveries.recovered += usize::from(attempts > 1);
        } else {
            deliveries.not_acknowledged.push(delivery.to_string());
        }
    }
    Ok(deliveries)
}

/// A device is as the newest event that told of it says, in whatever order they came.
async fn states_are_folded(homes: &[(Home<'_>, Vec<String>)], sent: &BTreeMap<Event, String>) -> Result<(), Failure> {
    for (home, devices) in homes {
        for device in devices {
            let told = sent
                .iter()
                .filter(|((of, _), _)| of == device)
                .map(|(_, kind)| kind.as_str());
            // By the time at which they happened, as the keys sort.
            let newest = told.clone().rfind(|kind| kind.starts_with("device_o"));
            let shown = home.call(Method::GET, &format!("/v1/devices/{device}"), None).await?;
            let shown = shown.must_be(StatusCode::OK, "a device can be seen")?.body;
            claim(
                shown["online"] == (newest != Some("device_offline")),
                &format!("the newest event, {newest:?}, tells whether the device is online"),
                &shown,
            )?;
            if told.clone().any(|kind| kind == "button_press") {
                claim(shown["doorbell"] == "yes", "what rings is a doorbell", &shown)?;
            }
        }
    }
    Ok(())
}

/// A still was asked for of each press of a button, and of nothing else, and once.
async fn each_ring_has_one_still(
    homes: &[(Home<'_>, Vec<String>)],
    sent: &BTreeMap<Event, String>,
) -> Result<(), Failure> {
    for (home, devices) in homes {
        for device in devices {
            let (mut causes, mut cursor) = (Vec::new(), String::new());
            loop {
                let route = format!("/v1/devices/{device}/media?limit=100{cursor}");
                let page = home.call(Method::GET, &route, None).await?;
                let page = page.must_be(StatusCode::OK, "a device's media can be listed")?.body;
                let items = page["items"].as_array().cloned().unwrap_or_default();
                causes.extend(items.iter().map(|medium| text(&medium["event_id"])));
                match page["next"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            let pressed = sent
                .iter()
                .filter(|((of, _), kind)| of == device && *kind == "button_press")
                .count();
            claim(
                causes.len() == pressed,
                "each press of a button has its still",
                &(causes.len(), pressed),
            )?;
            causes.sort();
            causes.dedup();
            claim(
                causes.len() == pressed,
                "each still has a press of its own",
                &(causes.len(), pressed),
            )?;
        }
    }
    Ok(())
}

#[test]
fn in_any_weather_no_acknowledged_event_is_lost_and_none_takes_effect_twice() {
    in_chaos(async |chaos| {
        let (events, seed) = (number("CHAOS_EVENTS", EVENTS), number("CHAOS_SEED", 1));
        let mut dice = Dice(seed);
        let homes = chaos.homes(HOMES, DEVICES).await?;
        for (home, devices) in &homes {
            let policy = json!({ "on": { "motion_detected": {}, "button_press": ["snapshot"] } });
            let order = json!({ "devices": devices, "policy": policy });
            let set = home.call(Method::PUT, "/v1/policies", Some(&order)).await?;
            set.must_be(StatusCode::OK, "the devices have a policy")?;
        }
        let ear = Ear::on_the_bus(&chaos.stack).await?;
        let (sent, tellings) = tellings(&mut dice, &homes, events);
        let (batches, failed) = chaos.batches();
        let before = ring_goes_on(chaos).await?;
        processes::killed();
        let begun = Instant::now();

        chaos.proxy.weather(seed, bad());
        let told = stream::iter(tellings)
            .map(|telling| {
                let home = &homes[telling.home].0;
                async move { home.emit(&telling.order).await }
            })
            .buffer_unordered(AT_ONCE)
            .try_for_each(async |_| Ok(()));
        told.await?;
        let first_attempts = begun.elapsed();
        let deliveries = ring_goes_on(chaos).await?;
        chaos.proxy.calm();
        let drained = chaos.drain(Duration::from_secs(240)).await?;
        let took = begun.elapsed();

        let mut ledger = Ledger::default();
        for (home, devices) in &homes {
            for device in devices {
                ledger.read_history(home, device).await?;
            }
        }
        ledger.hear(&ear.heard(&chaos.stack).await?)?;
        ear.closed(&chaos.stack).await?;
        let known: BTreeSet<Event> = sent.keys().cloned().collect();
        let verdict = ledger.verdict(&known);
        let (all, dead) = chaos.batches();
        let (batches, dead, killed) = (all - batches, dead - failed, processes::killed());
        let invocations = (deliveries.attempts - before.attempts) as u64 + batches;
        println!(
            "{events} events (seed {seed}) in {} deliveries: {} attempts, {} acknowledged, {} recovered; {} ok, {} lost, {} \
             unexpected, {} duplicated; announced again {}",
            deliveries.all - before.all,
            deliveries.attempts - before.attempts,
            deliveries.acknowledged - before.acknowledged,
            deliveries.recovered - before.recovered,
            verdict.ok,
            verdict.lost.len(),
            verdict.unexpected.len(),
            verdict.duplicated.len(),
            verdict.announced_again,
        );
        println!(
            "    {killed} of {invocations} invocations killed ({:.1} %), {batches} batches of which {dead} failed; at most {} \
             attempts; struck: {:?}",
            killed as f64 * 100.0 / invocations as f64,
            deliveries.most_attempts,
            chaos.proxy.struck(),
        );
        println!(
            "    told in {first_attempts:.1?}, drained {drained:.1?} after the last attempt, {took:.1?} in all; answers: {:?}",
            deliveries.answers
        );
        claim(
            deliveries.not_acknowledged.is_empty(),
            "each delivery is acknowledged in the end",
            &deliveries.not_acknowledged,
        )?;
        verdict.must_be_clean()?;
        claim(
            killed * 100 >= invocations,
            "one invocation in a hundred was killed",
            &killed,
        )?;
        claim(
            deliveries.recovered > 0,
            "some attempts failed, so that this test can fail",
            &deliveries,
        )?;
        states_are_folded(&homes, &sent).await?;
        each_ring_has_one_still(&homes, &sent).await?;
        // Whose fetch was killed is left alone for as long as that could have gone on: it is not the next test's.
        chaos.purge("media").await?;
        chaos.nothing_set_aside().await
    });
}
