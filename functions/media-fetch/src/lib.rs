//! A media request -> Ring -> S3.
//!
//! The medium is taken, streamed from Ring into the bucket in bounded memory, described honestly (what was asked for,
//! what it truly is), and told to the bus. What Ring does not have yet is asked for again at 5, 15, 45 and 120 s; what
//! it never will have is *no media*, and what can't be had is *failed*, each with its reason.

mod config;

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
pub use config::Config;
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent};
use ring_partner::Ring;
use ring_partner::error::Decision;
use ring_partner::media::Media as RingMedia;
use serde::{Deserialize, Serialize};
use shared::device::store::Devices;
use shared::edge::batch::{self, Outcome, Source, received};
use shared::edge::bus::{Bus, BusError};
use shared::edge::clock::signed;
use shared::edge::function::Function;
use shared::edge::queue::Queue;
use shared::edge::table::StoreError;
use shared::edge::{aws, clock};
use shared::grant::access::{Access, AccessError, CallError};
use shared::grant::store::GrantTable;
use shared::grant::vault::{Kms, Vault};
use shared::link::Link;
use shared::link::store::LinkTable;
use shared::media::archive::{Archive, ArchiveError, Receipt};
use shared::media::store::Media;
use shared::media::{Medium, MediumId, Object, Progress, Request, Window, is_stale};
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

/// A request, as it lies in the queue.
#[derive(Deserialize)]
struct FetchRequest {
    medium_id: MediumId,
}

/// The media fetch.
#[derive(Debug)]
pub struct MediaFetch {
    source: Source,
    media: Media,
    archive: Archive,
    links: LinkTable,
    devices: Devices,
    bus: Bus,
    ring: Ring,
    access: Access<Deployed, Function>,
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
    Call(#[from] CallError),
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
        Ok(Self {
            source: Source {
                queue: Queue::new(aws, config.media_queue_url),
                quarantine: None,
            },
            media: Media::new(aws, config.media_table),
            archive: Archive::new(aws, config.media_bucket),
            links: LinkTable::new(aws, config.links_table),
            devices: Devices::new(aws, config.devices_table),
            bus: Bus::new(aws, config.event_bus_name),
            ring: config.ring.client()?,
            access: Access::new(
                GrantTable::new(aws, config.grants_table),
                Vault::new(Kms::new(aws, config.token_key_id)),
                refresh,
            ),
        })
    }

    /// Handles one batch.
    pub async fn handle(&self, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
        Ok(self
            .source
            .each(event.payload, async |message| self.message(message).await)
            .await)
    }

    async fn message(&self, message: &SqsMessage) -> Outcome {
        let body = message.body.as_deref().unwrap_or_default();
        let Ok(request) = serde_json::from_str::<FetchRequest>(body) else {
            return Outcome::Discard("no request for a medium");
        };
        match self.medium(&request.medium_id, received(message)).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::warn!(
                    medium.id = request.medium_id.as_str(),
                    error = &error as &dyn std::error::Error,
                    "a medium is tried again"
                );
                Outcome::Retry
            }
        }
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
        // Zones may have been drawn since it was asked for.
        let known = self.devices.get(&medium.account_id, &medium.device_id).await?;
        if !known.is_some_and(|known| known.may_be_shown()) {
            medium.progress = failed("privacy_zones");
            self.media.keep(&medium).await?;
            self.announce(medium, &link).await?;
            return Ok(Outcome::Done);
        }
        let outcome = match self.fetch(&medium, &link).await {
            Ok(object) => {
                medium.progress = Progress::Stored {
                    object,
                    announced: false,
                };
                Outcome::Done
            }
            Err(error) => {
                let verdict = verdict(&error, &medium, tries, clock::now());
                tracing::warn!(
                    medium.id = id.as_str(),
                    error = &error as &dyn std::error::Error,
                    verdict = ?verdict,
                    "medium {} is not fetched",
                    id.as_str(),
                );
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

    /// A medium that is not to be fetched: somebody is at it, or it is over, and the bus may not have been told.
    async fn over(&self, id: &MediumId) -> Result<Outcome, Undone> {
        let Some(medium) = self.media.get(id).await? else {
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
            Progress::Requested | Progress::Fetching { .. } => true,
        };
        if told {
            return Ok(());
        }
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

    /// Ring -> S3.
    async fn fetch(&self, medium: &Medium, link: &Link) -> Result<Object, Undone> {
        let ring = &self.ring;
        let source = self.access.call(&link.grant_id, clock::now(), |token| async move {
            match &medium.request {
                Request::Clip(clip) => ring.clip(&token, &medium.device_id, clip).await,
                Request::Snapshot(snapshot) => ring.snapshot(&token, &medium.device_id, snapshot).await,
            }
        });
        let source = source.await?;
        let key = medium.object_key();
        let described = Described::of(&source);
        let receipt = self.archive.store(&key, &source.content_type, source.body).await?;
        let object = described.object(medium, key, receipt);
        self.archive
            .describe(&object.key, &Description::of(medium, &object))
            .await?;
        tracing::info!(
            medium.id = medium.id.as_str(),
            object.size_bytes = object.bytes,
            "a medium is stored"
        );
        Ok(object)
    }
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

    fn object(self, medium: &Medium, key: String, Receipt { bytes, sha256 }: Receipt) -> Object {
        let asked = medium.request.window(medium.requested_at);
        let actual = self.timestamp.map(|timestamp| Window {
            timestamp,
            // Ring names the length of a part; the whole is as long as was asked (Ring: Media Clips, Response Headers).
            duration: self.length.unwrap_or(asked.duration),
        });
        let stale = matches!(medium.request, Request::Snapshot(_)) && is_stale(asked, actual);
        Object {
            key,
            content_type: self.content_type,
            bytes,
            sha256,
            actual,
            origin: self
                .origin
                .or_else(|| matches!(medium.request, Request::Clip(_)).then(|| "recording".to_owned())),
            partial: self.partial,
            stale,
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
    privacy_zones: &'static str,
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
            // A device with privacy zones is not asked for media at all.
            privacy_zones: "none",
        }
    }
}

fn failed(reason: &str) -> Progress {
    Progress::Failed {
        reason: reason.to_owned(),
        announced: false,
    }
}

/// What a failed attempt means, by what Ring said, by how near to now the footage is, and by how long it was tried.
fn verdict(error: &Undone, medium: &Medium, tries: u32, now: Timestamp) -> Verdict {
    let given_up = now.duration_since(medium.requested_at) > signed(GIVE_UP_AFTER);
    let again = |reason: &str| {
        if given_up {
            Verdict::Failed(reason.to_owned())
        } else {
            Verdict::Again
        }
    };
    let ring = match error {
        Undone::Call(CallError::Ring(error)) | Undone::Archive(ArchiveError::Source(error)) => error,
        Undone::Call(CallError::Access(AccessError::RelinkRequired)) => {
            return Verdict::Failed("relink_required".to_owned());
        }
        Undone::Call(CallError::Access(AccessError::Ended)) => return Verdict::Failed("unlinked".to_owned()),
        Undone::Call(CallError::Access(_)) | Undone::Store(_) | Undone::Archive(_) | Undone::Bus(_) => {
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
        let of = |error: AccessError, at| verdict(&Undone::Call(CallError::Access(error)), &clip_that_ended(1), 1, at);
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
    fn trap_105_the_true_window_is_what_ring_says_and_a_whole_clip_is_as_long_as_was_asked() {
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
        let whole = described(None, false).object(&medium, String::new(), receipt());
        assert_eq!(
            whole.actual,
            Some(Window {
                timestamp: 1_699_457_235_000,
                duration: 5_000
            })
        );
        let part = described(Some(3_000), true).object(&medium, String::new(), receipt());
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
