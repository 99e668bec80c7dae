//! Live video -> fragments in S3: the one program that is no function of Lambda's, as it holds sessions.
//!
//! A job names a capture, `{"medium_id": …}`. The program opens a live session of its device at Ring as any viewer does,
//! receives its video over WebRTC, and stores it as it comes: what a decoder has to know, and each group of pictures, as an
//! object of its own, with a manifest that describes them; at the end one MP4 made of them. Nothing is transcoded, nothing
//! is written to a disk, and what is held in memory has a bound. Whatever ends it, its sessions are closed; where it is
//! killed, the next one that gets the job closes them, and goes on.

pub mod capture;
pub mod codec;
mod config;
mod footage;
pub mod frame;
pub mod job;
pub mod mp4;
pub mod ports;
pub mod protection;
pub mod receiver;
pub mod recording;
pub mod ring;
pub mod rtp;
pub mod session;
pub mod sets;
pub mod sink;
pub mod stream;
#[cfg(test)]
mod testing;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub use config::{Arguments, Config};
use shared::capture::Job;
use shared::capture::archive::Reels;
use shared::capture::session::live::{Closer, LiveSessions};
use shared::capture::session::store::SessionTable;
use shared::capture::store::Slots;
use shared::device::store::Devices;
use shared::edge::batch::wait;
use shared::edge::bus::Bus;
use shared::edge::function::Function;
use shared::edge::metrics::Metrics;
use shared::edge::queue::{Queue, Received};
use shared::edge::quota::Quota;
use shared::edge::table::Table;
use shared::edge::{aws, clock};
use shared::grant::access::Access;
use shared::grant::store::GrantTable;
use shared::grant::vault::{Kms, Vault};
use shared::link::store::LinkTable;
use shared::media::store::Media;
use shared::policy::store::Policies;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::job::{Done, Recorder};
use crate::protection::Protection;
use crate::ring::Live;
use crate::sink::Bucket;

/// The program's name.
pub const SERVICE: &str = env!("CARGO_PKG_NAME");

/// How long a job is hidden from other recorders, unless this one says so again. In step with [`job::HELD_FOR`]: when the one
/// is over, so is the other.
const HIDDEN_FOR: Duration = Duration::from_secs(20);
/// How often it says so.
const HIDE_EVERY: Duration = Duration::from_secs(6);
/// How long a renewed token is waited for.
const REFRESH_WITHIN: Duration = Duration::from_secs(20);
/// How long candidates are gathered for an offer: as long as a STUN server may take that does not answer at once.
const GATHER_WITHIN: Duration = Duration::from_secs(2);
/// The queue is out of reach: it is asked again after this.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How often it is looked how much there is to do, and how many of these looks are told as a metric: one a minute.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOKS_A_METRIC: u32 = 60;
/// A day, for the budget.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The recorder.
#[derive(Debug)]
pub struct StreamCapture {
    queue: Queue,
    recorder: Arc<Recorder>,
    places: Arc<Semaphore>,
    at_once: usize,
    under_way: Arc<AtomicUsize>,
    protection: Protection,
    metrics: Arc<Metrics>,
}

/// Why the program does not start, or ends before its time.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Ring's client can't be made of the settings.
    #[error(transparent)]
    Settings(#[from] ring_partner::client::SettingsError),
    /// Nor can the one of ECS's agent.
    #[error(transparent)]
    Protection(#[from] protection::NoClient),
    /// The process can't hear of its end.
    #[error("signals can't be heard")]
    Signals(#[source] std::io::Error),
    /// What was to be recorded is no job.
    #[error("that is no job: {{\"medium_id\": \"…\"}}")]
    NoJob(#[source] serde_json::Error),
    /// It could not be recorded.
    #[error("the capture could not be recorded")]
    Undone(#[from] job::Undone),
}

impl StreamCapture {
    /// A recorder with these settings.
    pub fn new(aws: &aws::SdkConfig, config: Config) -> Result<Self, Failure> {
        let refresh = Function::new(aws, config.token_refresh_function, REFRESH_WITHIN);
        let live = Live {
            sessions: LiveSessions {
                closer: Closer {
                    sessions: SessionTable::new(aws, &config.devices_table),
                    ring: config.ring.client()?,
                },
                reminders: Queue::new(aws, &config.media_queue_url),
                usual: config.session,
            },
            access: Access::new(
                GrantTable::new(aws, config.grants_table),
                Vault::new(Kms::new(aws, config.token_key_id)),
                refresh,
            ),
            budget: Quota::new(
                Table::new(aws, &config.media_table),
                "sessions",
                config.sessions_a_day,
                DAY,
            ),
        };
        let metrics = Arc::new(Metrics::new(&config.metrics_namespace, SERVICE));
        let recorder = Recorder {
            media: Media::new(aws, &config.media_table).forgetting_after(config.media_retention_days),
            slots: Slots::new(aws, config.media_table),
            links: LinkTable::new(aws, config.links_table),
            policies: Policies::new(aws, &config.devices_table),
            devices: Devices::new(aws, config.devices_table),
            regions: config.privacy_regions,
            bus: Bus::new(aws, config.event_bus_name),
            bucket: Bucket(Reels::new(aws, config.media_bucket)),
            live: Arc::new(live),
            metrics: Arc::clone(&metrics),
            fetches: Queue::new(aws, config.media_queue_url),
            peers: receiver::Settings {
                bind: config.bind,
                stun: config.ice_servers,
                gather_within: GATHER_WITHIN,
            },
            motion_session: config.motion_session,
        };
        Ok(Self {
            queue: Queue::new(aws, config.captures_queue_url),
            recorder: Arc::new(recorder),
            places: Arc::new(Semaphore::new(config.captures_at_once)),
            at_once: config.captures_at_once,
            under_way: Arc::default(),
            protection: Protection::by(config.ecs_agent.as_ref())?,
            metrics,
        })
    }

    /// Records what comes, or this one, until it is told to end.
    pub async fn run(self, once: Option<String>) -> Result<(), Failure> {
        let ending = ending().map_err(Failure::Signals)?;
        match once {
            Some(job) => self.once(&job, ending).await,
            None => tokio::select! {
                served = self.serve(ending) => served,
                never = self.look() => match never {},
            },
        }
    }

    /// Tells whoever scales the tasks how much this one has to do.
    async fn look(&self) -> Infallible {
        for look in 0_u32.. {
            let under_way = self.under_way.load(Ordering::Relaxed);
            self.protection.tell(under_way > 0).await;
            if look.is_multiple_of(LOOKS_A_METRIC) {
                self.metrics
                    .percent("places_taken_percent", percent(under_way, self.at_once));
                self.metrics.flush(clock::now());
            }
            sleep(LOOK_EVERY).await;
        }
        std::future::pending().await
    }

    async fn once(&self, job: &str, ending: watch::Receiver<bool>) -> Result<(), Failure> {
        let job: Job = serde_json::from_str(job).map_err(Failure::NoJob)?;
        loop {
            match self.recorder.record(&job.medium_id, ending.clone()).await? {
                // Whoever was told to end leaves it to the queue.
                Done::Later(after) if !*ending.borrow() => sleep(after).await,
                _ => return Ok(()),
            }
        }
    }

    /// Takes jobs for as long as there is a place for them. Told to end it takes no more, and waits for those under way.
    async fn serve(&self, mut ending: watch::Receiver<bool>) -> Result<(), Failure> {
        let mut jobs = JoinSet::new();
        tracing::info!(captures.at_once = self.at_once, "captures are recorded");
        loop {
            let Ok(place) = self.places.clone().acquire_owned().await else {
                break;
            };
            let room = self.places.available_permits() + 1;
            let received = tokio::select! {
                _ = ending.wait_for(|ending| *ending) => break,
                received = self.queue.next(room, HIDDEN_FOR) => received,
            };
            drop(place);
            match received {
                Ok(received) => {
                    for message in received {
                        // There is room for as many as were asked for.
                        let Ok(place) = self.places.clone().acquire_owned().await else {
                            break;
                        };
                        let job = OneJob {
                            queue: self.queue.clone(),
                            recorder: self.recorder.clone(),
                            message,
                            ending: ending.clone(),
                        };
                        let under_way = UnderWay::of(&self.under_way);
                        jobs.spawn(async move {
                            job.run().await;
                            drop((place, under_way));
                        });
                    }
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "no captures can be had");
                    sleep(ASK_AGAIN_AFTER).await;
                }
            }
            while jobs.try_join_next().is_some() {}
        }
        tracing::info!(captures.under_way = jobs.len(), "no more captures are taken");
        while jobs.join_next().await.is_some() {}
        Ok(())
    }
}

/// One more that is under way, for as long as this is kept.
struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    fn of(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn percent(taken: usize, of: usize) -> u8 {
    u8::try_from(taken * 100 / of.max(1)).unwrap_or(100).min(100)
}

/// A job from the queue.
struct OneJob {
    queue: Queue,
    recorder: Arc<Recorder>,
    message: Received,
    ending: watch::Receiver<bool>,
}

impl OneJob {
    async fn run(self) {
        let Ok(job) = serde_json::from_str::<Job>(&self.message.body) else {
            // After some tries it is among the dead letters.
            tracing::error!("a message in the queue of captures is no job");
            return self.put_off(wait(self.message.times)).await;
        };
        let recorded = tokio::select! {
            recorded = self.recorder.record(&job.medium_id, self.ending.clone()) => recorded,
            never = self.hide() => match never {},
        };
        match recorded {
            Ok(Done::Over) => self.delete().await,
            Ok(Done::Later(after)) => self.put_off(after).await,
            Err(error) => {
                tracing::error!(
                    medium.id = job.medium_id.as_str(),
                    error = &error as &dyn std::error::Error,
                    "a capture is tried again"
                );
                self.put_off(wait(self.message.times)).await;
            }
        }
    }

    /// Hides the job from others for as long as it is under way.
    async fn hide(&self) -> Infallible {
        loop {
            sleep(HIDE_EVERY).await;
            self.put_off(HIDDEN_FOR).await;
        }
    }

    async fn put_off(&self, after: Duration) {
        if let Err(error) = self.queue.put_off(&self.message.receipt, after).await {
            // It comes back by itself, and whoever gets it sees that somebody is at it.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a capture's job can't be put off"
            );
        }
    }

    async fn delete(&self) {
        if let Err(error) = self.queue.delete(&self.message.receipt).await {
            // It comes back, and is found to be over.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a capture's job can't be deleted"
            );
        }
    }
}

/// Becomes true when this process is to end: SIGTERM, as Fargate sends it, or SIGINT.
fn ending() -> Result<watch::Receiver<bool>, std::io::Error> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (tell, ending) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tell.send_replace(true);
        // For as long as somebody may look.
        tell.closed().await;
    });
    Ok(ending)
}
