//! What the processing of events stands on, in its own words: where events, devices and media are kept, who fetches and
//! records those, whom Ring's side of a device is asked of, and who is told.

use std::fmt::Debug;
use std::time::Duration;

use jiff::Timestamp;
use ring_partner::devices::{Device, DeviceId};
use ring_partner::oauth::AccessToken;
use ring_partner::users::AccountId;

use super::{EventId, Past, Place, Record, Repeat};
use crate::capture;
use crate::capture::session::CloseAll;
use crate::device::{Change, Known, Mark};
use crate::edge::bus::{Announcement, Bus, BusError};
use crate::edge::quarantine::QuarantineError;
use crate::edge::queue::{Message, Queue, QueueError};
use crate::edge::table::StoreError;
use crate::media::{self, Medium, MediumId, Retired};
use crate::policy::Policy;

/// The queue of events, from the side of whoever takes in webhooks.
pub trait Inbox: Debug + Send + Sync + 'static {
    /// Puts a message in; when this returns `Ok`, it is there.
    fn put(&self, message: Message) -> impl Future<Output = Result<(), QueueError>> + Send;
}

/// Where a body is kept that no queue takes.
pub trait LargeBodies: Debug + Send + Sync + 'static {
    /// Keeps it; when this returns `Ok`, it is in quarantine. The same body may come again.
    fn keep_large(&self, body: &[u8], now: Timestamp) -> impl Future<Output = Result<(), QuarantineError>> + Send;
}

/// Where events are kept.
///
/// A write whose answer is lost ([`StoreError::Unavailable`]) may have happened; made again it succeeds, or tells by `Conflict`
/// that it had.
pub trait Records: Clone + Debug + Send + Sync + 'static {
    /// The marker of an event, one that has run out too.
    fn get(&self, id: &EventId) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send;

    /// Writes a marker that must not be there yet, or must have run out at `now`. `Err(Conflict)`: this event is known.
    fn record(&self, record: &Record, now: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The same, and that it waits for its account to be linked, or for its device to be known.
    fn park(&self, record: &Record, now: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// A parked event takes its course: `record` takes the place of `parked`. `Err(Conflict)`: it is not parked any more.
    fn release(&self, record: &Record, parked: &Record) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The row of the history at this place: its event is done.
    fn past(&self, place: &Place) -> impl Future<Output = Result<Option<Past>, StoreError>> + Send;

    /// An event is done: its row is put into the history, over one of the same place.
    fn done(&self, past: &Past) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Keeps a repeat beside its event, over the same one.
    fn repeated(&self, id: &EventId, repeat: &Repeat) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Where devices are kept.
pub trait Devices: Clone + Debug + Send + Sync + 'static {
    /// One device of an account.
    fn get(
        &self,
        account: &AccountId,
        device: &DeviceId,
    ) -> impl Future<Output = Result<Option<Known>, StoreError>> + Send;

    /// The account of a device, for bodies that name none. A device that several accounts have belongs to none of them.
    fn account_of(&self, device: &DeviceId) -> impl Future<Output = Result<Option<AccountId>, StoreError>> + Send;

    /// What an event tells of a device, unless something newer was told before: then that stays, and this is `None`. To tell
    /// the same again is to tell it. What is returned is the device as it is now.
    fn tell(
        &self,
        account: &AccountId,
        device: &DeviceId,
        change: &Change,
    ) -> impl Future<Output = Result<Option<Known>, StoreError>> + Send;

    /// Remembers something of a device. One that is not known is left so.
    fn mark(
        &self,
        account: &AccountId,
        device: &DeviceId,
        mark: Mark,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// What Ring answered about one device at `asked_at`.
    fn keep(
        &self,
        account: &AccountId,
        device: Device,
        asked_at: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// What the account's link gives to devices that come.
    fn link_policy(&self, account: &AccountId) -> impl Future<Output = Result<Option<Policy>, StoreError>> + Send;

    /// A device has this policy, unless it has one already.
    fn give_policy(
        &self,
        account: &AccountId,
        device: &DeviceId,
        policy: &Policy,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Where media are kept.
pub trait Media: Clone + Debug + Send + Sync + 'static {
    /// Keeps a request, unless it was made before, however that ended; returns the medium that stands for it.
    fn request_once(&self, medium: Medium) -> impl Future<Output = Result<Medium, StoreError>> + Send;

    /// The media that wait for this device.
    fn waiting(
        &self,
        account: &AccountId,
        device: &DeviceId,
    ) -> impl Future<Output = Result<Vec<MediumId>, StoreError>> + Send;

    /// A medium waits for its device no more: it is in the queue again.
    fn waits_no_more(
        &self,
        account: &AccountId,
        device: &DeviceId,
        id: &MediumId,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// A device was removed: its media are to be purged, unless it was removed again since.
    fn retire(&self, retired: &Retired) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// A device was added at this time (in epoch milliseconds): an earlier removal purges nothing any more.
    fn restore(
        &self,
        account: &AccountId,
        device: &DeviceId,
        added_at: i64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Who fetches media, and records captures. Each may be told twice.
pub trait Workers: Clone + Debug + Send + Sync + 'static {
    /// A medium is to be fetched, not before `after` has passed.
    fn fetch(
        &self,
        account: &AccountId,
        id: &MediumId,
        after: Duration,
    ) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// A capture is to be recorded.
    fn record(&self, capture: &Medium) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// The live sessions of a device that were opened before this are to be closed.
    fn close_live(
        &self,
        account: &AccountId,
        device: &DeviceId,
        opened_before: Timestamp,
    ) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// What has come due is to be looked at.
    fn sweep(&self) -> impl Future<Output = Result<(), QueueError>> + Send;
}

/// For how long a row may not be seen in an index yet.
const INDEX_LAG: Duration = Duration::from_secs(5);

/// The queues of media and of captures.
#[derive(Clone, Debug)]
pub struct Queues {
    /// Media to fetch.
    pub media: Queue,
    /// Captures to record; nothing, where nobody does.
    pub captures: Option<Queue>,
}

impl Workers for Queues {
    async fn fetch(&self, account: &AccountId, id: &MediumId, after: Duration) -> Result<(), QueueError> {
        self.media.send(media::fetch_message(account, id).delay(after)).await
    }

    async fn record(&self, capture: &Medium) -> Result<(), QueueError> {
        match &self.captures {
            Some(captures) => captures.send(capture::Job::message(capture)).await,
            None => Err(QueueError("nobody records captures".into())),
        }
    }

    async fn close_live(
        &self,
        account: &AccountId,
        device: &DeviceId,
        opened_before: Timestamp,
    ) -> Result<(), QueueError> {
        let close = CloseAll {
            account_id: account.clone(),
            device_id: device.clone(),
            opened_before,
        };
        self.media.send(close.message()).await
    }

    async fn sweep(&self) -> Result<(), QueueError> {
        // The index of what is due lags behind the row that was just written.
        self.media.send(media::sweep_message().delay(INDEX_LAG)).await
    }
}

/// Ring's side of a device. Ring: Device Discovery.
pub trait DeviceEndpoint: Clone + Debug + Send + Sync + 'static {
    /// One device, with all four parts.
    fn device(
        &self,
        token: &AccessToken,
        device: &DeviceId,
    ) -> impl Future<Output = Result<Device, ring_partner::Error>> + Send;
}

impl DeviceEndpoint for ring_partner::Ring {
    async fn device(&self, token: &AccessToken, device: &DeviceId) -> Result<Device, ring_partner::Error> {
        self.device(token, device).await
    }
}

/// Who is told.
pub trait Publisher: Clone + Debug + Send + Sync + 'static {
    /// Publishes, at least once.
    fn announce(&self, announcement: &Announcement) -> impl Future<Output = Result<(), BusError>> + Send;
}

impl Publisher for Bus {
    async fn announce(&self, announcement: &Announcement) -> Result<(), BusError> {
        self.announce(announcement).await
    }
}
