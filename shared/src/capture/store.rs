//! Where slots are kept: with the media, a row for each device that was ever captured, and one for each request that only
//! prolonged a capture.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::builders::PutBuilder;
use ring_partner::devices::DeviceId;
use ring_partner::users::AccountId;
use serde::{Deserialize, Serialize};

use super::Slot;
use super::ports::Captures;
use crate::edge::clock::signed;
use crate::edge::table::{Key, StoreError, Table, Write, number, row};
use crate::event::device_key;
use crate::media::store::{medium_key, with_place};
use crate::media::{Medium, MediumId};

/// How long it is known which capture a request prolonged: for longer than the request could come again.
const ASKED_KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

#[derive(Serialize, Deserialize)]
struct AskedRow {
    medium_id: MediumId,
    expires_at: i64,
}

/// The slots in the table of media.
#[derive(Clone, Debug)]
pub struct Slots {
    table: Table,
}

impl Slots {
    /// The slots in the table `name`.
    #[must_use]
    pub fn new(config: &SdkConfig, name: impl Into<String>) -> Self {
        Self {
            table: Table::new(config, name),
        }
    }

    fn put(&self, slot: &Slot) -> Result<PutBuilder, StoreError> {
        let put = self
            .table
            .put_in(row(&slot_key(&slot.account_id, &slot.device_id), slot)?);
        Ok(match slot.version {
            1 => put.condition_expression("attribute_not_exists(pk)"),
            version => put
                .condition_expression("#version = :before")
                .expression_attribute_names("#version", "version")
                .expression_attribute_values(":before", number(version - 1)),
        })
    }
}

impl Captures for Slots {
    async fn slot(&self, account: &AccountId, device: &DeviceId) -> Result<Option<Slot>, StoreError> {
        self.table.get(&slot_key(account, device)).await
    }

    async fn asked(&self, id: &MediumId) -> Result<Option<MediumId>, StoreError> {
        let asked: Option<AskedRow> = self.table.get(&asked_key(id)).await?;
        if let Some(asked) = asked {
            return Ok(Some(asked.medium_id));
        }
        Ok(self.table.item(&medium_key(id)).await?.map(|_| id.clone()))
    }

    async fn take(&self, slot: &Slot, medium: &Medium) -> Result<(), StoreError> {
        let requested = self.table.put_in(row(&medium_key(&medium.id), &with_place(medium))?);
        let requested = requested.condition_expression("attribute_not_exists(pk)");
        let writes = vec![Write::put(self.put(slot)?), Write::put(requested)];
        self.table.together(writes).await
    }

    async fn prolong(&self, slot: &Slot, asked: &MediumId) -> Result<(), StoreError> {
        let asked_row = AskedRow {
            medium_id: slot.medium_id.clone(),
            expires_at: (slot.until + signed(ASKED_KEPT_FOR)).as_second(),
        };
        let asked = self.table.put_in(row(&asked_key(asked), &asked_row)?);
        let asked = asked.condition_expression("attribute_not_exists(pk)");
        self.table
            .together(vec![Write::put(self.put(slot)?), Write::put(asked)])
            .await
    }

    async fn change(&self, slot: &Slot) -> Result<(), StoreError> {
        self.table.together(vec![Write::put(self.put(slot)?)]).await
    }
}

fn slot_key(account: &AccountId, device: &DeviceId) -> Key {
    Key::new(device_key(account, device), "capture")
}

fn asked_key(id: &MediumId) -> Key {
    Key::new(id.as_str(), "prolonged")
}
