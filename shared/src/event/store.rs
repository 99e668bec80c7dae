//! Where events are kept: each as a marker under its id, with whatever repeats of it there were beside it; as a slim row
//! while it is parked; and, once it is done, as a row of its device's history. No index: what an event costs is two writes.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::Select;
use aws_sdk_dynamodb::types::builders::PutBuilder;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use ring_partner::users::AccountId;
use serde::{Deserialize, Serialize};

use super::ports::Records;
use super::{EventId, Past, Place, Record, Repeat};
use crate::edge::table::{self, Item, Key, StoreError, Table, Write, number, row, text};

/// The most parked events that one account's link releases at once; the next listing releases more.
const MOST_PARKED: usize = 1_000;
/// How many events are forgotten together.
const FORGOTTEN_TOGETHER: usize = 8;
/// The most repeats of one event that are looked at.
const MOST_REPEATS: usize = 100;

#[derive(Serialize, Deserialize)]
struct ParkedRow {
    event_id: EventId,
    expires_at: i64,
}

/// Which part of a history is asked for.
#[derive(Clone, Debug)]
pub struct Span {
    /// Not before this time.
    pub from: Option<Timestamp>,
    /// Before this position: the end of an earlier page.
    pub before: Option<String>,
    /// Not after this time.
    pub to: Option<Timestamp>,
    /// Of this type alone.
    pub kind: Option<String>,
    /// What has run out by this time is left out, whether it was deleted yet or not.
    pub now: Timestamp,
}

/// Where a page ended, and the next one begins.
#[derive(Clone, Debug)]
pub struct PageEnd(Item);

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
        all.sort_by_cached_key(|past| std::cmp::Reverse(past.place().position));
        all.truncate(most);
        Ok(all)
    }

    /// How many events of a device there are in this span; what lies before a position is not told apart.
    pub async fn count(&self, device: &str, span: &Span) -> Result<usize, StoreError> {
        let Some(query) = self.query_of(device, span) else {
            return Ok(0);
        };
        let query = query.select(Select::Count);
        let (mut count, mut from) = (0, None);
        loop {
            let page = query.clone().set_exclusive_start_key(from).send().await?;
            count += usize::try_from(page.count).unwrap_or(0);
            from = page.last_evaluated_key.filter(|key| !key.is_empty());
            if from.is_none() {
                return Ok(count);
            }
        }
    }

    async fn of_device(&self, device: &str, span: &Span, most: usize) -> Result<Vec<Past>, StoreError> {
        let Some(query) = self.query_of(device, span) else {
            return Ok(Vec::new());
        };
        // BETWEEN includes its end, and the last item of the page before is not part of this one.
        let found: Vec<Past> = table::collect(query, most + 1).await?;
        let before = span.before.as_deref();
        Ok(found
            .into_iter()
            .filter(|past| before != Some(&past.place().position))
            .take(most)
            .collect())
    }

    /// The query of a device's events in this span, newest first; none where the span is empty.
    fn query_of(&self, device: &str, span: &Span) -> Option<QueryFluentBuilder> {
        let from = span.from.map_or(0, Timestamp::as_millisecond);
        // '$' is the character after '#': the position behind all of that millisecond.
        let to = span
            .to
            .map_or_else(|| "9".to_owned(), |to| format!("{:015}$", to.as_millisecond()));
        let to = span.before.as_ref().filter(|before| **before < to).unwrap_or(&to);
        if format!("{from:015}") > *to {
            return None;
        }
        let mut query = self
            .table
            .query()
            .key_condition_expression("pk = :device AND sk BETWEEN :from AND :to")
            .filter_expression("expires_at > :now")
            .expression_attribute_values(":now", number(span.now.as_second()))
            .expression_attribute_values(":device", text(device))
            .expression_attribute_values(":from", text(format!("{from:015}")))
            .expression_attribute_values(":to", text(to))
            .scan_index_forward(false);
        if let Some(kind) = &span.kind {
            query = query
                .filter_expression("expires_at > :now AND #type = :type")
                .expression_attribute_names("#type", "type")
                .expression_attribute_values(":type", text(kind));
        }
        Some(query)
    }

    /// Forgets the events of a history that were received before this time, each with its marker and its repeats, at most
    /// `most` of them. Whether these were all.
    pub async fn forget_before(&self, history: &str, before: Timestamp, most: usize) -> Result<bool, StoreError> {
        let query = self
            .table
            .query()
            .key_condition_expression("pk = :history")
            .filter_expression("received_at < :before")
            .expression_attribute_values(":history", text(history))
            .expression_attribute_values(":before", text(before.to_string()));
        let found: Vec<Past> = table::collect(query, most).await?;
        for together in found.chunks(FORGOTTEN_TOGETHER) {
            try_join_all(
                together
                    .iter()
                    .map(|past| self.table.forget_partition(past.event_id.as_str())),
            )
            .await?;
            // The row last: it is what the marker is found by.
            let rows: Vec<_> = together.iter().map(|past| place_key(&past.place())).collect();
            try_join_all(rows.iter().map(|row| self.table.delete(row))).await?;
        }
        Ok(found.len() < most)
    }

    /// Forgets the events that wait for an account to be linked, or for one of its devices to be known.
    pub async fn forget_parked<'d>(
        &self,
        account: &AccountId,
        devices: impl Iterator<Item = &'d str>,
    ) -> Result<(), StoreError> {
        let of_devices = devices.map(|device| format!("parked#device#{device}"));
        for under in of_devices.chain([format!("parked#account#{account}")]) {
            for event_id in self.parked_under(&under).await? {
                self.table.forget_partition(event_id.as_str()).await?;
            }
            self.table.forget_partition(&under).await?;
        }
        Ok(())
    }

    /// What repeats of an event there were that were not the same to the letter.
    pub async fn repeats(&self, id: &EventId) -> Result<Vec<Repeat>, StoreError> {
        let query = self
            .table
            .query()
            .key_condition_expression("pk = :event AND begins_with(sk, :seen)")
            .expression_attribute_values(":event", text(id.as_str()))
            .expression_attribute_values(":seen", text("seen_"))
            .consistent_read(true);
        table::collect(query, MOST_REPEATS).await
    }

    /// Events that are done, a page of those that were received in this time: of one history, or of the whole table, which is
    /// read through for it. In no order. What is given back with them is where the next page begins.
    pub async fn done_between(
        &self,
        history: Option<&str>,
        received: &std::ops::Range<Timestamp>,
        after: Option<PageEnd>,
    ) -> Result<(Vec<Past>, Option<PageEnd>), StoreError> {
        let after = after.map(|PageEnd(key)| key);
        let (items, end) = match history {
            Some(history) => {
                let page = self
                    .table
                    .query()
                    .key_condition_expression("pk = :history")
                    .expression_attribute_values(":history", text(history))
                    .set_exclusive_start_key(after)
                    .send()
                    .await?;
                (page.items, page.last_evaluated_key)
            }
            None => {
                let page = self
                    .table
                    .scan()
                    .filter_expression("attribute_exists(ledger)")
                    .set_exclusive_start_key(after)
                    .send()
                    .await?;
                (page.items, page.last_evaluated_key)
            }
        };
        let mut found = Vec::new();
        for item in items.unwrap_or_default() {
            let past: Past = serde_dynamo::from_item(item)?;
            if received.contains(&past.received_at) {
                found.push(past);
            }
        }
        Ok((found, end.filter(|key| !key.is_empty()).map(PageEnd)))
    }

    /// The put of a marker that must not be there yet. One that has run out counts as not there, deleted or not.
    fn put_new(&self, record: &Record, now: Timestamp) -> Result<PutBuilder, StoreError> {
        let put = self.table.put_in(row(&marker_key(&record.event_id), record)?);
        Ok(put
            .condition_expression(NEW)
            .expression_attribute_values(":now", number(now.as_second())))
    }
}

/// There is no such marker, or none that counts.
const NEW: &str = "attribute_not_exists(pk) OR expires_at <= :now";

impl Records for Events {
    async fn get(&self, id: &EventId) -> Result<Option<Record>, StoreError> {
        self.table.get(&marker_key(id)).await
    }

    async fn record(&self, record: &Record, now: Timestamp) -> Result<(), StoreError> {
        self.table
            .put(row(&marker_key(&record.event_id), record)?)
            .condition_expression(NEW)
            .expression_attribute_values(":now", number(now.as_second()))
            .send()
            .await?;
        Ok(())
    }

    async fn park(&self, record: &Record, now: Timestamp) -> Result<(), StoreError> {
        let parked = ParkedRow {
            event_id: record.event_id.clone(),
            expires_at: record.expires_at,
        };
        let slim = self.table.put_in(row(&parked_key(record), &parked)?);
        self.table
            .together(vec![Write::put(self.put_new(record, now)?), Write::put(slim)])
            .await
    }

    async fn release(&self, record: &Record, parked: &Record) -> Result<(), StoreError> {
        let put = self
            .table
            .put_in(row(&marker_key(&record.event_id), record)?)
            .condition_expression("progress.#state = :parked")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":parked", text("parked"));
        let slim = self.table.delete_in(&parked_key(parked));
        self.table.together(vec![Write::put(put), Write::delete(slim)]).await
    }

    async fn past(&self, place: &Place) -> Result<Option<Past>, StoreError> {
        self.table.get(&place_key(place)).await
    }

    async fn done(&self, past: &Past) -> Result<(), StoreError> {
        self.table.put(row(&place_key(&past.place()), past)?).send().await?;
        Ok(())
    }

    async fn repeated(&self, id: &EventId, repeat: &Repeat) -> Result<(), StoreError> {
        let key = Key::new(id.as_str(), repeat.name());
        self.table.put(row(&key, repeat)?).send().await?;
        Ok(())
    }
}

fn marker_key(id: &EventId) -> Key {
    Key::new(id.as_str(), "event")
}

fn place_key(place: &Place) -> Key {
    Key::new(&place.partition, &place.position)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_dynamodb::types::AttributeValue;
    use ring_partner::webhook::Webhook;

    use super::*;
    use crate::edge::table::Item;
    use crate::event::{Delivery, Effect, Plan, Step};

    /// The size of an item, as DynamoDB counts it.
    fn size(item: &Item) -> usize {
        item.iter().map(|(name, value)| name.len() + size_of(value)).sum()
    }

    fn size_of(value: &AttributeValue) -> usize {
        match value {
            AttributeValue::S(text) => text.len(),
            AttributeValue::N(digits) => digits.len() / 2 + 2,
            AttributeValue::L(values) => 3 + values.iter().map(|value| 1 + size_of(value)).sum::<usize>(),
            AttributeValue::M(fields) => 3 + fields.len() + size(fields),
            _ => 1,
        }
    }

    /// Ids as long as Ring's are seen to be, and twice that.
    #[test]
    fn a_marker_and_a_row_of_the_history_are_a_write_unit_each() {
        let now: Timestamp = "2026-02-13T13:39:58.123456789Z".parse().unwrap();
        let id = "ava1.ring.device.".to_owned() + &"X".repeat(32);
        let body = serde_json::json!({
            "meta": {"version": "1.1", "time": "2026-02-13T13:39:57.200155525Z",
                     "request_id": "2ad45ade-1818-4154-813b-afdd8bcd8085",
                     "account_id": "ava1.ring.account.".to_owned() + &"X".repeat(32)},
            "data": {"id": format!("{id}_human_1770989995231"), "type": "motion_detected", "subType": "other_motion",
                     "attributes": {"source": id, "source_type": "devices", "timestamp": 1_770_989_995_231_i64}},
        })
        .to_string();
        let delivery = Delivery {
            message: "91895b8e-683c-430a-8a43-a1016f2b7218".to_owned(),
            received_at: now,
        };
        let webhook = Webhook::parse(body.as_bytes()).unwrap();
        let record = Record::of(&webhook, body.as_bytes(), &delivery, Duration::ZERO, now);
        let account = record.account_id.clone().unwrap();
        let effects = vec![Effect::Snapshot, Effect::Announce];
        let ledger = effects.iter().map(|effect| Step {
            effect: effect.as_str().to_owned(),
            at: now,
            note: None,
        });
        let ledger = ledger.collect();
        let plan = Plan {
            effects,
            notify: Some(true),
        };
        let record = record.pending(&account, plan, &delivery.message, now);
        let past = record.past(&account, ledger, vec![format!("med_{}", "X".repeat(27))]);
        let marker = row(&marker_key(&record.event_id), &record).unwrap();
        let past = row(&place_key(&past.place()), &past).unwrap();
        assert!(size(&marker) <= 1024, "{} bytes", size(&marker));
        assert!(size(&past) <= 1024, "{} bytes", size(&past));
    }
}
