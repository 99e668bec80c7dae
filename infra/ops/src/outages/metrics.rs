//! What was counted, by the minute: 5xx at the webhook's route, and the intake's errors and throttles.

use jiff::Timestamp;

use super::Told;
use super::window::{Sign, Source};
use crate::failure::Failure;
use crate::metric::{self, Metric, Series};
use crate::stack::Stack;

/// The minutes that count something.
pub(super) async fn read(stack: &Stack, since: Timestamp, now: Timestamp) -> Result<Told, Failure> {
    let counted = metric::read(stack, &asked(stack)?, since, now).await?;
    Ok(Told {
        signs: counted.series.iter().flat_map(signs).collect(),
        cut: counted.cut,
    })
}

fn asked(stack: &Stack) -> Result<Vec<Metric>, Failure> {
    let api = stack.resource("HttpApi")?.to_owned();
    let function = stack.resource("WebhookIntake")?.to_owned();
    let of_function = || vec![("FunctionName", function.clone())];
    let route = vec![
        ("ApiId", api),
        ("Stage", "$default".to_owned()),
        ("Method", "POST".to_owned()),
        ("Resource", "/ring/webhook".to_owned()),
    ];
    Ok(vec![
        Metric {
            id: "answered",
            namespace: "AWS/ApiGateway",
            name: "5xx",
            dimensions: route,
        },
        Metric {
            id: "errors",
            namespace: "AWS/Lambda",
            name: "Errors",
            dimensions: of_function(),
        },
        Metric {
            id: "throttles",
            namespace: "AWS/Lambda",
            name: "Throttles",
            dimensions: of_function(),
        },
    ])
}

fn signs(series: &Series) -> Vec<Sign> {
    // The gateway's count does not know why.
    let why = match series.id.as_str() {
        "errors" => Some("the function failed"),
        "throttles" => Some("the function was throttled"),
        _ => None,
    };
    let minutes = series.minutes().map(|(at, count)| Sign {
        at,
        count,
        source: Source::Metrics,
        why: why.map(str::to_owned),
    });
    minutes.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_minute_that_counts_something_is_a_sign_and_says_why_where_that_is_known() {
        let series = json!({"Id": "throttles", "Timestamps": [1_770_989_940.0, 1_770_990_000.0], "Values": [0.0, 2.0]});
        let found = signs(&serde_json::from_value(series).unwrap());
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].at.as_second(), found[0].count), (1_770_990_000, 2));
        assert_eq!(found[0].why.as_deref(), Some("the function was throttled"));
        let series = json!({"Id": "answered", "Timestamps": [1_770_990_000.0], "Values": [1.0]});
        assert_eq!(signs(&serde_json::from_value(series).unwrap())[0].why, None);
    }
}
