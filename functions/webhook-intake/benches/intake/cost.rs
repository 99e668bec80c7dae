//! What a million events cost at AWS: the billable calls of one event, and the list prices that they are multiplied with.

/// When and where these prices were the list's.
pub(crate) const PRICED: &str = "us-east-1, March 2026, without free tiers and discounts";

/// Dollars for a million of each, unless it says otherwise.
const HTTP_API_REQUEST: f64 = 1.00;
const LAMBDA_REQUEST: f64 = 0.20;
/// A GB-second on arm64: a thousandth of it for a million is a millisecond.
const LAMBDA_GB_SECOND: f64 = 0.000_013_333_4;
const SQS_REQUEST: f64 = 0.40;
/// On top, for a message with a group (fair queues).
const SQS_FAIR: f64 = 0.10;
const DYNAMODB_WRITE_UNIT: f64 = 0.625;
const DYNAMODB_READ_UNIT: f64 = 0.125;
const EVENTBRIDGE_EVENT: f64 = 1.00;
/// A GB taken in.
const LOGS_GB: f64 = 0.50;

/// What one event uses that is billed. A batch of the queue is taken to be one event, which is the dearest case.
pub(crate) struct Usage {
    /// `SendMessage`, as it was counted here.
    pub(crate) sends: f64,
    /// `GetSecretValue`, as it was counted here.
    pub(crate) secret_reads: f64,
    /// Write units of the tables: 2 for motion and a pressed button, 3 where the device's state changes.
    pub(crate) write_units: f64,
    /// Read units of the tables.
    pub(crate) read_units: f64,
    /// Milliseconds billed for the intake and for the processor: mostly the wait for SQS and for the tables.
    pub(crate) billed_ms: [f64; 2],
    /// The memory of either, in GB.
    pub(crate) memory_gb: f64,
    /// What Lambda itself logs of both invocations, in bytes; a good event adds a line of the processor's.
    pub(crate) log_bytes: f64,
    /// Whether it is published on the bus.
    pub(crate) published: bool,
}

/// Secrets Manager's calls: ten thousand for five cents.
const SECRET_READ: f64 = 5.00;

/// One part of the bill.
pub(crate) struct Item {
    /// Of what.
    pub(crate) what: &'static str,
    /// Dollars for a million events.
    pub(crate) dollars: f64,
}

/// What a million events cost, part by part.
pub(crate) fn of_a_million(usage: &Usage) -> Vec<Item> {
    let gb_seconds = usage.billed_ms.iter().sum::<f64>() / 1_000.0 * usage.memory_gb * 1e6;
    let item = |what, dollars| Item { what, dollars };
    let mut items = vec![
        item("API Gateway, 1 request", HTTP_API_REQUEST),
        item("Lambda, 2 requests", 2.0 * LAMBDA_REQUEST),
        item("Lambda, duration", gb_seconds * LAMBDA_GB_SECOND),
        item(
            "SQS, messages sent, with a group",
            usage.sends * (SQS_REQUEST + SQS_FAIR),
        ),
        item("SQS, 1 receive and 1 delete", 2.0 * SQS_REQUEST),
        item("DynamoDB, write units", usage.write_units * DYNAMODB_WRITE_UNIT),
        item("DynamoDB, read units", usage.read_units * DYNAMODB_READ_UNIT),
        item("Secrets Manager, reads", usage.secret_reads * SECRET_READ),
        item("CloudWatch Logs", usage.log_bytes / 1e3 * LOGS_GB),
    ];
    if usage.published {
        items.push(item("EventBridge, 1 event", EVENTBRIDGE_EVENT));
    }
    items
}
