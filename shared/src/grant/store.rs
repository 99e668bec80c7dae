//! Where grants are kept: one row each, a slim row for each unclaimed one (the nonce is matched over those), and a row for
//! each one-time code that was presented.

use std::time::Duration;

use aws_config::SdkConfig;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use ring_partner::users::AccountId;
use serde::{Deserialize, Serialize};

use super::{Grant, GrantId, Lease, Life, Tokens};
use crate::edge::clock::signed;
use crate::edge::key;
use crate::edge::table::{self, Key, StoreError, Table, Write, number, row, text};

/// Over how many partitions the unclaimed and the due are spread.
const SHARDS: u8 = 16;
/// The most unclaimed grants of one shard that a nonce is matched over.
const MOST_UNCLAIMED: usize = 20_000;
/// How long the tombstone of an ended grant stays.
const TOMBSTONE_FOR: Duration = Duration::from_secs(90 * 24 * 3600);
/// How long a presented code is remembered. It lives 60 s at Ring (Ring: Token Lifecycle).
const CODE_REMEMBERED_FOR: Duration = Duration::from_secs(24 * 3600);

/// What became of a one-time code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeOutcome {
    /// Somebody is exchanging it, or died doing so.
    Exchanging,
    /// Its tokens are saved.
    Exchanged,
    /// Ring refused it.
    Refused,
}

#[derive(Serialize, Deserialize)]
struct CodeRow {
    outcome: CodeOutcome,
    /// The grant that it is exchanged for.
    grant_id: GrantId,
    expires_at: i64,
}

/// What the nonce is matched over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unclaimed {
    /// The grant.
    pub grant_id: GrantId,
    /// Whose it is.
    pub account_id: AccountId,
    /// Since when it waits.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub since: Timestamp,
}

#[derive(Deserialize)]
struct DueRow {
    pk: String,
}

#[derive(Serialize)]
struct GrantRow<'g> {
    #[serde(flatten)]
    grant: &'g Grant,
    due_shard: Option<String>,
    due_at: Option<i64>,
}

/// The table of grants.
#[derive(Clone, Debug)]
pub struct Grants {
    table: Table,
}

impl Grants {
    /// The grants in the table `name`.
    #[must_use]
    pub fn new(config: &SdkConfig, name: impl Into<String>) -> Self {
        Self {
            table: Table::new(config, name),
        }
    }

    /// One grant, as it is now.
    pub async fn get(&self, id: &GrantId) -> Result<Option<Grant>, StoreError> {
        self.table.get(&grant_key(id)).await
    }

    /// A grant, if its row says that it is due at `now`.
    pub async fn get_due(&self, id: &GrantId, now: Timestamp) -> Result<Option<Grant>, StoreError> {
        get_due(&self.table, &grant_key(id), now).await
    }

    /// Marks a code (by its hash) as being exchanged for a new grant. `Err(Conflict)`: it was presented before.
    pub async fn take_code(&self, hash: &str, grant: &GrantId, now: Timestamp) -> Result<(), StoreError> {
        let expires_at = (now + signed(CODE_REMEMBERED_FOR)).as_second();
        let code = CodeRow {
            outcome: CodeOutcome::Exchanging,
            grant_id: grant.clone(),
            expires_at,
        };
        self.table
            .put(row(&code_key(hash), &code)?)
            // Our own try whose answer was lost holds it for us.
            .condition_expression("attribute_not_exists(pk) OR grant_id = :grant")
            .expression_attribute_values(":grant", text(grant.as_str()))
            .send()
            .await?;
        Ok(())
    }

    /// What became of a code that was presented before.
    pub async fn code(&self, hash: &str) -> Result<Option<CodeOutcome>, StoreError> {
        Ok(self.table.get::<CodeRow>(&code_key(hash)).await?.map(|row| row.outcome))
    }

    /// Ring refused the code.
    pub async fn refuse_code(&self, hash: &str) -> Result<(), StoreError> {
        let update = self
            .table
            .update(&code_key(hash))
            .update_expression("SET outcome = :refused");
        update
            .expression_attribute_values(":refused", text("refused"))
            .send()
            .await?;
        Ok(())
    }

    /// Ring surely never saw the code: it may be presented again.
    pub async fn give_back_code(&self, hash: &str) -> Result<(), StoreError> {
        self.table.delete(&code_key(hash)).await
    }

    /// Saves a grant as it was issued, and that its code is spent: both or none.
    pub async fn save_issued(&self, grant: &Grant, code: &str, due: Timestamp) -> Result<(), StoreError> {
        let item = row(
            &grant_key(&grant.id),
            &GrantRow {
                grant,
                due_shard: Some(due_shard(&grant.id)),
                due_at: Some(due.as_millisecond()),
            },
        )?;
        let exchanged = self
            .table
            .update_in(&code_key(code))
            .update_expression("SET outcome = :exchanged")
            .expression_attribute_values(":exchanged", text("exchanged"));
        let put = self.table.put_in(item).condition_expression("attribute_not_exists(pk)");
        self.table
            .together(vec![Write::put(put), Write::update(exchanged)])
            .await
    }

    /// A step of a grant's life, from the version before it; with whatever else must be written in the same moment.
    pub async fn advance(
        &self,
        grant: &Grant,
        due: Option<Timestamp>,
        now: Timestamp,
        with: Vec<Write>,
    ) -> Result<(), StoreError> {
        let mut writes = self.writes(grant, due, now)?;
        writes.extend(with);
        self.table.together(writes).await
    }

    /// The writes of a step, to go together with those of another.
    pub fn writes(&self, grant: &Grant, due: Option<Timestamp>, now: Timestamp) -> Result<Vec<Write>, StoreError> {
        let mut writes = vec![self.step(grant, due, now)?];
        match (&grant.life, &grant.account_id) {
            (Life::Unclaimed { since }, Some(account_id)) => {
                let slim = Unclaimed {
                    grant_id: grant.id.clone(),
                    account_id: account_id.clone(),
                    since: *since,
                };
                writes.push(Write::put(self.table.put_in(row(&unclaimed_key(&grant.id), &slim)?)));
            }
            // While it is being claimed its row stays: the claim may be released, or run out.
            (Life::Claiming { .. } | Life::Resolving { .. }, _) => {}
            _ => writes.push(Write::delete(self.table.delete_in(&unclaimed_key(&grant.id)))),
        }
        Ok(writes)
    }

    fn step(&self, grant: &Grant, due: Option<Timestamp>, now: Timestamp) -> Result<Write, StoreError> {
        let mut set = vec!["life = :life", "life_version = :to"];
        let mut remove = Vec::new();
        let mut update = self
            .table
            .update_in(&grant_key(&grant.id))
            .expression_attribute_values(":life", serde_dynamo::to_attribute_value(&grant.life)?)
            .expression_attribute_values(":to", number(grant.life_version))
            .expression_attribute_values(":from", number(grant.life_version - 1));
        if let Some(account) = &grant.account_id {
            set.push("account_id = :account");
            update = update.expression_attribute_values(":account", text(account.as_str()));
        }
        if grant.tokens.is_none() {
            let gone = (now + signed(TOMBSTONE_FOR)).as_second();
            set.push("expires_at = :gone");
            remove.extend(["tokens", "lease"]);
            update = update.expression_attribute_values(":gone", number(gone));
        }
        match due {
            Some(due) => {
                set.extend(["due_shard = :due_shard", "due_at = :due_at"]);
                update = update
                    .expression_attribute_values(":due_shard", text(due_shard(&grant.id)))
                    .expression_attribute_values(":due_at", number(due.as_millisecond()));
            }
            None => remove.extend(["due_shard", "due_at"]),
        }
        let mut expression = format!("SET {}", set.join(", "));
        if !remove.is_empty() {
            expression.push_str(&format!(" REMOVE {}", remove.join(", ")));
        }
        Ok(Write::update(
            update
                .update_expression(expression)
                .condition_expression("life_version = :from"),
        ))
    }

    /// All unclaimed grants, the newest first, read strongly: a grant that was saved a moment ago is among them.
    pub async fn unclaimed(&self) -> Result<Vec<Unclaimed>, StoreError> {
        let shards = (0..SHARDS).map(|shard| {
            let pk = format!("unclaimed#{shard:02}");
            async move { self.table.partition::<Unclaimed>(&pk, MOST_UNCLAIMED).await }
        });
        let mut all: Vec<_> = try_join_all(shards).await?.into_iter().flatten().collect();
        all.sort_by_key(|unclaimed| std::cmp::Reverse(unclaimed.since));
        Ok(all)
    }

    /// Takes the right to renew the pair of this generation. `Err(Conflict)`: somebody has it, or has renewed it already.
    pub async fn lease(&self, id: &GrantId, generation: u64, lease: &Lease, now: Timestamp) -> Result<(), StoreError> {
        self.table
            .update(&grant_key(id))
            .update_expression("SET #lease = :lease")
            .condition_expression(
                "tokens.generation = :generation AND (attribute_not_exists(#lease) OR #lease.#until <= :now OR #lease = :lease)",
            )
            .expression_attribute_names("#lease", "lease")
            .expression_attribute_names("#until", "until")
            .expression_attribute_values(":lease", serde_dynamo::to_attribute_value(lease)?)
            .expression_attribute_values(":generation", number(generation))
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .send()
            .await?;
        Ok(())
    }

    /// Saves a renewed pair and gives the lease back. `Err(Conflict)`: the lease was lost, or the grant has ended.
    pub async fn renew(
        &self,
        id: &GrantId,
        owner: &str,
        tokens: &Tokens,
        due: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let update = self
            .table
            .update(&grant_key(id))
            .condition_expression("#lease.#owner = :owner AND tokens.generation = :before")
            .expression_attribute_names("#lease", "lease")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_values(":owner", text(owner))
            .expression_attribute_values(":before", number(tokens.generation - 1))
            .expression_attribute_values(":tokens", serde_dynamo::to_attribute_value(tokens)?);
        let update = match due {
            Some(due) => update
                .update_expression("SET tokens = :tokens, due_at = :due_at, due_shard = :due_shard REMOVE #lease")
                .expression_attribute_values(":due_shard", text(due_shard(id)))
                .expression_attribute_values(":due_at", number(due.as_millisecond())),
            None => update.update_expression("SET tokens = :tokens REMOVE #lease"),
        };
        update.send().await?;
        Ok(())
    }

    /// Gives the lease back with nothing renewed; the grant comes due at `due`.
    pub async fn give_back(&self, id: &GrantId, owner: &str, due: Option<Timestamp>) -> Result<(), StoreError> {
        let update = self
            .table
            .update(&grant_key(id))
            .condition_expression("#lease.#owner = :owner")
            .expression_attribute_names("#lease", "lease")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_values(":owner", text(owner));
        let update = match due {
            Some(due) => update
                .update_expression("SET due_at = :due_at REMOVE #lease")
                .expression_attribute_values(":due_at", number(due.as_millisecond())),
            None => update.update_expression("REMOVE #lease"),
        };
        update.send().await?;
        Ok(())
    }

    /// The grants that are due at `now`, the longest overdue first, at most `most`.
    pub async fn due(&self, now: Timestamp, most: usize) -> Result<Vec<GrantId>, StoreError> {
        let keys: Vec<DueRow> = due_rows(&self.table, now, most).await?;
        Ok(keys
            .into_iter()
            .filter_map(|row| row.pk.strip_prefix("grant#").map(|id| GrantId(id.to_owned())))
            .collect())
    }
}

/// The rows of a table's sparse index `due` that are due at `now`, the longest overdue first in each shard.
pub(crate) async fn due_rows<T: serde::de::DeserializeOwned>(
    table: &Table,
    now: Timestamp,
    most: usize,
) -> Result<Vec<T>, StoreError> {
    let share = most.div_ceil(usize::from(SHARDS)).max(1);
    let shards = (0..SHARDS).map(|shard| {
        let query = table
            .query()
            .index_name("due")
            .key_condition_expression("due_shard = :shard AND due_at <= :now")
            .expression_attribute_values(":shard", text(format!("{shard:02}")))
            .expression_attribute_values(":now", number(now.as_millisecond()));
        table::collect::<T>(query, share)
    });
    Ok(try_join_all(shards).await?.into_iter().flatten().take(most).collect())
}

/// A row, if it says itself that it is due at `now`: an index may be behind its table.
pub(crate) async fn get_due<T: serde::de::DeserializeOwned>(
    table: &Table,
    key: &Key,
    now: Timestamp,
) -> Result<Option<T>, StoreError> {
    #[derive(Deserialize)]
    struct Due {
        due_at: Option<i64>,
    }
    let Some(item) = table.item(key).await? else {
        return Ok(None);
    };
    let due: Due = serde_dynamo::from_item(item.clone())?;
    match due.due_at {
        Some(due_at) if due_at <= now.as_millisecond() => Ok(Some(serde_dynamo::from_item(item)?)),
        _ => Ok(None),
    }
}

/// The shard of the index `due` that a key belongs to.
pub(crate) fn due_shard_of(key: &str) -> String {
    key::shard(key, SHARDS)
}

fn due_shard(id: &GrantId) -> String {
    due_shard_of(id.as_str())
}

fn grant_key(id: &GrantId) -> Key {
    Key::new(format!("grant#{id}"), "grant")
}

fn code_key(hash: &str) -> Key {
    Key::new(format!("code#{hash}"), "code")
}

fn unclaimed_key(id: &GrantId) -> Key {
    Key::new(format!("unclaimed#{}", key::shard(id.as_str(), SHARDS)), id.as_str())
}
