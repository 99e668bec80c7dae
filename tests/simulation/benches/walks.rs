//! What the walks themselves cost, over twins that answer at once: `cargo bench -p simulation`. No network, no KMS, no table is
//! in these figures; what a table would be asked for is counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::grant::access::RefreshRequest;
use shared::grant::ports::{Grants as _, Unclaimed};
use shared::link::claim::{ClaimError, Linked};
use simulation::house::{House, paused_runtime};
use simulation::interference::Peace;
use simulation::ring::Character;

const UNCLAIMED: u64 = 100_000;
const RENEWALS: u32 = 20_000;
/// In step with the store of grants.
const SHARDS: usize = 16;

fn main() {
    paused_runtime().expect("a runtime").block_on(async {
        let house = House::new(1, Character::Strict, Arc::new(Peace));
        renewals(&house).await;
        linking(&house).await;
    });
}

async fn install(house: &House, name: &str) {
    let exchanged = house.install(name).await;
    assert!(matches!(exchanged, Some(Ok(_))), "{exchanged:?}");
    // Ring allows a hundred requests in a second.
    tokio::time::sleep(Duration::from_millis(25)).await;
}

async fn renewals(house: &House) {
    install(house, "renewed").await;
    let id = house
        .world
        .all()
        .kept
        .grants()
        .next()
        .map(|grant| grant.id.clone())
        .expect("a grant");
    let process = house.world.process();
    let refresh = house.token_refresh(&process);
    let mut took = Duration::ZERO;
    for generation in 1..=u64::from(RENEWALS) {
        tokio::time::sleep(Duration::from_millis(25)).await;
        let request = RefreshRequest {
            grant: id.clone(),
            generation,
        };
        let since = Instant::now();
        let outcome = refresh.asked(&request, house.cut_off()).await;
        took += since.elapsed();
        assert_eq!(outcome, shared::grant::access::RefreshOutcome::Fresh);
    }
    let each = took / RENEWALS;
    println!("renewals: {RENEWALS} of one worker, one after the other");
    println!(
        "  {:<48}{:>9.1} us",
        "a renewal, all but table, KMS and Ring",
        each.as_secs_f64() * 1e6
    );
    println!("  {:<48}{:>9.0}", "renewals a second", 1.0 / each.as_secs_f64());
}

async fn linking(house: &House) {
    for number in 0..UNCLAIMED {
        install(house, &format!("amzn1.account.A{number:027}")).await;
    }
    let unclaimed = house.world.unclaimed().await.expect("the twins answer");
    let (pages, units, bytes) = reads(&unclaimed);
    let mut rounds = Vec::new();
    for _ in 0..15 {
        // An account that nobody has: every candidate is looked at.
        let redirect = house.arrive("nobody").await;
        let since = Instant::now();
        let linked = house.link(&house.world.process(), "user", &redirect).await;
        rounds.push(since.elapsed());
        assert!(matches!(linked, Err(ClaimError::NotFound)), "{linked:?}");
    }
    rounds.sort();
    let redirect = house.arrive(&format!("amzn1.account.A{:027}", 0)).await;
    let linked = house.link(&house.world.process(), "user", &redirect).await;
    assert!(matches!(linked, Ok(Linked::Now(_))), "{linked:?}");
    println!(
        "linking: {} unclaimed grants, the nonce fits none of them, the median of 15",
        unclaimed.len()
    );
    println!(
        "  {:<48}{:>9.1} ms",
        "matching and sorting, all but the table",
        rounds[7].as_secs_f64() * 1e3
    );
    println!(
        "  {:<48}{pages:>9} queries, side by side in {SHARDS} shards",
        "asked of the table"
    );
    println!("  {:<48}{units:>9} read units of 4 KiB, strongly", "");
    println!("  {:<48}{:>9.1} MB", "", bytes as f64 / 1e6);
}

/// What reading these rows costs: queries of 1 MB at most, read units of 4 KiB, bytes. An item's size is that of its names and
/// values (DynamoDB: Item sizes).
fn reads(unclaimed: &[Unclaimed]) -> (usize, usize, usize) {
    let item = |row: &Unclaimed| {
        let id = row.grant_id.as_str().len();
        let keys = "pk".len() + "unclaimed#00".len() + "sk".len() + id;
        let values = "grant_id".len() + id + "account_id".len() + row.account_id.as_str().len() + "since".len() + 8;
        keys + values
    };
    let bytes: usize = unclaimed.iter().map(item).sum();
    let shard = bytes.div_ceil(SHARDS);
    (SHARDS * shard.div_ceil(1 << 20), bytes.div_ceil(4096), bytes)
}
