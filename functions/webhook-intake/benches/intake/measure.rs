//! One program: its start up to the first answer, and a stream of events.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use bench::{Failure, Memory, megabytes};
use ring_partner::signature::{self, SigningKey};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::Value;

use crate::aws::{Aws, Calls};
use crate::lambda::Lambda;
use crate::peers;
use crate::program::{Program, Recipe};

const SAMPLE: &str = include_str!("../../../../events/webhook-intake/motion_detected.json");
/// The current signing key, and the one before it: each event is held against both.
pub(crate) const KEYS: [&str; 2] = ["the-signing-key-of-the-bench", "the-signing-key-before-it"];
/// Answered before the warm figures begin.
const UNMEASURED: u32 = 200;
/// What a start of the intake may call: the keys are read, and the queue's connection is opened.
const AT_START: Calls = Calls {
    secret_reads: 1,
    sends: 0,
    traced: 0,
    others: 1,
};

/// One start, up to the first answer.
pub(crate) struct Cold {
    /// From exec to the first connection to AWS, or without one to the first poll: what is the program's own.
    own: Duration,
    first_poll: Duration,
    first_answer: Duration,
    cpu: Duration,
}

/// Starts a program, and hands it its first event.
pub(crate) async fn start(recipe: &Recipe, aws: &Aws, number: u32) -> Result<Cold, Failure> {
    let webhook = Webhook::new(number)?;
    let before = aws.calls();
    let mut lambda = Lambda::start().await?;
    let _of_the_last_one = aws.first_connection();
    let begun = Instant::now();
    let program = Program::start(recipe, &lambda, aws)?;
    let poll = lambda.polled().await?;
    let first_poll = poll.at - begun;
    let own = aws.first_connection().map_or(first_poll, |at| at - begun);
    let calls = aws.calls() - before;
    holds(
        recipe.name != peers::INTAKE || calls == AT_START,
        &format!("a start reads the secret once, and opens the queue's connection with one call: {calls:?}"),
    )?;
    let answer = lambda.hand(poll, webhook.request.clone()).await?;
    webhook.is_done(recipe, aws, answer.status)?;
    Ok(Cold {
        own,
        first_poll,
        first_answer: answer.at - begun,
        cpu: program.cpu_time()?,
    })
}

/// One program that answers many webhooks, one after the other.
pub(crate) struct Warm {
    took: Vec<Duration>,
    cpu: Duration,
    memory: Memory,
    calls: Calls,
}

/// Hands a program many events, and all that takes part has one core: no wake-up crosses to another.
pub(crate) async fn stream_on_one_core(recipe: &Recipe, aws: &Aws, events: u32) -> Result<Warm, Failure> {
    let all = sched_getaffinity(None)?;
    let mut one = CpuSet::new();
    let first = (0..CpuSet::MAX_CPU).find(|&core| all.is_set(core));
    one.set(first.ok_or("no core is allowed")?);
    // This is the one thread here, and programs have what their parent has.
    sched_setaffinity(None, &one)?;
    let streamed = stream(recipe, aws, events).await;
    sched_setaffinity(None, &all)?;
    streamed
}

/// Hands a program many events.
pub(crate) async fn stream(recipe: &Recipe, aws: &Aws, events: u32) -> Result<Warm, Failure> {
    let mut lambda = Lambda::start().await?;
    let program = Program::start(recipe, &lambda, aws)?;
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
        webhook.is_done(recipe, aws, answer.status)?;
        took.push(answer.took);
        poll = lambda.polled().await?;
    }
    let calls = aws.calls() - before.1;
    let once = Calls {
        sends: events,
        traced: events,
        ..Calls::default()
    };
    holds(
        recipe.name != peers::INTAKE || calls == once,
        &format!("a warm event sends one message, with the trace's context, and calls nothing else: {calls:?}"),
    )?;
    Ok(Warm {
        took,
        cpu: program.cpu_time()? - before.0,
        memory: program.memory()?,
        calls,
    })
}

/// A webhook as the API gateway hands it over.
struct Webhook {
    body: String,
    request: Bytes,
}

impl Webhook {
    /// The sample with an id of its own, signed with the key of now.
    fn new(number: u32) -> Result<Self, Failure> {
        let mut request: Value = serde_json::from_str(SAMPLE)?;
        let mut body: Value = serde_json::from_str(request["body"].as_str().unwrap_or_default())?;
        body["data"]["id"] = format!("ava1.ring.device.XXXYYY_human_{number:013}").into();
        let body = body.to_string();
        request["headers"]["content-length"] = body.len().to_string().into();
        request["headers"]["x-signature"] = signature::sign(&SigningKey::new(KEYS[0])?, body.as_bytes()).into();
        request["body"] = body.clone().into();
        Ok(Self {
            body,
            request: request.to_string().into(),
        })
    }

    /// Holds that it was answered with 200, and that the queue had it by then.
    fn is_done(&self, recipe: &Recipe, aws: &Aws, status: u64) -> Result<(), Failure> {
        let name = recipe.name;
        holds(status == 200, &format!("{name} answers with 200, and not {status}"))?;
        let is_queued = name == peers::HELLO_WORLD || aws.last_sent() == self.body;
        holds(
            is_queued,
            &format!("with {name} the queue has the body as it was signed"),
        )
    }
}

fn holds(it_does: bool, what: &str) -> Result<(), Failure> {
    if it_does {
        Ok(())
    } else {
        Err(format!("it does not hold that {what}").into())
    }
}

/// What was measured of one program.
pub(crate) struct Figures {
    /// What the table calls it.
    pub(crate) name: &'static str,
    /// In milliseconds: exec to the first connection or poll.
    pub(crate) own_ms: f64,
    /// Exec to the first poll of the Runtime API.
    pub(crate) first_poll_ms: f64,
    /// Exec to the first answer.
    pub(crate) first_answer_ms: f64,
    /// CPU time up to then.
    pub(crate) first_answer_cpu_ms: f64,
    /// A warm answer, in the middle.
    pub(crate) warm_p50_ms: f64,
    /// A warm answer, one of a hundred takes longer.
    pub(crate) warm_p99_ms: f64,
    /// CPU time of a warm event, on the cores that there are.
    pub(crate) event_cpu_ms: f64,
    /// The same on one.
    pub(crate) one_core_cpu_ms: f64,
    /// Resident memory after all events, in megabytes.
    pub(crate) resident_mb: f64,
    /// The same at its peak.
    pub(crate) peak_mb: f64,
    /// What has to be deployed.
    pub(crate) size_mb: f64,
    /// Messages sent for an event.
    pub(crate) sends: f64,
    /// Secrets read for an event.
    pub(crate) secret_reads: f64,
}

impl Figures {
    /// The medians of the starts, and of the stream its percentiles and means.
    pub(crate) fn of(recipe: &Recipe, cold: &[Cold], warm: Warm, one_core: &Warm, events: u32) -> Self {
        let half = |of: fn(&Cold) -> Duration| milliseconds(percentile(cold.iter().map(of).collect(), 50));
        Self {
            name: recipe.name,
            own_ms: half(|cold| cold.own),
            first_poll_ms: half(|cold| cold.first_poll),
            first_answer_ms: half(|cold| cold.first_answer),
            first_answer_cpu_ms: half(|cold| cold.cpu),
            warm_p50_ms: milliseconds(percentile(warm.took.clone(), 50)),
            warm_p99_ms: milliseconds(percentile(warm.took, 99)),
            event_cpu_ms: milliseconds(warm.cpu / events),
            one_core_cpu_ms: milliseconds(one_core.cpu / events),
            resident_mb: megabytes(warm.memory.resident),
            peak_mb: megabytes(warm.memory.peak),
            size_mb: megabytes(recipe.size),
            sends: f64::from(warm.calls.sends) / f64::from(events),
            secret_reads: f64::from(warm.calls.secret_reads) / f64::from(events),
        }
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
