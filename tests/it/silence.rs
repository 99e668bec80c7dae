//! Silence on the stack: the pulse that the processor beats, and what `token-refresh` makes of it.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use local::outside::{Home, rows_about, schedule_at, soon};
use local::{Failure, Stack};
use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::edge::clock;
use shared::event::silence::hour_of;
use uuid::Uuid;

use crate::ops::post;
use crate::stack::alone_on_the_stack;

/// What has been counted of this metric since then, value by value.
pub(crate) async fn counted(stack: &Stack, metric: &str, since: Timestamp) -> Result<Vec<u64>, Failure> {
    let logs = stack.gather_logs().await?;
    let logs = std::fs::read_to_string(logs).expect("the logs");
    let lines = logs
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.get(line.find('{')?..)?).ok());
    let since = lines.filter(|line| line["_aws"]["Timestamp"].as_i64() >= Some(since.as_millisecond()));
    let values = since.flat_map(|line| match &line[metric] {
        Value::Array(values) => values.clone(),
        value => vec![value.clone()],
    });
    Ok(values.filter_map(|value| value.as_u64()).collect())
}

/// A press of this button at this time.
fn press(home: &Home<'_>, device: &str, at: Timestamp) -> String {
    let body = json!({
        "meta": {"version": "1.1", "time": at.to_string(), "request_id": Uuid::new_v4().to_string(),
                 "account_id": home.account},
        "data": {"id": Uuid::new_v4().to_string(), "type": "button_press",
                 "attributes": {"source": device, "source_type": "devices", "timestamp": at.as_millisecond()}}
    });
    body.to_string()
}

/// Rows of the pulse as a busy week leaves them, up to the hour before this one.
async fn busy_week(stack: &Stack, now: Timestamp) -> Vec<HashMap<String, AttributeValue>> {
    let table = &stack.outputs().tables["event"];
    let this = hour_of(now);
    let mut keys = Vec::new();
    for hour in this - 8 * 24..this {
        let key = HashMap::from([
            ("pk".to_owned(), AttributeValue::S("pulse".to_owned())),
            ("sk".to_owned(), AttributeValue::S(format!("{hour:010}"))),
        ]);
        let mut row = key.clone();
        for (name, value) in [("hour", hour), ("events", 100), ("last_at", hour * 3_600_000)] {
            row.insert(name.to_owned(), AttributeValue::N(value.to_string()));
        }
        let put = stack.aws().tables.put_item().table_name(table).set_item(Some(row));
        put.send().await.expect("it is put");
        keys.push(key);
    }
    keys
}

#[test]
fn trap_62_a_stack_that_hears_nothing_any_more_says_so_and_one_that_hears_does_not() {
    alone_on_the_stack(async |stack| {
        let asked = async {
            let home = Home::linked(stack, &json!(["doorbell"])).await?;
            let device = home.device_ids().await?.into_values().next().expect("a device");
            let now = clock::now();
            assert_eq!(post(stack, press(&home, &device, now).as_bytes()).await, StatusCode::OK);
            home.events_settle().await?;
            soon("the processor has told of it", async || {
                let rows = rows_about(stack, "event", "pulse").await?;
                let this = rows.iter().any(|row| {
                    let last_at = row.get("last_at").and_then(|at| at.as_n().ok()?.parse::<i64>().ok());
                    // It beats once a minute at most: another test's event may have been the last that it told of.
                    last_at.is_some_and(|at| at > (now - SignedDuration::from_mins(2)).as_millisecond())
                });
                Ok(if this { Ok(()) } else { Err(format!("{rows:?}")) })
            })
            .await?;

            let rows = busy_week(stack, now).await;
            let hears = clock::now();
            stack.invoke("token-refresh", &schedule_at(hears)).await?;
            let while_it_hears = counted(stack, "everything_is_quiet", hears).await?;
            let hears_nothing = clock::now();
            stack
                .invoke(
                    "token-refresh",
                    &schedule_at(hears_nothing + SignedDuration::from_mins(40)),
                )
                .await?;
            let while_it_does_not = counted(stack, "everything_is_quiet", hears_nothing).await?;
            for key in rows {
                let delete = stack
                    .aws()
                    .tables
                    .delete_item()
                    .table_name(&stack.outputs().tables["event"]);
                delete.set_key(Some(key)).send().await.expect("it is deleted");
            }
            // The schedule's own minutes may be among them, in which events come.
            assert!(
                while_it_hears.contains(&0) && !while_it_hears.contains(&1),
                "{while_it_hears:?}"
            );
            assert!(
                while_it_does_not.contains(&1),
                "none have come for 40 minutes: {while_it_does_not:?}"
            );
            Ok(())
        };
        let asked: Result<(), Failure> = asked.await;
        if let Err(failure) = asked {
            panic!("{failure}");
        }
    });
}

#[test]
fn an_account_that_was_busy_and_is_quiet_is_counted_when_its_devices_are_listed() {
    alone_on_the_stack(async |stack| {
        let asked = async {
            let (quiet, _other) = (
                Home::linked(stack, &json!(["doorbell"])).await?,
                Home::linked(stack, &json!(["doorbell"])).await?,
            );
            let device = quiet.device_ids().await?.into_values().next().expect("a device");
            let newest = clock::now() - SignedDuration::from_hours(36);
            for hours in 0..22 {
                let at = newest - SignedDuration::from_hours(hours);
                assert_eq!(post(stack, press(&quiet, &device, at).as_bytes()).await, StatusCode::OK);
            }
            quiet.events_settle().await?;
            // A day and its jitter later each account is listed anew.
            let listed = clock::now();
            stack
                .invoke("token-refresh", &schedule_at(listed + SignedDuration::from_hours(49)))
                .await?;
            let of = async |metric: &str| Ok::<u64, Failure>(counted(stack, metric, listed).await?.iter().sum());
            assert_eq!(of("accounts_quiet").await?, 1);
            assert!(
                of("accounts_looked_at").await? > 1,
                "and the other accounts of this stack are not"
            );
            Ok(())
        };
        let asked: Result<(), Failure> = asked.await;
        if let Err(failure) = asked {
            panic!("{failure}");
        }
    });
}
