//! A media request -> Ring -> S3; once an hour, what has come due; and the end of live sessions that nobody has closed.
//!
//! The medium is taken, streamed from Ring into the bucket in bounded memory, described honestly (what was asked for,
//! what it truly is), and told to the bus. What Ring does not have yet is asked for again at 5, 15, 45 and 120 s; what
//! it never will have is *no media*, and what can't be had is *failed*, each with its reason. A medium whose device is
//! offline *waits* until an event tells that it is back; what is asked of a removed device fails, and what is stored of it is
//! purged when its time has come.

mod config;
mod described;
mod pieces;
mod verdict;

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use bytes::{Bytes, BytesMut};
pub use config::Config;
use described::{Described, Description, Looks};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent};
use ring_partner::Ring;
use ring_partner::devices::{Configurations, Zone};
use ring_partner::media::Media as RingMedia;
use shared::account::erase::{EraseError, Erased, Eraser, Places};
use shared::account::export::Exporter;
use shared::account::{Collection, Erasure};
use shared::capture::archive::Reels;
use shared::capture::session::live::{CloseFailure, Closer};
use shared::capture::session::ports::Sessions as _;
use shared::capture::session::store::SessionTable;
use shared::capture::session::{Close, CloseAll};
use shared::device::store::Devices;
use shared::device::{Known, Mark};
use shared::edge::batch::{Outcome, Source, received};
use shared::edge::bus::{Bus, BusError};
use shared::edge::clock::signed;
use shared::edge::function::Function;
use shared::edge::metrics::Metrics;
use shared::edge::queue::{Message, Queue, QueueError};
use shared::edge::table::StoreError;
use shared::edge::{aws, clock, telemetry};
use shared::event::ports::Media as _;
use shared::grant::access::{Access, CallError};
use shared::grant::store::GrantTable;
use shared::grant::vault::{Kms, Vault};
use shared::link::Link;
use shared::link::store::LinkTable;
use shared::media::archive::{Archive, ArchiveError, Receipt, thumbnail_key};
use shared::media::still::{self, Unmaskable};
use shared::media::store::{Deleted, Due, Media, Owed};
use shared::media::{
    Job, Medium, MediumId, Object, Progress, Request, Retired, WAITS_FOR, fetch_message, film, thumbnail_request,
};
use shared::policy::store::Policies;
use shared::policy::{Regions, Shown};
use shared::world::Deployed;
use verdict::failed;

/// The program's name.
pub const SERVICE: &str = env!("CARGO_PKG_NAME");

/// How long a renewed token is waited for.
const REFRESH_WITHIN: Duration = Duration::from_secs(20);
/// How much of what is due one sweep takes on, and how many media of a device it looks at together.
const MOST_DUE: usize = 500;
const PAGE: usize = 100;
/// What is owed and not done after this is begun anew.
const OWED_FOR: Duration = Duration::from_secs(24 * 3600);

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
    eraser: Eraser,
    exporter: Exporter,
}

/// On whose behalf a medium is fetched, and how much of its device may be shown.
struct By<'a> {
    link: &'a Link,
    shown: Shown,
    zones: Vec<Zone>,
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
    Erase(#[from] EraseError),
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

impl MediaFetch {
    /// A media fetch with these settings.
    pub fn new(aws: &aws::SdkConfig, config: Config) -> Result<Self, ring_partner::client::SettingsError> {
        let refresh = Function::new(aws, config.token_refresh_function, REFRESH_WITHIN);
        let settings = config.ring.settings();
        let ring = Ring::new(ring_partner::Settings {
            media_timeout: config.fetch_within,
            ..settings
        })?;
        let devices_table = config.devices_table;
        let places = Places {
            links: &config.links_table,
            devices: &devices_table,
            events: &config.events_table,
            media: &config.media_table,
            bucket: &config.media_bucket,
        };
        let (eraser, exporter) = (Eraser::new(aws, &places), Exporter::new(aws, &places));
        Ok(Self {
            source: Source {
                queue: Queue::new(aws, config.media_queue_url),
                quarantine: None,
            },
            media: Media::new(aws, config.media_table).forgetting_after(config.media_retention_days),
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
            eraser,
            exporter,
        })
    }

    /// Handles one batch.
    pub async fn handle(&self, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
        let response = self
            .source
            .each(event.payload, async |message| self.message(message).await)
            .await;
        if let Some(left) = self.ring.take_lowest_left() {
            self.metrics.level("ring_requests_left", left);
        }
        self.metrics.flush(clock::now());
        Ok(response)
    }

    async fn message(&self, message: &SqsMessage) -> Outcome {
        let body = message.body.as_deref().unwrap_or_default();
        let done = match serde_json::from_str(body) {
            Ok(Job::Fetch { medium_id }) => self.medium(&medium_id, received(message)).await,
            Ok(Job::Tail { tail_of }) => Box::pin(self.tail(&tail_of, received(message))).await,
            Ok(Job::Sweep { .. }) => self.sweep().await,
            Ok(Job::Close { close_session }) => self.close_session(&close_session).await,
            Ok(Job::Erase { erase }) => self.erase(&erase).await,
            Ok(Job::Export { export }) => self.export(&export).await,
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
        let by = match self.allowed(known.as_ref()).await? {
            Some((shown, zones)) if shown.takes(medium.request.action()) => By {
                link: &link,
                shown,
                zones,
            },
            _ => return self.fail(medium, &link, "privacy_zones").await,
        };
        // It could not be had before its device was back.
        let since = known
            .and_then(|known| known.online)
            .filter(|told| told.is)
            .map(|told| told.at);
        let piece = medium.pieces.as_ref().and_then(|pieces| pieces.left.first().copied());
        let fetched = match piece {
            Some(window) => {
                let request = medium.request.within(window);
                Box::pin(self.fetch(&medium, &request, medium.part_key(window), &by)).await
            }
            None => Box::pin(self.fetch(&medium, &medium.request, medium.object_key(), &by)).await,
        };
        self.metrics.time("fetch_ms", clock::now().duration_since(now));
        let outcome = match fetched {
            Ok(object) => Box::pin(self.came(&mut medium, piece, object, &by)).await?,
            Err(error) => Box::pin(self.did_not_come(&mut medium, &error, tries, since, &by)).await?,
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

    /// Erases a part of what there is of somebody. What is not done at once is gone on with by a message of its own, so that
    /// much of it is no failure.
    async fn erase(&self, erasure: &Erasure) -> Result<Outcome, Undone> {
        let (now, owed) = (clock::now(), erasure.owed());
        self.media.owe(&owed, now + signed(OWED_FOR)).await?;
        Ok(match self.eraser.erase(erasure, now).await? {
            Erased::All => {
                self.media.owed_no_more(&owed).await?;
                Outcome::Done
            }
            Erased::NotYet => Outcome::RetryAfter(Duration::from_secs(2)),
            Erased::Some => {
                self.source.queue.send(erasure.message()).await?;
                Outcome::Done
            }
        })
    }

    /// Makes an archive of all that there is of somebody.
    async fn export(&self, collection: &Collection) -> Result<Outcome, Undone> {
        self.exporter.make(collection, clock::now()).await?;
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
                Due::Deleted(deleted) => self.delete_objects(&deleted).await?,
                Due::Owed(owed) => self.do_again(&owed).await?,
            }
        }
        Ok(if is_all { Outcome::Done } else { Outcome::Retry })
    }

    /// Has a part of an erasure done again that is not done after a day, and tells for how long it is owed.
    async fn do_again(&self, owed: &Owed) -> Result<(), Undone> {
        let now = clock::now();
        let since = now.duration_since(owed.promised_at);
        self.metrics.time("erasure_open_ms", since);
        tracing::error!(
            owed = owed.name,
            hours = since.as_hours(),
            "a part of an erasure is not done yet"
        );
        self.source.queue.send(Message::new(owed.message.clone())).await?;
        Ok(self.media.owe(owed, now + signed(OWED_FOR)).await?)
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
                let deleted = self.media.delete(medium, clock::now()).await?;
                self.delete_objects(&deleted).await?;
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

    /// Deletes what is stored of a medium that was deleted, unless it was asked for again since: then the objects are its own.
    async fn delete_objects(&self, deleted: &Deleted) -> Result<(), Undone> {
        if self.media.get(&deleted.deleted_medium).await?.is_none() {
            if deleted.is_capture {
                self.reels.delete_all(&deleted.object_key).await?;
            } else {
                self.archive.delete(&deleted.object_key).await?;
            }
        }
        Ok(self.media.deleted(deleted).await?)
    }

    /// A medium that is not to be fetched: somebody is at it, or it is over, and the bus may not have been told.
    async fn over(&self, id: &MediumId) -> Result<Outcome, Undone> {
        let medium = self.media.get(id).await?;
        let Some(medium) = medium.filter(|medium| !medium.is_for_recorder()) else {
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
        if !medium.progress.take_news() {
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

    /// How a device is shown, as far as it is known: with its zones, which may have been drawn since it was asked for.
    async fn allowed(&self, known: Option<&Known>) -> Result<Option<(Shown, Vec<Zone>)>, StoreError> {
        let Some(known) = known else { return Ok(None) };
        let shown = self.policies.holding_for(known).await?.shows(known, &self.regions);
        let zones = known.configurations.as_ref().map(Configurations::privacy_zones);
        Ok(Some((shown, zones.unwrap_or_default().to_vec())))
    }

    /// Ring -> S3: a medium, or a part of one.
    async fn fetch(&self, medium: &Medium, request: &Request, key: String, by: &By<'_>) -> Result<Object, Undone> {
        let ring = &self.ring;
        let source = self.access.call(&by.link.grant_id, clock::now(), |token| async move {
            match request {
                Request::Clip(clip) => ring.clip(&token, &medium.device_id, clip).await,
                Request::Snapshot(snapshot) => ring.snapshot(&token, &medium.device_id, snapshot).await,
                Request::Capture(_) => Err(ring_partner::Error::Unusable("a capture is recorded, not fetched")),
            }
        });
        let source = source.await?;
        let described = Described::of(&source);
        let (receipt, looks) = match request {
            Request::Snapshot(_) => self.store_still(&key, source, by.shown, &by.zones).await?,
            Request::Clip(_) | Request::Capture(_) => self.store_film(&key, source).await?,
        };
        let asked = request.window(medium.requested_at);
        Ok(described.object(request, asked, key, by.shown, receipt, looks))
    }

    /// What is stored gets what lies beside it: a clip's thumbnail, and the description.
    async fn finish(&self, medium: &Medium, mut object: Object, by: &By<'_>) -> Result<Object, Undone> {
        if let Request::Clip(clip) = &medium.request {
            let shows = object.actual.map_or(clip.timestamp, |actual| actual.timestamp);
            object.thumbnail = self.thumbnail(medium, by.link, &object.key, shows).await;
        }
        self.archive
            .describe(&object.key, &Description::of(medium, &object))
            .await?;
        if telemetry::tells_of(medium.id.as_str()) {
            tracing::info!(
                medium.id = medium.id.as_str(),
                ring.request_id = object.ring_request_id,
                object.size_bytes = object.bytes,
                "medium {} is stored",
                medium.id.as_str()
            );
        }
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
