//! What the release program of `webhook-intake` costs: `cargo bench -p webhook-intake`.
//!
//! The program runs as Lambda runs it: with an environment of its own, and all it can reach are the Runtime API and the two
//! services of AWS that it calls, here on the loopback, the latter behind TLS as AWS is. So no network and no AWS is in the
//! figures, and no machine of Lambda's either: they compare one build with another, on one machine. Each event is checked
//! as well: it is in the queue as it was signed, once, before the answer 200, and no secret is read for it.

mod aws;
mod lambda;
mod program;

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use aws::{Aws, Calls};
use axum::body::Bytes;
use clap::Parser;
use lambda::Lambda;
use program::Program;
use ring_partner::signature::{self, SigningKey};
use serde_json::{Map, Value, json};

/// Why there are no figures: what did not hold.
type Failure = Box<dyn std::error::Error>;

const PROGRAM: &str = env!("CARGO_BIN_EXE_webhook-intake");
const SAMPLE: &str = include_str!("../../../../events/webhook-intake/motion_detected.json");
const KEY: &str = "the-signing-key-of-the-bench";
/// Answered before the warm figures begin.
const UNMEASURED: u32 = 200;
/// What a start may call: the keys are read, and the queue's connection is opened.
const AT_START: Calls = Calls {
    secret_reads: 1,
    sends: 0,
    others: 1,
};

const EXAMPLES: &str = "\
Examples:
  cargo bench -p webhook-intake                               the figures, as a table
  cargo bench -p webhook-intake -- --spawns 10 --events 1000  in a hurry
  cargo bench -p webhook-intake -- --json > before.json       to compare with another build's
  taskset -c 0 cargo bench -p webhook-intake                  on one core: steadier, and warm answers take about half

Each warm answer is a dozen wake-ups to and fro; across cores these cost as much as the work. Other work on the machine
changes where they go: the head of the table says how busy it was. Megabytes are 10^6 bytes.
";

/// Measures the release program of webhook-intake: size, cold start, warm latency, CPU time, memory, calls of AWS.
#[derive(Parser)]
#[command(bin_name = "cargo bench -p webhook-intake --", after_help = EXAMPLES)]
struct Options {
    /// How many programs are started for the cold figures.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    spawns: u32,
    /// How many signed webhooks one program answers for the warm figures.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    events: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

// One thread for all that is not the program, so that on two cores the program has one for itself.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    match measure(&options).await {
        Ok(report) if options.json => println!("{:#}", report.json()),
        Ok(report) => print!("{}", report.table()),
        Err(failure) => {
            eprintln!("webhook-intake can't be measured: {failure}\n{}", program::last_words());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

async fn measure(options: &Options) -> Result<Report, Failure> {
    let conditions = conditions()?;
    let aws = Aws::start(KEY).await?;
    let mut cold = Vec::new();
    for number in 0..options.spawns {
        cold.push(Cold::measure(&aws, number).await?);
    }
    let warm = Warm::measure(&aws, options.events).await?;
    let half = |of: fn(&Cold) -> Duration| milliseconds(percentile(cold.iter().map(of).collect(), 50));
    Ok(Report {
        heading: format!("{conditions}; {} spawns, {} events", options.spawns, options.events),
        #[rustfmt::skip]
        figures: vec![
            Figure::new("binary_mb", "size of the program", megabytes(fs::metadata(PROGRAM)?.len()), "MB"),
            Figure::new("first_poll_ms", "exec to first poll of the Runtime API, median", half(|cold| cold.first_poll), "ms"),
            Figure::new("first_answer_ms", "exec to first answer, median", half(|cold| cold.first_answer), "ms"),
            Figure::new("first_answer_cpu_ms", "CPU time up to then, median", half(|cold| cold.cpu), "ms"),
            Figure::new("warm_p50_ms", "a warm answer, p50", milliseconds(percentile(warm.took.clone(), 50)), "ms"),
            Figure::new("warm_p99_ms", "a warm answer, p99", milliseconds(percentile(warm.took, 99)), "ms"),
            Figure::new("event_cpu_ms", "CPU time of an event", milliseconds(warm.cpu / options.events), "ms"),
            Figure::new("resident_mb", "resident memory after all events", megabytes(warm.memory.resident), "MB"),
            Figure::new("resident_peak_mb", "resident memory at its peak", megabytes(warm.memory.peak), "MB"),
            Figure::new("event_sends", "messages sent for an event", per(warm.calls.sends, options.events), ""),
            Figure::new("event_secret_reads", "secrets read for an event", per(warm.calls.secret_reads, options.events), ""),
        ],
    })
}

/// One start, up to the first answer.
struct Cold {
    first_poll: Duration,
    first_answer: Duration,
    cpu: Duration,
}

impl Cold {
    async fn measure(aws: &Aws, number: u32) -> Result<Self, Failure> {
        let webhook = Webhook::new(number)?;
        let before = aws.calls();
        let mut lambda = Lambda::start().await?;
        let begun = Instant::now();
        let program = Program::start(PROGRAM, &lambda, aws)?;
        let poll = lambda.polled().await?;
        let first_poll = poll.at - begun;
        let calls = aws.calls() - before;
        holds(
            calls == AT_START,
            &format!("a start reads the secret once, and opens the queue's connection with one call: {calls:?}"),
        )?;
        let answer = lambda.hand(poll, webhook.request.clone()).await?;
        webhook.is_queued(aws, answer.status)?;
        Ok(Self {
            first_poll,
            first_answer: answer.at - begun,
            cpu: program.cpu_time()?,
        })
    }
}

/// One program that answers many webhooks, one after the other.
struct Warm {
    took: Vec<Duration>,
    cpu: Duration,
    memory: program::Memory,
    calls: Calls,
}

impl Warm {
    async fn measure(aws: &Aws, events: u32) -> Result<Self, Failure> {
        let mut lambda = Lambda::start().await?;
        let program = Program::start(PROGRAM, &lambda, aws)?;
        let mut took = Vec::new();
        let mut poll = lambda.polled().await?;
        let mut before = (program.cpu_time()?, aws.calls());
        for number in 0..UNMEASURED + events {
            if number == UNMEASURED {
                took.clear();
                before = (program.cpu_time()?, aws.calls());
            }
            let webhook = Webhook::new(number)?;
            let answer = lambda.hand(poll, webhook.request.clone()).await?;
            webhook.is_queued(aws, answer.status)?;
            took.push(answer.took);
            poll = lambda.polled().await?;
        }
        let calls = aws.calls() - before.1;
        let once = Calls {
            sends: events,
            ..Calls::default()
        };
        holds(
            calls == once,
            &format!("a warm event sends one message and calls nothing else: {calls:?}"),
        )?;
        Ok(Self {
            took,
            cpu: program.cpu_time()? - before.0,
            memory: program.memory()?,
            calls,
        })
    }
}

/// A webhook as the API gateway hands it over.
struct Webhook {
    body: String,
    request: Bytes,
}

impl Webhook {
    /// The sample with an id of its own, signed with the key of the bench.
    fn new(number: u32) -> Result<Self, Failure> {
        let mut request: Value = serde_json::from_str(SAMPLE)?;
        let mut body: Value = serde_json::from_str(request["body"].as_str().unwrap_or_default())?;
        body["data"]["id"] = format!("ava1.ring.device.XXXYYY_human_{number:013}").into();
        let body = body.to_string();
        request["headers"]["content-length"] = body.len().to_string().into();
        request["headers"]["x-signature"] = signature::sign(&SigningKey::new(KEY)?, body.as_bytes()).into();
        request["body"] = body.clone().into();
        Ok(Self {
            body,
            request: request.to_string().into(),
        })
    }

    /// Holds that it was answered with 200, and that the queue had it by then.
    fn is_queued(&self, aws: &Aws, status: u64) -> Result<(), Failure> {
        holds(
            status == 200,
            &format!("a signed webhook is answered with 200, and not {status}"),
        )?;
        holds(aws.last_sent() == self.body, "the queue has the body as it was signed")
    }
}

fn holds(it_does: bool, what: &str) -> Result<(), Failure> {
    if it_does {
        Ok(())
    } else {
        Err(format!("this does not hold: {what}").into())
    }
}

/// What a figure depends on beside the program.
fn conditions() -> Result<String, Failure> {
    let build = if cfg!(debug_assertions) {
        "debug build (cargo bench measures the release build)"
    } else {
        "release build"
    };
    let cores = std::thread::available_parallelism()?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    Ok(format!("{build}; cores {cores}, load {load} before"))
}

struct Figure {
    name: &'static str,
    what: &'static str,
    value: f64,
    unit: &'static str,
}

impl Figure {
    fn new(name: &'static str, what: &'static str, value: f64, unit: &'static str) -> Self {
        Self {
            name,
            what,
            value,
            unit,
        }
    }
}

struct Report {
    heading: String,
    figures: Vec<Figure>,
}

impl Report {
    fn table(&self) -> String {
        let lines = self.figures.iter().map(|Figure { what, value, unit, .. }| {
            format!("  {what:<48}{value:>8.2} {unit}").trim_end().to_owned() + "\n"
        });
        format!("webhook-intake: {}\n{}", self.heading, lines.collect::<String>())
    }

    fn json(&self) -> Value {
        let rounded = |figure: &Figure| (figure.value * 1_000.0).round() / 1_000.0;
        let figures = self
            .figures
            .iter()
            .map(|figure| (figure.name.to_owned(), json!(rounded(figure))));
        let mut report = Map::from_iter([("conditions".to_owned(), json!(self.heading))]);
        report.extend(figures);
        Value::Object(report)
    }
}

/// The nearest rank.
fn percentile(mut values: Vec<Duration>, percent: usize) -> Duration {
    values.sort_unstable();
    values[(values.len() * percent).div_ceil(100).saturating_sub(1)]
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "no program has 2^53 bytes")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn per(count: u32, events: u32) -> f64 {
    f64::from(count) / f64::from(events)
}
