//! Where links are kept: under the Ring account (there is one link for each), with a pointer under the user, and a row for
//! each nonce that was used.

use std::time::Duration;

use aws_config::SdkConfig;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use ring_partner::nonce::Nonce;
use ring_partner::users::AccountId;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Link;
use crate::edge::clock::signed;
use crate::edge::table::{Key, StoreError, Table, Write, number, row};
use crate::grant::store::{due_rows, due_shard_of, get_due};

/// The most links of one user.
const MOST_LINKS: usize = 100;
/// A used nonce is remembered for longer than it could be used: 600 s (Ring: Nonce Technical Reference).
const NONCE_REMEMBERED_FOR: Duration = Duration::from_secs(24 * 3600);

#[derive(Serialize, Deserialize)]
struct Pointer {
    link_id: String,
    account_id: AccountId,
}

/// Who used a nonce, and for what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UsedNonce {
    /// The user.
    pub user_id: String,
    /// The account that it linked.
    pub account_id: AccountId,
    expires_at: i64,
}

#[derive(Serialize)]
struct LinkRow<'l> {
    #[serde(flatten)]
    link: &'l Link,
    due_shard: Option<String>,
    due_at: Option<i64>,
}

/// A link that a user has, as the pointer under the user tells: enough to find its account's things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The link.
    pub link_id: String,
    /// Its account.
    pub account_id: AccountId,
}

/// The table of links.
#[derive(Clone, Debug)]
pub struct Links {
    table: Table,
}

impl Links {
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

    /// The link of an account, if its row says that it is due at `now`.
    pub async fn get_due(&self, account: &AccountId, now: Timestamp) -> Result<Option<Link>, StoreError> {
        get_due(&self.table, &account_key(account), now).await
    }

    /// The accounts that a user has linked.
    pub async fn held_by(&self, user_id: &str) -> Result<Vec<Held>, StoreError> {
        let pointers: Vec<Pointer> = self.table.partition(&format!("user#{user_id}"), MOST_LINKS).await?;
        Ok(pointers
            .into_iter()
            .map(|Pointer { link_id, account_id }| Held { link_id, account_id })
            .collect())
    }

    /// The links of a user, as they stand.
    pub async fn of_user(&self, user_id: &str) -> Result<Vec<Link>, StoreError> {
        let held = self.held_by(user_id).await?;
        let links = try_join_all(held.iter().map(|held| self.of_account(&held.account_id))).await?;
        Ok(links
            .into_iter()
            .flatten()
            .filter(|link| link.user_id == user_id && link.is_live())
            .collect())
    }

    /// Who used this nonce before.
    pub async fn used(&self, nonce: &Nonce) -> Result<Option<UsedNonce>, StoreError> {
        self.table.get(&nonce_key(nonce)).await
    }

    /// The writes of a new link (or of a new grant for an old one): the link, its pointer, its nonce. They go together
    /// with the step of its grant, and fail with `Conflict` where the account has been linked meanwhile.
    pub fn create(
        &self,
        link: &Link,
        nonce: &Nonce,
        due: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Vec<Write>, StoreError> {
        let pointer = Pointer {
            link_id: link.id.clone(),
            account_id: link.account_id.clone(),
        };
        let used = UsedNonce {
            user_id: link.user_id.clone(),
            account_id: link.account_id.clone(),
            expires_at: (now + signed(NONCE_REMEMBERED_FOR)).as_second(),
        };
        Ok(vec![
            self.write(link, due)?,
            Write::put(self.table.put_in(row(&pointer_key(link), &pointer)?)),
            Write::put(self.table.put_in(row(&nonce_key(nonce), &used)?)),
        ])
    }

    /// The write of a changed link, from the version before it.
    pub fn write(&self, link: &Link, due: Option<Timestamp>) -> Result<Write, StoreError> {
        let due_shard = due.map(|_| due_shard_of(link.account_id.as_str()));
        let due_at = due.map(Timestamp::as_millisecond);
        let put = self.table.put_in(row(
            &account_key(&link.account_id),
            &LinkRow {
                link,
                due_shard,
                due_at,
            },
        )?);
        let put = match link.version {
            1 => put.condition_expression("attribute_not_exists(pk)"),
            _ => put
                .condition_expression("#version = :before")
                .expression_attribute_names("#version", "version")
                .expression_attribute_values(":before", number(link.version - 1)),
        };
        Ok(Write::put(put))
    }

    /// The write that takes a link from its user.
    #[must_use]
    pub fn take_from_user(&self, link: &Link) -> Write {
        Write::delete(self.table.delete_in(&pointer_key(link)))
    }

    /// Saves a changed link, from the version before it.
    pub async fn save(&self, link: &Link, due: Option<Timestamp>) -> Result<(), StoreError> {
        self.table.together(vec![self.write(link, due)?]).await
    }

    /// These writes, or none.
    pub async fn together(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.table.together(writes).await
    }

    /// A link that could not be settled is not looked at before `due`, so that it does not stand in the way of others.
    pub async fn put_off(&self, account: &AccountId, due: Timestamp) -> Result<(), StoreError> {
        self.table
            .update(&account_key(account))
            .update_expression("SET due_at = :due_at")
            .condition_expression("attribute_exists(due_at)")
            .expression_attribute_values(":due_at", number(due.as_millisecond()))
            .send()
            .await?;
        Ok(())
    }

    /// Forgets an unlinked link, unless its account was linked again meanwhile.
    pub async fn forget(&self, link: &Link) -> Result<(), StoreError> {
        let delete = self
            .table
            .delete_in(&account_key(&link.account_id))
            .condition_expression("#version = :version")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", number(link.version));
        self.table.together(vec![Write::delete(delete)]).await
    }

    /// The accounts whose links are due at `now`, the longest overdue first, at most `most`.
    pub async fn due(&self, now: Timestamp, most: usize) -> Result<Vec<AccountId>, StoreError> {
        #[derive(Deserialize)]
        struct DueRow {
            pk: String,
        }
        let rows: Vec<DueRow> = due_rows(&self.table, now, most).await?;
        let account = |row: DueRow| row.pk.strip_prefix("account#").and_then(|id| AccountId::new(id).ok());
        Ok(rows.into_iter().filter_map(account).collect())
    }
}

fn account_key(account: &AccountId) -> Key {
    Key::new(format!("account#{account}"), "link")
}

fn pointer_key(link: &Link) -> Key {
    Key::new(format!("user#{}", link.user_id), format!("link#{}", link.id))
}

/// A nonce is kept as a hash: while it is young it opens an account.
fn nonce_key(nonce: &Nonce) -> Key {
    Key::new(
        format!("nonce#{}", hex::encode(Sha256::digest(nonce.as_str()))),
        "nonce",
    )
}
