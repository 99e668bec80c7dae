//! Where grants are kept: one row each, a slim row for each unclaimed one (the nonce is matched over those) and for each whose
//! owner is not known yet, a row for each one-time code that was presented, and what each hour's and day's renewals came to.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder as Update;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ports::{CodeOutcome, Due, Grants, Tallies, Tally, Unclaimed};
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
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Serialize, Deserialize)]
struct CodeRow {
    outcome: CodeOutcome,
    /// The grant that it is exchanged for.
    grant_id: GrantId,
    expires_at: i64,
}

/// A row as the index of what is due has it.
#[derive(Deserialize)]
pub(crate) struct DueRow {
    pub(crate) pk: String,
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
                writes.push(no_longer(resolving_key(grant)));
            }
            (Life::Confirmed, _) => writes.push(no_longer(unclaimed_key(&grant.id))),
            (Life::RelinkRequired { .. } | Life::Ended { .. }, _) => {
                writes.push(no_longer(unclaimed_key(&grant.id)));
                writes.push(no_longer(resolving_key(grant)));
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
        if let (Some(account), Some(_)) = (&grant.account_id, &grant.tokens) {
            set.push("account_id = :account");
            update = update.expression_attribute_values(":account", text(account.as_str()));
        }
        match (&grant.life, &grant.tokens) {
            (_, None) => {
                let gone = (now + signed(TOMBSTONE_FOR)).as_second();
                set.push("expires_at = :gone");
                // What stays for a while says that it is over, and not whose it was.
                remove.extend(["tokens", "lease", "account_id"]);
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

    /// Sets a grant's lease free, under `condition`, with what `set` sets. It comes due at `due` if its life is as it was
    /// read; if it is not, it comes due by that.
    async fn set_free(
        &self,
        id: &GrantId,
        set: Option<&'static str>,
        condition: &'static str,
        due: Option<Due>,
        values: impl Fn(Update) -> Update,
    ) -> Result<(), StoreError> {
        let update = || values(self.table.update(&grant_key(id))).expression_attribute_names("#lease", "lease");
        if let Some(Due { at, life_version }) = due {
            let set: Vec<_> = set
                .into_iter()
                .chain(["due_at = :due_at", "due_shard = :due_shard"])
                .collect();
            let due = update()
                .update_expression(format!("SET {} REMOVE #lease", set.join(", ")))
                .condition_expression(format!("{condition} AND life_version = :life_version"))
                .expression_attribute_values(":life_version", number(life_version))
                .expression_attribute_values(":due_shard", text(due_shard(id)))
                .expression_attribute_values(":due_at", number(at.as_millisecond()));
            match due.send().await.map_err(StoreError::from) {
                Err(StoreError::Conflict) => {}
                done => return done.map(|_| ()),
            }
        }
        let set = set.map(|set| format!("SET {set} ")).unwrap_or_default();
        let plain = update()
            .update_expression(format!("{set}REMOVE #lease"))
            .condition_expression(condition);
        plain.send().await?;
        Ok(())
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

    async fn refuse_code(&self, hash: &str, grant: &GrantId) -> Result<(), StoreError> {
        self.table
            .update(&code_key(hash))
            .update_expression("SET outcome = :refused")
            .condition_expression("grant_id = :grant")
            .expression_attribute_values(":refused", text("refused"))
            .expression_attribute_values(":grant", text(grant.as_str()))
            .send()
            .await?;
        Ok(())
    }

    async fn give_back_code(&self, hash: &str, grant: &GrantId) -> Result<(), StoreError> {
        let delete = self
            .table
            .delete_in(&code_key(hash))
            .condition_expression("attribute_not_exists(pk) OR grant_id = :grant")
            .expression_attribute_values(":grant", text(grant.as_str()));
        self.table.together(vec![Write::delete(delete)]).await
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
            // All of the row: one that was forgotten meanwhile is made anew.
            .update_expression("SET outcome = :exchanged, grant_id = :grant, expires_at = :expires_at")
            .expression_attribute_values(":exchanged", text("exchanged"))
            .expression_attribute_values(":grant", text(grant.id.as_str()))
            .expression_attribute_values(
                ":expires_at",
                number((grant.issued_at + signed(CODE_REMEMBERED_FOR)).as_second()),
            );
        let put = self.table.put_in(item).condition_expression("attribute_not_exists(pk)");
        let resolving = self.table.put_in(row(&resolving_key(grant), &resolving)?);
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
        let query = self
            .table
            .query()
            .key_condition_expression("pk = :resolving")
            .expression_attribute_values(":resolving", text(RESOLVING))
            .scan_index_forward(false)
            .consistent_read(true);
        let rows: Vec<Resolving> = table::collect(query, most).await?;
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

    async fn renew(&self, id: &GrantId, owner: &str, tokens: &Tokens, due: Option<Due>) -> Result<(), StoreError> {
        let pair: AttributeValue = serde_dynamo::to_attribute_value(tokens)?;
        let condition = "#lease.#owner = :owner AND tokens.generation = :before";
        self.set_free(id, Some("tokens = :tokens"), condition, due, |update| {
            update
                .expression_attribute_values(":tokens", pair.clone())
                .expression_attribute_values(":before", number(tokens.generation - 1))
                .expression_attribute_names("#owner", "owner")
                .expression_attribute_values(":owner", text(owner))
        })
        .await
    }

    async fn save_rescued(&self, id: &GrantId, tokens: &Tokens, due: Option<Due>) -> Result<(), StoreError> {
        let pair: AttributeValue = serde_dynamo::to_attribute_value(tokens)?;
        let condition = "tokens.generation = :before";
        self.set_free(id, Some("tokens = :tokens"), condition, due, |update| {
            update
                .expression_attribute_values(":tokens", pair.clone())
                .expression_attribute_values(":before", number(tokens.generation - 1))
        })
        .await
    }

    async fn give_back(&self, id: &GrantId, owner: &str, due: Option<Due>) -> Result<(), StoreError> {
        self.set_free(id, None, "#lease.#owner = :owner", due, |update| {
            update
                .expression_attribute_names("#owner", "owner")
                .expression_attribute_values(":owner", text(owner))
        })
        .await
    }

    async fn put_off(&self, id: &GrantId, due: Timestamp) -> Result<(), StoreError> {
        put_off(&self.table, &grant_key(id), due).await
    }

    async fn hold(&self, id: &GrantId, due: Timestamp, refused_at: Timestamp) -> Result<(), StoreError> {
        self.table
            .update(&grant_key(id))
            .update_expression("SET due_at = :due_at, refused_at = :refused_at")
            .condition_expression("attribute_exists(due_at)")
            .expression_attribute_values(":due_at", number(due.as_millisecond()))
            .expression_attribute_values(":refused_at", text(refused_at.to_string()))
            .send()
            .await?;
        Ok(())
    }

    async fn due(&self, now: Timestamp, most: usize) -> Result<Vec<GrantId>, StoreError> {
        let due = due_partitions(&self.table, now, most).await?;
        Ok(due
            .iter()
            .filter_map(|pk| pk.strip_prefix("grant#").map(GrantId::kept))
            .collect())
    }

    async fn tally(&self, add: Tally, now: Timestamp) -> Result<Tallies, StoreError> {
        let (hours, days) = tokio::try_join!(
            self.tally_of("hour", HOUR, add, now),
            self.tally_of("day", DAY, add, now)
        )?;
        Ok(Tallies { hours, days })
    }
}

impl GrantTable {
    /// Adds to what this period came to, and tells what it and the one before came to.
    async fn tally_of(&self, name: &str, period: Duration, add: Tally, now: Timestamp) -> Result<Tally, StoreError> {
        let number_of = now.as_second().div_euclid(signed(period).as_secs());
        let key = |number: i64| Key::new(format!("tally#{name}#{number}"), "tally");
        let expires_at = now + signed(period * 3);
        let added = self
            .table
            .update(&key(number_of))
            .update_expression("ADD renewed :renewed, refused :refused SET expires_at = :expires_at")
            .expression_attribute_values(":renewed", number(add.renewed))
            .expression_attribute_values(":refused", number(add.refused))
            .expression_attribute_values(":expires_at", number(expires_at.as_second()))
            .return_values(ReturnValue::AllNew)
            .send()
            .await?;
        let this: Tally = serde_dynamo::from_item(added.attributes.unwrap_or_default())?;
        let before: Tally = self.table.get(&key(number_of - 1)).await?.unwrap_or_default();
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
    let shards = (0..SHARDS).map(async |shard| due_in(table, &format!("{shard:02}"), now, share).await);
    let mut due: Vec<DueRow> = try_join_all(shards).await?.into_iter().flatten().collect();
    due.sort_by_key(|row| row.due_at);
    due.truncate(most);
    Ok(due.into_iter().map(|row| row.pk).collect())
}

/// What is due at `now` in one part of the index, the longest overdue first.
pub(crate) async fn due_in(table: &Table, shard: &str, now: Timestamp, most: usize) -> Result<Vec<DueRow>, StoreError> {
    let query = table
        .query()
        .index_name("due")
        .key_condition_expression("due_shard = :shard AND due_at <= :now")
        .expression_attribute_values(":shard", text(shard))
        .expression_attribute_values(":now", number(now.as_millisecond()));
    table::collect(query, most).await
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

/// In the order of time.
fn resolving_key(grant: &Grant) -> Key {
    let issued_at = grant.issued_at.as_millisecond();
    Key::new(RESOLVING, format!("{issued_at:015}#{}", grant.id))
}

fn unclaimed_key(id: &GrantId) -> Key {
    Key::new(format!("unclaimed#{}", key::shard(id.as_str(), SHARDS)), id.as_str())
}
