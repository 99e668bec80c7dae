//! Where live sessions are kept: in the table of devices, in a partition of their account's own. A device's slot says which
//! session has it, until when, and what was learned of its limit; a session has a row while it is not over.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder as Query;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use ring_partner::devices::DeviceId;
use ring_partner::users::AccountId;
use serde::{Deserialize, Serialize};

use super::ports::{Sessions, Taken};
use super::{Learned, Session, State};
use crate::edge::table::{self, Key, StoreError, Table, number, row, text};

/// The most sessions of one account: one for each of its devices.
const MOST_SESSIONS: usize = 1_000;

/// For how long DynamoDB keeps the row of a session that nobody has closed, in seconds after its end.
const KEPT_SECONDS: i64 = 24 * 3600;

/// The same for a device's slot: of a device that nobody looks at for so long nothing is known any more.
const LEARNED_SECONDS: i64 = 30 * 24 * 3600;

#[derive(Debug, Deserialize)]
struct SlotRow {
    until: Option<i64>,
    #[serde(flatten)]
    learned: Learned,
}

#[derive(Serialize)]
struct SessionRow<'s> {
    #[serde(flatten)]
    session: &'s Session,
    expires_at: i64,
}

/// The live sessions in the table of devices.
#[derive(Clone, Debug)]
pub struct SessionTable {
    table: Table,
}

impl SessionTable {
    /// The sessions of the devices in the table `name`.
    #[must_use]
    pub fn new(config: &SdkConfig, name: impl Into<String>) -> Self {
        Self {
            table: Table::new(config, name),
        }
    }

    /// Forgets what was learned of an account's devices. A slot that a session has is left: it expires.
    pub async fn forget_account(&self, account: &AccountId) -> Result<(), StoreError> {
        #[derive(Deserialize)]
        struct Row {
            sk: String,
            holder: Option<String>,
        }
        let slots: Vec<Row> = table::collect(self.rows(account, "slot#"), MOST_SESSIONS).await?;
        let free = slots.into_iter().filter(|slot| slot.holder.is_none());
        try_join_all(free.map(async |slot| self.table.delete(&Key::new(partition(account), slot.sk)).await)).await?;
        Ok(())
    }

    fn rows(&self, account: &AccountId, prefix: &str) -> Query {
        self.table
            .query()
            .key_condition_expression("pk = :account AND begins_with(sk, :prefix)")
            .expression_attribute_values(":account", text(partition(account)))
            .expression_attribute_values(":prefix", text(prefix))
            .consistent_read(true)
    }

    async fn slot(&self, account: &AccountId, device: &DeviceId) -> Result<Option<SlotRow>, StoreError> {
        self.table.get(&slot_key(account, device)).await
    }
}

impl Sessions for SessionTable {
    async fn learned(&self, account: &AccountId, device: &DeviceId) -> Result<Learned, StoreError> {
        let slot = self.slot(account, device).await?;
        Ok(slot.map(|slot| slot.learned).unwrap_or_default())
    }

    async fn take(&self, session: &Session, now: Timestamp) -> Result<Taken, StoreError> {
        let (account, device) = (&session.account_id, &session.of_device);
        let (set, free) = match &session.capture {
            Some(_) => (
                "SET holder = :session, #until = :until, expires_at = :expires_at, capture = :capture",
                "attribute_not_exists(holder) OR #until <= :now OR capture = :capture",
            ),
            None => (
                "SET holder = :session, #until = :until, expires_at = :expires_at REMOVE capture",
                "attribute_not_exists(holder) OR #until <= :now",
            ),
        };
        let mut take = self
            .table
            .update(&slot_key(account, device))
            .update_expression(set)
            .condition_expression(free)
            .expression_attribute_names("#until", "until")
            .expression_attribute_values(":session", text(&session.id))
            .expression_attribute_values(":until", number(session.until.as_millisecond()))
            .expression_attribute_values(":expires_at", number(now.as_second() + LEARNED_SECONDS))
            .expression_attribute_values(":now", number(now.as_millisecond()));
        if let Some(capture) = &session.capture {
            take = take.expression_attribute_values(":capture", text(capture.as_str()));
        }
        match take.send().await.map_err(StoreError::from) {
            Ok(_) => {}
            Err(StoreError::Conflict) => {
                let until = self.slot(account, device).await?.and_then(|slot| slot.until);
                let until = until.and_then(|until| Timestamp::from_millisecond(until).ok());
                return Ok(Taken::No {
                    until: until.unwrap_or(now),
                });
            }
            Err(error) => return Err(error),
        }
        self.table.put(session_row(session)?).send().await?;
        Ok(Taken::Yes)
    }

    async fn keep(&self, session: &Session) -> Result<(), StoreError> {
        let put = self.table.put(session_row(session)?);
        put.condition_expression("attribute_exists(pk)").send().await?;
        let until = self
            .table
            .update(&slot_key(&session.account_id, &session.of_device))
            // Nothing follows one that nobody can close.
            .update_expression(match session.state {
                State::Lost => "SET #until = :until REMOVE capture",
                _ => "SET #until = :until",
            })
            .condition_expression("holder = :session")
            .expression_attribute_names("#until", "until")
            .expression_attribute_values(":session", text(&session.id))
            .expression_attribute_values(":until", number(session.until.as_millisecond()));
        held(until.send().await.map(drop).map_err(StoreError::from))
    }

    async fn get(&self, account: &AccountId, id: &str) -> Result<Option<Session>, StoreError> {
        self.table.get(&session_key(account, id)).await
    }

    async fn of_account(&self, account: &AccountId) -> Result<Vec<Session>, StoreError> {
        table::collect(self.rows(account, "session#"), MOST_SESSIONS).await
    }

    /// The row goes last: while it is there, somebody comes for it.
    async fn over(&self, session: &Session, learned: Option<Learned>) -> Result<(), StoreError> {
        let mut free = self
            .table
            .update(&slot_key(&session.account_id, &session.of_device))
            .condition_expression("holder = :session")
            .expression_attribute_names("#until", "until")
            .expression_attribute_values(":session", text(&session.id));
        free = match learned {
            None => free.update_expression("REMOVE holder, #until, capture"),
            Some(Learned { longest_ms, early }) => {
                let set = match longest_ms {
                    Some(_) => "SET early = :early, longest_ms = :longest REMOVE holder, #until, capture",
                    None => "SET early = :early REMOVE holder, #until, capture",
                };
                let free = free
                    .update_expression(set)
                    .expression_attribute_values(":early", number(early));
                match longest_ms {
                    Some(longest) => free.expression_attribute_values(":longest", number(longest)),
                    None => free,
                }
            }
        };
        held(free.send().await.map(drop).map_err(StoreError::from))?;
        self.table.delete(&session_key(&session.account_id, &session.id)).await
    }
}

/// The device may have another session by now.
fn held(result: Result<(), StoreError>) -> Result<(), StoreError> {
    match result {
        Err(StoreError::Conflict) => Ok(()),
        other => other,
    }
}

fn session_row(session: &Session) -> Result<table::Item, StoreError> {
    let expires_at = session.until.as_second() + KEPT_SECONDS;
    let key = session_key(&session.account_id, &session.id);
    row(&key, &SessionRow { session, expires_at })
}

fn partition(account: &AccountId) -> String {
    format!("sessions#{account}")
}

fn session_key(account: &AccountId, id: &str) -> Key {
    Key::new(partition(account), format!("session#{id}"))
}

fn slot_key(account: &AccountId, device: &DeviceId) -> Key {
    Key::new(partition(account), format!("slot#{device}"))
}
