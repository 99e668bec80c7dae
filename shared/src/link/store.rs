//! Where links are kept: under the Ring account (there is one link for each), with a copy under the user, so that all of
//! somebody's are read in one go, and a row for each nonce that was used.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::builders::PutBuilder;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use ring_partner::nonce::Nonce;
use ring_partner::users::AccountId;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Link;
use super::ports::{Change, Links, UsedNonce};
use crate::audit::store::Audit;
use crate::edge::clock::signed;
use crate::edge::table::{Key, StoreError, Table, Write, number, row, text};
use crate::grant::store::{GrantTable, due_in, due_partitions, due_shard_of, get_due, put_off};

/// The part of the index of due links that has those with something left to do.
const HALF_WAY: &str = "half-way";
/// The most links of one user.
const MOST_LINKS: usize = 100;
/// The most accounts that a user had linked once.
const MOST_PAST: usize = 1_000;
/// A used nonce is remembered for longer than it could be used: 600 s (Ring: Nonce Technical Reference).
const NONCE_REMEMBERED_FOR: Duration = Duration::from_secs(24 * 3600);

/// An account that a user had linked once.
#[derive(Serialize, Deserialize)]
struct PastRow {
    account_id: AccountId,
}

/// A nonce that a user has used, by the partition of its row.
#[derive(Serialize, Deserialize)]
struct UseRow {
    nonce: String,
    expires_at: i64,
}

#[derive(Serialize, Deserialize)]
struct NonceRow {
    #[serde(flatten)]
    used: UsedNonce,
    expires_at: i64,
}

#[derive(Serialize)]
struct LinkRow<'l> {
    #[serde(flatten)]
    link: &'l Link,
    due_shard: Option<String>,
    due_at: Option<i64>,
}

/// The table of links, for those who look.
#[derive(Clone, Debug)]
pub struct LinkTable {
    table: Table,
}

impl LinkTable {
    /// The links in the table `name`.
    #[must_use]
    pub fn new(config: &SdkConfig, name: impl Into<String>) -> Self {
        Self {
            table: Table::new(config, name),
        }
    }

    /// The link of an account, an unlinked one among them.
    pub async fn of_account(&self, account: &AccountId) -> Result<Option<Link>, StoreError> {
        self.table.get(&account_key(account)).await
    }

    /// The links of a user, as they stand.
    pub async fn of_user(&self, user_id: &str) -> Result<Vec<Link>, StoreError> {
        let mut links: Vec<Link> = self.table.partition(&user_partition(user_id), MOST_LINKS).await?;
        links.retain(Link::is_live);
        Ok(links)
    }

    /// Has the devices of a link listed by the next minute's work. `false`: somebody has asked for it before, or it does not come
    /// due at all.
    pub async fn list_soon(&self, link: &Link, now: Timestamp) -> Result<bool, StoreError> {
        let wanted_at = text(now.to_string());
        let of_account = self
            .table
            .update_in(&account_key(&link.account_id))
            .update_expression("SET wanted_at = :now, due_at = :due_at")
            .condition_expression("attribute_exists(due_at) AND attribute_not_exists(wanted_at)")
            .expression_attribute_values(":now", wanted_at.clone())
            .expression_attribute_values(":due_at", number(now.as_millisecond()));
        let of_user = self
            .table
            .update_in(&user_key(link))
            .update_expression("SET wanted_at = :now")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":now", wanted_at);
        let both = vec![Write::update(of_account), Write::update(of_user)];
        match self.table.together(both).await {
            Ok(()) => Ok(true),
            Err(StoreError::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The accounts that a user had linked once: what was recorded of them may still be there.
    pub async fn past_of(&self, user_id: &str) -> Result<Vec<AccountId>, StoreError> {
        let rows: Vec<PastRow> = self.table.partition(&past_partition(user_id), MOST_PAST).await?;
        Ok(rows.into_iter().map(|row| row.account_id).collect())
    }

    /// Forgets which accounts a user had linked once, and by which nonces.
    pub async fn forget_past(&self, user_id: &str) -> Result<(), StoreError> {
        let uses: Vec<UseRow> = self.table.partition(&uses_partition(user_id), MOST_PAST).await?;
        let nonces = uses.iter().map(|used| self.table.forget_partition(&used.nonce));
        try_join_all(nonces).await?;
        self.table.forget_partition(&uses_partition(user_id)).await?;
        self.table.forget_partition(&past_partition(user_id)).await
    }

    /// The put of a link, for its condition to be added.
    fn put(&self, link: &Link, due: Option<Timestamp>) -> Result<PutBuilder, StoreError> {
        // The daily listings of many must not stand before what is left half-way.
        let due_shard = due.map(|_| match link.todo.is_empty() {
            true => due_shard_of(link.account_id.as_str()),
            false => HALF_WAY.to_owned(),
        });
        let due_at = due.map(Timestamp::as_millisecond);
        let row = row(
            &account_key(&link.account_id),
            &LinkRow {
                link,
                due_shard,
                due_at,
            },
        )?;
        Ok(self.table.put_in(row))
    }

    /// The copy under the user, which is there as long as the link is theirs.
    fn write_for_user(&self, link: &Link) -> Result<Write, StoreError> {
        Ok(Write::put(self.table.put_in(row(&user_key(link), link)?)))
    }

    /// That a user has used a nonce: by this its row is found, when all that there is of them goes.
    fn write_use(&self, nonce: &Nonce, used: &UsedNonce, now: Timestamp) -> Result<Write, StoreError> {
        let Key { pk: nonce, .. } = nonce_key(nonce);
        let use_key = Key::new(uses_partition(&used.user_id), &nonce);
        let expires_at = (now + signed(NONCE_REMEMBERED_FOR)).as_second();
        Ok(Write::put(
            self.table.put_in(row(&use_key, &UseRow { nonce, expires_at })?),
        ))
    }

    /// The write of a used nonce: its first user is its only one.
    fn write_nonce(&self, nonce: &Nonce, used: &UsedNonce, now: Timestamp) -> Result<Write, StoreError> {
        let row_of_nonce = NonceRow {
            used: used.clone(),
            expires_at: (now + signed(NONCE_REMEMBERED_FOR)).as_second(),
        };
        let put = self.table.put_in(row(&nonce_key(nonce), &row_of_nonce)?);
        Ok(Write::put(
            put.condition_expression("attribute_not_exists(pk) OR user_id = :user")
                .expression_attribute_values(":user", text(&used.user_id)),
        ))
    }
}

/// The table of links, for those who make and change them: what changes together with a grant is written together with it.
#[derive(Clone, Debug)]
pub struct LinkLedger {
    links: LinkTable,
    grants: GrantTable,
    audit: Audit,
}

impl LinkLedger {
    /// The links in `links`, opened by the grants in `grants`; what is done to them stands in `audit`.
    #[must_use]
    pub fn new(links: LinkTable, grants: GrantTable, audit: Audit) -> Self {
        Self { links, grants, audit }
    }

    fn table(&self) -> &Table {
        &self.links.table
    }
}

impl Links for LinkLedger {
    async fn of_account(&self, account: &AccountId) -> Result<Option<Link>, StoreError> {
        self.links.of_account(account).await
    }

    async fn get_due(&self, account: &AccountId, now: Timestamp) -> Result<Option<Link>, StoreError> {
        get_due(self.table(), &account_key(account), now).await
    }

    async fn of_user(&self, user_id: &str) -> Result<Vec<Link>, StoreError> {
        self.links.of_user(user_id).await
    }

    async fn used(&self, nonce: &Nonce) -> Result<Option<UsedNonce>, StoreError> {
        let row: Option<NonceRow> = self.table().get(&nonce_key(nonce)).await?;
        Ok(row.map(|row| row.used))
    }

    async fn commit(&self, changes: Vec<Change>, now: Timestamp) -> Result<(), StoreError> {
        let mut writes = Vec::new();
        for change in &changes {
            match change {
                Change::Grant(grant, due) => writes.extend(self.grants.writes(grant, *due, now)?),
                Change::NewLink(link, due) => {
                    let put = self.links.put(link, *due)?;
                    writes.push(Write::put(put.condition_expression("attribute_not_exists(pk)")));
                }
                Change::Link(link, due) => {
                    let put = self.links.put(link, *due)?;
                    writes.push(Write::put(
                        put.condition_expression("#version = :before")
                            .expression_attribute_names("#version", "version")
                            .expression_attribute_values(":before", number(link.version - 1)),
                    ));
                    let is_given = changes
                        .iter()
                        .any(|change| matches!(change, Change::Give(given) if given.id == link.id));
                    if link.is_live() && !is_given {
                        writes.push(self.links.write_for_user(link)?);
                    }
                }
                Change::Give(link) => writes.push(self.links.write_for_user(link)?),
                Change::Take(link) => {
                    writes.push(Write::delete(self.table().delete_in(&user_key(link))));
                    let past = PastRow {
                        account_id: link.account_id.clone(),
                    };
                    writes.push(Write::put(self.table().put_in(row(&past_key(link), &past)?)));
                }
                Change::Use(nonce, used) => {
                    writes.push(self.links.write_nonce(nonce, used, now)?);
                    writes.push(self.links.write_use(nonce, used, now)?);
                }
                Change::Audit(entry) => writes.push(self.audit.write_of(entry).await?),
            }
        }
        self.table().together(writes).await
    }

    async fn put_off(&self, account: &AccountId, due: Timestamp) -> Result<(), StoreError> {
        put_off(self.table(), &account_key(account), due).await
    }

    async fn forget(&self, link: &Link) -> Result<(), StoreError> {
        let delete = self
            .table()
            .delete_in(&account_key(&link.account_id))
            .condition_expression("#version = :version")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", number(link.version));
        self.table().together(vec![Write::delete(delete)]).await
    }

    async fn due(&self, now: Timestamp, most: usize) -> Result<Vec<AccountId>, StoreError> {
        let half_way = due_in(self.table(), HALF_WAY, now, most).await?;
        let mut due: Vec<_> = half_way.into_iter().map(|row| row.pk).collect();
        if due.len() < most {
            due.extend(due_partitions(self.table(), now, most - due.len()).await?);
        }
        let account = |pk: &String| pk.strip_prefix("account#").and_then(|id| AccountId::new(id).ok());
        Ok(due.iter().filter_map(account).collect())
    }
}

fn account_key(account: &AccountId) -> Key {
    Key::new(format!("account#{account}"), "link")
}

fn user_partition(user_id: &str) -> String {
    format!("user#{user_id}")
}

fn user_key(link: &Link) -> Key {
    Key::new(user_partition(&link.user_id), format!("link#{}", link.id))
}

fn uses_partition(user_id: &str) -> String {
    format!("uses#{user_id}")
}

fn past_partition(user_id: &str) -> String {
    format!("past#{user_id}")
}

fn past_key(link: &Link) -> Key {
    Key::new(past_partition(&link.user_id), format!("account#{}", link.account_id))
}

/// A nonce is kept as a hash: while it is young it opens an account.
fn nonce_key(nonce: &Nonce) -> Key {
    Key::new(
        format!("nonce#{}", hex::encode(Sha256::digest(nonce.as_str()))),
        "nonce",
    )
}
