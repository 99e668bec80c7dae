//! Each alarm by what is counted when its fault is there: silent up to its limit, on beyond it, and no other page with it.
//!
//! The alarms are deployed by themselves, with nothing behind them, and are given the counts that AWS or a program of ours would
//! make. So those are seen to ring, too, whose fault can't be done to an emulator or takes hours; what can be done is done, to a
//! whole stack, in `faults`.

use std::collections::BTreeSet;

use local::Stack;
use serde_json::{Value, json};
use shared::edge::clock;

use super::faults::{ask, pages, ringing};
use super::{House, blocks};
use crate::traps::among_others;

/// What the alarms are given for what they look at.
const PARAMETERS: [(&str, &str); 18] = [
    ("Stack", STACK),
    ("HttpApi", "the-api"),
    ("EventsQueue", "events"),
    ("EventsDlq", "events-dlq"),
    ("MediaDlq", "media-dlq"),
    ("CapturesDlq", "captures-dlq"),
    ("CapturesQueue", "captures"),
    ("QuarantineQueue", "quarantine"),
    ("RescueQueue", "rescue"),
    ("GrantsTable", "grants"),
    ("LinksTable", "links"),
    ("AuditTable", "audit"),
    ("EventsTable", "events"),
    ("DevicesTable", "devices"),
    ("MediaTable", "media"),
    // All of them: those of a recorder that is kept warm, too.
    ("Recorder", "service"),
    ("ConcurrencyLimit", "1000"),
    ("LogGigabytesADay", "5"),
];
const STACK: &str = "counted";

/// These ring where nothing is counted: whoever should count is gone. They have no counts in [`faults`].
const RING_OF_NOTHING: [&str; 2] = ["CanaryMissed", "RecorderIsAway"];

/// A metric, as CloudWatch knows it.
#[derive(Clone)]
struct Metric {
    namespace: &'static str,
    name: &'static str,
    dimensions: Vec<(&'static str, String)>,
}

/// A value of it.
struct Count {
    metric: Metric,
    value: f64,
    seconds_ago: i64,
}

impl Metric {
    /// Counted now.
    fn is(&self, value: f64) -> Vec<Count> {
        self.over(1, 1, value)
    }

    /// Counted in each of the last periods of so many seconds.
    fn over(&self, period: i64, periods: i64, value: f64) -> Vec<Count> {
        let count = |index| Count {
            metric: self.clone(),
            value,
            seconds_ago: index * period + period / 2,
        };
        (0..periods).map(count).collect()
    }
}

fn metric(namespace: &'static str, name: &'static str, dimensions: &[(&'static str, &str)]) -> Metric {
    let dimensions = dimensions.iter().map(|(name, value)| (*name, (*value).to_owned()));
    Metric {
        namespace,
        name,
        dimensions: dimensions.collect(),
    }
}

/// What a program counts of itself.
fn of(service: &str, name: &'static str) -> Metric {
    metric(STACK, name, &[("service", service)])
}

/// A line of the log that names an alarm.
fn said(word: &str) -> Metric {
    metric(STACK, "alarms", &[("alarm", word)])
}

fn route(resource: &str, name: &'static str) -> Metric {
    let dimensions = [
        ("ApiId", "the-api"),
        ("Stage", "$default"),
        ("Method", "POST"),
        ("Resource", resource),
    ];
    metric("AWS/ApiGateway", name, &dimensions)
}

fn function(program: &str, name: &'static str) -> Metric {
    metric("AWS/Lambda", name, &[("FunctionName", &format!("{STACK}-{program}"))])
}

fn age(queue: &str) -> Metric {
    metric("AWS/SQS", "ApproximateAgeOfOldestMessage", &[("QueueName", queue)])
}

fn visible(queue: &str) -> Metric {
    metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", &[("QueueName", queue)])
}

/// A fault: the alarm, what is counted at the limit and leaves it silent, and what is counted beyond.
type Fault = (&'static str, Vec<Count>, Vec<Count>);

/// Each adds to what was counted before it: of those that can wait first, then of those that page.
fn faults() -> Vec<Fault> {
    let webhook = |name| route("/ring/webhook", name);
    let exchange = |name| route("/ring/token/{key}", name);
    let link = |name| route("/v1/links", name);
    let table = |name, table| metric("AWS/DynamoDB", name, &[("TableName", table)]);
    let intake_logs = format!("/aws/lambda/{STACK}-webhook-intake");
    let logged = metric("AWS/Logs", "IncomingBytes", &[("LogGroupName", &intake_logs)]);
    let concurrency = metric("AWS/Lambda", "ClaimedAccountConcurrency", &[]);
    let both = |one: Vec<Count>, other: Vec<Count>| one.into_iter().chain(other).collect::<Vec<_>>();
    let refused = of("webhook-intake", "signatures_refused");
    let (renewed, failed) = (
        of("token-refresh", "pairs_renewed"),
        of("token-refresh", "grants_failed"),
    );
    let year_ms = 365.0 * 86_400_000.0;
    let mut faults = vec![
        (
            "IntakeFails",
            both(webhook("Count").is(100.0), webhook("5xx").is(2.0)),
            webhook("5xx").is(1.0),
        ),
        (
            "IntakeSlow",
            webhook("Latency").is(1_000.0),
            webhook("Latency").is(1_001.0),
        ),
        (
            "IntakeVerySlow",
            webhook("Latency").is(3_000.0),
            webhook("Latency").is(3_001.0),
        ),
        (
            "SignaturesRefused",
            both(webhook("Count").is(100.0), refused.is(25.0)),
            refused.is(1.0),
        ),
        (
            "MostSignaturesRefused",
            both(webhook("Count").over(60, 3, 100.0), refused.over(60, 2, 100.0)),
            refused.over(60, 3, 100.0),
        ),
        (
            "EverythingIsQuiet",
            of("token-refresh", "everything_is_quiet").over(60, 5, 0.0),
            of("token-refresh", "everything_is_quiet").over(60, 5, 1.0),
        ),
        (
            "IntakeThrottled",
            function("webhook-intake", "Throttles").is(0.0),
            function("webhook-intake", "Throttles").is(1.0),
        ),
        (
            "GatewayThrottles",
            vec![],
            metric(STACK, "gateway_throttled", &[]).is(1.0),
        ),
        (
            "GatewayFindsTooLarge",
            vec![],
            metric(STACK, "gateway_too_large", &[]).is(1.0),
        ),
        (
            "EventsWait",
            age("events").over(60, 3, 60.0),
            age("events").over(60, 3, 61.0),
        ),
        (
            "EventsWaitLong",
            age("events").over(60, 3, 300.0),
            age("events").over(60, 3, 301.0),
        ),
        (
            "ProcessorFails",
            both(
                function("event-processor", "Invocations").is(100.0),
                function("event-processor", "Errors").is(1.0),
            ),
            function("event-processor", "Errors").is(1.0),
        ),
        (
            "EventsTriedAgain",
            both(
                of("event-processor", "events_recorded").is(99.0),
                of("event-processor", "events_retried").is(1.0),
            ),
            of("event-processor", "events_retried").is(1.0),
        ),
        // Of the 99 that are recorded.
        (
            "EventsRepeated",
            of("event-processor", "events_repeated").is(24.0),
            of("event-processor", "events_repeated").is(1.0),
        ),
        (
            "EventsLate",
            of("event-processor", "delivery_lag_ms").is(60_000.0),
            of("event-processor", "delivery_lag_ms").is(60_001.0),
        ),
        (
            "EventsGivenUp",
            visible("events-dlq").is(0.0),
            visible("events-dlq").is(1.0),
        ),
        (
            "MediaGivenUp",
            visible("media-dlq").is(0.0),
            visible("media-dlq").is(1.0),
        ),
        (
            "CapturesGivenUp",
            visible("captures-dlq").is(0.0),
            visible("captures-dlq").is(1.0),
        ),
        (
            "CapturesFail",
            both(
                of("stream-capture", "captures_stored").is(9.0),
                of("stream-capture", "captures_failed").is(1.0),
            ),
            of("stream-capture", "captures_failed").is(1.0),
        ),
        (
            "CapturesWait",
            age("captures").over(60, 3, 120.0),
            age("captures").over(60, 3, 121.0),
        ),
        (
            "QuarantineHolds",
            visible("quarantine").is(0.0),
            visible("quarantine").is(1.0),
        ),
        (
            "ManyGivenUp",
            visible("quarantine").is(100.0),
            visible("quarantine").is(101.0),
        ),
        (
            "GivenUpForLong",
            age("media-dlq").is(259_200.0),
            age("media-dlq").is(259_201.0),
        ),
        ("RescueHolds", visible("rescue").is(0.0), visible("rescue").is(1.0)),
        (
            "ExchangeFails",
            both(exchange("Count").is(100.0), exchange("5xx").is(5.0)),
            exchange("5xx").is(1.0),
        ),
        (
            "ExchangeSlow",
            exchange("Latency").is(20_000.0),
            exchange("Latency").is(20_001.0),
        ),
        ("RenewalsFail", both(renewed.is(99.0), failed.is(1.0)), failed.is(1.0)),
        ("MostRenewalsFail", failed.is(9.0), failed.is(1.0)),
        (
            "TokensEndInDays",
            of("token-refresh", "tokens_end_in_5_days").is(0.0),
            of("token-refresh", "tokens_end_in_5_days").is(1.0),
        ),
        (
            "TokensEndNow",
            of("token-refresh", "tokens_end_in_a_day").is(0.0),
            of("token-refresh", "tokens_end_in_a_day").is(1.0),
        ),
        (
            "RenewalsLate",
            of("token-refresh", "renewal_overdue_ms").is(7_200_000.0),
            of("token-refresh", "renewal_overdue_ms").is(7_200_001.0),
        ),
        (
            "RenewalsVeryLate",
            of("token-refresh", "renewal_overdue_ms").is(86_400_000.0),
            of("token-refresh", "renewal_overdue_ms").is(86_400_001.0),
        ),
        // Two of a hundred are more than one in a thousand, and may be two users.
        (
            "ManyLinksRefused",
            of("token-refresh", "pairs_refused").is(2.0),
            of("token-refresh", "pairs_refused").is(1.0),
        ),
        (
            "LinksFindNothing",
            both(link("Count").is(10.0), link("4xx").is(5.0)),
            link("4xx").is(1.0),
        ),
        (
            "RingSlowsRenewals",
            of("token-refresh", "ring_pauses").over(60, 2, 1.0),
            of("token-refresh", "ring_pauses").over(60, 3, 1.0),
        ),
        (
            "RingLimitNear",
            of("token-refresh", "ring_requests_left").is(10.0),
            of("token-refresh", "ring_requests_left").is(9.0),
        ),
        (
            "MediaFails",
            both(
                of("media-fetch", "media_stored").is(95.0),
                of("media-fetch", "media_failed").is(5.0),
            ),
            of("media-fetch", "media_failed").is(1.0),
        ),
        // Of the 95 that are stored.
        (
            "MediaTriedAgain",
            of("media-fetch", "media_retried").is(5.0),
            of("media-fetch", "media_retried").is(1.0),
        ),
        (
            "RingSlowsMedia",
            of("media-fetch", "ring_pauses").is(10.0),
            of("media-fetch", "ring_pauses").is(1.0),
        ),
        (
            "SessionsNotClosed",
            of("media-fetch", "sessions_not_closed").is(0.0),
            of("media-fetch", "sessions_not_closed").is(1.0),
        ),
        // Two of two, and then three of thirteen.
        (
            "LiveFails",
            of("partner-api", "live_failed").is(2.0),
            both(
                of("partner-api", "live_opened").is(10.0),
                of("partner-api", "live_failed").is(1.0),
            ),
        ),
        (
            "EraseTakesLong",
            of("media-fetch", "erasure_open_ms").is(25.0 * 86_400_000.0),
            of("media-fetch", "erasure_open_ms").is(25.0 * 86_400_000.0 + 1.0),
        ),
        (
            "ProgramsThrottled",
            function("media-fetch", "Throttles").is(0.0),
            function("media-fetch", "Throttles").is(1.0),
        ),
        (
            "ProgramsFail",
            both(
                function("partner-api", "Invocations").is(100.0),
                function("partner-api", "Errors").is(1.0),
            ),
            function("partner-api", "Errors").is(1.0),
        ),
        ("ConcurrencyNearlySpent", concurrency.is(800.0), concurrency.is(801.0)),
        (
            "ReadsThrottled",
            table("ReadThrottleEvents", "links").is(0.0),
            table("ReadThrottleEvents", "links").is(1.0),
        ),
        (
            "WritesThrottled",
            table("WriteThrottleEvents", "grants").is(0.0),
            table("WriteThrottleEvents", "grants").is(1.0),
        ),
        (
            "SecretsAreOld",
            of("canary", "secret_age_ms").is(year_ms),
            of("canary", "secret_age_ms").is(year_ms + 1.0),
        ),
        ("LogsGrow", logged.is(5e9), logged.is(1.0)),
    ];
    let of_a_word = [
        ("CredentialsRefused", "invalid_client"),
        ("ManyPairsRefused", "too_many_refused"),
        ("LinksRefused", "relink_required"),
        ("TokenUsedUnusually", "token_used_unusually"),
        ("LeaseRanOut", "lease_ran_out"),
        ("PairRescued", "renewed_pair_rescued"),
        ("RescueUnreadable", "rescued_pair_unreadable"),
        ("RenewedPairLost", "renewed_pair_not_saved"),
        ("IssuedPairLost", "issued_pair_not_saved"),
        ("ManyUnclaimed", "many_unclaimed"),
        ("LinkNotCompleted", "link_not_completed"),
        ("AuditNotWritten", "audit_not_written"),
        ("SecretUnreadable", "secret_unreadable"),
        ("KeyOutOfReach", "key_out_of_reach"),
    ];
    faults.extend(of_a_word.map(|(alarm, word)| (alarm, said(word).is(0.0), said(word).is(1.0))));
    faults
}

async fn count(stack: &Stack, counts: Vec<Count>) {
    for Count {
        metric,
        value,
        seconds_ago,
    } in counts
    {
        let dimensions = metric.dimensions.iter();
        let dimensions: Vec<Value> = dimensions
            .map(|(name, value)| json!({ "Name": name, "Value": value }))
            .collect();
        let datum = json!({
            "MetricName": metric.name,
            "Dimensions": dimensions,
            "Value": value,
            "Timestamp": clock::now().as_second() - seconds_ago,
        });
        let counts = json!({ "Namespace": metric.namespace, "MetricData": [datum] });
        ask(stack, "PutMetricData", &counts).await;
    }
}

#[test]
fn each_alarm_is_silent_at_its_limit_and_rings_beyond_it_and_pages_nobody_else() {
    let house = House::read();
    let all: BTreeSet<String> = blocks(&house.alarms).into_keys().collect();
    let counted = faults().into_iter().map(|(alarm, ..)| alarm.to_owned());
    let known: BTreeSet<String> = counted.chain(RING_OF_NOTHING.map(str::to_owned)).collect();
    assert_eq!(known, all, "each alarm has its fault");

    among_others(async |stack| {
        stack.deploy_beside("infra/alarms.yaml", "counted", &PARAMETERS).await?;
        let on = async || ringing(stack, STACK).await;
        // Nothing is counted: whoever should count is gone.
        let at_first = on().await?;
        let mut of_nothing: BTreeSet<String> = RING_OF_NOTHING.map(str::to_owned).into();
        of_nothing.insert("EverythingIsQuiet".to_owned());
        assert_eq!(at_first, of_nothing);
        count(stack, of("canary", "canary_missed").over(300, 2, 1.0)).await;
        assert!(on().await?.contains("CanaryMissed"), "one that is missed twice");
        count(stack, of("canary", "canary_missed").is(0.0)).await;
        count(stack, of("stream-capture", "places_taken_percent").is(0.0)).await;
        count(stack, of("token-refresh", "everything_is_quiet").over(60, 5, 0.0)).await;
        assert_eq!(on().await?, BTreeSet::new());

        // Those that can wait first: as long as they last, nobody is paged at all.
        let pages = pages();
        let (paging, waiting): (Vec<_>, Vec<_>) = faults().into_iter().partition(|(alarm, ..)| pages.contains(*alarm));
        for (alarm, limit, beyond) in waiting.into_iter().chain(paging) {
            let before = on().await?;
            count(stack, limit).await;
            assert!(!on().await?.contains(alarm), "{alarm} is silent at its limit");
            count(stack, beyond).await;
            let after = on().await?;
            assert!(after.contains(alarm), "{alarm} rings beyond its limit");
            let paged: Vec<_> = after
                .difference(&before)
                .filter(|other| pages.contains(*other))
                .collect();
            let expected: Vec<_> = pages.iter().filter(|page| *page == alarm).collect();
            assert_eq!(paged, expected, "who is paged by what rings {alarm}");
        }
        Ok(())
    });
}
