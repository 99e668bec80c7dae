//! Metrics: lines of the log that CloudWatch reads as such (its embedded metric format). They cost no call. All that one unit
//! of work (a batch of messages, a request) has counted goes out as one line. The program is the one dimension: no
//! account, device or place is ever in a metric.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// The most values of one metric that a line can have; what there is beyond comes in another line.
const MOST_VALUES: usize = 100;

/// What is counted and timed until the next [`flush`](Metrics::flush).
#[derive(Clone, Debug)]
pub struct Metrics {
    namespace: Arc<str>,
    service: &'static str,
    measured: Arc<Mutex<BTreeMap<&'static str, Measured>>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Measured {
    Count(u64),
    /// Each with its unit.
    Values(&'static str, Vec<i64>),
}

impl Metrics {
    /// The metrics of the program `service`, under this namespace.
    #[must_use]
    pub fn new(namespace: &str, service: &'static str) -> Self {
        Self {
            namespace: namespace.into(),
            service,
            measured: Arc::default(),
        }
    }

    /// So many more of `name`.
    pub fn count(&self, name: &'static str, more: u64) {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        match measured.entry(name).or_insert(Measured::Count(0)) {
            Measured::Count(so_far) => *so_far += more,
            Measured::Values(..) => debug_assert!(false, "{name} is no count"),
        }
    }

    /// One more time of `name`, whose name ends in `_ms`.
    pub fn time(&self, name: &'static str, took: SignedDuration) {
        self.value(
            name,
            "Milliseconds",
            i64::try_from(took.as_millis()).unwrap_or(i64::MAX),
        );
    }

    /// How much of something is taken now: one more value of `name`, which ends in `_percent`.
    pub fn percent(&self, name: &'static str, value: u8) {
        self.value(name, "Percent", value.into());
    }

    /// How much of something there is now: one more value of `name`.
    pub fn level(&self, name: &'static str, value: u32) {
        self.value(name, "Count", value.into());
    }

    fn value(&self, name: &'static str, unit: &'static str, value: i64) {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        match measured
            .entry(name)
            .or_insert_with(|| Measured::Values(unit, Vec::new()))
        {
            Measured::Values(_, so_far) => so_far.push(value),
            Measured::Count(_) => debug_assert!(false, "{name} is a count"),
        }
    }

    /// Writes what was measured since the last time, if anything was.
    pub fn flush(&self, now: Timestamp) {
        let lines = self.lines(now);
        if lines.is_empty() {
            return;
        }
        // One write: a line of the log is not torn by another one. A log that takes nothing more has no place to say so.
        let _ = std::io::stdout().lock().write_all(lines.as_bytes());
    }

    /// What was measured since the last time, as lines.
    #[must_use]
    pub fn lines(&self, now: Timestamp) -> String {
        let mut measured = std::mem::take(&mut *self.measured.lock().unwrap_or_else(PoisonError::into_inner));
        let mut lines = String::new();
        while !measured.is_empty() {
            let mut left = BTreeMap::new();
            let mut line = json!({ "service": self.service });
            let mut metrics = Vec::new();
            for (name, measured) in measured {
                let (unit, value) = match measured {
                    Measured::Count(count) => ("Count", Value::from(count)),
                    Measured::Values(unit, mut values) => {
                        if values.len() > MOST_VALUES {
                            left.insert(name, Measured::Values(unit, values.split_off(MOST_VALUES)));
                        }
                        (unit, Value::from(values))
                    }
                };
                metrics.push(json!({ "Name": name, "Unit": unit }));
                line[name] = value;
            }
            line["_aws"] = json!({
                "Timestamp": now.as_millisecond(),
                "CloudWatchMetrics": [{
                    "Namespace": *self.namespace,
                    "Dimensions": [["service"]],
                    "Metrics": metrics,
                }],
            });
            lines.push_str(&line.to_string());
            lines.push('\n');
            measured = left;
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_millisecond(1_770_000_000_123).unwrap()
    }

    fn lines(metrics: &Metrics) -> Vec<Value> {
        let lines = metrics.lines(now());
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_unit_of_work_is_one_line_with_the_program_as_its_one_dimension() {
        let metrics = Metrics::new("a-stack", "event-processor");
        metrics.count("events_recorded", 2);
        metrics.count("events_recorded", 1);
        metrics.time("delivery_lag_ms", SignedDuration::from_secs(2));
        metrics.time("delivery_lag_ms", SignedDuration::from_millis(-5));
        metrics.percent("places_taken_percent", 40);
        metrics.level("requests_left", 7);
        let lines = lines(&metrics);
        assert_eq!(
            lines,
            [json!({
                "_aws": {
                    "Timestamp": 1_770_000_000_123_i64,
                    "CloudWatchMetrics": [{
                        "Namespace": "a-stack",
                        "Dimensions": [["service"]],
                        "Metrics": [
                            { "Name": "delivery_lag_ms", "Unit": "Milliseconds" },
                            { "Name": "events_recorded", "Unit": "Count" },
                            { "Name": "places_taken_percent", "Unit": "Percent" },
                            { "Name": "requests_left", "Unit": "Count" },
                        ],
                    }],
                },
                "service": "event-processor",
                "delivery_lag_ms": [2_000, -5],
                "events_recorded": 3,
                "places_taken_percent": [40],
                "requests_left": [7],
            })]
        );
    }

    #[test]
    fn nothing_measured_writes_nothing_and_nothing_is_written_twice() {
        let metrics = Metrics::new("a-stack", "event-processor");
        assert_eq!(metrics.lines(now()), "");
        metrics.count("events_recorded", 1);
        assert_eq!(lines(&metrics).len(), 1);
        assert_eq!(metrics.lines(now()), "");
    }

    #[test]
    fn more_values_than_a_line_takes_come_in_another() {
        let metrics = Metrics::new("a-stack", "event-processor");
        for _ in 0..250 {
            metrics.time("delivery_lag_ms", SignedDuration::from_secs(1));
        }
        let counts: Vec<_> = lines(&metrics)
            .iter()
            .map(|line| line["delivery_lag_ms"].as_array().map(Vec::len))
            .collect();
        assert_eq!(counts, [Some(100), Some(100), Some(50)]);
    }
}
