//! Many programs at once, of which some die, over tables that are throttled and a Ring that is slow and forgets to answer. Each
//! seed is one schedule, the same every time; one that fails is printed, and run again with `SEED=n cargo test -p simulation`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ring_partner::users::AccountId;
use shared::edge::config::{Environment as _, Process};
use shared::grant::access::RefreshRequest;
use shared::grant::{Grant, GrantId, Life};
use shared::link::claim::ClaimError;
use shared::world::Nature as _;
use simulation::house::{House, account, paused_runtime};
use simulation::interference::{Call, Fault, Interference, Mischief, Port};
use simulation::invariants::{Causes, Lost, hold, recover};
use simulation::ring::Character;
use simulation::twin::Twin;
use tokio::time::sleep;

/// How many seeds the gate runs, of each character; `SEEDS` says otherwise.
const SEEDS: u64 = 1_000;
const HOMES: u64 = 12;
const WORKERS: u64 = 50;
/// How long they go on, by the simulated clock.
const GO_ON_FOR: Duration = Duration::from_secs(480);

/// Numbers below bounds, out of random bits.
pub(crate) struct Dice(pub(crate) u128);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let bound = u128::from(bound.max(1));
        let number = self.0 % bound;
        self.0 /= bound;
        u64::try_from(number).unwrap_or(0)
    }

    pub(crate) fn millis(&mut self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound))
    }

    /// Milliseconds below `bound`, and each so manieth time below `rare`.
    pub(crate) fn mostly(&mut self, bound: u64, each: u64, rare: u64) -> Duration {
        let bound = if self.below(each) == 0 { rare } else { bound };
        self.millis(bound)
    }
}

/// What befalls calls: delays, refusals, lost answers, and outages of the table for half a minute in each of some.
struct Chaos {
    seed: u64,
}

impl Interference for Chaos {
    fn at(&self, call: &Call, random: u128) -> Mischief {
        let mut dice = Dice(random);
        let fault =
            |dice: &mut Dice, in_thousand: u64, fault: Fault| (dice.below(1_000) < in_thousand).then_some(fault);
        match call.port {
            Port::Ring => Mischief {
                before: dice.mostly(400, 10, 9_000),
                after: dice.millis(100),
                fault: fault(&mut dice, 10, Fault::Status(429))
                    .or_else(|| fault(&mut dice, 10, Fault::Status(500)))
                    .or_else(|| fault(&mut dice, 10, Fault::Refused))
                    .or_else(|| fault(&mut dice, 3, Fault::AnswerLost))
                    .or_else(|| fault(&mut dice, 2, Fault::InvalidClient)),
            },
            Port::Table => Mischief {
                before: dice.mostly(10, 50, 4_000),
                after: dice.millis(5),
                // In some worlds every table is often throttled.
                fault: fault(
                    &mut dice,
                    if self.seed.is_multiple_of(4) { 150 } else { 10 },
                    Fault::Refused,
                )
                .or_else(|| fault(&mut dice, 10, Fault::AnswerLost)),
            },
            _ => Mischief {
                before: dice.millis(30),
                after: Duration::ZERO,
                fault: fault(&mut dice, 10, Fault::Refused).or_else(|| fault(&mut dice, 10, Fault::AnswerLost)),
            },
        }
    }
}

/// One of many that do whatever users and the schedule do.
async fn worker(house: House) {
    let ends = house.world.now() + GO_ON_FOR;
    loop {
        let mut dice = Dice(house.world.random());
        sleep(dice.millis(40_000)).await;
        if house.world.now() > ends {
            return;
        }
        let process = house.world.process();
        if dice.below(8) == 0 {
            // It is killed wherever it is then.
            let (doomed, after) = (process.clone(), dice.millis(12_000));
            tokio::spawn(async move {
                sleep(after).await;
                doomed.kill();
            });
        }
        let home = dice.below(HOMES);
        let account = account(&format!("account-{home}"));
        match dice.below(20) {
            0 => installs(&house, &process, &account, dice).await,
            // Now and then it is somebody else of the household.
            1..=5 => {
                let user = if dice.below(6) == 0 { "guest" } else { "user" };
                links(&house, &process, &account, &format!("{user}-{home}")).await;
            }
            6..=12 => {
                if let Some((id, _)) = some_grant(&house, &mut dice) {
                    let _served = process.run(house.call(&process, &id)).await;
                }
            }
            13..=15 => {
                if let Some((grant, generation)) = some_grant(&house, &mut dice) {
                    let refresh = house.token_refresh(&process);
                    let request = RefreshRequest { grant, generation };
                    let _outcome = process.run(refresh.asked(&request, house.cut_off())).await;
                }
            }
            16..=18 => {
                // What a day does to a claim is not done while Ring may be taking its nonce: no claim of ours takes so long.
                let is_claiming = |grant: &Grant| matches!(grant.life, Life::Claiming { .. });
                let skips = dice.below(3) == 0 && !house.world.all().kept.grants().any(is_claiming);
                let later = Duration::from_secs(if skips { 25 * 3600 } else { 0 });
                let _minute = house.minute(&process, later).await;
            }
            _ => {
                let link = house
                    .world
                    .all()
                    .kept
                    .links()
                    .find(|link| link.account_id == account)
                    .cloned();
                match link {
                    Some(link) if dice.below(2) == 0 => {
                        let _unlinked = process.run(house.unlink(&process, link)).await;
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Ring's user installs the app; Ring sends the code, now and then more than once.
async fn installs(house: &House, process: &Twin, account: &AccountId, mut dice: Dice) {
    let code = house.world.all().ring.install(account, house.world.now());
    let twice = dice.below(3) == 0;
    let again = async {
        if twice {
            let process = house.world.process();
            sleep(dice.millis(3_000)).await;
            let _exchanged = process.run(house.exchange(&process, &code)).await;
        }
    };
    let (_exchanged, ()) = tokio::join!(process.run(house.exchange(process, &code)), again);
}

/// Ring's app sends its user over, who signs in and links, with some patience.
async fn links(house: &House, process: &Twin, account: &AccountId, user: &str) {
    let redirect = house.arrive(account.as_str()).await;
    for _ in 0..4 {
        match process.run(house.link(process, user, &redirect)).await {
            Some(Err(ClaimError::NotFound | ClaimError::Unclear | ClaimError::Ring(_) | ClaimError::Store(_))) => {
                sleep(Duration::from_secs(2)).await;
            }
            _ => return,
        }
    }
}

fn some_grant(house: &House, dice: &mut Dice) -> Option<(GrantId, u64)> {
    let all = house.world.all();
    let living: Vec<_> = all.kept.grants().filter(|grant| grant.tokens.is_some()).collect();
    let bound = living.len() as u64;
    let grant = living.get(usize::try_from(dice.below(bound)).ok()?)?;
    Some((grant.id.clone(), grant.tokens.as_ref()?.generation))
}

/// What the seeds came to.
#[derive(Default)]
struct Sum {
    seeds: u64,
    grants: u64,
    renewals: u64,
    unknowingly_spent: u64,
    lost: Lost,
}

/// Runs one seed to its end.
fn run(seed: u64, character: Character) -> Result<Sum, String> {
    let runtime = paused_runtime().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let house = House::new(seed, character, Arc::new(Chaos { seed }));
        let workers: Vec<_> = (0..WORKERS).map(|_| tokio::spawn(worker(house.clone()))).collect();
        for worker in workers {
            worker.await.map_err(|error| error.to_string())?;
        }
        recover(&house).await?;
        let lost = hold(&house).await?;
        let all = house.world.all();
        Ok(Sum {
            seeds: 1,
            grants: all.kept.grants().count() as u64,
            renewals: all.ring.counts.renewals,
            unknowingly_spent: all.ring.counts.unknowingly_spent,
            lost,
        })
    })
}

/// All seeds, on all cores.
fn all(character: Character) -> Sum {
    if let Some(seed) = Process.get("SEED").and_then(|seed| seed.parse().ok()) {
        return run(seed, character).unwrap_or_else(|failure| panic!("seed {seed} of {character:?}: {failure}"));
    }
    let seeds = Process
        .get("SEEDS")
        .and_then(|seeds| seeds.parse().ok())
        .unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut sum = Sum::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return sum;
            }
            match run(seed, character) {
                Ok(one) => {
                    sum.seeds += 1;
                    sum.grants += one.grants;
                    sum.renewals += one.renewals;
                    sum.unknowingly_spent += one.unknowingly_spent;
                    sum.lost += one.lost;
                }
                Err(failure) => {
                    panic!("seed {seed} of {character:?}: {failure}\nagain: SEED={seed} cargo test -p simulation")
                }
            }
        }
    };
    let sums: Vec<Sum> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut total = Sum::default();
    for sum in sums {
        total.seeds += sum.seeds;
        total.grants += sum.grants;
        total.renewals += sum.renewals;
        total.unknowingly_spent += sum.unknowingly_spent;
        total.lost += sum.lost;
    }
    println!(
        "{character:?}: {seeds} seeds, {} grants, {} renewals, {} tokens shown to Ring that were spent without our knowing",
        total.grants, total.renewals, total.unknowingly_spent
    );
    println!(
        "    lost grants: {:?}\n    lost codes: {:?}",
        total.lost.grants, total.lost.codes
    );
    total
}

#[test]
fn under_a_ring_with_grace_no_grant_is_lost() {
    let sum = all(Character::Grace);
    assert_eq!(sum.lost.grants, Causes::default());
    assert_eq!(sum.lost.codes.by_our_fault, 0);
    assert!(sum.renewals > sum.grants, "they were renewed");
}

#[test]
fn under_a_strict_ring_only_those_are_lost_whose_answer_nobody_had() {
    let sum = all(Character::Strict);
    assert_eq!((sum.lost.grants.by_our_fault, sum.lost.codes.by_our_fault), (0, 0));
    assert!(
        sum.lost.grants.died_in_window > 0,
        "the window is hit, so that this test can fail"
    );
}
