//! Hours and crowds: the table out of reach, the scheduler out, many callers at once, a flood of forged codes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ring_partner::AuthorizationCode;
use shared::edge::clock::signed;
use shared::edge::config::{Environment as _, Process};
use shared::grant::exchange::{ExchangeError, Exchanged};
use shared::world::Nature as _;
use simulation::house::{House, REFUSED_CODES, account};
use simulation::interference::{Call, Fault, Interference, Mischief, Peace, Port};
use simulation::invariants::{Lost, hold, recover};
use simulation::ring::Character;
use token_refresh::{Minute, Pace};
use tokio::time::sleep;

const DAY: Duration = Duration::from_secs(24 * 3600);
const MINUTE: Duration = Duration::from_secs(60);

fn house(interference: impl Interference + 'static) -> House {
    House::new(1, Character::Strict, Arc::new(interference))
}

/// Nothing goes wrong; Ring takes its time.
struct Unhurried;

impl Interference for Unhurried {
    fn at(&self, call: &Call, _random: u128) -> Mischief {
        let before = Duration::from_millis(if call.port == Port::Ring { 250 } else { 5 });
        Mischief {
            before,
            ..Mischief::default()
        }
    }
}

/// So many accounts have installed the app; their tokens are saved.
async fn installed(house: &House, many: u64) {
    for number in 0..many {
        let exchanged = house.install(&format!("account-{number}")).await;
        assert!(matches!(exchanged, Some(Ok(Exchanged::Resolved(_)))), "{exchanged:?}");
        // Two requests each, and Ring allows a hundred in a second.
        sleep(Duration::from_millis(25)).await;
    }
}

/// How many renewals Ring has seen.
fn renewals(house: &House) -> u64 {
    house.world.all().ring.counts.renewals
}

#[tokio::test(start_paused = true)]
async fn trap_14_fifty_callers_at_once_make_one_refresh() {
    let house = house(Unhurried);
    installed(&house, 1).await;
    let id = house
        .world
        .all()
        .kept
        .grants()
        .next()
        .map(|grant| grant.id.clone())
        .expect("a grant");
    // The access token has expired.
    sleep(Duration::from_secs(5 * 3600)).await;
    let callers = (0..50).map(|_| {
        let (house, id) = (house.clone(), id.clone());
        tokio::spawn(async move { house.call(&house.world.process(), &id).await.is_ok() })
    });
    for served in futures_util::future::join_all(callers).await {
        assert!(served.expect("no panic"), "each caller is served");
    }
    assert_eq!(renewals(&house), 1);
}

#[tokio::test(start_paused = true)]
async fn each_due_grant_is_one_request_when_nothing_fails() {
    let house = house(Unhurried);
    installed(&house, 200).await;
    sleep(DAY).await;
    let requests = |house: &House| house.world.all().ring.counts.requests;
    let before = requests(&house);
    // Minutes overlap, and each looks at what the other has in hand.
    let minutes = (0..3).map(|late| {
        let house = house.clone();
        tokio::spawn(async move {
            sleep(Duration::from_secs(late)).await;
            house.minute(&house.world.process(), Duration::ZERO).await
        })
    });
    let renewed: usize = futures_util::future::join_all(minutes)
        .await
        .into_iter()
        .map(|minute| minute.expect("no panic").map_or(0, |minute| minute.renewed))
        .sum();
    assert_eq!((renewed, renewals(&house)), (200, 200));
    assert_eq!(requests(&house) - before, 200);
    let process = house.world.process();
    let again = house.minute(&process, Duration::ZERO).await.expect("a minute");
    assert_eq!(again.renewed, 0, "what was renewed is skipped");
}

/// The table takes nothing from one instant to another, and is read by nobody.
struct Outage {
    from: Timestamp,
    to: Timestamp,
    clock: House,
}

impl Interference for Outage {
    fn at(&self, call: &Call, _random: u128) -> Mischief {
        let now = self.clock.world.now();
        let out = call.port == Port::Table && (self.from..self.to).contains(&now);
        Mischief {
            before: Duration::from_millis(if call.port == Port::Ring { 250 } else { 5 }),
            after: Duration::ZERO,
            fault: out.then_some(Fault::Refused),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn trap_10_a_table_out_of_reach_for_ten_minutes_loses_no_token() {
    let house = house(Unhurried);
    installed(&house, 300).await;
    // It begins in the middle of a run: some have Ring's answer in hand.
    let from = house.world.now() + signed(Duration::from_secs(10));
    let to = from + signed(10 * MINUTE);
    house.interfere(Arc::new(Outage {
        from,
        to,
        clock: house.clone(),
    }));
    while house.world.now() < to {
        let beginning = house.clone();
        tokio::spawn(async move { beginning.minute(&beginning.world.process(), DAY).await });
        sleep(MINUTE).await;
    }
    let waited = house.world.all().kept.waiting();
    let renewed = renewals(&house);
    assert!(waited > 0, "pairs wait in the rescue queue, so that this test can fail");
    for _ in 0..2 {
        house.minute(&house.world.process(), Duration::ZERO).await;
        sleep(Duration::from_secs(10)).await;
    }
    assert!(house.world.now().duration_since(to) < signed(2 * MINUTE));
    assert_eq!(
        house.world.all().kept.waiting(),
        0,
        "all are applied within two minutes"
    );
    println!("{renewed} pairs renewed before and in the outage, {waited} of them rescued");
    recover(&house).await.expect("what was left half-way is resumed");
    assert_eq!(hold(&house).await, Ok(Lost::default()));
}

/// Grants whose pairs all are due, made without Ring's being asked one by one for whose they are.
async fn drain(grants: u64, pace: u32) -> (House, Vec<Minute>, Duration) {
    let mut house = house(Peace);
    house.pace = Pace {
        grants: pace,
        links: 10,
    };
    installed(&house, grants).await;
    house.interfere(Arc::new(Unhurried));
    // The scheduler is out for a day: all of them come due.
    sleep(DAY).await;
    let back = house.world.now();
    let mut minutes = Vec::new();
    let mut running = Vec::new();
    loop {
        let beginning = house.clone();
        running.push(tokio::spawn(async move {
            beginning.minute(&beginning.world.process(), Duration::ZERO).await
        }));
        sleep(MINUTE).await;
        if !house.world.all().kept.has_due(house.world.now()) {
            break;
        }
        if running.len().is_multiple_of(30) {
            // While they wait: no pair is a day from its end, of the thirty that it lives.
            let all = house.world.all();
            let ends = all
                .kept
                .grants()
                .filter_map(|grant| Some(grant.tokens.as_ref()?.refresh_expires_at));
            let first = ends.min().expect("they are installed");
            assert!(first > house.world.now() + signed(27 * DAY), "a pair ends at {first}");
        }
    }
    for run in running {
        minutes.extend(run.await.expect("no panic"));
    }
    let last = house
        .world
        .all()
        .kept
        .grants()
        .filter_map(|grant| Some(grant.tokens.as_ref()?.issued_at))
        .max();
    let took = last.map_or(Duration::ZERO, |last| last.duration_since(back).unsigned_abs());
    (house, minutes, took)
}

/// How many grants the gate drains; `GRANTS` says otherwise, and the long tier has a million.
const GRANTS: u64 = 9_000;

#[tokio::test(start_paused = true)]
async fn trap_8_a_day_without_the_scheduler_is_made_up_for_at_the_budgets_pace() {
    let grants = Process
        .get("GRANTS")
        .and_then(|grants| grants.parse().ok())
        .unwrap_or(GRANTS);
    let pace = 15;
    let (house, minutes, took) = drain(grants, pace).await;
    let renewed: u64 = minutes.iter().map(|minute| minute.renewed as u64).sum();
    assert_eq!(renewed, grants);
    let least = Duration::from_secs_f64(grants as f64 / f64::from(pace));
    let share = least.as_secs_f64() / took.as_secs_f64();
    let counts = house.world.all().ring.counts;
    println!(
        "{grants} grants drained in {took:?} of simulated time, at {:.1} % of the budget; {} requests in the busiest second",
        share * 100.0,
        counts.most_in_a_second
    );
    assert!(share >= 0.95, "{share}");
    assert_eq!(counts.too_many, 0, "no 429");
}

#[tokio::test(start_paused = true)]
async fn trap_1_a_flood_of_forged_codes_leaves_room_for_a_real_one() {
    let house = house(Unhurried);
    let mut callers = Vec::new();
    let begun = house.world.now();
    let mut real = BTreeMap::new();
    // A thousand a second for a minute, from one address, with the right key.
    for number in 0..60_000_u64 {
        let forger = house.clone();
        callers.push(tokio::spawn(async move {
            let code = AuthorizationCode::new(format!("forged-{number}")).expect("letters and digits");
            forger
                .exchange_from("203.0.113.7", &forger.world.process(), &code)
                .await
                .is_ok()
        }));
        if number % 15_000 == 7_500 {
            let (user, name) = (house.clone(), format!("account-{number}"));
            real.insert(
                number,
                tokio::spawn(async move {
                    let code = user.world.all().ring.install(&account(&name), user.world.now());
                    let since = user.world.now();
                    let exchanged = user.exchange_from("198.51.100.1", &user.world.process(), &code).await;
                    (exchanged.is_ok(), user.world.now().duration_since(since))
                }),
            );
        }
        sleep(Duration::from_millis(1)).await;
    }
    for caller in callers {
        assert!(!caller.await.expect("no panic"), "no forged code is taken");
    }
    for (number, user) in real {
        let (exchanged, after) = user.await.expect("no panic");
        assert!(
            exchanged && after < signed(Duration::from_secs(5)),
            "{number}: {after:?}"
        );
    }
    let windows = house.world.now().duration_since(begun).as_secs().unsigned_abs() / 60 + 2;
    let all = house.world.all();
    let upstream = all.ring.counts.requests;
    assert!(
        upstream <= windows * REFUSED_CODES + 2 * 4,
        "{upstream} requests reached Ring"
    );
    assert!(
        all.ring.counts.most_in_a_second <= 30,
        "the share of exchanges is not exceeded"
    );
}

#[tokio::test(start_paused = true)]
async fn good_codes_from_one_address_are_all_exchanged_however_many_come_at_once() {
    let house = house(Unhurried);
    let installs = (0..4 * REFUSED_CODES).map(|number| {
        let house = house.clone();
        tokio::spawn(async move { house.install(&format!("account-{number}")).await })
    });
    for installed in futures_util::future::join_all(installs).await {
        let installed = installed.expect("no panic");
        assert!(matches!(installed, Some(Ok(Exchanged::Resolved(_)))), "{installed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_code_whose_holder_died_is_told_to_be_pending_by_whoever_presents_it_again_within_ten_seconds() {
    let house = house(Unhurried);
    let name = account("account-0");
    let code = house.world.all().ring.install(&name, house.world.now());
    let process = house.world.process();
    let holder = {
        let (house, process, code) = (house.clone(), process.clone(), code.clone());
        tokio::spawn(async move { process.run(house.exchange(&process, &code)).await })
    };
    // Ring has been asked, and its answer is on its way.
    while house.world.all().ring.counts.requests == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    process.kill();
    assert!(
        holder.await.expect("no panic").is_none(),
        "it died before it had an answer"
    );
    let since = house.world.now();
    let others = (0..5).map(|_| async { house.exchange(&house.world.process(), &code).await });
    for other in futures_util::future::join_all(others).await {
        assert!(matches!(other, Err(ExchangeError::Pending)), "{other:?}");
    }
    let took = house.world.now().duration_since(since);
    assert!(took <= signed(Duration::from_secs(10)), "{took:?}");
    assert_eq!(
        house.world.all().ring.counts.requests,
        1,
        "nobody presents it at Ring again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_spent_source_is_told_when_to_come_again() {
    let house = house(Peace);
    let forged = AuthorizationCode::new("forged").expect("letters");
    let mut spent = None;
    for number in 0..=REFUSED_CODES {
        let code = AuthorizationCode::new(format!("forged-{number}")).expect("letters and digits");
        spent = house.exchange(&house.world.process(), &code).await.err();
    }
    assert!(
        matches!(&spent, Some(ExchangeError::TooMany(spent)) if spent.retry_after <= MINUTE),
        "{spent:?}"
    );
    sleep(MINUTE).await;
    let again = house.exchange(&house.world.process(), &forged).await;
    assert!(matches!(again, Err(ExchangeError::Refused)), "{again:?}");
}
