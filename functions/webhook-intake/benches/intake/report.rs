//! The figures as a table or as JSON, what was aimed at and whether it is met, and what a million events cost.

use std::fmt::Write as _;

use bench::Target;
use serde_json::{Map, Value, json};

use crate::cost::{self, Usage};
use crate::measure::Figures;
use crate::peers;

/// All that was measured; the intake comes first.
pub(crate) struct Report {
    /// What the figures depend on beside the programs.
    pub(crate) heading: String,
    /// One entry for each program.
    pub(crate) figures: Vec<Figures>,
}

/// Key, what it is, its unit, and where it stands.
type Row = (&'static str, &'static str, &'static str, fn(&Figures) -> f64);

#[rustfmt::skip]
const ROWS: [Row; 13] = [
    ("own_ms", "exec to its first connection or poll: its own", "ms", |figures| figures.own_ms),
    ("first_poll_ms", "exec to first poll of the Runtime API", "ms", |figures| figures.first_poll_ms),
    ("first_answer_ms", "exec to first answer", "ms", |figures| figures.first_answer_ms),
    ("first_answer_cpu_ms", "CPU time up to then", "ms", |figures| figures.first_answer_cpu_ms),
    ("warm_p50_ms", "a warm answer, p50", "ms", |figures| figures.warm_p50_ms),
    ("warm_p99_ms", "a warm answer, p99", "ms", |figures| figures.warm_p99_ms),
    ("event_cpu_ms", "CPU time of an event, on all cores", "ms", |figures| figures.event_cpu_ms),
    ("one_core_cpu_ms", "CPU time of an event, on one core", "ms", |figures| figures.one_core_cpu_ms),
    ("resident_mb", "resident memory after all events", "MB", |figures| figures.resident_mb),
    ("resident_peak_mb", "resident memory at its peak", "MB", |figures| figures.peak_mb),
    ("size_mb", "size of what is deployed", "MB", |figures| figures.size_mb),
    ("event_sends", "messages sent for an event", "", |figures| figures.sends),
    ("event_secret_reads", "secrets read for an event", "", |figures| figures.secret_reads),
];

impl Report {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("webhook-intake: {}\n  {:<52}", self.heading, "");
        for figures in &self.figures {
            let _fits = write!(text, "{:>12}", figures.name);
        }
        text.push('\n');
        for (_, what, unit, of) in ROWS {
            let what = if unit.is_empty() {
                what.to_owned()
            } else {
                format!("{what} [{unit}]")
            };
            let _fits = write!(text, "  {what:<52}");
            for figures in &self.figures {
                let _fits = write!(text, "{:>12.2}", of(figures));
            }
            text.push('\n');
        }
        text.push_str(&bench::text(&self.targets()));
        text + &self.bill()
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let rounded = |value: f64| (value * 1_000.0).round() / 1_000.0;
        let mut report = Map::from_iter([("conditions".to_owned(), json!(self.heading))]);
        for figures in &self.figures {
            let rows = ROWS
                .iter()
                .map(|(key, _, _, of)| ((*key).to_owned(), json!(rounded(of(figures)))));
            report.insert(figures.name.replace(' ', "_"), Value::Object(rows.collect()));
        }
        report.insert("targets".to_owned(), bench::json(&self.targets()));
        Value::Object(report)
    }

    fn of(&self, name: &str) -> Option<&Figures> {
        self.figures.iter().find(|figures| figures.name == name)
    }

    fn targets(&self) -> Vec<Target> {
        let intake = &self.figures[0];
        let mut targets = vec![
            Target::at_most(
                "exec to first poll, secret and connection warmed: 15 ms at most",
                intake.first_poll_ms,
                15.0,
            ),
            Target::at_most("resident memory: 16 MB at most", intake.resident_mb, 16.0),
        ];
        if let Some(hello) = self.of(peers::HELLO_WORLD) {
            let times = intake.own_ms / hello.own_ms;
            targets.push(Target::at_most(
                "its own start, in hello worlds: 1.5 at most",
                times,
                1.5,
            ));
        }
        for (name, limit) in [("Python", 18.0), ("Node", 12.0)] {
            if let Some(peer) = self.of(name) {
                let times = peer.first_answer_ms / intake.first_answer_ms;
                targets.push(Target::at_least(
                    format!("exec to first answer, times {name}'s: {limit} at least"),
                    times,
                    limit,
                ));
            }
        }
        if let Some(python) = self.of("Python") {
            // On one core, as a function has it: with 256 MB a sixth of one.
            let times = python.one_core_cpu_ms / intake.one_core_cpu_ms;
            targets.push(Target::at_least(
                "CPU time of an event on one core, parts of Python's: 8 at least",
                times,
                8.0,
            ));
        }
        targets
    }

    /// Dollars for a million events, by kind of event, with and without the bus.
    fn bill(&self) -> String {
        let intake = &self.figures[0];
        let usage = |write_units: f64, published: bool| Usage {
            sends: intake.sends,
            secret_reads: intake.secret_reads,
            write_units,
            read_units: 0.0,
            billed_ms: BILLED_MS,
            memory_gb: 0.25,
            log_bytes: LOG_BYTES,
            published,
        };
        let mut text = format!("\nA million events in dollars ({}):\n", cost::PRICED);
        for item in cost::of_a_million(&usage(2.0, true)) {
            let _fits = writeln!(text, "  {:<68}{:>8.2}", item.what, item.dollars);
        }
        for (what, write_units) in [
            ("motion or a pressed button (2 write units)", 2.0),
            ("with device state (3)", 3.0),
        ] {
            let total = |published| {
                cost::of_a_million(&usage(write_units, published))
                    .iter()
                    .map(|item| item.dollars)
                    .sum::<f64>()
            };
            let (without, with) = (total(false), total(true));
            let _fits = writeln!(text, "  {what:<48}without the bus{without:>9.2}, with it{with:>8.2}");
        }
        let [intake, processor] = BILLED_MS;
        let _fits = writeln!(
            text,
            "Taken: {intake} ms and {processor} ms billed at 256 MB on arm64, one event a batch, {LOG_BYTES} bytes of logs."
        );
        text
    }
}

/// What Lambda may bill for the intake and for the processor, in milliseconds: SQS and the tables answer in several each.
const BILLED_MS: [f64; 2] = [10.0, 30.0];
/// Lambda's own lines for two invocations, and the processor's.
const LOG_BYTES: f64 = 1_800.0;
