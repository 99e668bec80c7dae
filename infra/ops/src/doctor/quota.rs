//! The account's quotas that Ring would feel: how many functions may run at once, and what the gateway lets through.

use std::time::Duration;

use aws_sdk_apigatewayv2 as gateway;
use serde::Deserialize;

use super::finding::{Finding, within};
use crate::call::Call;
use crate::failure::{Doing as _, Failure};
use crate::stack::Stack;

const CONCURRENCY: &str = "lambda-concurrency";
const THROTTLE: &str = "gateway-throttle";
/// What the programs without a reservation may take at once: 50 of `event-processor`, 10 of `media-fetch`, and the rest for the
/// intake, the pages and the canary.
const UNRESERVED_AT_LEAST: i32 = 150;
/// Requests a second. AWS gives an account 10,000; a tenth of that is far above what Ring sends to one partner.
const RATE_AT_LEAST: f64 = 1_000.0;
const MORE: &str = "ask for more in Service Quotas";

/// What is found of them.
pub(super) async fn look(stack: &Stack, time: Duration) -> Vec<Finding> {
    let (mut findings, throttle) = tokio::join!(
        within(time, CONCURRENCY, async { vec![concurrency(stack).await] }),
        within(time, THROTTLE, async { vec![throttle(stack).await] }),
    );
    findings.extend(throttle);
    findings
}

async fn concurrency(stack: &Stack) -> Finding {
    let client = aws_sdk_lambda::Client::new(&stack.aws);
    let settings = client.get_account_settings().send().await;
    let settings = match settings.or_fail(|| "The account's quotas of Lambda can't be read".to_owned()) {
        Ok(settings) => settings,
        Err(failure) => return Finding::of_failure(CONCURRENCY, failure),
    };
    let Some(limit) = settings.account_limit() else {
        return Finding::not_checked(CONCURRENCY, "AWS does not say what the account's limit is");
    };
    of_concurrency(
        limit.concurrent_executions(),
        limit.unreserved_concurrent_executions().unwrap_or_default(),
        stack.parameter("ConcurrencyLimit").and_then(|text| text.parse().ok()),
    )
}

fn of_concurrency(limit: i32, unreserved: i32, declared: Option<i32>) -> Finding {
    if unreserved < UNRESERVED_AT_LEAST {
        return Finding::fails(
            CONCURRENCY,
            format!(
                "{limit} functions may run at once, {unreserved} of them without a reservation: fewer than the \
                 {UNRESERVED_AT_LEAST} that events and media may need"
            ),
            format!("{MORE} (AWS Lambda: Concurrent executions)"),
        );
    }
    match declared {
        Some(declared) if declared != limit => Finding::fails(
            CONCURRENCY,
            format!(
                "{limit} functions may run at once, and ConcurrencyLimit says {declared}: its alarm rings at a wrong time"
            ),
            format!("deploy with ConcurrencyLimit={limit}"),
        ),
        _ => Finding::holds(
            CONCURRENCY,
            format!("{limit} functions may run at once, {unreserved} of them without a reservation"),
        ),
    }
}

async fn throttle(stack: &Stack) -> Finding {
    match tokio::join!(of_the_stage(stack), of_the_account(stack)) {
        (Err(failure), _) | (_, Err(failure)) => Finding::of_failure(THROTTLE, failure),
        (Ok(stage), Ok(account)) => of_throttle(account, stage),
    }
}

/// The lowest rate that the stage sets for Ring's routes; none where it sets none.
async fn of_the_stage(stack: &Stack) -> Result<Option<f64>, Failure> {
    let what = || "The gateway's stage can't be looked at".to_owned();
    let client = gateway::Client::new(&stack.aws);
    let stage = client
        .get_stage()
        .api_id(stack.resource("HttpApi")?)
        .stage_name("$default");
    let stage = stage.send().await.or_fail(what)?;
    let of_routes = stage.route_settings().into_iter().flatten();
    let of_ring = of_routes
        .filter(|(route, _)| route.contains("/ring/"))
        .map(|(_, settings)| settings);
    let all = of_ring.chain(stage.default_route_settings());
    let rates = all.filter_map(|settings| settings.throttling_rate_limit());
    // Zero is what is said where none is set.
    Ok(rates.filter(|rate| *rate > 0.0).reduce(f64::min))
}

/// What the account may do, in this region, over all of its gateways. (API Gateway: GET /account)
async fn of_the_account(stack: &Stack) -> Result<f64, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Account {
        throttle_settings: Settings,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Settings {
        rate_limit: f64,
    }
    const WHAT: &str = "The account's quotas of API Gateway can't be read";
    let call = Call {
        what: WHAT,
        service: "apigateway",
        method: http::Method::GET,
        path: "/account",
        headers: &[("accept", "application/json")],
        body: String::new(),
        right: "apigateway:GET on /account",
    };
    let account: Account = serde_json::from_slice(&call.ask(stack).await?).or_fail(|| WHAT.to_owned())?;
    Ok(account.throttle_settings.rate_limit)
}

fn of_throttle(account: f64, stage: Option<f64>) -> Finding {
    let refused = "above that it answers Ring with 429, and Ring takes any 4xx as the end of an event";
    if account < RATE_AT_LEAST {
        return Finding::fails(
            THROTTLE,
            format!("the account's gateways let {account} requests a second through: {refused}"),
            format!("{MORE} (Amazon API Gateway: Throttle rate)"),
        );
    }
    match stage {
        Some(rate) if rate < RATE_AT_LEAST => Finding::fails(
            THROTTLE,
            format!("the stage lets {rate} requests a second through to Ring's routes: {refused}"),
            "deploy the template as it is, and set no throttle by hand",
        ),
        _ => Finding::holds(
            THROTTLE,
            format!(
                "{} requests a second are let through",
                stage.map_or(account, |rate| rate.min(account))
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn an_account_that_runs_too_few_functions_at_once_or_others_than_declared_is_told() {
        for (limit, unreserved, declared, verdict) in [
            (1_000, 900, Some(1_000), Verdict::Holds),
            (1_000, 900, None, Verdict::Holds),
            (1_000, 100, Some(1_000), Verdict::Fails),
            (10, 10, Some(10), Verdict::Fails),
            (3_000, 2_900, Some(1_000), Verdict::Fails),
        ] {
            let found = of_concurrency(limit, unreserved, declared);
            assert_eq!(found.verdict, verdict, "{found}");
        }
    }

    #[test]
    fn a_throttle_that_ring_could_feel_is_told_wherever_it_is_set() {
        for (account, stage, verdict) in [
            (10_000.0, None, Verdict::Holds),
            (10_000.0, Some(5_000.0), Verdict::Holds),
            (10_000.0, Some(50.0), Verdict::Fails),
            (100.0, None, Verdict::Fails),
        ] {
            let found = of_throttle(account, stage);
            assert_eq!(found.verdict, verdict, "{found}");
        }
    }
}
