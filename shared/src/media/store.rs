//! Where media are kept: one row each.

use aws_config::SdkConfig;
use jiff::Timestamp;
use ring_partner::devices::DeviceId;
use ring_partner::users::AccountId;
use serde::Serialize;

use super::{FETCH_FOR, Medium, MediumId, Progress};
use crate::edge::clock::signed;
use crate::edge::table::{self, Key, StoreError, Table, number, row, text};
use crate::event::device_key;

#[derive(Serialize)]
struct MediumRow<'m> {
    #[serde(flatten)]
    medium: &'m Medium,
    device_key: String,
    position: String,
}

/// The table of media.
#[derive(Clone, Debug)]
pub struct Media {
    table: Table,
}

impl Media {
    /// The media in the table `name`.
    #[must_use]
    pub fn new(config: &SdkConfig, name: impl Into<String>) -> Self {
        Self {
            table: Table::new(config, name),
        }
    }

    /// One medium.
    pub async fn get(&self, id: &MediumId) -> Result<Option<Medium>, StoreError> {
        self.table.get(&medium_key(id)).await
    }

    /// Keeps a request, and returns the medium that stands for it: this one, or the one that was asked for before, unless
    /// that has failed and begins anew.
    pub async fn request(&self, medium: Medium) -> Result<Medium, StoreError> {
        let put = self.table.put(row(&medium_key(&medium.id), &with_place(&medium))?);
        match put
            .condition_expression("attribute_not_exists(pk)")
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

    /// Takes a medium to fetch it. `None`: it is over, or somebody is at it.
    pub async fn begin(&self, id: &MediumId, now: Timestamp) -> Result<Option<Medium>, StoreError> {
        let Some(mut medium) = self.get(id).await? else {
            return Ok(None);
        };
        let until = now + signed(FETCH_FOR);
        match medium.progress {
            Progress::Requested => {}
            Progress::Fetching { until } if until <= now => {}
            _ => return Ok(None),
        }
        let begin = self
            .table
            .update(&medium_key(id))
            .update_expression("SET progress = :fetching")
            .condition_expression("progress IN (:before, :fetching)")
            .expression_attribute_values(":before", serde_dynamo::to_attribute_value(&medium.progress)?);
        medium.progress = Progress::Fetching { until };
        let begin = begin.expression_attribute_values(":fetching", serde_dynamo::to_attribute_value(&medium.progress)?);
        match begin.send().await.map_err(StoreError::from) {
            Ok(_) => Ok(Some(medium)),
            Err(StoreError::Conflict) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps how far a medium has come. `Err(Conflict)`: it was deleted meanwhile, or begun anew.
    pub async fn keep(&self, medium: &Medium) -> Result<(), StoreError> {
        let put = self
            .table
            .put(row(&medium_key(&medium.id), &with_place(medium))?)
            .condition_expression("#round = :round AND requested_at = :requested_at")
            .expression_attribute_names("#round", "round")
            .expression_attribute_values(":round", number(medium.round))
            .expression_attribute_values(":requested_at", text(medium.requested_at.to_string()));
        put.send().await?;
        Ok(())
    }

    /// Forgets a medium.
    pub async fn forget(&self, id: &MediumId) -> Result<(), StoreError> {
        self.table.delete(&medium_key(id)).await
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
            .expression_attribute_values(":device", text(device_key(account, device)))
            .expression_attribute_values(":before", text(before.unwrap_or("9")))
            .scan_index_forward(false);
        table::collect(query, most).await
    }
}

fn with_place(medium: &Medium) -> MediumRow<'_> {
    let device_key = device_key(&medium.account_id, &medium.device_id);
    MediumRow {
        medium,
        device_key,
        position: medium.position(),
    }
}

fn medium_key(id: &MediumId) -> Key {
    Key::new(id.as_str(), "medium")
}
