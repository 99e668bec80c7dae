//! A media request -> Ring -> S3; once an hour, what has come due; and the end of live sessions that nobody has closed.
//!
//! The medium is taken, streamed from Ring into the bucket in bounded memory, described honestly (what was asked for,
//! what it truly is), and told to the bus. What Ring does not have yet is asked for again at 5, 15, 45 and 120 s; what
//! it never will have is *no media*, and what can't be had is *failed*, each with its reason. A medium whose device is
//! offline *waits* until an event tells that it is back; what is asked of a removed device fails, and what is stored of it is
//! purged when its time has come.

mod config;

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use bytes::{Bytes, BytesMut};
pub use config::Config;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent};
use ring_partner::Ring;
use ring_partner::devices::{Configurations, Zone};
use ring_partner::error::Decision;
use ring_partner::media::{Media as RingMedia, Resolution};
use serde::Serialize;
use shared::capture::archive::Reels;
use shared::capture::session::live::{CloseFailure, Closer};
use shared::capture::session::ports::Sessions as _;
use shared::capture::session::store::SessionTable;
use shared::capture::session::{Close, CloseAll};
use shared::device::store::Devices;
use shared::device::{Known, Mark};
use shared::edge::batch::{self, Outcome, Source, received};
use shared::edge::bus::{Bus, BusError};
use shared::edge::clock::signed;
use shared::edge::function::Function;
use shared::edge::metrics::Metrics;
use shared::edge::queue::{Queue, QueueError};
use shared::edge::table::StoreError;
use shared::edge::{aws, clock};
use shared::event::ports::Media as _;
use shared::grant::access::{Access, AccessError, CallError};
use shared::grant::store::GrantTable;
use shared::grant::vault::{Kms, Vault};
use shared::link::Link;
use shared::link::store::LinkTable;
use shared::media::archive::{Archive, ArchiveError, Receipt, thumbnail_key};
use shared::media::still::{self, Unmaskable};
use shared::media::store::{Due, Media};
use shared::media::{
    Job, Medium, MediumId, Object, Progress, Request, Retired, RingIds, WAITS_FOR, Window, fetch_message, film,
    is_stale, privacy_word, thumbnail_request,
};
use shared::policy::store::Policies;
use shared::policy::{Regions, Shown};
use shared::world::Deployed;

/// The program's name.
pub const SERVICE: &str = env!("CARGO_PKG_NAME");

/// How long a renewed token is waited for.
const REFRESH_WITHIN: Duration = Duration::from_secs(20);
/// The waits for footage of a moment ago, which may still be on its way (Ring: Image Snapshots, 425; Media Clips, 416).
const FOOTAGE_WAITS_SECONDS: [u64; 4] = [5, 15, 45, 120];
/// Footage of a window that ended longer ago than this is not on its way any more.
const FOOTAGE_MAY_COME_FOR: Duration = Duration::from_secs(300);
/// A medium that is still not to be had after this is given up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(2 * 3600);

/// How much of what is due one sweep takes on, and how many media of a device it looks at together.
const MOST_DUE: usize = 500;
const PAGE: usize = 100;

/// The media fetch.
#[derive(Debug)]
pub struct MediaFetch {
    source: Source,
    media: Media,
    archive: Archive,
    reels: Reels,
    links: LinkTable,
    devices: Devices,
    policies: Policies,
    regions: Regions,
    bus: Bus,
    live: Closer<SessionTable, Ring>,
    ring: Ring,
    access: Access<Deployed, Function>,
    metrics: Metrics,
}

/// Why a medium is not stored this time.
#[derive(Debug, thiserror::Error)]
enum Undone {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Close(#[from] CloseFailure),
    #[error(transparent)]
    Unmaskable(#[from] Unmaskable),
}

impl Undone {
    /// Ring says that we ask too often (Ring: Rate Limiting).
    fn is_rings_limit(&self) -> bool {
        let (Self::Call(CallError::Ring(error)) | Self::Archive(ArchiveError::Source(error))) = self else {
            return false;
        };
        error.answer().is_some_and(|answer| answer.status == 429)
    }
}

/// What a failed attempt means for its medium.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Not yet: again after this.
    Later(Duration),
    /// Again, at the queue's pace.
    Again,
    /// Never: Ring has no such footage.
    NoMedia(String),
    /// Never, for another reason.
    Failed(String),
}

impl MediaFetch {
    /// A media fetch with these settings.
    pub fn new(aws: &aws::SdkConfig, config: Config) -> Result<Self, ring_partner::client::SettingsError> {
        let refresh = Function::new(aws, config.token_refresh_function, REFRESH_WITHIN);
        let ring = config.ring.client()?;
        let devices_table = config.devices_table;
        Ok(Self {
            source: Source {
                queue: Queue::new(aws, config.media_queue_url),
                quarantine: None,
            },
            media: Media::new(aws, config.media_table),
            reels: Reels::new(aws, &config.media_bucket),
            archive: Archive::new(aws, config.media_bucket),
            links: LinkTable::new(aws, config.links_table),
            policies: Policies::new(aws, &devices_table),
            devices: Devices::new(aws, &devices_table),
            regions: config.privacy_regions,
            bus: Bus::new(aws, config.event_bus_name),
            live: Closer {
                sessions: SessionTable::new(aws, &devices_table),
                ring: ring.clone(),
            },
            ring,
            access: Access::new(
                GrantTable::new(aws, config.grants_table),
                Vault::new(Kms::new(aws, config.token_key_id)),
                refresh,
            ),
            metrics: Metrics::new(&config.metrics_namespace, SERVICE),
        })
    }

    /// Handles one batch.
    pub async fn handle(&self, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
        let response = self
            .source
            .each(event.payload, async |message| self.message(message).await)
            .await;
        self.metrics.flush(clock::now());
        Ok(response)
    }

    async fn message(&self, message: &SqsMessage) -> Outcome {
        let body = message.body.as_deref().unwrap_or_default();
        let done = match serde_json::from_str(body) {
            Ok(Job::Fetch { medium_id }) => self.medium(&medium_id, received(message)).await,
            Ok(Job::Sweep { .. }) => self.sweep().await,
            Ok(Job::Close { close_session }) => self.close_session(&close_session).await,
            Ok(Job::CloseAll { close_live }) => self.close_live(&close_live).await,
            Err(_) => return Outcome::Discard("no request for a medium"),
        };
        done.unwrap_or_else(|error| {
            let what = match error {
                Undone::Close(_) => "sessions_not_closed",
                _ => "media_retried",
            };
            self.metrics.count(what, 1);
            tracing::warn!(error = &error as &dyn std::error::Error, "a medium is tried again");
            Outcome::Retry
        })
    }

    async fn medium(&self, id: &MediumId, tries: u32) -> Result<Outcome, Undone> {
        let now = clock::now();
        let Some(mut medium) = self.media.begin(id, now).await? else {
            return self.over(id).await;
        };
        let Some(link) = self.links.of_account(&medium.account_id).await?.filter(Link::is_live) else {
            medium.progress = failed("unlinked");
            self.media.keep(&medium).await?;
            return Ok(Outcome::Done);
        };
        let known = self.devices.get(&medium.account_id, &medium.device_id).await?;
        if known.as_ref().is_some_and(|known| !known.is_present()) {
            return self.fail(medium, &link, "device_removed").await;
        }
        if known.as_ref().is_some_and(Known::is_told_offline) {
            return self.wait(medium, &link, now).await;
        }
        // Zones may have been drawn since it was asked for.
        let shown = match &known {
            Some(known) => self.policies.holding_for(known).await?.shows(known, &self.regions),
            None => Shown::Nothing,
        };
        if !shown.takes(medium.request.action()) {
            return self.fail(medium, &link, "privacy_zones").await;
        }
        let zones = known.as_ref().and_then(|known| known.configurations.as_ref());
        let zones = zones.map_or(&[][..], Configurations::privacy_zones).to_vec();
        // It could not be had before its device was back.
        let since = known
            .and_then(|known| known.online)
            .filter(|told| told.is)
            .map(|told| told.at);
        let fetched = self.fetch(&medium, &link, shown, &zones).await;
        self.metrics.time("fetch_ms", clock::now().duration_since(now));
        let outcome = match fetched {
            Ok(object) => {
                medium.ring = Some(RingIds {
                    request_id: object.ring_request_id.clone(),
                    error_id: None,
                });
                medium.progress = Progress::Stored {
                    object: Box::new(object),
                    announced: false,
                };
                Outcome::Done
            }
            Err(error) => {
                let verdict = verdict(&error, &medium, tries, since, clock::now());
                medium.ring = ring_ids(&error).or(medium.ring);
                tracing::warn!(
                    medium.id = id.as_str(),
                    ring.request_id = medium.ring.as_ref().and_then(|ring| ring.request_id.as_deref()),
                    ring.error_id = medium.ring.as_ref().and_then(|ring| ring.error_id.as_deref()),
                    error = &error as &dyn std::error::Error,
                    verdict = ?verdict,
                    "medium {} is not fetched",
                    id.as_str(),
                );
                if error.is_rings_limit() {
                    self.metrics.count("ring_pauses", 1);
                }
                let (progress, outcome) = match verdict {
                    Verdict::Later(wait) => (Progress::Requested, Outcome::RetryAfter(wait)),
                    Verdict::Again => (Progress::Requested, Outcome::Retry),
                    Verdict::NoMedia(reason) => (
                        Progress::NoMedia {
                            reason,
                            announced: false,
                        },
                        Outcome::Done,
                    ),
                    Verdict::Failed(reason) => (failed(&reason), Outcome::Done),
                };
                medium.progress = progress;
                outcome
            }
        };
        if matches!(medium.progress, Progress::Stored { .. }) && self.is_removed(&medium).await? {
            // Its device went while it was fetched. What was stored goes, too.
            self.archive.delete(&medium.object_key()).await?;
            return self.fail(medium, &link, "device_removed").await;
        }
        match self.media.keep(&medium).await {
            Ok(()) => {}
            // It was deleted meanwhile: what was stored goes too.
            Err(StoreError::Conflict) => {
                self.archive.delete(&medium.object_key()).await?;
                return Ok(Outcome::Done);
            }
            Err(error) => return Err(error.into()),
        }
        self.announce(medium, &link).await?;
        Ok(outcome)
    }

    async fn is_removed(&self, medium: &Medium) -> Result<bool, StoreError> {
        let known = self.devices.get(&medium.account_id, &medium.device_id).await?;
        Ok(known.is_some_and(|known| !known.is_present()))
    }

    /// A medium that can't be had.
    async fn fail(&self, mut medium: Medium, link: &Link, reason: &str) -> Result<Outcome, Undone> {
        medium.progress = failed(reason);
        match self.media.keep(&medium).await {
            Ok(()) => self.announce(medium, link).await?,
            // It was deleted meanwhile.
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Outcome::Done)
    }

    /// A medium of a device that is offline: it waits until an event tells that the device is back.
    async fn wait(&self, mut medium: Medium, link: &Link, now: Timestamp) -> Result<Outcome, Undone> {
        if now.duration_since(medium.requested_at) > signed(WAITS_FOR) {
            return self.fail(medium, link, "device_offline").await;
        }
        // First that, so that whoever tells that the device is back looks for what waits.
        self.devices
            .mark(&medium.account_id, &medium.device_id, Mark::Awaited)
            .await?;
        medium.progress = Progress::Waiting { since: now };
        match self.media.wait(&medium, now).await {
            Ok(()) => {}
            Err(StoreError::Conflict) => return Ok(Outcome::Done),
            Err(error) => return Err(error.into()),
        }
        tracing::info!(
            medium.id = medium.id.as_str(),
            "medium {} waits for its device",
            medium.id.as_str()
        );
        // The device may have come back before it was written that this medium waits: nobody would release it then.
        let (account, device) = (&medium.account_id, &medium.device_id);
        let known = self.devices.get(account, device).await?;
        if known.is_some_and(|known| known.is_told_offline() && known.is_present()) {
            return Ok(Outcome::Done);
        }
        self.media.waits_no_more(account, device, &medium.id).await?;
        Ok(Outcome::RetryAfter(Duration::from_secs(1)))
    }

    /// Closes a live session that nobody has closed, now that its time is over.
    async fn close_session(&self, close: &Close) -> Result<Outcome, Undone> {
        let account = &close.account_id;
        let Some(session) = self.live.sessions.get(account, &close.session_id).await? else {
            return Ok(Outcome::Done);
        };
        let Some(link) = self.links.of_account(account).await? else {
            // The tokens went with the link: it ends by itself.
            self.live.wait_out(session, clock::now()).await?;
            return Ok(Outcome::Done);
        };
        let closed = self.live.close(session, &link.grant_id, &self.access, clock::now());
        match closed.await {
            Ok(()) => Ok(Outcome::Done),
            Err(CloseFailure::EndsByItself { until }) => {
                let left = until.duration_since(clock::now()).unsigned_abs();
                Ok(Outcome::RetryAfter(left.max(Duration::from_secs(1))))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Closes the live sessions of a device that went. One that nobody can close has a message of its own on its way.
    async fn close_live(&self, close: &CloseAll) -> Result<Outcome, Undone> {
        let account = &close.account_id;
        let Some(link) = self.links.of_account(account).await? else {
            return Ok(Outcome::Done);
        };
        for session in self.live.sessions.of_account(account).await? {
            if close.is_of(&session) && session.location().is_some() {
                let closed = self.live.close(session, &link.grant_id, &self.access, clock::now());
                closed.await?;
            }
        }
        Ok(Outcome::Done)
    }

    /// Looks at all that has come due.
    async fn sweep(&self) -> Result<Outcome, Undone> {
        let due = self.media.due(clock::now(), MOST_DUE).await?;
        let is_all = due.len() < MOST_DUE;
        for due in due {
            match due {
                // Whoever takes it from the queue sees whether its device is back, or it has waited for long enough.
                Due::Waiting {
                    account,
                    device,
                    medium,
                } => {
                    self.source.queue.send(fetch_message(&account, &medium)).await?;
                    self.media.waits_no_more(&account, &device, &medium).await?;
                }
                Due::Purge(retired) => self.purge(&retired).await?,
            }
        }
        Ok(if is_all { Outcome::Done } else { Outcome::Retry })
    }

    /// Purges the media of a removed device, unless it is there again.
    async fn purge(&self, retired: &Retired) -> Result<(), Undone> {
        let (account, device) = (&retired.account_id, &retired.device_id);
        let mut before = None;
        loop {
            let known = self.devices.get(account, device).await?;
            if known.is_some_and(|known| known.is_present()) {
                break;
            }
            let media = self.media.of_device(account, device, before.as_deref(), PAGE).await?;
            for medium in &media {
                // The row first: whoever is fetching it finds that it is gone, and takes the object away again.
                self.media.forget(&medium.id).await?;
                let key = medium.object_key();
                match medium.request {
                    Request::Capture(_) => self.reels.delete_all(&key).await?,
                    Request::Clip(_) | Request::Snapshot(_) => self.archive.delete(&key).await?,
                }
            }
            match media.last() {
                Some(last) => before = Some(last.position()),
                None => {
                    tracing::info!("the media of a removed device are purged");
                    break;
                }
            }
        }
        Ok(self.media.purged(retired).await?)
    }

    /// A medium that is not to be fetched: somebody is at it, or it is over, and the bus may not have been told.
    async fn over(&self, id: &MediumId) -> Result<Outcome, Undone> {
        let medium = self.media.get(id).await?;
        let Some(medium) = medium.filter(|medium| !matches!(medium.request, Request::Capture(_))) else {
            return Ok(Outcome::Done);
        };
        if let Progress::Fetching { until } = medium.progress {
            let left = until.duration_since(clock::now()).unsigned_abs();
            return Ok(Outcome::RetryAfter(left.max(Duration::from_secs(1))));
        }
        if let Some(link) = self.links.of_account(&medium.account_id).await? {
            self.announce(medium, &link).await?;
        }
        Ok(Outcome::Done)
    }

    /// Tells the bus that a medium is over, once it is.
    async fn announce(&self, mut medium: Medium, link: &Link) -> Result<(), Undone> {
        let told = match &mut medium.progress {
            Progress::Stored { announced, .. }
            | Progress::NoMedia { announced, .. }
            | Progress::Failed { announced, .. } => std::mem::replace(announced, true),
            Progress::Requested | Progress::Fetching { .. } | Progress::Waiting { .. } => true,
        };
        if told {
            return Ok(());
        }
        self.count(&medium.progress);
        let name = self
            .devices
            .get(&medium.account_id, &medium.device_id)
            .await?
            .and_then(|known| known.name);
        if let Some(announcement) = medium.announcement(&link.user_id, name, clock::now()) {
            self.bus.announce(&announcement).await?;
        }
        match self.media.keep(&medium).await {
            Ok(()) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Counts how a medium has ended.
    fn count(&self, progress: &Progress) {
        match progress {
            Progress::Stored { object, .. } => {
                self.metrics.count("media_stored", 1);
                self.metrics.count("media_partial", u64::from(object.partial));
            }
            Progress::NoMedia { .. } => self.metrics.count("media_missing", 1),
            Progress::Failed { .. } => self.metrics.count("media_failed", 1),
            Progress::Requested | Progress::Fetching { .. } | Progress::Waiting { .. } => {}
        }
    }

    /// Ring -> S3.
    async fn fetch(&self, medium: &Medium, link: &Link, shown: Shown, zones: &[Zone]) -> Result<Object, Undone> {
        let ring = &self.ring;
        let source = self.access.call(&link.grant_id, clock::now(), |token| async move {
            match &medium.request {
                Request::Clip(clip) => ring.clip(&token, &medium.device_id, clip).await,
                Request::Snapshot(snapshot) => ring.snapshot(&token, &medium.device_id, snapshot).await,
                Request::Capture(_) => Err(ring_partner::Error::Unusable("a capture is recorded, not fetched")),
            }
        });
        let source = source.await?;
        let key = medium.object_key();
        let described = Described::of(&source);
        let (receipt, looks) = match &medium.request {
            Request::Snapshot(_) => self.store_still(&key, source, shown, zones).await?,
            Request::Clip(_) | Request::Capture(_) => self.store_film(&key, source).await?,
        };
        let mut object = described.object(medium, key, shown, receipt, looks);
        if let Request::Clip(clip) = &medium.request {
            let shows = object.actual.map_or(clip.timestamp, |actual| actual.timestamp);
            object.thumbnail = self.thumbnail(medium, link, &object.key, shows).await;
        }
        self.archive
            .describe(&object.key, &Description::of(medium, &object))
            .await?;
        tracing::info!(
            medium.id = medium.id.as_str(),
            ring.request_id = object.ring_request_id,
            object.size_bytes = object.bytes,
            "medium {} is stored",
            medium.id.as_str()
        );
        Ok(object)
    }

    /// Streams a film into the bucket, and reads on the way what it says of itself.
    async fn store_film(&self, key: &str, source: RingMedia) -> Result<(Receipt, Looks), Undone> {
        let mut film = film::Reader::default();
        let body = source.body.inspect_ok(|bytes| film.take(bytes));
        let receipt = self.archive.store(key, &source.content_type, body).await?;
        let looks = film.done().map_or_else(Looks::default, |film| Looks {
            codec: Some(film.codec.as_str().to_owned()),
            resolution: Some(film.resolution),
            duration: film.duration,
        });
        Ok((receipt, looks))
    }

    /// Stores a still, masked where it has to be. It is small: it is held whole.
    async fn store_still(
        &self,
        key: &str,
        source: RingMedia,
        shown: Shown,
        zones: &[Zone],
    ) -> Result<(Receipt, Looks), Undone> {
        let mut still = whole(source.body, still::MOST_BYTES).await?;
        if shown == Shown::Masked {
            // Zones that are not known hide nothing that could be masked.
            if zones.is_empty() {
                return Err(Unmaskable::Zones.into());
            }
            still = still::masked(&still, zones)?.into();
        }
        let looks = Looks {
            resolution: still::resolution(&still),
            ..Looks::default()
        };
        let body = futures_util::stream::iter([Ok(still)]);
        Ok((self.archive.store(key, &source.content_type, body).await?, looks))
    }

    /// Stores Ring's still of the moment that a clip begins at, and tells where. A clip is a clip without it, too.
    async fn thumbnail(&self, medium: &Medium, link: &Link, key: &str, at: i64) -> Option<String> {
        let (ring, request) = (&self.ring, &thumbnail_request(at));
        let source = self.access.call(&link.grant_id, clock::now(), |token| async move {
            ring.snapshot(&token, &medium.device_id, request).await
        });
        let stored = async {
            let source = source.await?;
            let still = whole(source.body, still::MOST_BYTES).await?;
            let key = thumbnail_key(key);
            let body = futures_util::stream::iter([Ok(still)]);
            self.archive.store(&key, &source.content_type, body).await?;
            Ok::<_, Undone>(key)
        };
        match stored.await {
            Ok(key) => Some(key),
            Err(error) => {
                tracing::info!(
                    medium.id = medium.id.as_str(),
                    error = &error as &dyn std::error::Error,
                    "medium {} has no thumbnail",
                    medium.id.as_str()
                );
                None
            }
        }
    }
}

/// A body as a whole, of so many bytes at most.
async fn whole(
    mut body: impl Stream<Item = Result<Bytes, ring_partner::Error>> + Unpin,
    most: usize,
) -> Result<Bytes, ArchiveError> {
    let mut all = BytesMut::new();
    while let Some(bytes) = body.next().await {
        let bytes = bytes.map_err(ArchiveError::Source)?;
        if all.len() + bytes.len() > most {
            let limit = most as u64;
            return Err(ArchiveError::Source(ring_partner::Error::TooLarge { limit }));
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all.freeze())
}

/// What Ring called the request that came to nothing.
fn ring_ids(error: &Undone) -> Option<RingIds> {
    let (Undone::Call(CallError::Ring(error)) | Undone::Archive(ArchiveError::Source(error))) = error else {
        return None;
    };
    let answer = error.answer()?;
    (answer.request_id.is_some() || answer.id.is_some()).then(|| RingIds {
        request_id: answer.request_id.clone(),
        error_id: answer.id.clone(),
    })
}

/// What a file says of itself.
#[derive(Default)]
struct Looks {
    codec: Option<String>,
    resolution: Option<Resolution>,
    /// In milliseconds.
    duration: Option<i64>,
}

/// What Ring says of a medium, ahead of its bytes.
struct Described {
    content_type: String,
    partial: bool,
    timestamp: Option<i64>,
    length: Option<i64>,
    origin: Option<String>,
    request_id: Option<String>,
}

impl Described {
    fn of(source: &RingMedia) -> Self {
        Self {
            content_type: source.content_type.clone(),
            partial: source.partial,
            timestamp: source.media_timestamp,
            length: source.media_length,
            origin: source.origin.clone(),
            request_id: source.request_id.clone(),
        }
    }

    fn object(self, medium: &Medium, key: String, shown: Shown, receipt: Receipt, looks: Looks) -> Object {
        let asked = medium.request.window(medium.requested_at);
        let actual = self.timestamp.map(|timestamp| Window {
            timestamp,
            // Ring names the length of a part; the whole is as long as was asked (Ring: Media Clips, Response Headers). A part
            // whose length Ring leaves out says it itself.
            duration: self
                .length
                .or(looks.duration.filter(|_| self.partial))
                .unwrap_or(asked.duration),
        });
        let stale = matches!(medium.request, Request::Snapshot(_)) && is_stale(asked, actual);
        Object {
            key,
            content_type: self.content_type,
            bytes: receipt.bytes,
            sha256: receipt.sha256,
            actual,
            origin: self
                .origin
                .or_else(|| matches!(medium.request, Request::Clip(_)).then(|| "recording".to_owned())),
            privacy_zones: privacy_word(shown).to_owned(),
            partial: self.partial,
            stale,
            codec: looks.codec,
            resolution: looks.resolution,
            thumbnail: None,
            ring_request_id: self.request_id,
        }
    }
}

/// What lies beside the object in the bucket.
#[derive(Serialize)]
struct Description<'m> {
    medium_id: &'m str,
    kind: &'m str,
    event_id: Option<&'m str>,
    requested_at: Timestamp,
    requested: Window,
    #[serde(flatten)]
    object: &'m Object,
}

impl<'m> Description<'m> {
    fn of(medium: &'m Medium, object: &'m Object) -> Self {
        Self {
            medium_id: medium.id.as_str(),
            kind: medium.request.kind(),
            event_id: medium.event_id.as_deref(),
            requested_at: medium.requested_at,
            requested: medium.request.window(medium.requested_at),
            object,
        }
    }
}

fn failed(reason: &str) -> Progress {
    Progress::Failed {
        reason: reason.to_owned(),
        announced: false,
    }
}

/// What a failed attempt means, by what Ring said, by how near to now the footage is, and by how long it was tried: since it
/// was asked for, or since its device was `back` (in epoch milliseconds).
fn verdict(error: &Undone, medium: &Medium, tries: u32, back: Option<i64>, now: Timestamp) -> Verdict {
    let back = back.and_then(|at| Timestamp::from_millisecond(at).ok());
    let since = medium.requested_at.max(back.unwrap_or(medium.requested_at));
    let given_up = now.duration_since(since) > signed(GIVE_UP_AFTER);
    let again = |reason: &str| {
        if given_up {
            Verdict::Failed(reason.to_owned())
        } else {
            Verdict::Again
        }
    };
    let ring = match error {
        Undone::Call(CallError::Ring(error)) | Undone::Archive(ArchiveError::Source(error)) => error,
        Undone::Unmaskable(Unmaskable::Zones) => return Verdict::Failed("privacy_zones".to_owned()),
        // What can't be masked is not shown. The next answer may be whole.
        Undone::Unmaskable(Unmaskable::Still(_)) => return again("unreadable"),
        Undone::Call(CallError::Access(AccessError::RelinkRequired)) => {
            return Verdict::Failed("relink_required".to_owned());
        }
        Undone::Call(CallError::Access(AccessError::Ended)) => return Verdict::Failed("unlinked".to_owned()),
        Undone::Call(CallError::Access(_))
        | Undone::Store(_)
        | Undone::Archive(_)
        | Undone::Queue(_)
        | Undone::Close(_)
        | Undone::Bus(_) => {
            return again("unavailable");
        }
    };
    let code = ring.answer().and_then(|answer| answer.code.clone());
    let or = |word: &str| code.clone().unwrap_or_else(|| word.to_owned());
    match ring.decision() {
        Decision::NoMedia | Decision::NotReady => match footage_wait(medium, tries, now) {
            Some(wait) => Verdict::Later(wait),
            None => Verdict::NoMedia(or("MEDIA_NOT_FOUND")),
        },
        Decision::OutOfScope => Verdict::Failed(or("out_of_scope")),
        Decision::Gone => Verdict::Failed(or("device_gone")),
        Decision::GiveUp => Verdict::Failed(or("refused")),
        Decision::Offline => again("device_offline"),
        Decision::Refresh => again("unauthorized"),
        Decision::RetryAfter(_) if given_up => Verdict::Failed("ring_unavailable".to_owned()),
        // Never sooner than the queue's own waits: they last for longer than we try.
        Decision::RetryAfter(wait) => Verdict::Later(wait.max(batch::wait(tries))),
    }
}

/// How long to wait for footage that may still be on its way; `None`: it is not.
fn footage_wait(medium: &Medium, tries: u32, now: Timestamp) -> Option<Duration> {
    let window = medium.request.window(medium.requested_at);
    let ended_at = Timestamp::from_millisecond(window.timestamp.saturating_add(window.duration)).ok()?;
    if now.duration_since(ended_at) > signed(FOOTAGE_MAY_COME_FOR) {
        return None;
    }
    let index = usize::try_from(tries.checked_sub(1)?).ok()?;
    FOOTAGE_WAITS_SECONDS.get(index).copied().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use ring_partner::devices::DeviceId;
    use ring_partner::media::ClipRequest;
    use ring_partner::users::AccountId;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_770_000_000).unwrap()
    }

    fn clip_that_ended(seconds_ago: i64) -> Medium {
        let timestamp = now().as_millisecond() - seconds_ago * 1000 - 5_000;
        let clip = ClipRequest {
            timestamp,
            duration: 5_000,
            video_options: None,
            audio_options: None,
        };
        let (account, device) = (AccountId::new("a").unwrap(), DeviceId::new("d").unwrap());
        Medium::requested(account, device, Request::Clip(clip), now())
    }

    #[test]
    fn trap_106_and_107_footage_of_a_moment_ago_is_waited_for_and_then_given_up() {
        let waits: Vec<_> = (1..=5)
            .map(|tries| footage_wait(&clip_that_ended(1), tries, now()).map(|wait| wait.as_secs()))
            .collect();
        assert_eq!(waits, [Some(5), Some(15), Some(45), Some(120), None]);
        assert_eq!(footage_wait(&clip_that_ended(3600), 1, now()), None);
    }

    #[test]
    fn a_lost_grant_fails_its_media_at_once_and_a_fault_of_ours_only_in_the_end() {
        let of = |error: AccessError, at| {
            verdict(
                &Undone::Call(CallError::Access(error)),
                &clip_that_ended(1),
                1,
                None,
                at,
            )
        };
        assert_eq!(
            of(AccessError::RelinkRequired, now()),
            Verdict::Failed("relink_required".to_owned())
        );
        assert_eq!(of(AccessError::Refresh, now()), Verdict::Again);
        let much_later = now() + signed(GIVE_UP_AFTER) + signed(Duration::from_secs(1));
        assert_eq!(
            of(AccessError::Refresh, much_later),
            Verdict::Failed("unavailable".to_owned())
        );
    }

    #[test]
    fn trap_103_and_105_the_true_window_is_what_ring_says_and_a_part_without_a_word_what_its_file_says() {
        let medium = clip_that_ended(60);
        let described = |length, partial| Described {
            content_type: "video/mp4".to_owned(),
            partial,
            timestamp: Some(1_699_457_235_000),
            length,
            origin: None,
            request_id: None,
        };
        let receipt = || Receipt {
            bytes: 1,
            sha256: String::new(),
        };
        let object =
            |described: Described, looks| described.object(&medium, String::new(), Shown::All, receipt(), looks);
        let whole = object(described(None, false), Looks::default());
        assert_eq!(
            whole.actual,
            Some(Window {
                timestamp: 1_699_457_235_000,
                duration: 5_000
            })
        );
        let told = Looks {
            duration: Some(4_960),
            ..Looks::default()
        };
        let told = object(described(None, true), told);
        assert_eq!(
            told.actual.unwrap().duration,
            4_960,
            "trap 103: where Ring says nothing, the file does"
        );
        let part = object(
            described(Some(3_000), true),
            Looks {
                duration: Some(1),
                ..Looks::default()
            },
        );
        assert_eq!(
            part.actual,
            Some(Window {
                timestamp: 1_699_457_235_000,
                duration: 3_000
            })
        );
        assert!(part.partial);
    }
}
