//! Many events at once over everything that goes wrong: Ring tries on its own schedule, and again; the intake and the
//! processors are killed; tables are throttled and go away, queues and the bus forget to answer; accounts are linked
//! meanwhile. Each seed is one schedule, the same every time; one that fails is printed, and run again with
//! `SEED=n cargo test -p simulation events`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use ring_partner::devices::DeviceId;
use ring_partner::signature::SigningKey;
use serde_json::json;
use shared::edge::clock::signed;
use shared::edge::config::{Environment as _, Process};
use shared::edge::queue::LARGEST;
use shared::policy::Policy;
use shared::world::Nature as _;
use simulation::events::invariants::{Book, Count, Sent, drain, hold};
use simulation::events::ring::{Delivered, Event, change_key, deliver, deliver_signed, forget_old_key};
use simulation::house::{House, account, paused_runtime};
use simulation::interference::{Call, Fault, Interference, Mischief, Peace, Port};
use simulation::ring::Character;
use tokio::time::sleep;

use crate::seeds::Dice;

/// How many seeds the gate runs; `SEEDS` says otherwise.
const SEEDS: u64 = 2_000;
/// How many events each has; `EVENTS` says otherwise.
const EVENTS: u64 = 24;
/// Accounts 0 and 1 are linked before, 2 and 3 meanwhile, 4 never.
const HOMES: u64 = 5;
const DEVICES: u64 = 2;
/// Over how long the events of a seed are told, by the simulated clock.
const GO_ON_FOR: Duration = Duration::from_secs(300);
/// One process in so many is killed.
const KILLED_IN: u64 = 8;

const KINDS: [&str; 10] = [
    "motion_detected",
    "motion_detected",
    "motion_detected",
    "button_press",
    "device_online",
    "device_offline",
    "device_online",
    "device_added",
    "device_removed",
    "package_delivered",
];

/// What befalls calls. In some worlds the tables are throttled all the time, in some each service goes away for half a minute.
struct Weather {
    seed: u64,
    house: House,
    began: Timestamp,
}

impl Interference for Weather {
    fn at(&self, call: &Call, random: u128) -> Mischief {
        let mut dice = Dice(random);
        let strikes =
            |dice: &mut Dice, in_thousand: u64, fault: Fault| (dice.below(1_000) < in_thousand).then_some(fault);
        let second = self.house.world.now().duration_since(self.began).as_secs();
        let out = i64::try_from(self.seed % 7 * 40).unwrap_or(0);
        let is_gone = self.seed % 3 == 1 && (out..out + 30).contains(&second);
        let refused = match (call.port, self.seed % 4) {
            _ if is_gone && call.port as u64 % 3 == self.seed / 3 % 3 => 1_000,
            (Port::Table, 0) => 150,
            (Port::Bus | Port::Queue, 1) => 150,
            _ => 15,
        };
        let fault = strikes(&mut dice, refused, Fault::Refused).or_else(|| strikes(&mut dice, 15, Fault::AnswerLost));
        let (usual, rare) = if call.port == Port::Ring {
            (400, 9_000)
        } else {
            (10, 5_000)
        };
        Mischief {
            before: dice.mostly(usual, 60, rare),
            after: dice.millis(5),
            fault,
        }
    }
}

/// An account's user installs the app and links it, however often that takes; its devices are known from then on.
async fn link(house: &House, number: u64) {
    let name = format!("account-{number}");
    loop {
        let linked = house
            .world
            .all()
            .kept
            .links()
            .any(|link| link.account_id.as_str() == name && link.is_live());
        if linked {
            break;
        }
        house.install(&name).await;
        sleep(Duration::from_secs(1)).await;
        for device in 0..DEVICES {
            let device = DeviceId::new(format!("device-{number}-{device}")).expect("letters and digits");
            house.world.all().events.list(&account(&name), &device);
        }
        house.world.all().events.give(&account(&name), policy());
        let redirect = house.arrive(&name).await;
        let process = house.world.process();
        let _linked = process.run(house.link(&process, "user", &redirect)).await;
        // What an attempt has left half-way ends by itself, or is gone on with.
        sleep(Duration::from_secs(50)).await;
    }
    for _ in 0..60 {
        let is_settled = {
            let all = house.world.all();
            let mut links = all.kept.links();
            links.any(|link| link.account_id.as_str() == name && link.is_live() && link.todo.is_empty())
        };
        if is_settled {
            return;
        }
        house.minute(&house.world.process(), Duration::ZERO).await;
        sleep(Duration::from_secs(60)).await;
    }
}

/// What is asked for by itself, of devices of linked accounts.
pub(crate) fn policy() -> Policy {
    let policy =
        json!({ "on": { "motion_detected": { "default": ["snapshot", "clip"] }, "button_press": ["capture"] } });
    serde_json::from_value(policy).expect("a policy")
}

/// One telling of an event: which event, in which body, and when.
struct Telling {
    event: usize,
    request: u64,
    said: u64,
    after: Duration,
}

/// As many events as that, in any order, and how each is told. `random` gives fresh bits for each of them.
fn events(random: impl Fn() -> u128, many: u64, began: Timestamp, over: Duration) -> (Vec<Event>, Vec<Telling>) {
    let (mut events, mut tellings) = (Vec::new(), Vec::new());
    for number in 0..many {
        let dice = &mut Dice(random());
        let home = dice.below(HOMES);
        let device = dice.below(DEVICES);
        events.push(Event {
            account: format!("account-{home}"),
            device: format!("device-{home}-{device}"),
            kind: KINDS[usize::try_from(dice.below(KINDS.len() as u64)).unwrap_or(0)],
            at: began.as_millisecond() + i64::try_from(dice.below(600_000)).unwrap_or(0),
            is_old_form: dice.below(8) == 0,
        });
        let event = events.len() - 1;
        let mut tell = |dice: &mut Dice, request: u64, said: u64| {
            let after = dice.millis(u64::try_from(over.as_millis()).unwrap_or(u64::MAX));
            tellings.push(Telling {
                event,
                request,
                said,
                after,
            });
        };
        tell(dice, number * 10, 0);
        match dice.below(10) {
            // The same again, as Ring does when our answer is lost; a replay; one that says something else.
            0 => tell(dice, number * 10, 0),
            1 => tell(dice, number * 10 + 1, 0),
            2 => tell(dice, number * 10 + 2, 1),
            _ => {}
        }
    }
    // What is told of a device happens at a millisecond of its own.
    let mut taken = std::collections::BTreeSet::new();
    for event in &mut events {
        while !taken.insert((event.device.clone(), event.at)) {
            event.at += 1;
        }
    }
    (events, tellings)
}

/// What one seed came to.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    seeds: u64,
    events: u64,
    deliveries: u64,
    attempts: u64,
    acknowledged: u64,
    recovered: u64,
    forged_refused: u64,
    count: Count,
}

impl std::ops::AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.events += other.events;
        self.deliveries += other.deliveries;
        self.attempts += other.attempts;
        self.acknowledged += other.acknowledged;
        self.recovered += other.recovered;
        self.forged_refused += other.forged_refused;
        self.count += other.count;
    }
}

fn run(seed: u64, many: u64, over: Duration) -> Result<Sum, String> {
    let runtime = paused_runtime().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let house = House::new(seed, Character::Grace, Arc::new(Peace));
        link(&house, 0).await;
        link(&house, 1).await;
        let began = house.world.now();
        let (events, tellings) = events(|| house.world.random(), many, began, over);
        house.interfere(Arc::new(Weather {
            seed,
            house: house.clone(),
            began,
        }));
        let is_over = Arc::new(AtomicBool::new(false));
        let pollers: Vec<_> = (0..3)
            .map(|_| tokio::spawn(house.clone().poll(KILLED_IN, Arc::clone(&is_over))))
            .collect();
        let links: Vec<_> = (2..4)
            .map(|number| {
                let (house, after) = (house.clone(), Dice(house.world.random()).millis(200_000));
                tokio::spawn(async move {
                    sleep(after).await;
                    link(&house, number).await;
                })
            })
            .collect();

        let deliveries = tellings.iter().map(|telling| {
            let (house, event) = (house.clone(), events[telling.event].clone());
            let (request, said, after) = (telling.request, telling.said, telling.after);
            tokio::spawn(async move {
                sleep(after).await;
                let body = event.body(request, said, house.world.now());
                deliver(&house, &body, KILLED_IN * 2).await
            })
        });
        let deliveries: Vec<_> = deliveries.collect();
        let mut book = Book::default();
        let mut sum = Sum {
            seeds: 1,
            events: many,
            ..Sum::default()
        };
        let rotation = {
            let (house, after) = (house.clone(), Dice(house.world.random()).millis(200_000));
            tokio::spawn(async move {
                sleep(after).await;
                change_key(&house).await;
            })
        };
        // What makes no sense, what is no text, and in some worlds what no queue takes.
        let mut nonsense = vec![b"{ no sense".to_vec(), b"\xff\xfe{}".to_vec()];
        if seed.is_multiple_of(16) {
            nonsense.push(vec![b'x'; LARGEST]);
        }
        for nonsense in nonsense {
            let taken = deliver(&house, &nonsense, KILLED_IN).await;
            if taken.is_refused {
                return Err("what makes no sense is signed, and was refused".to_owned());
            }
            book.nonsense.insert(nonsense, taken.is_acknowledged);
        }
        // An event of nobody's: it must not be found.
        let forged = Event {
            at: 1,
            ..events[0].clone()
        };
        let another = SigningKey::new("another key").map_err(|error| error.to_string())?;
        let body = forged.body(1, 0, house.world.now());
        let taken = deliver_signed(&house, &body, Some(&another), KILLED_IN).await;
        if taken.is_acknowledged {
            return Err("a forged webhook was acknowledged".to_owned());
        }
        sum.forged_refused += u64::from(taken.is_refused);
        for (telling, delivery) in tellings.iter().zip(deliveries) {
            let Delivered {
                attempts,
                is_acknowledged,
                is_refused,
            } = delivery.await.map_err(|error| error.to_string())?;
            if is_refused {
                return Err(format!("a webhook of {:?} was refused", events[telling.event]));
            }
            let sent: &mut Sent = book.events.entry(events[telling.event].clone()).or_default();
            if is_acknowledged {
                sent.acknowledged.push(telling.request);
            } else {
                sent.unclear.push(telling.request);
            }
            sum.deliveries += 1;
            sum.attempts += attempts;
            sum.acknowledged += u64::from(is_acknowledged);
            sum.recovered += u64::from(is_acknowledged && attempts > 1);
        }
        for link in links {
            link.await.map_err(|error| error.to_string())?;
        }
        rotation.await.map_err(|error| error.to_string())?;
        forget_old_key(&house);
        let unknown = b"{ no sense under the next key".to_vec();
        let taken = deliver(&house, &unknown, KILLED_IN).await;
        if taken.is_refused {
            return Err("a webhook under the next key was refused".to_owned());
        }
        book.nonsense.insert(unknown, taken.is_acknowledged);
        house.interfere(Arc::new(Peace));
        is_over.store(true, Ordering::Relaxed);
        for poller in pollers {
            poller.await.map_err(|error| error.to_string())?;
        }
        for _ in 0..3 {
            house.minute(&house.world.process(), Duration::ZERO).await;
            sleep(Duration::from_secs(60)).await;
        }
        drain(&house).await?;
        book.linked = house
            .world
            .all()
            .kept
            .links()
            .filter(|link| link.is_live())
            .map(|link| link.account_id.to_string())
            .collect();
        sum.count = hold(&house, &book)?;
        Ok(sum)
    })
}

fn told(name: &str, otherwise: u64) -> u64 {
    Process
        .get(name)
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

fn report(total: &Sum) {
    println!(
        "{} seeds, {} events in {} deliveries: {} attempts, {} acknowledged, {} recovered; {} ok, {} parked, 0 lost, 0 \
         unexpected, 0 duplicated; announced again {}; {} media asked for; received at most {} times",
        total.seeds,
        total.events,
        total.deliveries,
        total.attempts,
        total.acknowledged,
        total.recovered,
        total.count.ok,
        total.count.parked,
        total.count.announced_again,
        total.count.media,
        total.count.most_received,
    );
}

#[test]
fn under_any_seed_no_acknowledged_event_is_lost_and_none_takes_effect_twice() {
    let many = told("EVENTS", EVENTS);
    if let Some(seed) = Process.get("SEED").and_then(|seed| seed.parse().ok()) {
        let sum = run(seed, many, GO_ON_FOR).unwrap_or_else(|failure| panic!("seed {seed} of events: {failure}"));
        return report(&sum);
    }
    let (seeds, next) = (told("SEEDS", SEEDS), AtomicU64::new(0));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut sum = Sum::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return sum;
            }
            match run(seed, many, GO_ON_FOR) {
                Ok(one) => sum += one,
                Err(failure) => {
                    panic!("seed {seed} of events: {failure}\nagain: SEED={seed} cargo test -p simulation events")
                }
            }
        }
    };
    let mut total = Sum::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            total += thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    report(&total);
    assert!(
        total.recovered > 0 && total.forged_refused > 0 && total.count.announced_again > 0,
        "it was bad weather, so that this test can fail"
    );
}

/// How many the one long world has in the gate; `MANY_EVENTS` says otherwise, and the long tier has 100,000.
const MANY: u64 = 2_000;

#[test]
fn many_events_in_one_world_are_each_found_once() {
    let many = told("MANY_EVENTS", MANY);
    // About seven a second.
    let sum =
        run(1, many, Duration::from_secs(many / 7 + 60)).unwrap_or_else(|failure| panic!("{many} events: {failure}"));
    report(&sum);
}

/// One seed is the same every time: what it sums up to tells.
#[test]
fn a_seed_of_events_is_the_same_every_time() {
    let sums: BTreeMap<String, u64> = (0..2).fold(BTreeMap::new(), |mut sums, _| {
        let sum = run(3, EVENTS, GO_ON_FOR).unwrap_or_else(|failure| panic!("seed 3 of events: {failure}"));
        *sums.entry(format!("{sum:?}")).or_default() += 1;
        sums
    });
    assert_eq!(sums.len(), 1, "{sums:#?}");
}

/// The tables are out of reach between two instants.
struct Outage {
    house: House,
    from: Timestamp,
    to: Timestamp,
}

impl Interference for Outage {
    fn at(&self, call: &Call, _random: u128) -> Mischief {
        let is_out = call.port == Port::Table && (self.from..self.to).contains(&self.house.world.now());
        Mischief {
            before: Duration::from_millis(5),
            after: Duration::ZERO,
            fault: is_out.then_some(Fault::Refused),
        }
    }
}

/// A world of one linked home, whose queue is as the template has it.
async fn home() -> House {
    let house = House::new(1, Character::Grace, Arc::new(Peace));
    link(&house, 0).await;
    let template = include_str!("../../../../template.yaml");
    let queue = template
        .split("\n  EventsQueue:\n")
        .nth(1)
        .expect("the queue of events");
    let number = |name: &str| -> u64 {
        let text = queue.split(name).nth(1).and_then(|rest| rest.split_whitespace().next());
        text.expect("a number").parse().expect("a number")
    };
    let mut all = house.world.all();
    all.queue.most_received = u32::try_from(number("maxReceiveCount:")).expect("a small number");
    all.queue.hidden_for = Duration::from_secs(number("VisibilityTimeout:"));
    all.queue.twice_in = u64::MAX;
    drop(all);
    house
}

/// Events one each second while the tables are out for so long. Returns how late the last of them was announced after the
/// tables were back, the latest of all after it was told, and the most often that a message was handed out.
async fn outage(lasts: Duration, many: u64) -> Result<(Duration, Duration, u32), String> {
    let house = home().await;
    let from = house.world.now() + signed(Duration::from_secs(1));
    let to = from + signed(lasts);
    house.interfere(Arc::new(Outage {
        house: house.clone(),
        from,
        to,
    }));
    let is_over = Arc::new(AtomicBool::new(false));
    let poller = tokio::spawn(house.clone().poll(0, Arc::clone(&is_over)));
    let (mut book, mut told_at) = (Book::default(), BTreeMap::new());
    for number in 0..many {
        let event = Event {
            account: "account-0".to_owned(),
            device: "device-0-0".to_owned(),
            kind: "motion_detected",
            at: house.world.now().as_millisecond(),
            is_old_form: false,
        };
        let delivered = deliver(&house, &event.body(number, 0, house.world.now()), 0).await;
        if delivered.attempts != 1 {
            return Err("the queue is within reach, and a webhook was not queued".to_owned());
        }
        told_at.insert(event.at, house.world.now());
        book.events.entry(event).or_default().acknowledged.push(number);
        sleep(Duration::from_secs(1)).await;
    }
    while house.world.now() < to {
        sleep(Duration::from_secs(1)).await;
    }
    is_over.store(true, Ordering::Relaxed);
    poller.await.map_err(|error| error.to_string())?;
    book.linked.insert("account-0".to_owned());
    let count = hold(&house, &book)?;
    let all = house.world.all();
    let latest = all.published.iter().map(|(at, _)| *at).max().unwrap_or(to);
    let longest = all.published.iter().map(|(at, announcement)| {
        at.duration_since(told_at[&announcement.occurred_at.as_millisecond()])
            .unsigned_abs()
    });
    Ok((
        latest.duration_since(to).unsigned_abs(),
        longest.max().unwrap_or_default(),
        count.most_received,
    ))
}

#[tokio::test(start_paused = true)]
async fn a_table_out_of_reach_for_an_hour_sends_nothing_of_events_to_the_dead_letter_queue() {
    let hour = Duration::from_secs(3_600);
    let (after, _, received) = outage(hour, 300).await.unwrap_or_else(|failure| panic!("{failure}"));
    println!(
        "an hour without tables: the last event is announced {after:?} after it; received at most {received} times"
    );
    assert!(
        after <= Duration::from_secs(900 + 10),
        "the longest wait is a quarter of an hour: {after:?}"
    );
    assert!(received > 6, "it was tried again and again, so that this test can fail");
}

#[tokio::test(start_paused = true)]
async fn events_are_tried_for_more_than_two_hours_before_they_are_dead_letters() {
    let (_, _, received) = outage(Duration::from_secs(2 * 3_600 + 600), 20)
        .await
        .unwrap_or_else(|failure| panic!("{failure}"));
    println!("two hours and ten minutes without tables: received at most {received} times");
}

#[tokio::test(start_paused = true)]
async fn a_table_out_for_a_second_delays_an_event_by_less_than_ten() {
    let (_, longest, _) = outage(Duration::from_secs(1), 5)
        .await
        .unwrap_or_else(|failure| panic!("{failure}"));
    println!("a second without tables: the latest event is announced {longest:?} after it was told");
    assert!(longest < Duration::from_secs(10), "{longest:?}");
    assert!(
        longest > Duration::from_secs(1),
        "it was delayed, so that this test can fail"
    );
}
