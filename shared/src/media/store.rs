//! Where media are kept: one row each, a slim one for each that waits for its device, one for each removed device whose media are
//! to be purged, and one for each thing that is owed to somebody. All but the first come due.

use std::time::Duration;

use aws_config::SdkConfig;
use jiff::Timestamp;
use ring_partner::devices::DeviceId;
use ring_partner::users::AccountId;
use serde::{Deserialize, Serialize};

use super::{FETCH_FOR, LOOK_AGAIN_AFTER, Medium, MediumId, Progress, Request, Retired};
use crate::edge::clock::{self, signed};
use crate::edge::key::shard;
use crate::edge::table::{self, Key, StoreError, Table, Write, number, row, text};
use crate::event::device_key;
use crate::event::ports;

/// The index of what comes due has so many partitions.
const DUE_SHARDS: u8 = 8;
/// The most media of one device that may wait for it at once and are released together; a sweep finds the others.
const MOST_WAITING: usize = 1_000;

/// Whoever deletes a medium has deleted its objects within this, or never will; and whoever is fetching it has seen that it is
/// gone.
const DELETED_WITHIN: Duration = FETCH_FOR;

/// A row that comes due.
#[derive(Serialize, Deserialize)]
struct DueRow<T> {
    #[serde(flatten)]
    what: T,
    due_shard: String,
    due_at: i64,
}

impl<T> DueRow<T> {
    fn new(what: T, partition: &str, due_at: i64) -> Self {
        Self {
            what,
            due_shard: shard(partition, DUE_SHARDS),
            due_at,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct WaitingRow {
    account_id: AccountId,
    device_id: DeviceId,
    medium_id: MediumId,
}

/// Something that has come due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// A medium that waits for its device.
    Waiting {
        /// Whose.
        account: AccountId,
        /// For which one.
        device: DeviceId,
        /// Which medium.
        medium: MediumId,
    },
    /// A removed device.
    Purge(Retired),
    /// A medium that was deleted, and whose objects may be there still.
    Deleted(Deleted),
    /// What somebody was promised, and is not done.
    Owed(Owed),
}

/// What somebody was promised: its message is sent again until it is done, whatever becomes of those before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// What no other has.
    pub name: String,
    /// When it was promised.
    pub promised_at: Timestamp,
    /// The body of its message.
    pub message: String,
}

/// A medium that was deleted, while its objects may be there still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// Which one it was.
    pub deleted_medium: MediumId,
    /// Where its object lies, and what the keys of all others begin with.
    pub object_key: String,
    /// Whether it is a capture.
    pub is_capture: bool,
}

#[derive(Serialize)]
pub(crate) struct MediumRow<'m> {
    #[serde(flatten)]
    medium: &'m Medium,
    device_key: String,
    position: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
}

/// A medium as it is read: one whose time is up is there until DynamoDB takes it away, within days.
#[derive(Deserialize)]
struct ReadRow {
    #[serde(flatten)]
    medium: Medium,
    expires_at: Option<i64>,
}

impl ReadRow {
    fn at(self, now: Timestamp) -> Option<Medium> {
        let is_there = self.expires_at.is_none_or(|at| at > now.as_second());
        is_there.then_some(self.medium)
    }
}

/// None is there, or one whose time is up.
const NEW: &str = "attribute_not_exists(pk) OR expires_at <= :now";

/// The table of media.
#[derive(Clone, Debug)]
pub struct Media {
    table: Table,
    kept_for: Option<Duration>,
}

impl Media {
    /// The media in the table `name`.
    #[must_use]
    pub fn new(config: &SdkConfig, name: impl Into<String>) -> Self {
        Self {
            table: Table::new(config, name),
            kept_for: None,
        }
    }

    /// The same; what is over by now is forgotten after so many days, unless that is none. The bucket has a rule of its own for
    /// the objects (template.yaml).
    #[must_use]
    pub fn forgetting_after(self, days: u64) -> Self {
        let kept_for = (days > 0).then(|| Duration::from_secs(days * 24 * 3600));
        Self { kept_for, ..self }
    }

    /// One medium.
    pub async fn get(&self, id: &MediumId) -> Result<Option<Medium>, StoreError> {
        let row: Option<ReadRow> = self.table.get(&medium_key(id)).await?;
        Ok(row.and_then(|row| row.at(clock::now())))
    }

    /// Keeps a request, and returns the medium that stands for it: this one, or the one that was asked for before, unless
    /// that has failed and begins anew.
    pub async fn request(&self, medium: Medium) -> Result<Medium, StoreError> {
        let put = self.table.put(row(&medium_key(&medium.id), &with_place(&medium))?);
        match put
            .condition_expression(NEW)
            .expression_attribute_values(":now", number(clock::now().as_second()))
            .send()
            .await
            .map_err(StoreError::from)
        {
            Ok(_) => return Ok(medium),
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error),
        }
        let Some(before) = self.get(&medium.id).await? else {
            return Err(StoreError::Conflict);
        };
        if !before.may_begin_anew() {
            return Ok(before);
        }
        let anew = Medium {
            round: before.round + 1,
            ..medium
        };
        let put = self
            .table
            .put(row(&medium_key(&anew.id), &with_place(&anew))?)
            .condition_expression("#round = :before")
            .expression_attribute_names("#round", "round")
            .expression_attribute_values(":before", number(before.round));
        match put.send().await.map_err(StoreError::from) {
            Ok(_) => Ok(anew),
            // Somebody else began it anew in this moment.
            Err(StoreError::Conflict) => self.get(&anew.id).await?.ok_or(StoreError::Conflict),
            Err(error) => Err(error),
        }
    }

    /// Takes a medium to fetch it. `None`: it is over, or somebody is at it, or it is not to be fetched but recorded.
    pub async fn begin(&self, id: &MediumId, now: Timestamp) -> Result<Option<Medium>, StoreError> {
        let Some(medium) = self.get(id).await? else {
            return Ok(None);
        };
        if medium.is_for_recorder() {
            return Ok(None);
        }
        self.take(medium, now, now + signed(FETCH_FOR)).await
    }

    /// Takes a capture, or a clip that is recorded first, and has it until then. `None`: it is over, or somebody is at it, or it is
    /// none.
    pub async fn begin_capture(
        &self,
        id: &MediumId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Medium>, StoreError> {
        let medium = self.get(id).await?;
        match medium.filter(Medium::is_for_recorder) {
            Some(medium) => self.take(medium, now, until).await,
            None => Ok(None),
        }
    }

    /// Has a medium for longer, until then. `Err(Conflict)`: it is somebody else's by now, or was deleted.
    pub async fn hold(&self, medium: &mut Medium, until: Timestamp) -> Result<(), StoreError> {
        let progress = Progress::Fetching { until };
        self.advance(medium, progress).await
    }

    async fn take(&self, mut medium: Medium, now: Timestamp, until: Timestamp) -> Result<Option<Medium>, StoreError> {
        match medium.progress {
            Progress::Requested | Progress::Waiting { .. } => {}
            Progress::Fetching { until } if until <= now => {}
            _ => return Ok(None),
        }
        match self.advance(&mut medium, Progress::Fetching { until }).await {
            Ok(()) => Ok(Some(medium)),
            Err(StoreError::Conflict) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// From the progress that was read to this one. Where the answer was lost, asking again finds it done.
    async fn advance(&self, medium: &mut Medium, progress: Progress) -> Result<(), StoreError> {
        let advance = self
            .table
            .update(&medium_key(&medium.id))
            .update_expression("SET progress = :after")
            .condition_expression("progress IN (:before, :after)")
            .expression_attribute_values(":before", serde_dynamo::to_attribute_value(&medium.progress)?)
            .expression_attribute_values(":after", serde_dynamo::to_attribute_value(&progress)?);
        advance.send().await?;
        medium.progress = progress;
        Ok(())
    }

    /// Keeps how far a medium has come. `Err(Conflict)`: it was deleted meanwhile, or begun anew.
    pub async fn keep(&self, medium: &Medium) -> Result<(), StoreError> {
        let kept_for = self.kept_for.filter(|_| medium.progress.is_over());
        let kept = MediumRow {
            expires_at: kept_for.map(|kept_for| (clock::now() + signed(kept_for)).as_second()),
            ..with_place(medium)
        };
        let put = self
            .table
            .put(row(&medium_key(&medium.id), &kept)?)
            .condition_expression("#round = :round AND requested_at = :requested_at")
            .expression_attribute_names("#round", "round")
            .expression_attribute_values(":round", number(medium.round))
            .expression_attribute_values(":requested_at", text(medium.requested_at.to_string()));
        put.send().await?;
        Ok(())
    }

    /// A medium waits for its device from now on. `Err(Conflict)`: it was deleted meanwhile, or begun anew.
    pub async fn wait(&self, medium: &Medium, now: Timestamp) -> Result<(), StoreError> {
        let put = self
            .table
            .put_in(row(&medium_key(&medium.id), &with_place(medium))?)
            .condition_expression("#round = :round AND requested_at = :requested_at")
            .expression_attribute_names("#round", "round")
            .expression_attribute_values(":round", number(medium.round))
            .expression_attribute_values(":requested_at", text(medium.requested_at.to_string()));
        let waiting = WaitingRow {
            account_id: medium.account_id.clone(),
            device_id: medium.device_id.clone(),
            medium_id: medium.id.clone(),
        };
        let key = waiting_key(&medium.account_id, &medium.device_id, &medium.id);
        let due_at = (now + signed(LOOK_AGAIN_AFTER)).as_millisecond();
        let waiting = row(&key, &DueRow::new(waiting, &key.pk, due_at))?;
        self.table
            .together(vec![Write::put(put), Write::put(self.table.put_in(waiting))])
            .await
    }

    /// What has come due at `now`, at most `most`.
    pub async fn due(&self, now: Timestamp, most: usize) -> Result<Vec<Due>, StoreError> {
        #[derive(Deserialize)]
        struct Keys {
            pk: String,
            sk: String,
        }
        let mut due = Vec::new();
        for number_of_shard in 0..DUE_SHARDS {
            let query = self
                .table
                .query()
                .index_name("due")
                .key_condition_expression("due_shard = :shard AND due_at <= :now")
                .expression_attribute_values(":shard", text(format!("{number_of_shard:02}")))
                .expression_attribute_values(":now", number(now.as_millisecond()));
            let keys: Vec<Keys> = table::collect(query, most.saturating_sub(due.len()).max(1)).await?;
            for Keys { pk, sk } in keys {
                let key = Key::new(pk, sk);
                // The index lags behind: the row says itself whether it is due.
                if key.sk == DELETED {
                    let row: Option<DueRow<Deleted>> = self.table.get(&key).await?;
                    let row = row.filter(|row| row.due_at <= now.as_millisecond());
                    due.extend(row.map(|row| Due::Deleted(row.what)));
                } else if key.sk == OWED {
                    let row: Option<DueRow<Owed>> = self.table.get(&key).await?;
                    let row = row.filter(|row| row.due_at <= now.as_millisecond());
                    due.extend(row.map(|row| Due::Owed(row.what)));
                } else if key.sk == PURGE {
                    let row: Option<DueRow<Retired>> = self.table.get(&key).await?;
                    let row = row.filter(|row| row.due_at <= now.as_millisecond());
                    due.extend(row.map(|row| Due::Purge(row.what)));
                } else {
                    let row: Option<DueRow<WaitingRow>> = self.table.get(&key).await?;
                    let row = row.filter(|row| row.due_at <= now.as_millisecond());
                    due.extend(row.map(|row| Due::Waiting {
                        account: row.what.account_id,
                        device: row.what.device_id,
                        medium: row.what.medium_id,
                    }));
                }
            }
        }
        due.truncate(most);
        Ok(due)
    }

    /// A removed device's media are purged. One that was removed again since keeps its later date.
    pub async fn purged(&self, retired: &Retired) -> Result<(), StoreError> {
        self.restored(&retired.account_id, &retired.device_id, retired.removed_at)
            .await
    }

    async fn restored(&self, account: &AccountId, device: &DeviceId, at: i64) -> Result<(), StoreError> {
        let delete = self
            .table
            .delete_in(&purge_key(account, device))
            .condition_expression("attribute_not_exists(pk) OR removed_at <= :at")
            .expression_attribute_values(":at", number(at));
        match self.table.together(vec![Write::delete(delete)]).await {
            Ok(()) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Forgets a medium, and keeps that its objects are to go: whoever deletes them says so with [`deleted`](Self::deleted),
    /// and where nobody does, it comes due. Whoever is fetching the medium finds that it is gone, and takes away what it stored.
    pub async fn delete(&self, medium: &Medium, now: Timestamp) -> Result<Deleted, StoreError> {
        let deleted = Deleted {
            deleted_medium: medium.id.clone(),
            object_key: medium.object_key(),
            is_capture: matches!(medium.request, Request::Capture(_)),
        };
        let key = deleted_key(&medium.id);
        let due_at = (now + signed(DELETED_WITHIN)).as_millisecond();
        let put = self.table.put_in(row(&key, &DueRow::new(&deleted, &key.pk, due_at))?);
        let forget = self.table.delete_in(&medium_key(&medium.id));
        self.table
            .together(vec![Write::delete(forget), Write::put(put)])
            .await?;
        Ok(deleted)
    }

    /// The objects of a medium that was deleted are gone.
    pub async fn deleted(&self, deleted: &Deleted) -> Result<(), StoreError> {
        self.table.delete(&deleted_key(&deleted.deleted_medium)).await
    }

    /// Something is owed. It comes due at this time, unless it is done before.
    pub async fn owe(&self, owed: &Owed, due: Timestamp) -> Result<(), StoreError> {
        let key = owed_key(&owed.name);
        let put = self
            .table
            .put(row(&key, &DueRow::new(owed, &key.pk, due.as_millisecond()))?);
        put.send().await?;
        Ok(())
    }

    /// It is done.
    pub async fn owed_no_more(&self, owed: &Owed) -> Result<(), StoreError> {
        self.table.delete(&owed_key(&owed.name)).await
    }

    /// Forgets a medium, and whatever else is kept under its id.
    pub async fn forget_all_of(&self, id: &MediumId) -> Result<(), StoreError> {
        self.table.forget_partition(id.as_str()).await
    }

    /// Forgets what is kept of a device beside its media: what waits for it, whether it is captured, when they are purged.
    pub async fn forget_device(&self, account: &AccountId, device: &DeviceId) -> Result<(), StoreError> {
        self.table.forget_partition(&device_key(account, device)).await
    }

    /// The media of a device, newest first, those behind the position `before`.
    pub async fn of_device(
        &self,
        account: &AccountId,
        device: &DeviceId,
        before: Option<&str>,
        most: usize,
    ) -> Result<Vec<Medium>, StoreError> {
        let query = self
            .table
            .query()
            .index_name("by_device")
            .key_condition_expression("device_key = :device AND #position < :before")
            .expression_attribute_names("#position", "position")
            .filter_expression("attribute_not_exists(expires_at) OR expires_at > :now")
            .expression_attribute_values(":device", text(device_key(account, device)))
            .expression_attribute_values(":before", text(before.unwrap_or("9")))
            .expression_attribute_values(":now", number(clock::now().as_second()))
            .scan_index_forward(false);
        table::collect(query, most).await
    }
}

impl ports::Media for Media {
    async fn request_once(&self, medium: Medium) -> Result<Medium, StoreError> {
        let put = self.table.put(row(&medium_key(&medium.id), &with_place(&medium))?);
        let put = put.condition_expression(NEW);
        let put = put.expression_attribute_values(":now", number(clock::now().as_second()));
        match put.send().await.map_err(StoreError::from) {
            Ok(_) => Ok(medium),
            Err(StoreError::Conflict) => self.get(&medium.id).await?.ok_or(StoreError::Conflict),
            Err(error) => Err(error),
        }
    }

    async fn waiting(&self, account: &AccountId, device: &DeviceId) -> Result<Vec<MediumId>, StoreError> {
        let query = self
            .table
            .query()
            .key_condition_expression("pk = :device AND begins_with(sk, :waiting)")
            .expression_attribute_values(":device", text(device_key(account, device)))
            .expression_attribute_values(":waiting", text("waiting#"))
            .consistent_read(true);
        let rows: Vec<DueRow<WaitingRow>> = table::collect(query, MOST_WAITING).await?;
        Ok(rows.into_iter().map(|row| row.what.medium_id).collect())
    }

    async fn waits_no_more(&self, account: &AccountId, device: &DeviceId, id: &MediumId) -> Result<(), StoreError> {
        self.table.delete(&waiting_key(account, device, id)).await
    }

    async fn retire(&self, retired: &Retired) -> Result<(), StoreError> {
        let key = purge_key(&retired.account_id, &retired.device_id);
        let put = self
            .table
            .put(row(&key, &DueRow::new(retired, &key.pk, retired.purge_at))?)
            .condition_expression("attribute_not_exists(pk) OR removed_at <= :removed_at")
            .expression_attribute_values(":removed_at", number(retired.removed_at));
        match put.send().await.map_err(StoreError::from) {
            Ok(_) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn restore(&self, account: &AccountId, device: &DeviceId, added_at: i64) -> Result<(), StoreError> {
        self.restored(account, device, added_at).await
    }
}

/// The row of a medium whose objects are to go, in its own partition.
const DELETED: &str = "deleted";

fn owed_key(name: &str) -> Key {
    Key::new(format!("owed#{name}"), OWED)
}

fn deleted_key(id: &MediumId) -> Key {
    Key::new(id.as_str(), DELETED)
}

/// The row of what is owed, in its own partition.
const OWED: &str = "owed";

/// The row of a removed device, among the device's.
const PURGE: &str = "purge";

fn purge_key(account: &AccountId, device: &DeviceId) -> Key {
    Key::new(device_key(account, device), PURGE)
}

fn waiting_key(account: &AccountId, device: &DeviceId, id: &MediumId) -> Key {
    Key::new(device_key(account, device), format!("waiting#{}", id.as_str()))
}

pub(crate) fn with_place(medium: &Medium) -> MediumRow<'_> {
    let device_key = device_key(&medium.account_id, &medium.device_id);
    MediumRow {
        medium,
        device_key,
        position: medium.position(),
        expires_at: None,
    }
}

pub(crate) fn medium_key(id: &MediumId) -> Key {
    Key::new(id.as_str(), "medium")
}
