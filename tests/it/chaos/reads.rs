//! What a request of the API costs: the calls of AWS and of Ring that it makes when all is warm, and how long it takes beside
//! them. `READS=200 cargo test --workspace --test it -- what_a_read_costs --nocapture` prints the table of docs/api.md.

use std::time::{Duration, Instant};

use local::Failure;
use local::outside::{claim, soon};
use reqwest::{Method, StatusCode};
use serde_json::json;
use shared::edge::clock;

use super::proxy::Call;
use super::{Chaos, in_chaos, number};
use crate::api::Operation;
use crate::api::tenants::{Owner, answer, nobodys_like, requests};

/// The most reads of the tables that each route makes for one link with three devices.
const MOST_READS: [(&str, &str, usize); 10] = [
    ("GET", "/v1/devices", 2),
    ("GET", "/v1/devices/{device}", 2),
    ("GET", "/v1/devices/{device}/events", 3),
    ("GET", "/v1/devices/{device}/media", 3),
    ("GET", "/v1/devices/{device}/policy", 3),
    ("GET", "/v1/events", 5),
    ("GET", "/v1/links", 2),
    ("GET", "/v1/media/{id}", 3),
    ("GET", "/v1/summary", 8),
    ("GET", "/v1/account", 3),
];

/// The calls of a request, without those that count requests and that only each tenth makes.
fn of_the_request(calls: Vec<Call>) -> Vec<Call> {
    let counts = |call: &Call| {
        call.body["Key"]["pk"]["S"]
            .as_str()
            .is_some_and(|key| key.starts_with("quota#"))
    };
    calls.into_iter().filter(|call| !counts(call)).collect()
}

fn is_read(call: &Call) -> bool {
    ["GetItem", "Query", "BatchGetItem"].contains(&call.operation.as_str())
}

/// How many requests the offline Ring has had.
async fn at_ring(chaos: &Chaos) -> Result<usize, Failure> {
    let journal = chaos.stack.ring().order(Method::GET, "journal", None).await?;
    Ok(journal["items"].as_array().map_or(0, Vec::len))
}

fn percentile(took: &mut [Duration], percent: usize) -> f64 {
    took.sort_unstable();
    took[(took.len() * percent).div_ceil(100).saturating_sub(1)].as_secs_f64() * 1_000.0
}

#[test]
fn what_a_read_costs_is_a_few_reads_of_the_tables_and_no_call_of_ring() {
    in_chaos(async |chaos| {
        let homes = chaos.homes(1, 3).await?;
        let (home, devices) = &homes[0];
        home.emit(&json!({ "type": "motion_detected", "sub_type": "human", "device": devices[0], "wait": true }))
            .await?;
        let clip = json!({ "timestamp": clock::now().as_millisecond() - 30_000, "duration": 5_000 });
        let medium = home.fetched(&devices[0], "clips", &clip).await?["id"]
            .as_str()
            .map(str::to_owned);
        let medium = medium.ok_or_else(|| Failure::new("A medium has no id"))?;
        chaos.drain(Duration::from_secs(30)).await?;
        let rounds = number("READS", 6);
        println!(
            "| route | reads | all calls of AWS | p50 | p99 | of it the emulator's, p50 |\n|---|---|---|---|---|---|"
        );
        for (method, path, most) in MOST_READS {
            let route = path.replace("{device}", &devices[0]).replace("{id}", &medium);
            let (mut took, mut of_aws, mut reads, mut all) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            for round in 0..=rounds {
                chaos.proxy.record();
                let before = at_ring(chaos).await?;
                let begun = Instant::now();
                let found = home.call(Method::GET, &route, None).await?;
                let elapsed = begun.elapsed();
                let calls = of_the_request(chaos.proxy.recorded());
                found.must_be(StatusCode::OK, "a read is answered")?;
                claim(at_ring(chaos).await? == before, "Ring is not asked", &route)?;
                // The first may start a process.
                if round > 0 {
                    took.push(elapsed);
                    of_aws.push(calls.iter().map(|call| call.took).sum());
                    reads.push(calls.iter().filter(|call| is_read(call)).count());
                    all.push(calls.len());
                }
            }
            // The schedule's minute may have called beside one of them.
            reads.sort_unstable();
            all.sort_unstable();
            let (reads, all) = (reads[reads.len() / 2], all[all.len() / 2]);
            println!(
                "| `{method} {path}` | {reads} | {all} | {:.1} ms | {:.1} ms | {:.1} ms |",
                percentile(&mut took, 50),
                percentile(&mut took, 99),
                percentile(&mut of_aws, 50),
            );
            claim(
                reads <= most,
                &format!("{method} {path} reads at most {most} times"),
                &reads,
            )?;
        }
        Ok(())
    });
}

#[test]
fn another_users_things_cost_the_calls_that_things_cost_which_do_not_exist() {
    in_chaos(async |chaos| {
        let (owner, stranger) = (Owner::new(&chaos.stack).await?, Owner::new(&chaos.stack).await?);
        soon("what was asked for is done", async || {
            Ok(chaos
                .drain(Duration::from_secs(30))
                .await
                .map_err(|failure| failure.to_string()))
        })
        .await?;
        let token = &stranger.home.visitor.token;
        let offer = &stranger.viewer.offer;
        let mut compared = 0;
        for operation in Operation::all() {
            let theirs = requests(&operation, offer, &|kind| owner.ids[kind].clone());
            let nobodys = requests(&operation, offer, &|kind| nobodys_like(&owner.ids[kind]));
            for (theirs, nobodys) in theirs.iter().zip(&nobodys) {
                let before = at_ring(chaos).await?;
                // Once more where they differ: the first of a route may start a process, and the schedule's minute may call
                // beside one of them.
                let mut seen = [Vec::new(), Vec::new()];
                for _ in 0..3 {
                    for (asked, seen) in [theirs, nobodys].into_iter().zip(&mut seen) {
                        chaos.proxy.record();
                        answer(&chaos.stack, token, asked).await;
                        let of_a_table = |call: &Call| format!("{} {}", call.name(), call.body["TableName"]);
                        *seen = of_the_request(chaos.proxy.recorded()).iter().map(of_a_table).collect();
                        seen.sort_unstable();
                    }
                    if seen[0] == seen[1] {
                        break;
                    }
                }
                claim(seen[0] == seen[1], "the same calls of AWS", &(&theirs.route, &seen))?;
                claim(at_ring(chaos).await? == before, "no call of Ring", &theirs.route)?;
                compared += 1;
            }
        }
        claim(compared > 15, "each route was asked", &compared)?;
        owner.viewer.close().await;
        stranger.viewer.close().await;
        Ok(())
    });
}
