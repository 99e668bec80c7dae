//! Where policies are kept: a device's own beside what is known of it, and the one that a link gives to devices that come
//! in a row of its own among its account's devices.

use aws_config::SdkConfig;
use ring_partner::devices::DeviceId;
use ring_partner::users::AccountId;
use serde::{Deserialize, Serialize};

use super::Policy;
use crate::device::Known;
use crate::device::store::{account_pk, device_row};
use crate::edge::table::{Key, StoreError, Table, row};

#[derive(Serialize, Deserialize)]
struct DefaultRow {
    policy: Policy,
}

/// The policies in the table of devices.
#[derive(Clone, Debug)]
pub struct Policies {
    table: Table,
}

impl Policies {
    /// The policies of the devices in the table `name`.
    #[must_use]
    pub fn new(config: &SdkConfig, name: impl Into<String>) -> Self {
        Self {
            table: Table::new(config, name),
        }
    }

    /// The policy that holds for a device: its own, or its link's, or the one of whoever has set none.
    pub async fn holding_for(&self, known: &Known) -> Result<Policy, StoreError> {
        match &known.policy {
            Some(policy) => Ok(policy.clone()),
            None => Ok(self.of_link(&known.account_id).await?.unwrap_or_default()),
        }
    }

    /// What a link gives to devices that come.
    pub async fn of_link(&self, account: &AccountId) -> Result<Option<Policy>, StoreError> {
        let found: Option<DefaultRow> = self.table.get(&default_key(account)).await?;
        Ok(found.map(|row| row.policy))
    }

    /// From now on a link gives this to devices that come.
    pub async fn set_of_link(&self, account: &AccountId, policy: &Policy) -> Result<(), StoreError> {
        let policy = policy.clone();
        self.table
            .put(row(&default_key(account), &DefaultRow { policy })?)
            .send()
            .await?;
        Ok(())
    }

    /// A device has this policy from now on. `Err(Conflict)`: the account has no such device (any more).
    pub async fn set(&self, account: &AccountId, device: &DeviceId, policy: &Policy) -> Result<(), StoreError> {
        self.table
            .update(&device_row(account, device))
            .update_expression("SET policy = :policy")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":policy", serde_dynamo::to_attribute_value(policy)?)
            .send()
            .await?;
        Ok(())
    }

    /// A device has this policy, unless it has one already.
    pub async fn give(&self, account: &AccountId, device: &DeviceId, policy: &Policy) -> Result<(), StoreError> {
        let given = self
            .table
            .update(&device_row(account, device))
            .update_expression("SET policy = :policy")
            .condition_expression("attribute_exists(pk) AND attribute_not_exists(policy)")
            .expression_attribute_values(":policy", serde_dynamo::to_attribute_value(policy)?);
        match given.send().await.map_err(StoreError::from) {
            Ok(_) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Forgets what a link gives.
    pub async fn forget_of_link(&self, account: &AccountId) -> Result<(), StoreError> {
        self.table.delete(&default_key(account)).await
    }
}

fn default_key(account: &AccountId) -> Key {
    Key::new(account_pk(account), "policy")
}
