//! Every point at which the walk of an event calls a port: the process dies before it and after it, and each fault of that
//! port strikes. Then nothing goes wrong any more, the queue hands out what is left in it, and everything that must hold of
//! events does.
//!
//! As with grants and links, the points are not listed by hand: each scenario is walked once in peace, each of its calls is
//! struck in turn, what is called only because of that in a second round, and the walk's source is read for calls that no
//! scenario comes by.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use ring_partner::devices::DeviceId;
use shared::device::Mark;
use shared::edge::queue::LARGEST;
use shared::event::synthetic;
use shared::event::{EventId, Progress};
use shared::grant::GrantId;
use shared::link::{CompleteLink, Confirmed, Link};
use shared::media::MediumId;
use shared::world::Nature as _;
use simulation::events::invariants::{Book, drain, hold};
use simulation::events::programs::Worker;
use simulation::events::queue::{Content, Job};
use simulation::events::ring::{Event, deliver};
use simulation::house::{House, account, paused_runtime};
use simulation::interference::{Call, Fault, Interference, Mischief, Peace};
use simulation::ring::Character;
use tokio::time::sleep;

use crate::crash_points::{Site, Strikes, points_of, site};
use crate::event_seeds::policy;

const ACCOUNT: &str = "account-0";

/// One walk, and what is there before it.
struct Scenario {
    name: &'static str,
    kind: &'static str,
    device: &'static str,
    before: Before,
    /// What strikes besides.
    besides: &'static [(&'static str, Fault, usize)],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// The account is linked.
    Linked,
    /// It is, and the event was done.
    Done,
    /// It is, and the event was done; what comes has another request's id.
    DoneOfAnotherRequest,
    /// It is, and whoever recorded the event died of it a moment ago.
    LeftHalfWay,
    /// Likewise, and the account was unlinked since.
    LeftAndUnlinked,
    /// It is, and the event was done; it is to be published again.
    Replayed,
    /// It was left half-way, and is to be published again.
    LeftAndReplayed,
    /// The account is not linked.
    NotLinked,
    /// It was not when the event came, and is now: the event is released.
    Released,
    /// The account is linked, and the body does not name it.
    OldForm,
    /// The account is linked, and its access token has expired.
    Expired,
    /// Its grant has ended.
    Unlinked,
    /// The account is linked, and the device is being captured and watched.
    Captured,
    /// Media wait for the device.
    Waited,
    /// The device's media were to be purged.
    Retired,
    /// The device is being captured and watched, media wait for it, and a listing does not show it any more.
    Gone,
    /// The account is linked, and the event happened a while ago.
    Late,
    /// It makes no sense.
    Nonsense,
    /// The account is linked; what comes is a synthetic event.
    Synthetic,
    /// Ring is about to tell it.
    Untold,
    /// Ring is about to tell what no queue takes.
    UntoldAndLarge,
}

const fn scenario(name: &'static str, kind: &'static str, before: Before) -> Scenario {
    Scenario {
        name,
        kind,
        device: "device-0-0",
        before,
        besides: &[],
    }
}

const SCENARIOS: &[Scenario] = &[
    scenario("motion", "motion_detected", Before::Linked),
    scenario("state", "device_offline", Before::Linked),
    scenario("button", "button_press", Before::Linked),
    scenario("added", "device_added", Before::Linked),
    scenario("removed", "device_removed", Before::Linked),
    scenario("an unknown word", "package_delivered", Before::Linked),
    Scenario {
        device: "gone-0-0",
        ..scenario("added, and gone", "device_added", Before::Linked)
    },
    Scenario {
        besides: &[("ring.device", Fault::Status(500), 1)],
        ..scenario("added, Ring fails", "device_added", Before::Linked)
    },
    scenario("added, the token has expired", "device_added", Before::Expired),
    scenario("a repeat", "motion_detected", Before::Done),
    scenario(
        "a repeat of another request",
        "motion_detected",
        Before::DoneOfAnotherRequest,
    ),
    scenario("left half-way", "button_press", Before::LeftHalfWay),
    scenario("left half-way, and unlinked", "button_press", Before::LeftAndUnlinked),
    scenario("published again", "motion_detected", Before::Replayed),
    scenario(
        "left half-way, published again",
        "button_press",
        Before::LeftAndReplayed,
    ),
    scenario("parked", "motion_detected", Before::NotLinked),
    scenario("released", "device_offline", Before::Released),
    scenario("the older form", "motion_detected", Before::OldForm),
    scenario("unlinked", "motion_detected", Before::Unlinked),
    scenario("button, while captured", "button_press", Before::Captured),
    scenario("offline, while captured", "device_offline", Before::Captured),
    scenario("removed, while captured", "device_removed", Before::Captured),
    scenario("online, media wait", "device_online", Before::Waited),
    scenario("button, too late", "button_press", Before::Late),
    scenario("gone from the listing", "button_press", Before::Gone),
    scenario("told by Ring", "motion_detected", Before::Untold),
    scenario("told by Ring, and large", "motion_detected", Before::UntoldAndLarge),
    scenario("added again", "device_added", Before::Retired),
    scenario("the integration ends", "app_integration_removed", Before::Linked),
    scenario("nonsense", "motion_detected", Before::Nonsense),
    scenario("synthetic", synthetic::MARK, Before::Synthetic),
];

async fn link(house: &House) {
    let _exchanged = house.install(ACCOUNT).await;
    sleep(Duration::from_secs(2)).await;
    let redirect = house.arrive(ACCOUNT).await;
    let process = house.world.process();
    let linked = process.run(house.link(&process, "user", &redirect)).await;
    assert!(matches!(linked, Some(Ok(_))), "the account is linked first: {linked:?}");
    sleep(Duration::from_secs(2)).await;
}

async fn unlink(house: &House) {
    let link = house.world.all().kept.links().next().cloned().expect("a link");
    assert!(house.unlink(&house.world.process(), link).await);
}

/// Somebody watches the event's device.
fn watch(house: &House, event: &Event) {
    let device = DeviceId::new(event.device.clone()).expect("letters and digits");
    house.world.all().events.mark(&account(ACCOUNT), &device, Mark::Watched);
}

/// Takes what can be seen, once.
async fn take(house: &House) {
    let random = house.world.random();
    let now = house.world.now();
    let batch = house.world.all().queue.receive(now, random);
    if let Some(done) = Worker::begin(house, 0).batch(&batch).await {
        done.into_iter()
            .for_each(|receipt| house.world.all().queue.delete(receipt));
    }
}

/// What was left of this event by a process that died after its marker was written.
async fn left_half_way(house: &House) {
    let strikes = Strikes::new(0, BTreeMap::new(), vec![("records.record", Fault::DiesAfter, 1)]);
    house.interfere(Arc::new(strikes));
    take(house).await;
    house.interfere(Arc::new(Peace));
}

async fn prepare(house: &House, scenario: &Scenario, event: &Event, book: &mut Book) {
    let now = house.world.now();
    let send = |book: &mut Book, request: u64| {
        let body = event.body(request, 0, now);
        house.world.all().queue.send(Content::Body(body), now);
        book.events.entry(event.clone()).or_default().acknowledged.push(request);
    };
    if !matches!(scenario.before, Before::NotLinked | Before::Released) {
        link(house).await;
        let device = DeviceId::new(event.device.clone()).expect("letters and digits");
        let mut all = house.world.all();
        all.events.list(&account(ACCOUNT), &device);
        all.events.give(&account(ACCOUNT), policy());
    }
    match scenario.before {
        Before::Linked | Before::NotLinked | Before::OldForm | Before::Late => send(book, 1),
        Before::Done | Before::DoneOfAnotherRequest => {
            send(book, 1);
            take(house).await;
            send(book, if scenario.before == Before::Done { 1 } else { 2 });
        }
        Before::LeftHalfWay => {
            send(book, 1);
            left_half_way(house).await;
            // Its own message is hidden still: another comes when nobody can be at it any more.
            sleep(Duration::from_secs(61)).await;
            send(book, 1);
        }
        Before::LeftAndUnlinked => {
            send(book, 1);
            left_half_way(house).await;
            unlink(house).await;
            sleep(Duration::from_secs(400)).await;
        }
        Before::Replayed | Before::LeftAndReplayed => {
            send(book, 1);
            if scenario.before == Before::Replayed {
                take(house).await;
            } else {
                left_half_way(house).await;
                sleep(Duration::from_secs(61)).await;
            }
            let id = event_id(house);
            book.replayed.insert(id.as_str().to_owned());
            house.world.all().queue.send(Content::Replay(id), now);
        }
        Before::Released => {
            send(book, 1);
            take(house).await;
            link(house).await;
        }
        Before::Expired => {
            sleep(Duration::from_secs(5 * 3_600)).await;
            send(book, 1);
        }
        Before::Unlinked => {
            unlink(house).await;
            send(book, 1);
        }
        Before::Captured | Before::Retired => {
            // Something else happened to it a moment before.
            let kind = if scenario.before == Before::Captured {
                "button_press"
            } else {
                "device_removed"
            };
            let earlier = Event {
                kind,
                at: event.at - 1,
                ..event.clone()
            };
            let body = earlier.body(7, 0, now);
            house.world.all().queue.send(Content::Body(body), now);
            book.events.entry(earlier).or_default().acknowledged.push(7);
            take(house).await;
            watch(house, event);
            if scenario.before == Before::Retired {
                // What Ring answers is newer than what the event tells.
                sleep(Duration::from_secs(700)).await;
            }
            send(book, 1);
        }
        Before::Gone => {
            send(book, 1);
            take(house).await;
            watch(house, event);
            let device = DeviceId::new(event.device.clone()).expect("letters and digits");
            let at = event.at + 1_000;
            let when = Timestamp::from_millisecond(at).expect("a time");
            let mut all = house.world.all();
            let waiting = MediumId::from("med_waiting".to_owned());
            all.events.wait(&account(ACCOUNT), &device, waiting);
            all.asked.push((account(ACCOUNT), device.clone(), when, false));
            let gone = all.events.gone(&account(ACCOUNT), &device, at);
            all.queue.send(Content::Gone(gone), now);
        }
        Before::Waited => {
            let device = DeviceId::new(event.device.clone()).expect("letters and digits");
            let waiting = MediumId::from("med_waiting".to_owned());
            house.world.all().events.wait(&account(ACCOUNT), &device, waiting);
            send(book, 1);
        }
        // Ring tells it once something is about to go wrong.
        Before::Untold | Before::UntoldAndLarge => {}
        Before::Nonsense => {
            let body = b"{ no sense".to_vec();
            book.nonsense.insert(body.clone(), true);
            house.world.all().queue.send(Content::Body(body), now);
        }
        Before::Synthetic => {
            let (body, _) = synthetic::made("one", now);
            house.world.all().queue.send(Content::Body(body.into_bytes()), now);
        }
    }
    sleep(Duration::from_secs(1)).await;
}

fn event_id(house: &House) -> EventId {
    let all = house.world.all();
    let marker = all.events.markers().next().expect("a marker");
    marker.event_id.clone()
}

fn run(scenario: &Scenario, strikes: &BTreeMap<usize, Fault>) -> Result<Vec<Call>, String> {
    let runtime = paused_runtime().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let house = House::new(7, Character::Grace, Arc::new(Peace));
        house.world.all().queue.twice_in = u64::MAX;
        let event = Event {
            account: ACCOUNT.to_owned(),
            device: scenario.device.to_owned(),
            kind: scenario.kind,
            // After the account is linked, which takes some seconds.
            at: house.world.now().as_millisecond()
                + if scenario.before == Before::Late {
                    -600_000
                } else {
                    600_000
                },
            is_old_form: scenario.before == Before::OldForm,
        };
        let mut book = Book::default();
        prepare(&house, scenario, &event, &mut book).await;
        let struck = Arc::new(Strikes::new(
            house.world.calls(),
            strikes.clone(),
            scenario.besides.to_vec(),
        ));
        house.interfere(Arc::clone(&struck) as Arc<dyn Interference>);
        let body = match scenario.before {
            Before::Untold => Some(event.body(1, 0, house.world.now())),
            Before::UntoldAndLarge => Some(vec![b'x'; LARGEST]),
            _ => None,
        };
        if let Some(body) = body {
            let delivered = deliver(&house, &body, 0).await;
            if !delivered.is_acknowledged {
                return Err("Ring could not tell it".to_owned());
            }
            if scenario.before == Before::Untold {
                book.events.entry(event.clone()).or_default().acknowledged.push(1);
            } else {
                book.nonsense.insert(body, true);
            }
        }
        take(&house).await;
        // Something is tried again while the fault is there still, and then all of it is.
        sleep(Duration::from_secs(2)).await;
        take(&house).await;
        drain(&house).await?;
        if scenario.before == Before::NotLinked {
            let parked = house
                .world
                .all()
                .events
                .markers()
                .all(|marker| marker.progress == Progress::Parked);
            if !parked {
                return Err("an event of an account that is not linked is not parked".to_owned());
            }
            link(&house).await;
            drain(&house).await?;
        }
        let linked: BTreeSet<_> = {
            let all = house.world.all();
            all.kept
                .links()
                .filter(|link| link.is_live())
                .map(|link| link.account_id.to_string())
                .collect()
        };
        match scenario.before {
            // It was taken before, and is at its end: nothing is told of an account that is linked no more.
            Before::LeftAndUnlinked => {
                let all = house.world.all();
                if all.events.history().count() != 1 || !all.published.is_empty() {
                    return Err("what was left of an unlinked account did not come to its end".to_owned());
                }
            }
            Before::Synthetic => {
                let all = house.world.all();
                let recorded = all
                    .events
                    .markers()
                    .filter(|marker| marker.kind.as_str() == synthetic::MARK);
                if recorded.count() != 1 || !all.published.is_empty() || !all.queue.jobs.is_empty() {
                    return Err("a synthetic event is not recorded, or acted on".to_owned());
                }
            }
            _ => {
                book.left = BTreeSet::from([ACCOUNT.to_owned()]);
                book.left
                    .retain(|account| scenario.kind == "app_integration_removed" && !linked.contains(account));
                book.linked = linked;
                hold(&house, &book)?;
                let all = house.world.all();
                let left = matches!(scenario.before, Before::Waited | Before::Gone)
                    && !all.queue.jobs.contains(&Job::Fetch("med_waiting".to_owned()));
                if left {
                    return Err("what waited for the device waits still".to_owned());
                }
                let goes_on = all.events.slots().any(|slot| slot.stop.is_none());
                let is_out_of_reach = ["device_offline", "device_removed"].contains(&scenario.kind);
                if goes_on && (is_out_of_reach || scenario.before == Before::Gone) {
                    return Err("the capture goes on of a device that is out of reach".to_owned());
                }
                let is_watched = matches!(scenario.before, Before::Captured | Before::Gone)
                    && !all.queue.jobs.contains(&Job::CloseLive(scenario.device.to_owned()));
                if is_watched && (is_out_of_reach || scenario.before == Before::Gone) {
                    return Err("a device that is out of reach is watched still".to_owned());
                }
                if scenario.kind == "app_integration_removed" && !book.linked.is_empty() {
                    return Err("the link stands although Ring's user took it back".to_owned());
                }
                if scenario.before == Before::Gone && all.events.retired().next().is_none() {
                    return Err("what is gone is never purged".to_owned());
                }
                if scenario.before == Before::Retired && all.events.retired().next().is_some() {
                    return Err("what is back is to be purged".to_owned());
                }
            }
        }
        Ok(struck.seen())
    })
}

/// The walk, what it begins and stops captures with, and whoever takes the webhook in.
const WALKS: &[&str] = &[
    "shared/src/capture/mod.rs",
    "shared/src/event/process/effects.rs",
    "shared/src/event/process/mod.rs",
    "functions/webhook-intake/src/lib.rs",
];

#[test]
fn whatever_dies_or_fails_at_any_point_no_event_is_lost_or_takes_effect_twice() {
    let mut struck: BTreeMap<Site, BTreeSet<Fault>> = BTreeMap::new();
    let mut ports: BTreeMap<Site, &'static [Fault]> = BTreeMap::new();
    let (mut failures, mut runs) = (Vec::new(), 0_usize);
    for scenario in SCENARIOS {
        let (begun, mut points) = (runs, 0);
        let mut strike = |strikes: &BTreeMap<usize, Fault>| -> Option<Vec<Call>> {
            runs += 1;
            match run(scenario, strikes) {
                Ok(calls) => {
                    for (number, fault) in strikes {
                        if let Some(call) = calls.get(*number) {
                            struck.entry(site(call)).or_default().insert(*fault);
                            ports.insert(site(call), Fault::of(call.port));
                        }
                    }
                    Some(calls)
                }
                Err(failure) => {
                    failures.push(format!("{} under {strikes:?}: {failure}", scenario.name));
                    None
                }
            }
        };
        let mut second = Vec::new();
        let calls = strike(&BTreeMap::new()).unwrap_or_default();
        for (number, call) in calls.iter().enumerate() {
            points += 1;
            for fault in Fault::of(call.port) {
                let strikes = BTreeMap::from([(number, *fault)]);
                let later = strike(&strikes).unwrap_or_default();
                second.extend(
                    later
                        .into_iter()
                        .enumerate()
                        .skip(number + 1)
                        .map(|(at, call)| (strikes.clone(), at, call)),
                );
            }
        }
        let mut done = BTreeSet::new();
        for (strikes, later, call) in second {
            for fault in Fault::of(call.port) {
                // Once for each line and what struck before.
                if done.insert((strikes.values().copied().collect::<Vec<_>>(), site(&call), *fault)) {
                    let mut strikes = strikes.clone();
                    strikes.insert(later, *fault);
                    strike(&strikes);
                }
            }
        }
        println!("{:<34} | {points:>4} calls | {:>5} runs", scenario.name, runs - begun);
    }
    // Of each scenario some: one that fails often must not hide another.
    let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
    let some: Vec<_> = failures
        .iter()
        .filter(|failure| {
            let of = shown.entry(failure.split(" under").next().unwrap_or("")).or_default();
            *of += 1;
            *of <= 3
        })
        .map(String::as_str)
        .collect();
    assert!(
        some.is_empty(),
        "{} runs of {runs} fail, among them:\n{}",
        failures.len(),
        some.join("\n")
    );

    let points = points_of(WALKS);
    assert!(points.len() > 12, "the source is read: {}", points.len());
    let missed: Vec<_> = points.iter().filter(|point| !struck.contains_key(*point)).collect();
    assert!(missed.is_empty(), "no scenario comes by these calls: {missed:#?}");
    for (site, all) in &ports {
        let missing: Vec<_> = all.iter().filter(|fault| !struck[site].contains(fault)).collect();
        assert!(
            missing.is_empty() || !WALKS.contains(&site.0.as_str()),
            "{site:?} was never struck by {missing:?}"
        );
    }
}

/// The account is linked in the moment in which an event of it is about to be parked: nobody else will release it.
struct LinksMeanwhile {
    house: House,
    is_done: AtomicBool,
}

impl Interference for LinksMeanwhile {
    fn at(&self, call: &Call, _random: u128) -> Mischief {
        if call.method == "records.park" && !self.is_done.swap(true, Ordering::Relaxed) {
            let confirmed = Confirmed {
                user_id: "user".to_owned(),
                account_id: account(ACCOUNT),
                grant_id: GrantId::new(1),
                account_identifier: None,
            };
            let now = self.house.world.now();
            let link = Link::confirmed("lnk".to_owned(), confirmed, CompleteLink::AtOnce, now);
            let mut all = self.house.world.all();
            assert!(
                all.events.parked(&link.account_id).is_empty(),
                "there is none yet to be released"
            );
            all.kept.put(&link);
        }
        Mischief::default()
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_linked_while_its_event_is_parked_has_it_at_once() {
    let house = House::new(7, Character::Grace, Arc::new(Peace));
    house.interfere(Arc::new(LinksMeanwhile {
        house: house.clone(),
        is_done: AtomicBool::default(),
    }));
    let event = Event {
        account: ACCOUNT.to_owned(),
        device: "device-0-0".to_owned(),
        kind: "motion_detected",
        at: house.world.now().as_millisecond(),
        is_old_form: false,
    };
    let mut book = Book::default();
    let told = deliver(&house, &event.body(1, 0, house.world.now()), 0).await;
    assert!(told.is_acknowledged, "the queue takes it");
    book.events.entry(event).or_default().acknowledged.push(1);
    book.linked.insert(ACCOUNT.to_owned());
    take(&house).await;
    drain(&house).await.expect("it is drained");
    let count = hold(&house, &book).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(count.ok, 1);
}
