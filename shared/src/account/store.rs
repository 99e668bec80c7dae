//! Where receipts of what was erased are kept, and the rows of archives: in the table of devices, which all that work on an
//! account may write.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Export, Part, Ready, Receipt};
use crate::edge::clock::signed;
use crate::edge::table::{Key, StoreError, Table, number, row, text};

/// An archive's object is deleted after a day, and its row with it. In step with the template's rule `archives-end`.
const ARCHIVE_KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

#[derive(Serialize, Deserialize)]
struct ExportRow {
    #[serde(flatten)]
    export: Export,
    expires_at: i64,
}

/// Receipts and archives.
#[derive(Clone, Debug)]
pub struct Accounts {
    table: Table,
}

impl Accounts {
    /// Those in the table of devices.
    #[must_use]
    pub fn new(config: &SdkConfig, devices: impl Into<String>) -> Self {
        Self {
            table: Table::new(config, devices),
        }
    }

    /// Writes down that somebody is to be erased, with all the parts that there are. It stands for so long.
    pub async fn begin(&self, receipt: &Receipt, parts: &[Part], kept_for: Duration) -> Result<(), StoreError> {
        #[derive(Serialize)]
        struct ReceiptRow<'r> {
            #[serde(flatten)]
            receipt: &'r Receipt,
            expires_at: i64,
        }
        let expires_at = (receipt.requested_at + signed(kept_for)).as_second();
        let mut item = row(&receipt_key(&receipt.id), &ReceiptRow { receipt, expires_at })?;
        let parts: Vec<_> = parts.iter().map(Part::name).collect();
        if !parts.is_empty() {
            item.insert("parts".to_owned(), AttributeValue::Ss(parts));
        }
        self.table.put(item).send().await?;
        Ok(())
    }

    /// A receipt.
    pub async fn receipt(&self, id: &str) -> Result<Option<Receipt>, StoreError> {
        self.table.get(&receipt_key(id)).await
    }

    /// A part is gone; with the last of them it is over.
    pub async fn erased(&self, receipt: &str, part: &Part, now: Timestamp) -> Result<(), StoreError> {
        let key = receipt_key(receipt);
        let gone = self
            .table
            .update(&key)
            .update_expression("DELETE parts :part")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":part", AttributeValue::Ss(vec![part.name()]))
            .return_values(ReturnValue::AllNew);
        let left = match gone.send().await.map_err(StoreError::from) {
            Ok(left) => left.attributes.unwrap_or_default(),
            // Its time is over.
            Err(StoreError::Conflict) => return Ok(()),
            Err(error) => return Err(error),
        };
        if left.contains_key("parts") {
            return Ok(());
        }
        self.table
            .update(&key)
            .update_expression("SET erased_at = if_not_exists(erased_at, :now)")
            .expression_attribute_values(":now", text(now.to_string()))
            .send()
            .await?;
        Ok(())
    }

    /// A user's archive.
    pub async fn export(&self, user_id: &str) -> Result<Option<Export>, StoreError> {
        let found: Option<ExportRow> = self.table.get(&export_key(user_id)).await?;
        Ok(found.map(|row| row.export))
    }

    /// A new archive, in place of an earlier one.
    pub async fn begin_export(&self, user_id: &str, export: &Export) -> Result<(), StoreError> {
        let export_row = ExportRow {
            export: export.clone(),
            expires_at: (export.requested_at + signed(ARCHIVE_KEPT_FOR)).as_second(),
        };
        self.table.put(row(&export_key(user_id), &export_row)?).send().await?;
        Ok(())
    }

    /// An archive is ready. `Err(Conflict)`: nobody waits for it any more.
    pub async fn exported(&self, user_id: &str, export_id: &str, ready: &Ready) -> Result<(), StoreError> {
        self.table
            .update(&export_key(user_id))
            .update_expression("SET ready = :ready, expires_at = :expires_at")
            .condition_expression("id = :id")
            .expression_attribute_values(":ready", serde_dynamo::to_attribute_value(ready)?)
            .expression_attribute_values(":expires_at", number((ready.at + signed(ARCHIVE_KEPT_FOR)).as_second()))
            .expression_attribute_values(":id", text(export_id))
            .send()
            .await?;
        Ok(())
    }

    /// Forgets a user's archive.
    pub async fn forget_export(&self, user_id: &str) -> Result<(), StoreError> {
        self.table.delete(&export_key(user_id)).await
    }
}

fn receipt_key(id: &str) -> Key {
    Key::new(format!("erasure#{id}"), "receipt")
}

fn export_key(user_id: &str) -> Key {
    Key::new(format!("export#{user_id}"), "export")
}
