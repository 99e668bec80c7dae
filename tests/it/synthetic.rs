//! The synthetic event on the stack: in by the public URL, recorded for a day, acted on by nobody.

use jiff::SignedDuration;
use local::outside::{claim, rows_about, schedule_at, soon};
use local::{Failure, Stack};
use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::edge::clock;
use shared::event::synthetic::{KEPT_FOR, MARK, made};
use uuid::Uuid;

use crate::grants::{set, set_back};
use crate::intake::deployed;
use crate::ops::post;
use crate::silence::counted;
use crate::stack::{alone_on_the_stack, published};
use crate::traps::among_others;

#[test]
fn a_synthetic_event_is_recorded_for_a_day_and_acted_on_by_nobody_and_a_forged_one_is_refused() {
    among_others(async |stack| {
        let now = clock::now();
        let (body, id) = made(&Uuid::new_v4().to_string(), now);
        let forged = format!("sha256={}", "0".repeat(64));
        assert_eq!(
            deployed::post(stack, body.as_bytes(), &forged).await,
            StatusCode::UNAUTHORIZED
        );
        claim(
            rows_about(stack, "event", id.as_str()).await?.is_empty(),
            "a forged mark leaves nothing",
            &id,
        )?;

        for _ in 0..2 {
            assert_eq!(post(stack, body.as_bytes()).await, StatusCode::OK);
        }
        let row = soon("the synthetic event is recorded", async || {
            let rows = rows_about(stack, "event", id.as_str()).await?;
            Ok(rows.into_iter().next().ok_or("no row".to_owned()))
        })
        .await?;
        let ends: i64 = row["expires_at"].as_n().expect("a number").parse().expect("seconds");
        let latest = now + SignedDuration::try_from(KEPT_FOR).expect("a day") + SignedDuration::from_mins(5);
        claim(ends <= latest.as_second(), "it is kept for a day", &ends)?;

        // Both deliveries have been through, and the marker is all there is: no history, nothing parked, nothing on the bus.
        let rows = rows_about(stack, "event", id.as_str()).await?;
        claim(rows.len() == 1, "it has one row", &rows)?;
        claim(published(MARK).await == 0, "nobody hears of it", &MARK)
    });
}

/// What the canary counts of itself when it is woken now.
async fn canary_says(stack: &Stack, missed: u64) -> Result<(), Failure> {
    let since = clock::now();
    let answer = stack.invoke("canary", &schedule_at(since)).await?;
    claim(
        answer == Value::Null,
        "the canary ends well, whatever it finds",
        &answer,
    )?;
    let said = soon("the canary has counted", async || {
        let said = counted(stack, "canary_missed", since).await?;
        Ok(said.last().copied().ok_or("nothing".to_owned()))
    })
    .await?;
    claim(
        said == missed,
        "the canary tells whether its event was recorded",
        &json!({"missed": said}),
    )
}

#[test]
fn the_canary_follows_its_event_from_the_public_url_to_its_record_and_says_where_it_is_missed() {
    alone_on_the_stack(async |stack| {
        let held = async {
            let since = clock::now();
            canary_says(stack, 0).await?;
            // They were written when the stack was brought up, or by a test since.
            let ages = counted(stack, "secret_age_ms", since).await?;
            claim(
                ages.len() == 2 && ages.iter().all(|age| *age < 2 * 3_600_000),
                "it tells how old each of the two secrets is",
                &ages,
            )?;
            let name = &stack.outputs().functions["canary"];
            let line = soon("the canary's line is in the log", async || {
                let logs = std::fs::read_to_string(stack.gather_logs().await?).expect("the logs");
                let mut lines = logs
                    .lines()
                    .filter(|line| line.contains("the canary's event is recorded"));
                let line = lines.next_back().and_then(|line| line.get(line.find('{')?..));
                let line = line.and_then(|line| serde_json::from_str::<Value>(line).ok());
                Ok(line.ok_or("none".to_owned()))
            })
            .await?;
            let of_the_convention = line["service"] == "canary"
                && line["level"] == "INFO"
                && line["function_name"] == name.as_str()
                && line["cold_start"].is_boolean()
                && line["function_request_id"].is_string();
            claim(of_the_convention, "a line has the fields of the convention", &line)?;
            let url = stack.output("WebhookUrl")?.replace("/ring/webhook", "/ring/nowhere");
            let before = set(stack, "canary", &[("WEBHOOK_URL", &url)]).await;
            let missed = canary_says(stack, 1).await;
            set_back(stack, "canary", &before).await;
            missed
        };
        if let Err(failure) = held.await {
            panic!("{failure}");
        }
    });
}
