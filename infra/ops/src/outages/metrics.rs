//! What was counted, by the minute: 5xx at the webhook's route, and the intake's errors and throttles. The one call that this
//! takes (CloudWatch: GetMetricData) is signed here: its SDK brings a second HTTP stack into the whole tree.

use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::edge::direct::suffix;

use super::Told;
use super::window::{Sign, Source};
use crate::failure::{Doing as _, Failure};
use crate::stack::Stack;

const SERVICE: &str = "monitoring";
const TARGET: &str = "GraniteServiceVersion20100801.GetMetricData";
const WITHIN: Duration = Duration::from_secs(30);
/// The most pages: each has up to 100,800 values, and 15 days of minutes of three metrics are 64,800.
const MOST_PAGES: usize = 5;

/// One metric that is asked for.
struct Asked {
    id: &'static str,
    namespace: &'static str,
    name: &'static str,
    dimensions: Vec<(&'static str, String)>,
    /// Why Ring was failed where it counts something; the gateway's count does not know.
    why: Option<&'static str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    metric_data_results: Vec<Series>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Series {
    id: String,
    #[serde(default)]
    timestamps: Vec<f64>,
    #[serde(default)]
    values: Vec<f64>,
}

/// The minutes that count something.
pub(super) async fn read(stack: &Stack, since: Timestamp, now: Timestamp) -> Result<Told, Failure> {
    let asked = asked(stack)?;
    let mut told = Told {
        signs: Vec::new(),
        cut: false,
    };
    let mut token = None;
    for _ in 0..MOST_PAGES {
        let answer = call(stack, &question(&asked, since, now, token.as_deref())).await?;
        told.signs.extend(
            answer
                .metric_data_results
                .into_iter()
                .flat_map(|series| signs(&asked, series)),
        );
        token = answer.next_token.filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(told);
        }
    }
    told.cut = true;
    Ok(told)
}

fn asked(stack: &Stack) -> Result<Vec<Asked>, Failure> {
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
        Asked {
            id: "answered",
            namespace: "AWS/ApiGateway",
            name: "5xx",
            dimensions: route,
            why: None,
        },
        Asked {
            id: "errors",
            namespace: "AWS/Lambda",
            name: "Errors",
            dimensions: of_function(),
            why: Some("the function failed"),
        },
        Asked {
            id: "throttles",
            namespace: "AWS/Lambda",
            name: "Throttles",
            dimensions: of_function(),
            why: Some("the function was throttled"),
        },
    ])
}

fn question(asked: &[Asked], since: Timestamp, now: Timestamp, token: Option<&str>) -> Value {
    let queries: Vec<_> = asked
        .iter()
        .map(|asked| {
            let dimensions = asked.dimensions.iter();
            let dimensions: Vec<_> = dimensions
                .map(|(name, value)| json!({"Name": name, "Value": value}))
                .collect();
            json!({
                "Id": asked.id,
                "MetricStat": {
                    "Metric": {"Namespace": asked.namespace, "MetricName": asked.name, "Dimensions": dimensions},
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

fn signs(asked: &[Asked], series: Series) -> Vec<Sign> {
    let why = asked
        .iter()
        .find(|asked| asked.id == series.id)
        .and_then(|asked| asked.why);
    let counted = series
        .timestamps
        .into_iter()
        .zip(series.values)
        .filter(|(_, value)| *value > 0.0);
    counted
        .filter_map(|(at, value)| {
            Some(Sign {
                at: Timestamp::from_second(at as i64).ok()?,
                count: value as u64,
                source: Source::Metrics,
                why: why.map(str::to_owned),
            })
        })
        .collect()
}

async fn call(stack: &Stack, question: &Value) -> Result<Answer, Failure> {
    let what = || "Metrics can't be read".to_owned();
    let region = stack.aws.region().map(ToString::to_string);
    let region = region.ok_or_else(|| {
        Failure::new(what())
            .because("no region is set")
            .advise("name it with AWS_REGION")
    })?;
    let url = match stack.aws.endpoint_url() {
        Some(url) => format!("{}/", url.trim_end_matches('/')),
        None => format!("https://{SERVICE}.{region}.{}/", suffix(&region)),
    };
    let body = question.to_string();
    let request = http::Request::post(&url)
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-target", TARGET)
        .body(body)
        .or_fail(what)?;
    let request = signed(stack, request, &region).await?;
    let client = reqwest::Client::builder().timeout(WITHIN).build().or_fail(what)?;
    let request = reqwest::Request::try_from(request).or_fail(what)?;
    let answer = client.execute(request).await.or_fail(what)?;
    let status = answer.status();
    let text = answer.bytes().await.or_fail(what)?;
    if !status.is_success() {
        let said = String::from_utf8_lossy(&text[..text.len().min(400)]).into_owned();
        return Err(Failure::new(what())
            .because(format!("CloudWatch answers {status}: {said}"))
            .advise("use credentials that have the right cloudwatch:GetMetricData"));
    }
    serde_json::from_slice(&text).or_fail(what)
}

async fn signed(
    stack: &Stack,
    mut request: http::Request<String>,
    region: &str,
) -> Result<http::Request<String>, Failure> {
    use aws_sdk_sqs::config::ProvideCredentials as _;

    let what = || "Metrics can't be read".to_owned();
    let provider = stack.aws.credentials_provider();
    let provider = provider.ok_or_else(|| {
        Failure::new(what())
            .because("there are no credentials")
            .advise("sign in to the AWS account of the stack")
    })?;
    let identity = provider.provide_credentials().await.or_fail(what)?.into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SERVICE)
        .time(SystemTime::from(shared::edge::clock::now()))
        .settings(SigningSettings::default())
        .build()
        .or_fail(what)?
        .into();
    let uri = request.uri().to_string();
    let headers = request
        .headers()
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let signable = SignableRequest::new("POST", uri, headers, SignableBody::Bytes(request.body().as_bytes()));
    let (instructions, _) = sign(signable.or_fail(what)?, &parameters).or_fail(what)?.into_parts();
    instructions.apply_to_request_http1x(&mut request);
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_throttles() -> Vec<Asked> {
        vec![Asked {
            id: "throttles",
            namespace: "AWS/Lambda",
            name: "Throttles",
            dimensions: vec![("FunctionName", "f".to_owned())],
            why: Some("the function was throttled"),
        }]
    }

    #[test]
    fn only_minutes_that_count_something_are_signs() {
        let series = json!({"Id": "throttles", "Timestamps": [1_770_989_940.0, 1_770_990_000.0], "Values": [0.0, 2.0]});
        let found = signs(&of_throttles(), serde_json::from_value(series).unwrap());
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].at.as_second(), found[0].count), (1_770_990_000, 2));
        assert_eq!(found[0].why.as_deref(), Some("the function was throttled"));
    }

    #[test]
    fn a_question_asks_for_sums_by_the_minute_and_goes_on_where_the_last_answer_ended() {
        let (since, now) = (
            Timestamp::from_second(60).unwrap(),
            Timestamp::from_second(180).unwrap(),
        );
        let asked = question(&of_throttles(), since, now, Some("more"));
        assert_eq!((&asked["StartTime"], &asked["EndTime"]), (&json!(60), &json!(180)));
        let stat = &asked["MetricDataQueries"][0]["MetricStat"];
        assert_eq!((&stat["Period"], &stat["Stat"]), (&json!(60), &json!("Sum")));
        assert_eq!(
            stat["Metric"]["Dimensions"],
            json!([{"Name": "FunctionName", "Value": "f"}])
        );
        assert_eq!(asked["NextToken"], "more");
    }

    #[test]
    fn the_service_is_where_the_region_is() {
        assert_eq!(suffix("eu-central-1"), "amazonaws.com");
        assert_eq!(suffix("cn-north-1"), "amazonaws.com.cn");
    }
}
