//! Where events are kept: one record each, and a slim row for each parked one.

use aws_config::SdkConfig;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use ring_partner::users::AccountId;
use serde::{Deserialize, Serialize};

use super::{EventId, KEPT_FOR, Progress, Record, device_key};
use crate::edge::clock::signed;
use crate::edge::table::{self, Item, Key, StoreError, Table, Write, row, text};

/// The most parked events that one account's link releases at once; the next listing releases more.
const MOST_PARKED: usize = 1_000;

#[derive(Serialize)]
struct RecordRow<'r> {
    #[serde(flatten)]
    record: &'r Record,
    device_key: Option<String>,
    position: Option<String>,
    expires_at: i64,
}

#[derive(Serialize, Deserialize)]
struct ParkedRow {
    event_id: EventId,
    expires_at: i64,
}

/// An event as a device's history shows it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Past {
    /// Its id.
    pub event_id: EventId,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: String,
    /// What moved.
    pub subtype: Option<String>,
    /// Where.
    pub device_id: String,
    /// When.
    pub occurred_at: Timestamp,
    /// When we took it.
    pub received_at: Timestamp,
    /// The media that it asked for.
    #[serde(default)]
    pub media: Vec<String>,
    /// Its place.
    pub position: String,
}

/// Which part of a history is asked for.
#[derive(Clone, Debug, Default)]
pub struct Span {
    /// Not before this time.
    pub from: Option<Timestamp>,
    /// Before this position: the end of an earlier page.
    pub before: Option<String>,
    /// Not after this time.
    pub to: Option<Timestamp>,
    /// Of this type alone.
    pub kind: Option<String>,
}

/// The table of events.
#[derive(Clone, Debug)]
pub struct Events {
    table: Table,
}

impl Events {
    /// The events in the table `name`.
    #[must_use]
    pub fn new(config: &SdkConfig, name: impl Into<String>) -> Self {
        Self {
            table: Table::new(config, name),
        }
    }

    /// One record.
    pub async fn get(&self, id: &EventId) -> Result<Option<Record>, StoreError> {
        self.table.get(&record_key(id)).await
    }

    /// Writes a record that must not be there yet. `Err(Conflict)`: this event is known.
    pub async fn record(&self, record: &Record) -> Result<(), StoreError> {
        self.table
            .put(Self::item(record)?)
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await?;
        Ok(())
    }

    /// Writes a record that must not be there yet, and that it waits for its account, or for its device to be known.
    pub async fn park(&self, record: &Record) -> Result<(), StoreError> {
        let parked = ParkedRow {
            event_id: record.event_id.clone(),
            expires_at: expires_at(record),
        };
        let slim = self.table.put_in(row(&parked_key(record), &parked)?);
        let put = self
            .table
            .put_in(Self::item(record)?)
            .condition_expression("attribute_not_exists(pk)");
        self.table.together(vec![Write::put(put), Write::put(slim)]).await
    }

    /// A parked event takes its course: its account is linked now.
    pub async fn unpark(&self, record: &Record, parked: &Record) -> Result<(), StoreError> {
        let put = self
            .table
            .put_in(Self::item(record)?)
            .condition_expression("progress.#state = :parked")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":parked", text("parked"));
        let slim = self.table.delete_in(&parked_key(parked));
        self.table.together(vec![Write::put(put), Write::delete(slim)]).await
    }

    /// All effects of this event have come.
    pub async fn done(&self, id: &EventId) -> Result<(), StoreError> {
        self.table
            .update(&record_key(id))
            .update_expression("SET progress = :done")
            .expression_attribute_values(":done", serde_dynamo::to_attribute_value(Progress::Done)?)
            .send()
            .await?;
        Ok(())
    }

    /// The events that wait for this account to be linked.
    pub async fn parked(&self, account: &AccountId) -> Result<Vec<EventId>, StoreError> {
        self.parked_under(&format!("parked#account#{account}")).await
    }

    /// The events of the old form, which names no account, that wait for this device to be known.
    pub async fn parked_for_device(&self, device: &str) -> Result<Vec<EventId>, StoreError> {
        self.parked_under(&format!("parked#device#{device}")).await
    }

    async fn parked_under(&self, pk: &str) -> Result<Vec<EventId>, StoreError> {
        let rows: Vec<ParkedRow> = self.table.partition(pk, MOST_PARKED).await?;
        Ok(rows.into_iter().map(|row| row.event_id).collect())
    }

    /// The history of several devices as one, newest first, at most `most`. A position has the same meaning in all of
    /// them, so one cursor serves.
    pub async fn history(&self, devices: &[String], span: &Span, most: usize) -> Result<Vec<Past>, StoreError> {
        let each = devices.iter().map(|device| self.of_device(device, span, most));
        let mut all: Vec<Past> = try_join_all(each).await?.into_iter().flatten().collect();
        all.sort_by(|one, other| other.position.cmp(&one.position));
        all.truncate(most);
        Ok(all)
    }

    async fn of_device(&self, device: &str, span: &Span, most: usize) -> Result<Vec<Past>, StoreError> {
        let from = span.from.map_or(0, Timestamp::as_millisecond);
        // '$' is the character after '#': the position behind all of that millisecond.
        let to = span
            .to
            .map_or_else(|| "9".to_owned(), |to| format!("{:015}$", to.as_millisecond()));
        let to = span.before.as_ref().filter(|before| **before < to).unwrap_or(&to);
        if format!("{from:015}") > *to {
            return Ok(Vec::new());
        }
        let mut query = self
            .table
            .query()
            .index_name("timeline")
            .key_condition_expression("device_key = :device AND #position BETWEEN :from AND :to")
            .expression_attribute_names("#position", "position")
            .expression_attribute_values(":device", text(device))
            .expression_attribute_values(":from", text(format!("{from:015}")))
            .expression_attribute_values(":to", text(to))
            .scan_index_forward(false);
        if let Some(kind) = &span.kind {
            query = query
                .filter_expression("#type = :type")
                .expression_attribute_names("#type", "type")
                .expression_attribute_values(":type", text(kind));
        }
        // BETWEEN includes its end, and the last item of the page before is not part of this one.
        let found: Vec<Past> = table::collect(query, most + 1).await?;
        let before = span.before.as_deref();
        Ok(found
            .into_iter()
            .filter(|past| before != Some(&past.position))
            .take(most)
            .collect())
    }

    fn item(record: &Record) -> Result<Item, StoreError> {
        let place = match (&record.progress, &record.account_id, &record.device_id) {
            (Progress::Parked, ..) => None,
            (_, Some(account), Some(device)) => Some((device_key(account, device), record.position())),
            _ => None,
        };
        let (device_key, position) = place.unzip();
        row(
            &record_key(&record.event_id),
            &RecordRow {
                record,
                device_key,
                position,
                expires_at: expires_at(record),
            },
        )
    }
}

fn expires_at(record: &Record) -> i64 {
    (record.received_at + signed(KEPT_FOR)).as_second()
}

fn record_key(id: &EventId) -> Key {
    Key::new(id.as_str(), "event")
}

/// An event waits for its account; one of the old form, which names none, for its device.
fn parked_key(record: &Record) -> Key {
    let under = match (&record.account_id, &record.device_id) {
        (Some(account), _) => format!("parked#account#{account}"),
        (None, Some(device)) => format!("parked#device#{device}"),
        (None, None) => "parked#nowhere".to_owned(),
    };
    Key::new(under, record.event_id.as_str())
}
