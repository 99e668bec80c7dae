//! Where the audit trail is kept: a row for each entry, under its user's pseudonym, in the order of time. The key that says
//! whose a pseudonym is, and opens its entries, lies apart from them, among the links.

use std::time::Duration;

use aws_config::SdkConfig;
use backon::{ExponentialBuilder, Retryable as _};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::seal::{AuditKey, Unsealable};
use super::{Deed, Entry};
use crate::edge::clock::signed;
use crate::edge::key::{derived, random_bits};
use crate::edge::table::{Item, Key, StoreError, Table, Write, row, text};

/// How long an answer may wait for the trail.
const WRITE_WITHIN: Duration = Duration::from_secs(4);

/// An entry as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct EntryRow {
    at: Timestamp,
    deed: Deed,
    /// Who, as the trail knows them.
    who: String,
    /// The whole entry, sealed.
    sealed: String,
    expires_at: i64,
}

/// An entry as far as it can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// When.
    pub at: Timestamp,
    /// What.
    pub deed: Deed,
    /// Who, as the trail knows them.
    pub who: String,
    /// All of it; `None`: its user was erased, and its key destroyed.
    pub entry: Option<Entry>,
}

/// Where a page ended, and the next one begins.
#[derive(Clone, Debug)]
pub struct PageEnd(Item);

/// The table of the audit trail.
#[derive(Clone, Debug)]
pub struct Audit {
    table: Table,
    /// The table of links, which has the keys.
    keys: Table,
    kept_for: Duration,
}

impl Audit {
    /// The trail in the table `name`, whose entries are kept for so many days, and their keys in the table of links.
    #[must_use]
    pub fn new(config: &SdkConfig, name: impl Into<String>, days: u64, links: impl Into<String>) -> Self {
        Self {
            table: Table::new(config, name),
            keys: Table::new(config, links),
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
            user.hash = derived("usr", &[&entry.user_id]),
            error,
            "an entry of the audit trail is not written"
        );
    }

    /// The write of an entry, to go together with those of what it tells.
    pub(crate) async fn write_of(&self, entry: &Entry) -> Result<Write, StoreError> {
        Ok(Write::put(self.table.put_in(self.row(entry).await?)))
    }

    /// Keeps an entry, once, however often.
    pub async fn keep(&self, entry: &Entry) -> Result<(), StoreError> {
        let put = self.table.put(self.row(entry).await?);
        let put = put.condition_expression("attribute_not_exists(pk)");
        match put.send().await.map_err(StoreError::from) {
            // It stands there already.
            Ok(_) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Destroys the key to a user's entries: nobody can say any more whose they are, or what they are about.
    pub async fn forget(&self, user_id: &str) -> Result<(), StoreError> {
        let Some(key) = self.keys.get::<AuditKey>(&key_of_user(user_id)).await? else {
            return Ok(());
        };
        let rows = [key_of_user(user_id), key_of_pseudonym(&key.pseudonym)];
        let deletes = rows.iter().map(|row| Write::delete(self.keys.delete_in(row)));
        self.keys.together(deletes.collect()).await
    }

    /// A page of the trail, and where the next one begins: a user's in the order of time, or everybody's in no order.
    pub async fn page(
        &self,
        user_id: Option<&str>,
        after: Option<PageEnd>,
    ) -> Result<(Vec<Read>, Option<PageEnd>), StoreError> {
        let after = after.map(|PageEnd(key)| key);
        let (items, end) = match user_id {
            Some(user_id) => {
                let Some(key) = self.keys.get::<AuditKey>(&key_of_user(user_id)).await? else {
                    return Ok((Vec::new(), None));
                };
                let query = self
                    .table
                    .query()
                    .key_condition_expression("pk = :who")
                    .expression_attribute_values(":who", text(partition(&key.pseudonym)));
                let page = query.set_exclusive_start_key(after).send().await?;
                (page.items, page.last_evaluated_key)
            }
            None => {
                let page = self.table.scan().set_exclusive_start_key(after).send().await?;
                (page.items, page.last_evaluated_key)
            }
        };
        let mut read = Vec::new();
        let mut known: Option<(String, Option<AuditKey>)> = None;
        for item in items.unwrap_or_default() {
            let row: EntryRow = serde_dynamo::from_item(item)?;
            // A page has one user's entries side by side.
            let key = match known.take() {
                Some((who, key)) if who == row.who => key,
                _ => self.keys.get(&key_of_pseudonym(&row.who)).await?,
            };
            read.push(Read {
                at: row.at,
                deed: row.deed,
                entry: key.as_ref().and_then(|key| key.open(&row.sealed).ok()),
                who: row.who.clone(),
            });
            known = Some((row.who, key));
        }
        Ok((read, end.filter(|key| !key.is_empty()).map(PageEnd)))
    }

    async fn row(&self, entry: &Entry) -> Result<Item, StoreError> {
        let key = self.key(&entry.user_id).await?;
        let place = Key::new(partition(&key.pseudonym), format!("{}#{}", entry.at, key.id_of(entry)));
        let row_of_entry = EntryRow {
            at: entry.at,
            deed: entry.deed,
            sealed: key.seal(entry).map_err(unsealable)?,
            who: key.pseudonym,
            expires_at: (entry.at + signed(self.kept_for)).as_second(),
        };
        row(&place, &row_of_entry)
    }

    /// The key to a user's entries, drawn with the first of them.
    async fn key(&self, user_id: &str) -> Result<AuditKey, StoreError> {
        let place = key_of_user(user_id);
        if let Some(key) = self.keys.get(&place).await? {
            return Ok(key);
        }
        let key = AuditKey::new(user_id, [random_bits(), random_bits(), random_bits()]);
        let new = "attribute_not_exists(pk)";
        let puts = [
            self.keys.put_in(row(&place, &key)?).condition_expression(new),
            self.keys.put_in(row(&key_of_pseudonym(&key.pseudonym), &key)?),
        ];
        match self.keys.together(puts.map(Write::put).into()).await {
            Ok(()) => Ok(key),
            // Another process has drawn one in this moment.
            Err(StoreError::Conflict) => self.keys.get(&place).await?.ok_or(StoreError::Conflict),
            Err(error) => Err(error),
        }
    }
}

fn unsealable(error: Unsealable) -> StoreError {
    StoreError::Unavailable(error.into())
}

fn partition(pseudonym: &str) -> String {
    format!("user#{pseudonym}")
}

fn key_of_user(user_id: &str) -> Key {
    Key::new(format!("audit#{user_id}"), "key")
}

fn key_of_pseudonym(pseudonym: &str) -> Key {
    Key::new(format!("audit#{pseudonym}"), "key")
}
