//! Where the pulse of all events is kept: a row for each hour, in the table of events.

use aws_config::SdkConfig;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{DAYS, Hour, hour_of};
use crate::edge::table::{self, Key, StoreError, Table, number, text};

/// All hours are in one partition: a few hundred small rows.
const PARTITION: &str = "pulse";
/// How long an hour is kept, in days: as long as it is looked at, with margin for a silence.
const KEPT_DAYS: i64 = 3 * DAYS;
const MOST_HOURS: usize = 24 * 22;

/// The pulse of all events.
#[derive(Clone, Debug)]
pub struct Pulse {
    table: Table,
}

#[derive(Deserialize)]
struct HourRow {
    hour: i64,
    events: u64,
    /// In epoch milliseconds.
    last_at: i64,
}

impl Pulse {
    /// The pulse in the table of events, `name`.
    #[must_use]
    pub fn new(config: &SdkConfig, name: impl Into<String>) -> Self {
        Self {
            table: Table::new(config, name),
        }
    }

    /// So many events came, the last of them now.
    pub async fn beat(&self, events: u64, now: Timestamp) -> Result<(), StoreError> {
        let hour = hour_of(now);
        let key = Key::new(PARTITION, format!("{hour:010}"));
        let expires_at = (now + SignedDuration::from_hours(24 * KEPT_DAYS)).as_second();
        self.table
            .update(&key)
            .update_expression("SET #hour = :hour, last_at = :now, expires_at = :expires_at ADD events :events")
            .expression_attribute_names("#hour", "hour")
            .expression_attribute_values(":hour", number(hour))
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .expression_attribute_values(":expires_at", number(expires_at))
            .expression_attribute_values(":events", number(events))
            .send()
            .await?;
        Ok(())
    }

    /// The hours of so many days as are looked at, and those before a silence.
    pub async fn hours(&self, now: Timestamp) -> Result<Vec<Hour>, StoreError> {
        let from = hour_of(now) - 24 * (2 * DAYS + 1);
        let query = self
            .table
            .query()
            .key_condition_expression("pk = :pulse AND sk >= :from")
            .expression_attribute_values(":pulse", text(PARTITION))
            .expression_attribute_values(":from", text(format!("{from:010}")));
        let rows: Vec<HourRow> = table::collect(query, MOST_HOURS).await?;
        let hours = rows.into_iter().filter_map(|row| {
            Some(Hour {
                number: row.hour,
                events: row.events,
                last_at: Timestamp::from_millisecond(row.last_at).ok()?,
            })
        });
        Ok(hours.collect())
    }
}
