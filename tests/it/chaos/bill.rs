//! What an event costs: the calls that AWS sends a bill for, counted between the programs and the emulator when all is warm.
//!
//! A write costs a unit for each KiB of its row, begun or whole, and one more for each index that the row is in and that has to
//! be written too. An index of keys alone is not, where an update leaves them as they are.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, ProjectionType};
use local::Failure;
use local::outside::{Home, claim};
use serde_json::json;

use super::proxy::Call;
use super::{Chaos, in_chaos, text};

/// What one event was billed.
#[derive(Debug, Default)]
struct Bill {
    /// How often each call was made.
    calls: BTreeMap<String, u64>,
    /// Write units of the tables.
    written: u64,
    /// Reads of the tables, whatever each costs.
    read: u64,
}

impl Bill {
    async fn of(chaos: &Chaos, calls: &[Call]) -> Result<Self, Failure> {
        let mut bill = Self::default();
        // Whoever listens for silence is told at most once a minute by each process: no event costs it.
        for call in calls.iter().filter(|call| call.body["Key"]["pk"]["S"] != "pulse") {
            *bill.calls.entry(call.name()).or_default() += 1;
            match call.name().as_str() {
                "DynamoDB.PutItem" | "DynamoDB.UpdateItem" | "DynamoDB.DeleteItem" => {
                    bill.written += units(chaos, call).await?;
                }
                "DynamoDB.GetItem" | "DynamoDB.Query" | "DynamoDB.BatchGetItem" => bill.read += 1,
                name => claim(!name.starts_with("DynamoDB."), "it is known what a call costs", &name)?,
            }
        }
        Ok(bill)
    }

    fn count(&self, call: &str) -> u64 {
        self.calls.get(call).copied().unwrap_or(0)
    }
}

/// The units of a write: the row is looked up as it is after it.
async fn units(chaos: &Chaos, call: &Call) -> Result<u64, Failure> {
    let failed = |error: &dyn std::fmt::Debug| Failure::new("A row can't be looked at").because(format!("{error:?}"));
    let (tables, table) = (&chaos.stack.aws().tables, text(&call.body["TableName"]));
    let is_update = call.operation == "UpdateItem";
    let of = if call.body["Item"].is_object() {
        &call.body["Item"]
    } else {
        &call.body["Key"]
    };
    let key = ["pk", "sk"].map(|name| (name.to_owned(), AttributeValue::S(text(&of[name]["S"]))));
    let row = tables
        .get_item()
        .table_name(&table)
        .set_key(Some(HashMap::from(key)))
        .send()
        .await;
    let row = row.map_err(|error| failed(&error))?.item.unwrap_or_default();
    let described = tables
        .describe_table()
        .table_name(&table)
        .send()
        .await
        .map_err(|error| failed(&error))?;
    let indexes = described
        .table
        .and_then(|table| table.global_secondary_indexes)
        .unwrap_or_default();
    let written = indexes.iter().filter(|index| {
        let is_in_it = index
            .key_schema()
            .iter()
            .all(|part| row.contains_key(part.attribute_name()));
        let projected = index.projection().and_then(|projection| projection.projection_type());
        is_in_it && !(is_update && projected == Some(&ProjectionType::KeysOnly))
    });
    let size: usize = row.iter().map(|(name, value)| name.len() + size(value)).sum();
    Ok(size.div_ceil(1_024).max(1) as u64 + written.count() as u64)
}

/// DynamoDB: Item sizes and formats.
fn size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::L(all) => 3 + all.iter().map(|value| 1 + size(value)).sum::<usize>(),
        AttributeValue::M(all) => {
            3 + all
                .iter()
                .map(|(name, value)| 1 + name.len() + size(value))
                .sum::<usize>()
        }
        AttributeValue::Bool(_) | AttributeValue::Null(_) => 1,
        other => panic!("a kind of attribute that no row of an event has: {other:?}"),
    }
}

/// One event of this kind, from Ring's attempt to an empty queue, when all that it needs is warm.
async fn billed(chaos: &Chaos, home: &Home<'_>, device: &str, kind: &str) -> Result<Bill, Failure> {
    let order = json!({ "type": kind, "device": device, "wait": true, "effects": false });
    for is_counted in [false, true] {
        if is_counted {
            chaos.proxy.record();
        }
        home.emit(&order).await?;
        chaos.drain(Duration::from_secs(30)).await?;
    }
    Bill::of(chaos, &chaos.proxy.recorded()).await
}

#[test]
fn an_event_costs_one_message_and_two_units_and_one_more_with_device_state() {
    in_chaos(async |chaos| {
        let homes = chaos.homes(1, 1).await?;
        let (home, devices) = &homes[0];
        for (kind, units, reads) in [
            ("motion_detected", 2, 0),
            ("button_press", 2, 0),
            ("device_online", 3, 0),
            ("device_offline", 3, 0),
        ] {
            let bill = billed(chaos, home, &devices[0], kind).await?;
            println!(
                "{kind}: {} units written, {} reads, {:?}",
                bill.written, bill.read, bill.calls
            );
            claim(bill.count("AmazonSQS.SendMessage") == 1, "one message is sent", &bill)?;
            claim(
                bill.count("secretsmanager.GetSecretValue") == 0,
                "no secret is read",
                &bill,
            )?;
            claim(bill.read <= reads, "no more is read than may be", &bill)?;
            claim(bill.written <= units, "it costs no more than it may", &bill)?;
        }
        Ok(())
    });
}
