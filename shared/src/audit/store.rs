//! Where the audit trail is kept: a row for each entry, under its user, in the order of time.

use std::time::Duration;

use aws_config::SdkConfig;
use backon::{ExponentialBuilder, Retryable as _};
use serde::Serialize;

use super::Entry;
use crate::edge::clock::signed;
use crate::edge::key;
use crate::edge::table::{Key, StoreError, Table, row};

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

    /// Writes an entry. What it tells of has happened: that it can't be written undoes nothing, and is loud.
    pub async fn write(&self, entry: &Entry) {
        let waits = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(50))
            .with_max_times(3)
            .with_jitter();
        // One key for all tries, so that a lost answer makes no second entry.
        let id = key::random("aud");
        let written = (async || self.put(entry, &id).await).retry(waits).await;
        if let Err(error) = written {
            tracing::error!(
                alarm = "audit_not_written",
                deed = ?entry.deed,
                user.id = entry.user_id,
                error = &error as &dyn std::error::Error,
                "an entry of the audit trail is not written"
            );
        }
    }

    async fn put(&self, entry: &Entry, id: &str) -> Result<(), StoreError> {
        let key = Key::new(format!("user#{}", entry.user_id), format!("{}#{id}", entry.at));
        let expires_at = (entry.at + signed(self.kept_for)).as_second();
        self.table
            .put(row(&key, &EntryRow { entry, expires_at })?)
            .send()
            .await?;
        Ok(())
    }
}
