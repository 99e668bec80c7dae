//! Where devices are kept: under their account, one row each.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder as Update;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use futures_util::future::try_join_all;
use jiff::Timestamp;
use ring_partner::devices::{Device, DeviceId};
use ring_partner::users::AccountId;
use serde::{Deserialize, Serialize};

use super::{Change, Gone, Known, LISTING, Mark, Told, listed};
use crate::edge::table::{self, Key, StoreError, Table, number, text};
use crate::event::ports;
use crate::policy::Policy;
use crate::policy::store::Policies;

/// The most devices of one account.
const MOST_DEVICES: usize = 1_000;

/// The devices that an account had once.
#[derive(Serialize, Deserialize)]
struct PastRow {
    device_ids: Vec<DeviceId>,
}

/// The table of devices.
#[derive(Clone, Debug)]
pub struct Devices {
    table: Table,
    policies: Policies,
}

impl Devices {
    /// The devices in the table `name`.
    #[must_use]
    pub fn new(config: &SdkConfig, name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            table: Table::new(config, &name),
            policies: Policies::new(config, name),
        }
    }

    /// One device of an account.
    pub async fn get(&self, account: &AccountId, device: &DeviceId) -> Result<Option<Known>, StoreError> {
        self.table.get(&device_row(account, device)).await
    }

    /// All devices of an account that it has now.
    pub async fn of_account(&self, account: &AccountId) -> Result<Vec<Known>, StoreError> {
        let mut known = self.ever_of_account(account).await?;
        known.retain(Known::is_present);
        Ok(known)
    }

    /// All devices of an account, those among them that it has no more.
    pub async fn ever_of_account(&self, account: &AccountId) -> Result<Vec<Known>, StoreError> {
        let query = self
            .table
            .query()
            .key_condition_expression("pk = :account AND begins_with(sk, :device)")
            .expression_attribute_values(":account", text(account_pk(account)))
            .expression_attribute_values(":device", text("device#"))
            .consistent_read(true);
        table::collect(query, MOST_DEVICES).await
    }

    /// What a listing told: each device with all its parts, and that the others are gone. Returns those of which a listing
    /// alone tells that they are gone, each time: whoever is told of them is told again until an event says so, too.
    pub async fn keep_listing(
        &self,
        account: &AccountId,
        devices: Vec<Device>,
        asked_at: Timestamp,
    ) -> Result<Vec<Gone>, StoreError> {
        let before = self.ever_of_account(account).await?;
        let missing = before
            .into_iter()
            .filter(|known| !devices.iter().any(|device| device.id == known.device_id));
        let mut gone = Vec::new();
        let mut news = Vec::new();
        for known in missing {
            let told = match known.present {
                // When it went is when that was first seen, also with the next listing.
                Some(told) if !told.is => told,
                _ => {
                    let told = Told {
                        is: false,
                        at: asked_at.as_millisecond(),
                        by: LISTING.to_owned(),
                    };
                    news.push((known.device_id.clone(), told.clone()));
                    told
                }
            };
            if told.by == LISTING {
                gone.push(Gone {
                    account_id: account.clone(),
                    device_id: known.device_id,
                    at: told.at,
                });
            }
        }
        try_join_all(devices.into_iter().map(|device| self.keep(account, device, asked_at))).await?;
        let news = news.iter();
        try_join_all(news.map(|(device, told)| self.fold(account, device, "present", told))).await?;
        Ok(gone)
    }

    /// What Ring answered about one device at `asked_at`.
    pub async fn keep(&self, account: &AccountId, device: Device, asked_at: Timestamp) -> Result<(), StoreError> {
        let known = listed(account, device, asked_at);
        let parts = [
            ("name", serde_dynamo::to_attribute_value(&known.name)?),
            ("capabilities", serde_dynamo::to_attribute_value(&known.capabilities)?),
            ("location", serde_dynamo::to_attribute_value(&known.location)?),
            (
                "configurations",
                serde_dynamo::to_attribute_value(&known.configurations)?,
            ),
            ("listed_at", number(asked_at.as_millisecond())),
        ];
        let mut set = vec![ID_FIELDS.to_owned()];
        let mut update = ids(self.row(account, &known.device_id), account, &known.device_id);
        for (name, value) in parts {
            set.push(format!("#{name} = :{name}"));
            update = update
                .expression_attribute_names(format!("#{name}"), name)
                .expression_attribute_values(format!(":{name}"), value);
        }
        let update = update
            .update_expression(format!("SET {}", set.join(", ")))
            .condition_expression("attribute_not_exists(#listed_at) OR #listed_at <= :listed_at");
        match update.send().await.map_err(StoreError::from) {
            // A later listing was kept already.
            Ok(_) | Err(StoreError::Conflict) => {}
            Err(error) => return Err(error),
        }
        for (field, told) in [("present", &known.present), ("online", &known.online)] {
            if let Some(told) = told {
                self.fold(account, &known.device_id, field, told).await?;
            }
        }
        Ok(())
    }

    /// Remembers something of a device. One that is not known is left so.
    pub async fn mark(&self, account: &AccountId, device: &DeviceId, mark: Mark) -> Result<(), StoreError> {
        let field = match mark {
            Mark::Awaited => "awaited",
            Mark::Captured => "captured",
            Mark::Watched => "watched",
        };
        let marked = self
            .row(account, device)
            .update_expression("SET #field = :yes")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_names("#field", field)
            .expression_attribute_values(":yes", AttributeValue::Bool(true));
        match marked.send().await.map_err(StoreError::from) {
            Ok(_) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The ids of all devices that an account ever had, also of those that were forgotten with its link.
    pub async fn ids_ever_of_account(&self, account: &AccountId) -> Result<Vec<DeviceId>, StoreError> {
        let past: Option<PastRow> = self.table.get(&past_row(account)).await?;
        let mut ids = past.map(|past| past.device_ids).unwrap_or_default();
        let known = self.ever_of_account(account).await?;
        ids.extend(known.into_iter().map(|known| known.device_id));
        ids.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        ids.dedup();
        Ok(ids)
    }

    /// Forgets which devices an account had once.
    pub async fn forget_past(&self, account: &AccountId) -> Result<(), StoreError> {
        self.table.delete(&past_row(account)).await
    }

    /// Forgets all devices of an account. Their ids stay, so that what was recorded of them can be found.
    pub async fn forget_account(&self, account: &AccountId) -> Result<(), StoreError> {
        let known = self.ever_of_account(account).await?;
        let device_ids = self.ids_ever_of_account(account).await?;
        if !device_ids.is_empty() {
            let past = table::row(&past_row(account), &PastRow { device_ids })?;
            self.table.put(past).send().await?;
        }
        let rows: Vec<_> = known
            .iter()
            .map(|known| device_row(account, &known.device_id))
            .collect();
        try_join_all(rows.iter().map(|row| self.table.delete(row))).await?;
        self.policies.forget_of_link(account).await
    }

    /// Newest wins, and the same again is no loss: in step with [`Told::stands_against`]. What is returned is the
    /// device as it is now: neither that, nor one that loses, costs a read.
    async fn fold(
        &self,
        account: &AccountId,
        device: &DeviceId,
        field: &str,
        told: &Told,
    ) -> Result<Option<Known>, StoreError> {
        let update = ids(self.row(account, device), account, device)
            .return_values(ReturnValue::AllNew)
            .update_expression(format!("SET {ID_FIELDS}, #field = :told"))
            .condition_expression(
                "attribute_not_exists(#field) OR #field.#at < :at OR (#field.#at = :at AND #field.#by <= :by)",
            )
            .expression_attribute_names("#field", field)
            .expression_attribute_names("#at", "at")
            .expression_attribute_names("#by", "by")
            .expression_attribute_values(":told", serde_dynamo::to_attribute_value(told)?)
            .expression_attribute_values(":at", number(told.at))
            .expression_attribute_values(":by", text(&told.by));
        match update.send().await.map_err(StoreError::from) {
            Ok(told) => Ok(told.attributes.map(serde_dynamo::from_item).transpose()?),
            // Something newer was told before.
            Err(StoreError::Conflict) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn row(&self, account: &AccountId, device: &DeviceId) -> Update {
        self.table.update(&device_row(account, device))
    }
}

impl ports::Devices for Devices {
    async fn get(&self, account: &AccountId, device: &DeviceId) -> Result<Option<Known>, StoreError> {
        self.get(account, device).await
    }

    async fn account_of(&self, device: &DeviceId) -> Result<Option<AccountId>, StoreError> {
        #[derive(Deserialize)]
        struct Row {
            pk: String,
        }
        let query = self
            .table
            .query()
            .index_name("by_device")
            .key_condition_expression("device_id = :device")
            .expression_attribute_values(":device", text(device.as_str()));
        let rows: Vec<Row> = table::collect(query, 2).await?;
        let [row] = &rows[..] else { return Ok(None) };
        Ok(row.pk.strip_prefix("account#").and_then(|id| AccountId::new(id).ok()))
    }

    async fn tell(&self, account: &AccountId, device: &DeviceId, change: &Change) -> Result<Option<Known>, StoreError> {
        match change {
            Change::Present(told) => self.fold(account, device, "present", told).await,
            Change::Online(told) => self.fold(account, device, "online", told).await,
            Change::Doorbell => {
                let told = ids(self.row(account, device), account, device)
                    .return_values(ReturnValue::AllNew)
                    .update_expression(format!("SET {ID_FIELDS}, doorbell = :yes"))
                    .expression_attribute_values(":yes", AttributeValue::Bool(true))
                    .send()
                    .await?;
                Ok(told.attributes.map(serde_dynamo::from_item).transpose()?)
            }
        }
    }

    async fn keep(&self, account: &AccountId, device: Device, asked_at: Timestamp) -> Result<(), StoreError> {
        self.keep(account, device, asked_at).await
    }

    async fn mark(&self, account: &AccountId, device: &DeviceId, mark: Mark) -> Result<(), StoreError> {
        self.mark(account, device, mark).await
    }

    async fn link_policy(&self, account: &AccountId) -> Result<Option<Policy>, StoreError> {
        self.policies.of_link(account).await
    }

    async fn give_policy(&self, account: &AccountId, device: &DeviceId, policy: &Policy) -> Result<(), StoreError> {
        self.policies.give(account, device, policy).await
    }
}

/// An update may be the first that is heard of a device: it always says whose and which it is.
const ID_FIELDS: &str = "account_id = :account_id, device_id = :device_id";

fn ids(update: Update, account: &AccountId, device: &DeviceId) -> Update {
    update
        .expression_attribute_values(":account_id", text(account.as_str()))
        .expression_attribute_values(":device_id", text(device.as_str()))
}

pub(crate) fn account_pk(account: &AccountId) -> String {
    format!("account#{account}")
}

fn past_row(account: &AccountId) -> Key {
    Key::new(account_pk(account), "past")
}

pub(crate) fn device_row(account: &AccountId, device: &DeviceId) -> Key {
    Key::new(account_pk(account), format!("device#{device}"))
}
