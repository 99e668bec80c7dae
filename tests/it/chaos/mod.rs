//! What goes wrong at AWS, ordered: a stack of its own, whose functions reach the emulator through a proxy that throttles,
//! fails, delays, loses answers and kills. It is judged from the outside: by the API, the bus and the queues.

mod backlog;
mod bill;
mod ledger;
mod processes;
mod proxy;
mod reads;
mod storm;

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::QueueAttributeName;
use local::outside::{Home, claim};
use local::{Failure, Options, Place, Profile, Progress, RingChoice, Stack};
use serde_json::{Value, json};
use shared::edge::clock;
use shared::edge::config::{Environment as _, Process};

use crate::stack::hold_the_floor;
use proxy::Proxy;

/// How long a message of a process that was killed stays hidden, in place of the template's six minutes.
const HIDDEN_FOR_SECONDS: u64 = 15;

/// The stack, and the proxy that its functions call AWS through.
struct Chaos {
    stack: Stack,
    proxy: Proxy,
}

static CHAOS: OnceLock<Result<Chaos, String>> = OnceLock::new();

/// Runs a test on the stack, which is brought up for the first that asks. No other test runs beside it: what is measured here
/// is not theirs, and what is broken here must not be.
#[track_caller]
fn in_chaos(test: impl AsyncFnOnce(&'static Chaos) -> Result<(), Failure>) {
    hold_the_floor(|runtime| {
        let up = CHAOS.get_or_init(|| runtime.block_on(Chaos::begin()));
        let chaos = match up {
            Ok(chaos) => chaos,
            Err(failure) => panic!("the stack is not up: {failure}"),
        };
        let held = runtime.block_on(async {
            // What another test has left half-way is not this one's.
            chaos.drain(Duration::from_secs(300)).await?;
            chaos.proxy.struck();
            test(chaos).await
        });
        chaos.proxy.calm();
        if let Err(failure) = held {
            let logs = runtime.block_on(chaos.stack.gather_logs()).map(std::fs::read_to_string);
            let logs = logs.map(Result::unwrap_or_default).unwrap_or_default();
            let newest: Vec<_> = logs.lines().rev().take(20).collect();
            panic!("{failure}\nwhat the functions said last:\n{}", newest.join("\n"));
        }
    });
}

/// A number from the environment, or the one that the gate has.
fn number(name: &str, otherwise: u64) -> u64 {
    Process
        .get(name)
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

impl Chaos {
    async fn begin() -> Result<Self, String> {
        let proxy = Proxy::start().await.map_err(|error| error.to_string())?;
        let options = Options {
            kind: "chaos",
            profile: Profile::Dev,
            port: None,
            ring: RingChoice::Simulator,
            aws_for_functions: Some(proxy.url()),
            progress: Progress::Quiet,
        };
        let place = Place::find().await.map_err(|failure| failure.to_string())?;
        let stack = Stack::up(place, options).await.map_err(|failure| failure.to_string())?;
        proxy.leads_to(&stack.outputs().aws_endpoint_url);
        let hidden = stack
            .aws()
            .queues
            .set_queue_attributes()
            .queue_url(&stack.outputs().queues["events"]);
        let hidden = hidden.attributes(QueueAttributeName::VisibilityTimeout, HIDDEN_FOR_SECONDS.to_string());
        hidden.send().await.map_err(|error| format!("{error:?}"))?;
        Ok(Self { stack, proxy })
    }

    /// So many homes with so many devices each, linked. Returns each with the ids of its devices.
    async fn homes(&self, homes: usize, devices: usize) -> Result<Vec<(Home<'_>, Vec<String>)>, Failure> {
        let mut all = Vec::new();
        let now = clock::now().as_millisecond();
        let footage = json!([{ "start": now - 60_000, "end": now + 3_600_000 }]);
        for _ in 0..homes {
            let names: Vec<String> = (0..devices).map(|number| format!("device {number}")).collect();
            let orders: Vec<_> = names
                .iter()
                .map(|name| json!({ "preset": "doorbell", "name": name, "footage": footage }))
                .collect();
            let home = match Home::linked(&self.stack, &json!(orders)).await {
                Ok(home) => home,
                // On a machine that has much else to do the first answer may come too late.
                Err(_) => Home::linked(&self.stack, &json!(orders)).await?,
            };
            let ids = home.device_ids().await?;
            claim(ids.len() == devices, "each device of the home is listed", &ids)?;
            all.push((home, names.iter().map(|name| ids[name].clone()).collect()));
        }
        Ok(all)
    }

    /// How many messages a queue has: to be seen, hidden, and delayed.
    async fn depth(&self, queue: &str) -> Result<[u64; 3], Failure> {
        let asked = self.stack.aws().queues.get_queue_attributes();
        let asked = asked
            .queue_url(&self.stack.outputs().queues[queue])
            .attribute_names(QueueAttributeName::All)
            .send()
            .await;
        let found = asked.map_err(|error| {
            Failure::new(format!("The queue {queue} can't be looked at")).because(format!("{error:?}"))
        })?;
        let found: HashMap<_, _> = found.attributes.unwrap_or_default();
        Ok([
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ]
        .map(|name| {
            found
                .get(&name)
                .and_then(|count| count.parse().ok())
                .unwrap_or(u64::MAX)
        }))
    }

    /// Waits until the queue of events is empty, with nothing hidden. Says how long that took.
    async fn drain(&self, within: Duration) -> Result<Duration, Failure> {
        let since = Instant::now();
        loop {
            let depth = self.depth("events").await?;
            if depth == [0; 3] {
                return Ok(since.elapsed());
            }
            claim(
                since.elapsed() < within,
                "the queue of events is drained in time",
                &depth,
            )?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Forgets what a queue holds.
    async fn purge(&self, queue: &str) -> Result<(), Failure> {
        let purge = self.stack.aws().queues.purge_queue();
        let purged = purge.queue_url(&self.stack.outputs().queues[queue]).send().await;
        let failed = |error| Failure::new(format!("The queue {queue} is not emptied")).because(format!("{error:?}"));
        purged.map(drop).map_err(failed)
    }

    /// Nothing went astray: the dead-letter queue and quarantine are empty.
    async fn nothing_set_aside(&self) -> Result<(), Failure> {
        for queue in ["events_dlq", "quarantine"] {
            let depth = self.depth(queue).await?;
            claim(depth == [0; 3], &format!("{queue} is empty"), &depth)?;
        }
        Ok(())
    }

    /// What the emulator has said of the batches of the event processor so far: taken, and failed as a whole.
    fn batches(&self) -> (u64, u64) {
        let log = std::fs::read_to_string(self.stack.folder().join("emulator.log")).unwrap_or_default();
        let function = &self.stack.outputs().functions["event-processor"];
        let count = |words: &str| log.lines().filter(|line| line.contains(words)).count() as u64;
        let failed = count(&format!("Lambda {function} failed processing"));
        (failed + count(&format!("Lambda {function} processed")), failed)
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
