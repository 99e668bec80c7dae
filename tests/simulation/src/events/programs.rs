//! The programs that an event comes by, each in a process that may die: the intake, and the processor behind the queue.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use http::HeaderMap;
use ring_partner::signature::{self, SigningKey};
use shared::edge::batch::{Outcome, wait};
use shared::edge::metrics::Metrics;
use shared::event::process::Processor;
use shared::event::{Delivery, LEAST_KEPT, Views};
use shared::media::RemovedMedia;
use shared::policy::Regions;
use shared::world::Nature as _;
use tokio::time::{sleep, timeout};
use webhook_intake::Intake;

use super::queue::{Content, Message};
use crate::house::{Asks, House};
use crate::twin::{Simulated, Twin};

/// One in so many webhooks begins a process of the intake, though another one waits.
const BEGUN_IN: u128 = 8;
/// How long an invocation of the processor may take. In step with its time-out in the template.
const CUT_OFF: Duration = Duration::from_secs(60);
/// How long the event source waits after an invocation that failed as a whole, and between two looks.
const BACK_OFF: Duration = Duration::from_secs(1);

impl House {
    /// A process of `webhook-intake`: one that waits, or one that has just begun.
    #[must_use]
    pub fn door(&self) -> Door {
        let waiting = if self.world.random().is_multiple_of(BEGUN_IN) {
            None
        } else {
            self.doors().pop()
        };
        waiting.unwrap_or_else(|| {
            let process = self.world.process();
            let ports = || process.clone();
            let metrics = Metrics::new("simulation", webhook_intake::SERVICE);
            let intake = Arc::new(Intake::over(ports(), ports(), ports(), ports(), metrics));
            Door { process, intake }
        })
    }

    /// It has answered, and waits for the next one.
    pub fn waits(&self, door: Door) {
        self.doors().push(door);
    }

    fn doors(&self) -> MutexGuard<'_, Vec<Door>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `event-processor`, in this process.
    #[must_use]
    pub fn processor(&self, process: &Twin) -> Processor<Simulated, Asks> {
        Processor {
            settler: self.settler(process),
            records: process.clone(),
            devices: process.clone(),
            media: process.clone(),
            captures: process.clone(),
            workers: process.clone(),
            bus: process.clone(),
            views: Views::default(),
            metrics: Metrics::new("simulation", "event-processor"),
            kept_for: LEAST_KEPT,
            regions: Regions::none(),
            removed_media: RemovedMedia::Delete,
            records_captures: true,
        }
    }

    /// Takes from the queue, batch after batch, until it is told that nothing more comes and the queue is empty. One process
    /// in `killed_in` is killed at some moment; 0: none.
    pub async fn poll(self, killed_in: u64, is_over: Arc<AtomicBool>) {
        let mut worker = None;
        loop {
            let random = self.world.random();
            let (batch, depth) = {
                let now = self.world.now();
                let mut all = self.world.all();
                (all.queue.receive(now, random), all.queue.depth())
            };
            if batch.is_empty() {
                if depth == 0 && is_over.load(Ordering::Relaxed) {
                    return;
                }
                sleep(BACK_OFF / 2).await;
                continue;
            }
            let current = worker.take().unwrap_or_else(|| Worker::begin(&self, killed_in));
            if let Some(done) = current.batch(&batch).await {
                let mut all = self.world.all();
                for (number, receipt) in done.into_iter().enumerate() {
                    // That a message is dealt with may get lost on its way to the queue.
                    if killed_in == 0 || random >> (number % 100) & 0xff != 0 {
                        all.queue.delete(receipt);
                    }
                }
                drop(all);
                worker = Some(current);
            } else {
                sleep(BACK_OFF).await;
            }
        }
    }
}

/// One process of `webhook-intake`, which takes in webhook after webhook.
#[derive(Clone, Debug)]
pub struct Door {
    /// The process.
    pub process: Twin,
    intake: Arc<Intake<Simulated>>,
}

impl Door {
    /// Takes a webhook in that is signed with this key, as Lambda hands it over: the status of the answer; `None`: it died.
    pub async fn post(&self, key: &SigningKey, body: &[u8]) -> Option<u16> {
        let mut headers = HeaderMap::new();
        let signature = signature::sign(key, body);
        headers.insert("x-signature", signature.parse().expect("letters and digits"));
        let received = self.process.run(self.intake.receive(&headers, body)).await?;
        Some(received.map_or_else(|problem| problem.kind().status().as_u16(), |()| 200))
    }
}

/// One process of the processor, which handles batch after batch.
pub struct Worker {
    process: Twin,
    processor: Processor<Simulated, Asks>,
}

impl Worker {
    /// One that has just begun.
    #[must_use]
    pub fn begin(house: &House, killed_in: u64) -> Self {
        let process = house.world.process();
        let random = house.world.random();
        if killed_in > 0 && random.is_multiple_of(u128::from(killed_in)) {
            let (doomed, after) = (process.clone(), Duration::from_millis((random >> 64) as u64 % 20_000));
            tokio::spawn(async move {
                sleep(after).await;
                doomed.kill();
            });
        }
        Self {
            processor: house.processor(&process),
            process,
        }
    }

    /// Handles a batch, its messages side by side. Returns the receipts of those that are done; `None`: the process died of it,
    /// or was cut off.
    pub async fn batch(&self, batch: &[Message]) -> Option<Vec<u64>> {
        let each = join_all(batch.iter().map(|message| self.message(message)));
        let Ok(Some(done)) = timeout(CUT_OFF, self.process.run(each)).await else {
            self.process.kill();
            return None;
        };
        let done = batch.iter().zip(done).filter(|(_, is_done)| *is_done);
        Some(done.map(|(message, _)| message.receipt).collect())
    }

    /// As the loop over a batch does it.
    async fn message(&self, message: &Message) -> bool {
        let delivery = Delivery {
            message: message.id.clone(),
            received_at: message.sent_at,
        };
        let outcome = match &message.content {
            Content::Body(body) => self.processor.webhook(body, &delivery).await,
            Content::Resume(id) => self.processor.resume(id, &message.id).await,
            Content::Replay(id) => self.processor.replay(id, &message.id).await,
            Content::Gone(gone) => self.processor.gone(gone).await,
        };
        let after = match outcome {
            Outcome::Done => return true,
            Outcome::Discard(reason) => {
                if self.process.set_aside(&message.content, reason).await.is_ok() {
                    return true;
                }
                wait(message.received)
            }
            Outcome::Retry => wait(message.received),
            Outcome::RetryAfter(after) => after,
        };
        // Where this fails, it comes back by the queue's own time-out.
        let _put_off = self.process.put_off(message.receipt, after).await;
        false
    }
}
