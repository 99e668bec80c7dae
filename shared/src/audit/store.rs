//! Where the audit trail is kept: a row for each entry, under its user, in the order of time.

use std::time::Duration;

use aws_config::SdkConfig;
use backon::{ExponentialBuilder, Retryable as _};
use serde::Serialize;

use super::Entry;
use crate::edge::clock::signed;
use crate::edge::table::{Item, Key, StoreError, Table, Write, row};

/// How long an answer may wait for the trail.
const WRITE_WITHIN: Duration = Duration::from_secs(4);

#[derive(Serialize)]
struct EntryRow<'e> {
    #[serde(flatten)]
    entry: &'e Entry,
    expires_at: i64,
}

/// The table of the audit trail.
#[derive(Clone, Debug)]
pub struct Audit {
    table: Table,
    kept_for: Duration,
}

impl Audit {
    /// The trail in the table `name`, whose entries are kept for so many days.
    #[must_use]
    pub fn new(config: &SdkConfig, name: impl Into<String>, days: u64) -> Self {
        Self {
            table: Table::new(config, name),
            kept_for: Duration::from_secs(days * 24 * 3600),
        }
    }

    /// Writes an entry of something that leaves nothing behind to write it later. It has happened: that it can't be written
    /// undoes nothing, and is loud.
    pub async fn write(&self, entry: &Entry) {
        let waits = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(50))
            .with_max_times(3)
            .with_jitter();
        let written = (async || self.keep(entry).await).retry(waits);
        let error = match tokio::time::timeout(WRITE_WITHIN, written).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        tracing::error!(
            alarm = "audit_not_written",
            deed = ?entry.deed,
            user.id = entry.user_id,
            error,
            "an entry of the audit trail is not written"
        );
    }

    /// The write of an entry, to go together with those of what it tells.
    pub(crate) fn write_of(&self, entry: &Entry) -> Result<Write, StoreError> {
        Ok(Write::put(self.table.put_in(self.row(entry)?)))
    }

    /// Keeps an entry, once, however often.
    pub async fn keep(&self, entry: &Entry) -> Result<(), StoreError> {
        let put = self.table.put(self.row(entry)?);
        let put = put.condition_expression("attribute_not_exists(pk)");
        match put.send().await.map_err(StoreError::from) {
            // It stands there already.
            Ok(_) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn row(&self, entry: &Entry) -> Result<Item, StoreError> {
        let key = Key::new(
            format!("user#{}", entry.user_id),
            format!("{}#{}", entry.at, entry.id()),
        );
        let expires_at = (entry.at + signed(self.kept_for)).as_second();
        row(&key, &EntryRow { entry, expires_at })
    }
}
