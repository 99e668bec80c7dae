//! Erases a part of what there is of somebody: the events and media of a Ring account, in all versions, or an archive. Each
//! step can be done again, and what is not done at once is gone on with by the next message.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use ring_partner::devices::DeviceId;

use super::store::Accounts;
use super::{Erasure, Holding, Part};
use crate::device::store::Devices;
use crate::edge::aws::SdkConfig;
use crate::edge::table::StoreError;
use crate::event::store::Events;
use crate::event::{account_key, device_key};
use crate::link::store::LinkTable;
use crate::media::archive::{Archive, ArchiveError};
use crate::media::store::Media;
use crate::media::{Medium, stem};

/// How many rows are looked at together.
const PAGE: usize = 200;
/// How many pages of one device one message takes on; what is left is another's.
const MOST_PAGES: usize = 20;
const AT_ONCE: usize = 8;

/// Where the things of accounts are.
#[derive(Clone, Debug)]
pub struct Eraser {
    accounts: Accounts,
    links: LinkTable,
    devices: Devices,
    events: Events,
    media: Media,
    archive: Archive,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erased {
    /// The part is gone.
    All,
    /// There is more of it: the same again.
    Some,
    /// The account is not unlinked yet.
    NotYet,
}

/// It can't be erased now. Try again later.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// A table is out of reach.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bucket is.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// The tables and the bucket, by their names.
#[derive(Clone, Copy, Debug)]
pub struct Places<'n> {
    /// The table of links.
    pub links: &'n str,
    /// The table of devices.
    pub devices: &'n str,
    /// The table of events.
    pub events: &'n str,
    /// The table of media.
    pub media: &'n str,
    /// The bucket of media.
    pub bucket: &'n str,
}

impl Eraser {
    /// In these places.
    #[must_use]
    pub fn new(aws: &SdkConfig, places: &Places<'_>) -> Self {
        Self {
            accounts: Accounts::new(aws, places.devices),
            links: LinkTable::new(aws, places.links),
            devices: Devices::new(aws, places.devices),
            events: Events::new(aws, places.events),
            media: Media::new(aws, places.media),
            archive: Archive::new(aws, places.bucket),
        }
    }

    /// Erases a part, as far as it goes at once.
    pub async fn erase(&self, erasure: &Erasure, now: Timestamp) -> Result<Erased, EraseError> {
        let erased = match &erasure.part {
            Part::Archive(key) => {
                self.archive.erase(key).await?;
                Erased::All
            }
            Part::Account(holding) => self.account(holding, erasure.requested_at, now).await?,
        };
        if erased == Erased::All {
            self.accounts.erased(&erasure.receipt, &erasure.part, now).await?;
        }
        Ok(erased)
    }

    async fn account(&self, holding: &Holding, before: Timestamp, now: Timestamp) -> Result<Erased, EraseError> {
        let account = &holding.account_id;
        let link = self.links.of_account(account).await?;
        // One that is over stays until all that follows from its end is done.
        if link
            .as_ref()
            .is_some_and(|link| !link.is_live() || link.linked_at <= before)
        {
            return Ok(Erased::NotYet);
        }
        // Somebody has linked it since: what is theirs stays.
        let shared = link.is_some();
        let mut all = true;
        for device in &holding.device_ids {
            all &= self.media_of(holding, device, before, now).await?;
            all &= self.events_in(&device_key(account, device), before).await?;
            if !shared {
                self.media.forget_device(account, device).await?;
            }
        }
        all &= self.events_in(&account_key(account), before).await?;
        if !shared {
            let devices = holding.device_ids.iter().map(DeviceId::as_str);
            self.events.forget_parked(account, devices).await?;
            self.archive.erase(&format!("media/{}/", account_key(account))).await?;
            self.devices.forget_past(account).await?;
        }
        Ok(if all { Erased::All } else { Erased::Some })
    }

    /// Whether all are gone.
    async fn media_of(
        &self,
        holding: &Holding,
        device: &DeviceId,
        before: Timestamp,
        now: Timestamp,
    ) -> Result<bool, EraseError> {
        let mut position: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let found = self
                .media
                .of_device(&holding.account_id, device, position.as_deref(), PAGE)
                .await?;
            let Some(last) = found.last() else { return Ok(true) };
            position = Some(last.position());
            let old = found.into_iter().filter(|medium| medium.requested_at < before);
            stream::iter(old)
                .map(|medium| self.medium(medium, now))
                .buffer_unordered(AT_ONCE)
                .try_collect::<()>()
                .await?;
        }
        Ok(false)
    }

    /// The row goes first: whoever is fetching it finds that it is gone, and takes the object away again. That its objects are
    /// to go is kept until they are gone.
    async fn medium(&self, medium: Medium, now: Timestamp) -> Result<(), EraseError> {
        self.media.delete(&medium, now).await?;
        // The object, its parts, what lies beside it, and what was recorded for it.
        let key = medium.object_key();
        self.archive.erase(stem(&key).trim_end_matches('.')).await?;
        Ok(self.media.forget_all_of(&medium.id).await?)
    }

    /// Whether all are gone.
    async fn events_in(&self, history: &str, before: Timestamp) -> Result<bool, EraseError> {
        Ok(self.events.forget_before(history, before, PAGE * MOST_PAGES).await?)
    }
}
