//! Where grants are kept: one row each, a slim row for each unclaimed one (the nonce is matched over those) and for each whose
//! owner is not known yet, a row for each one-time code that was presented, and what each hour's renewals came to.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValue;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ports::{CodeOutcome, Grants, Tally, Unclaimed};
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

/// The partition of the grants whose owner is not known yet: few, and none for long.
const RESOLVING: &str = "resolving";
const TALLY_HOUR_SECONDS: i64 = 3600;
const TALLY_KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

#[derive(Serialize, Deserialize)]
struct CodeRow {
    outcome: CodeOutcome,
    /// The grant that it is exchanged for.
    grant_id: GrantId,
    expires_at: i64,
}

#[derive(Deserialize)]
struct DueRow {
    pk: String,
    due_at: i64,
}

#[derive(Serialize)]
struct GrantRow<'g> {
    #[serde(flatten)]
    grant: &'g Grant,
    due_shard: Option<String>,
    due_at: Option<i64>,
}

/// A grant whose owner is not known yet.
#[derive(Serialize, Deserialize)]
struct Resolving {
    grant_id: GrantId,
}

/// The table of grants.
#[derive(Clone, Debug)]
pub struct GrantTable {
    table: Table,
}

impl GrantTable {
    /// The grants in the table `name`.
    #[must_use]
    pub fn new(config: &SdkConfig, name: impl Into<String>) -> Self {
        Self {
            table: Table::new(config, name),
        }
    }

    /// The writes of a step, to go together with those of a link.
    pub(crate) fn writes(
        &self,
        grant: &Grant,
        due: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Vec<Write>, StoreError> {
        let mut writes = vec![self.step(grant, due, now)?];
        let no_longer = |key| Write::delete(self.table.delete_in(&key));
        match (&grant.life, &grant.account_id) {
            (Life::Unclaimed { since }, Some(account_id)) => {
                let slim = Unclaimed {
                    grant_id: grant.id.clone(),
                    account_id: account_id.clone(),
                    since: *since,
                };
                writes.push(Write::put(self.table.put_in(row(&unclaimed_key(&grant.id), &slim)?)));
                writes.push(no_longer(resolving_key(&grant.id)));
            }
            (Life::Confirmed, _) => writes.push(no_longer(unclaimed_key(&grant.id))),
            (Life::RelinkRequired { .. } | Life::Ended { .. }, _) => {
                writes.push(no_longer(unclaimed_key(&grant.id)));
                writes.push(no_longer(resolving_key(&grant.id)));
            }
            // While it is being claimed its slim row stays: the claim may be released, or run out.
            _ => {}
        }
        Ok(writes)
    }

    fn step(&self, grant: &Grant, due: Option<Timestamp>, now: Timestamp) -> Result<Write, StoreError> {
        let mut set = vec!["life = :life", "life_version = :to"];
        let mut remove = Vec::new();
        let mut condition = "life_version = :from".to_owned();
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
        match (&grant.life, &grant.tokens) {
            (_, None) => {
                let gone = (now + signed(TOMBSTONE_FOR)).as_second();
                set.push("expires_at = :gone");
                remove.extend(["tokens", "lease"]);
                update = update.expression_attribute_values(":gone", number(gone));
            }
            // A pair that was renewed meanwhile is not the one that was refused.
            (Life::RelinkRequired { .. }, Some(tokens)) => {
                condition.push_str(" AND tokens.generation = :generation");
                update = update.expression_attribute_values(":generation", number(tokens.generation));
            }
            _ => {}
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
            update.update_expression(expression).condition_expression(condition),
        ))
    }

    /// The update that stores a pair and sets the lease free, for its condition to be added.
    fn store_pair(
        &self,
        id: &GrantId,
        tokens: &Tokens,
        due: Option<Timestamp>,
    ) -> Result<UpdateItemFluentBuilder, StoreError> {
        let update = self
            .table
            .update(&grant_key(id))
            .expression_attribute_names("#lease", "lease")
            .expression_attribute_values(":before", number(tokens.generation - 1))
            .expression_attribute_values(":tokens", serde_dynamo::to_attribute_value(tokens)?);
        Ok(match due {
            Some(due) => update
                .update_expression("SET tokens = :tokens, due_at = :due_at, due_shard = :due_shard REMOVE #lease")
                .expression_attribute_values(":due_shard", text(due_shard(id)))
                .expression_attribute_values(":due_at", number(due.as_millisecond())),
            None => update.update_expression("SET tokens = :tokens REMOVE #lease"),
        })
    }
}

impl Grants for GrantTable {
    async fn get(&self, id: &GrantId) -> Result<Option<Grant>, StoreError> {
        self.table.get(&grant_key(id)).await
    }

    async fn get_due(&self, id: &GrantId, now: Timestamp) -> Result<Option<Grant>, StoreError> {
        get_due(&self.table, &grant_key(id), now).await
    }

    async fn take_code(&self, hash: &str, grant: &GrantId, now: Timestamp) -> Result<(), StoreError> {
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

    async fn code(&self, hash: &str) -> Result<Option<CodeOutcome>, StoreError> {
        Ok(self.table.get::<CodeRow>(&code_key(hash)).await?.map(|row| row.outcome))
    }

    async fn refuse_code(&self, hash: &str) -> Result<(), StoreError> {
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

    async fn give_back_code(&self, hash: &str) -> Result<(), StoreError> {
        self.table.delete(&code_key(hash)).await
    }

    async fn save_issued(&self, grant: &Grant, code: &str, due: Timestamp) -> Result<(), StoreError> {
        let item = row(
            &grant_key(&grant.id),
            &GrantRow {
                grant,
                due_shard: Some(due_shard(&grant.id)),
                due_at: Some(due.as_millisecond()),
            },
        )?;
        let resolving = Resolving {
            grant_id: grant.id.clone(),
        };
        let exchanged = self
            .table
            .update_in(&code_key(code))
            .update_expression("SET outcome = :exchanged")
            .expression_attribute_values(":exchanged", text("exchanged"));
        let put = self.table.put_in(item).condition_expression("attribute_not_exists(pk)");
        let resolving = self.table.put_in(row(&resolving_key(&grant.id), &resolving)?);
        self.table
            .together(vec![Write::put(put), Write::put(resolving), Write::update(exchanged)])
            .await
    }

    async fn advance(&self, grant: &Grant, due: Option<Timestamp>, now: Timestamp) -> Result<(), StoreError> {
        self.table.together(self.writes(grant, due, now)?).await
    }

    async fn unclaimed(&self) -> Result<Vec<Unclaimed>, StoreError> {
        let shards = (0..SHARDS).map(|shard| {
            let pk = format!("unclaimed#{shard:02}");
            async move { self.table.partition::<Unclaimed>(&pk, MOST_UNCLAIMED).await }
        });
        let mut all: Vec<_> = try_join_all(shards).await?.into_iter().flatten().collect();
        all.sort_by_key(|unclaimed| std::cmp::Reverse(unclaimed.since));
        Ok(all)
    }

    async fn resolving(&self, most: usize) -> Result<Vec<GrantId>, StoreError> {
        let rows: Vec<Resolving> = self.table.partition(RESOLVING, most).await?;
        Ok(rows.into_iter().map(|row| row.grant_id).collect())
    }

    async fn lease(&self, id: &GrantId, generation: u64, lease: &Lease, now: Timestamp) -> Result<(), StoreError> {
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

    async fn renew(
        &self,
        id: &GrantId,
        owner: &str,
        tokens: &Tokens,
        due: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.store_pair(id, tokens, due)?
            .condition_expression("#lease.#owner = :owner AND tokens.generation = :before")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_values(":owner", text(owner))
            .send()
            .await?;
        Ok(())
    }

    async fn save_rescued(&self, id: &GrantId, tokens: &Tokens, due: Option<Timestamp>) -> Result<(), StoreError> {
        self.store_pair(id, tokens, due)?
            .condition_expression("tokens.generation = :before")
            .send()
            .await?;
        Ok(())
    }

    async fn give_back(&self, id: &GrantId, owner: &str, due: Option<Timestamp>) -> Result<(), StoreError> {
        let update = self
            .table
            .update(&grant_key(id))
            .condition_expression("#lease.#owner = :owner")
            .expression_attribute_names("#lease", "lease")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_values(":owner", text(owner));
        let update = match due {
            Some(due) => update
                .update_expression("SET due_at = :due_at, due_shard = :due_shard REMOVE #lease")
                .expression_attribute_values(":due_shard", text(due_shard(id)))
                .expression_attribute_values(":due_at", number(due.as_millisecond())),
            None => update.update_expression("REMOVE #lease"),
        };
        update.send().await?;
        Ok(())
    }

    async fn put_off(&self, id: &GrantId, due: Timestamp) -> Result<(), StoreError> {
        put_off(&self.table, &grant_key(id), due).await
    }

    async fn due(&self, now: Timestamp, most: usize) -> Result<Vec<GrantId>, StoreError> {
        let due = due_partitions(&self.table, now, most).await?;
        Ok(due
            .iter()
            .filter_map(|pk| pk.strip_prefix("grant#").map(GrantId::kept))
            .collect())
    }

    async fn tally(&self, add: Tally, now: Timestamp) -> Result<Tally, StoreError> {
        let hour = now.as_second().div_euclid(TALLY_HOUR_SECONDS);
        let expires_at = now + signed(TALLY_KEPT_FOR);
        let added = self
            .table
            .update(&tally_key(hour))
            .update_expression("ADD renewed :renewed, refused :refused SET expires_at = :expires_at")
            .expression_attribute_values(":renewed", number(add.renewed))
            .expression_attribute_values(":refused", number(add.refused))
            .expression_attribute_values(":expires_at", number(expires_at.as_second()))
            .return_values(ReturnValue::AllNew)
            .send()
            .await?;
        let this: Tally = serde_dynamo::from_item(added.attributes.unwrap_or_default())?;
        let before: Tally = self.table.get(&tally_key(hour - 1)).await?.unwrap_or_default();
        Ok(Tally {
            renewed: this.renewed + before.renewed,
            refused: this.refused + before.refused,
        })
    }
}

/// The partitions of a table's rows that are due at `now` by its sparse index `due`, the longest overdue first.
pub(crate) async fn due_partitions(table: &Table, now: Timestamp, most: usize) -> Result<Vec<String>, StoreError> {
    // Keys are spread evenly: a shard has more than twice its share of the oldest only by a rare chance, and then the rest
    // of them a minute later.
    let share = (2 * most).div_ceil(usize::from(SHARDS)).max(1);
    let shards = (0..SHARDS).map(|shard| {
        let query = table
            .query()
            .index_name("due")
            .key_condition_expression("due_shard = :shard AND due_at <= :now")
            .expression_attribute_values(":shard", text(format!("{shard:02}")))
            .expression_attribute_values(":now", number(now.as_millisecond()));
        table::collect::<DueRow>(query, share)
    });
    let mut due: Vec<DueRow> = try_join_all(shards).await?.into_iter().flatten().collect();
    due.sort_by_key(|row| row.due_at);
    due.truncate(most);
    Ok(due.into_iter().map(|row| row.pk).collect())
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

/// A row that is due, or will be, comes due at `due`. `Err(Conflict)`: it never does.
pub(crate) async fn put_off(table: &Table, key: &Key, due: Timestamp) -> Result<(), StoreError> {
    table
        .update(key)
        .update_expression("SET due_at = :due_at")
        .condition_expression("attribute_exists(due_at)")
        .expression_attribute_values(":due_at", number(due.as_millisecond()))
        .send()
        .await?;
    Ok(())
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

fn resolving_key(id: &GrantId) -> Key {
    Key::new(RESOLVING, id.as_str())
}

fn tally_key(hour: i64) -> Key {
    Key::new(format!("tally#{hour}"), "tally")
}

fn unclaimed_key(id: &GrantId) -> Key {
    Key::new(format!("unclaimed#{}", key::shard(id.as_str(), SHARDS)), id.as_str())
}
