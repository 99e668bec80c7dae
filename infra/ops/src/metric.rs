//! What was counted, by the minute (CloudWatch: GetMetricData).

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::call::Call;
use crate::failure::{Doing as _, Failure};
use crate::stack::Stack;

const WHAT: &str = "Metrics can't be read";
/// The most pages: each has up to 100,800 values, and 15 days of minutes of three metrics are 64,800.
const MOST_PAGES: usize = 5;

/// One metric that is asked for.
pub(crate) struct Metric {
    /// What its values are found by in the answer.
    pub(crate) id: &'static str,
    pub(crate) namespace: &'static str,
    pub(crate) name: &'static str,
    pub(crate) dimensions: Vec<(&'static str, String)>,
}

/// What of one metric was counted, in the minutes in which anything was.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Series {
    /// Of the metric.
    pub(crate) id: String,
    #[serde(default)]
    timestamps: Vec<f64>,
    #[serde(default)]
    values: Vec<f64>,
}

impl Series {
    /// The minutes that count something, and how much.
    pub(crate) fn minutes(&self) -> impl Iterator<Item = (Timestamp, u64)> {
        let counted = self.timestamps.iter().zip(&self.values);
        counted
            .filter(|(_, value)| **value > 0.0)
            .filter_map(|(at, value)| Some((Timestamp::from_second(*at as i64).ok()?, *value as u64)))
    }
}

/// What there is of all of them.
pub(crate) struct Counted {
    pub(crate) series: Vec<Series>,
    /// Whether there is more than was read.
    pub(crate) cut: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    metric_data_results: Vec<Series>,
    next_token: Option<String>,
}

/// The sums of these metrics, minute by minute.
pub(crate) async fn read(
    stack: &Stack,
    metrics: &[Metric],
    since: Timestamp,
    now: Timestamp,
) -> Result<Counted, Failure> {
    let (mut series, mut token) = (Vec::new(), None);
    for _ in 0..MOST_PAGES {
        let answer = ask(stack, &question(metrics, since, now, token.as_deref())).await?;
        series.extend(answer.metric_data_results);
        token = answer.next_token.filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(Counted { series, cut: false });
        }
    }
    Ok(Counted { series, cut: true })
}

async fn ask(stack: &Stack, question: &Value) -> Result<Answer, Failure> {
    let call = Call {
        what: WHAT,
        service: "monitoring",
        method: http::Method::POST,
        path: "/",
        headers: &[
            ("content-type", "application/x-amz-json-1.0"),
            ("x-amz-target", "GraniteServiceVersion20100801.GetMetricData"),
        ],
        body: question.to_string(),
        right: "cloudwatch:GetMetricData",
    };
    serde_json::from_slice(&call.ask(stack).await?).or_fail(|| WHAT.to_owned())
}

fn question(metrics: &[Metric], since: Timestamp, now: Timestamp, token: Option<&str>) -> Value {
    let queries: Vec<_> = metrics
        .iter()
        .map(|metric| {
            let dimensions = metric.dimensions.iter();
            let dimensions: Vec<_> = dimensions
                .map(|(name, value)| json!({"Name": name, "Value": value}))
                .collect();
            json!({
                "Id": metric.id,
                "MetricStat": {
                    "Metric": {"Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": dimensions},
                    "Period": 60,
                    "Stat": "Sum",
                },
            })
        })
        .collect();
    let mut question = json!({
        "MetricDataQueries": queries,
        "StartTime": since.as_second(),
        "EndTime": now.as_second(),
        "ScanBy": "TimestampAscending",
    });
    if let Some(token) = token {
        question["NextToken"] = json!(token);
    }
    question
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_minutes_that_count_something_are_told() {
        let series = json!({"Id": "throttles", "Timestamps": [1_770_989_940.0, 1_770_990_000.0], "Values": [0.0, 2.0]});
        let series: Series = serde_json::from_value(series).unwrap();
        let told: Vec<_> = series.minutes().map(|(at, count)| (at.as_second(), count)).collect();
        assert_eq!(told, [(1_770_990_000, 2)]);
    }

    #[test]
    fn a_question_asks_for_sums_by_the_minute_and_goes_on_where_the_last_answer_ended() {
        let (since, now) = (
            Timestamp::from_second(60).unwrap(),
            Timestamp::from_second(180).unwrap(),
        );
        let throttles = Metric {
            id: "throttles",
            namespace: "AWS/Lambda",
            name: "Throttles",
            dimensions: vec![("FunctionName", "f".to_owned())],
        };
        let asked = question(&[throttles], since, now, Some("more"));
        assert_eq!((&asked["StartTime"], &asked["EndTime"]), (&json!(60), &json!(180)));
        let stat = &asked["MetricDataQueries"][0]["MetricStat"];
        assert_eq!((&stat["Period"], &stat["Stat"]), (&json!(60), &json!("Sum")));
        assert_eq!(
            stat["Metric"]["Dimensions"],
            json!([{"Name": "FunctionName", "Value": "f"}])
        );
        assert_eq!(asked["NextToken"], "more");
    }
}
