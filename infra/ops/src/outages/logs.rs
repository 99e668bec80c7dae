//! What the logs tell: the intake's own lines about answers that failed Ring, and the gateway's line about each request.

use aws_sdk_cloudwatchlogs::Client;
use jiff::Timestamp;
use serde_json::Value;

use super::Told;
use super::window::{Sign, Source};
use crate::failure::{Doing as _, Failure};
use crate::say::Progress;
use crate::stack::Stack;

/// The field of the intake's lines that says that Ring was failed, and why. In step with `functions/webhook-intake`.
const FAILED_RING: &str = "failed_ring";
/// The route as the gateway's log names it. In step with the template.
const ROUTE: &str = "POST /ring/webhook";
/// The most lines that are read. An outage in which more failed is known from the others' records too.
const MOST_LINES: u64 = 200_000;

/// The intake's own lines.
pub(super) async fn intake(
    stack: &Stack,
    since: Timestamp,
    now: Timestamp,
    progress: &mut Progress,
) -> Result<Told, Failure> {
    let group = stack.resource("WebhookIntakeLogs")?;
    let pattern = format!("{{ $.{FAILED_RING} = * }}");
    read(stack, group, &pattern, since, now, progress, of_the_intake).await
}

/// The gateway's lines.
pub(super) async fn gateway(
    stack: &Stack,
    since: Timestamp,
    now: Timestamp,
    progress: &mut Progress,
) -> Result<Told, Failure> {
    let group = stack.resource("HttpApiLogs")?;
    let pattern = format!("{{ ($.route = \"{ROUTE}\") && ($.status = \"5*\") }}");
    read(stack, group, &pattern, since, now, progress, of_the_gateway).await
}

async fn read(
    stack: &Stack,
    group: &str,
    pattern: &str,
    since: Timestamp,
    now: Timestamp,
    progress: &mut Progress,
    sign: fn(&Value, Timestamp) -> Option<Sign>,
) -> Result<Told, Failure> {
    let mut pages = Client::new(&stack.aws)
        .filter_log_events()
        .log_group_name(group)
        .filter_pattern(pattern)
        .start_time(since.as_millisecond())
        .end_time(now.as_millisecond())
        .into_paginator()
        .send();
    let mut told = Told {
        signs: Vec::new(),
        cut: false,
    };
    let mut lines = 0;
    while let Some(page) = pages.next().await {
        let page = page.or_fail(|| format!("The logs {group} can't be read"))?;
        for event in page.events.unwrap_or_default() {
            lines += 1;
            let at = event.timestamp.and_then(|at| Timestamp::from_millisecond(at).ok());
            let line = event.message.and_then(|line| serde_json::from_str(&line).ok());
            // The filter is applied here too: whoever answers in the place of CloudWatch may leave it out.
            told.signs.extend(at.zip(line).and_then(|(at, line)| sign(&line, at)));
        }
        progress.at(lines, None);
        if lines >= MOST_LINES {
            told.cut = true;
            break;
        }
    }
    Ok(told)
}

fn of_the_intake(line: &Value, at: Timestamp) -> Option<Sign> {
    let why = line[FAILED_RING].as_str()?;
    Some(Sign {
        at,
        count: 1,
        source: Source::IntakeLog,
        why: Some(why.to_owned()),
    })
}

fn of_the_gateway(line: &Value, at: Timestamp) -> Option<Sign> {
    let status = line["status"].as_str()?;
    (line["route"] == ROUTE && status.len() == 3 && status.starts_with('5')).then(|| Sign {
        at,
        count: 1,
        source: Source::GatewayLog,
        why: Some(format!("status {status}")),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_millisecond(1_770_989_998_000).unwrap()
    }

    #[test]
    fn only_a_line_that_says_so_is_a_sign() {
        let line = json!({"level": "ERROR", "failed_ring": "queue_out_of_reach", "message": "a webhook is not queued"});
        assert_eq!(of_the_intake(&line, now()).unwrap().why.unwrap(), "queue_out_of_reach");
        assert_eq!(
            of_the_intake(&json!({"level": "ERROR", "message": "another"}), now()),
            None
        );
    }

    #[test]
    fn of_the_gateway_only_5xx_of_the_webhooks_route_are_signs() {
        #[track_caller]
        fn check(route: &str, status: &str, is: bool) {
            assert_eq!(
                of_the_gateway(&json!({"route": route, "status": status}), now()).is_some(),
                is
            );
        }
        check(ROUTE, "503", true);
        check(ROUTE, "500", true);
        check(ROUTE, "401", false);
        check(ROUTE, "200", false);
        check("GET /v1/{proxy+}", "500", false);
    }

    #[test]
    fn the_route_and_the_fields_are_those_of_the_template_and_the_intake() {
        let template = include_str!("../../../../template.yaml");
        assert!(template.contains(&format!("RouteKey: {ROUTE}\n")));
        for field in ["\"route\":\"$context.routeKey\"", "\"status\":\"$context.status\""] {
            assert!(template.contains(field), "{field}");
        }
        let intake = include_str!("../../../../functions/webhook-intake/src/lib.rs");
        assert!(intake.contains(&format!("{FAILED_RING} = ")));
    }
}
