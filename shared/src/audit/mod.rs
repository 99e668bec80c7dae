//! The audit trail: who linked, who was refused, who unlinked, and when. People stand in it as pseudonyms and accounts by Ring's
//! opaque ids; nothing in it opens anything. Programs can add to it and can't change it: only its retention deletes.

use jiff::Timestamp;
use ring_partner::users::AccountId;
use serde::{Deserialize, Serialize};

pub mod store;

/// One thing that somebody did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who, as a pseudonym.
    pub user_id: String,
    /// What.
    pub deed: Deed,
    /// With which Ring account, where it is known.
    pub account_id: Option<AccountId>,
    /// By which link, where there is one.
    pub link_id: Option<String>,
}

/// What somebody did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// Linked an account.
    Linked,
    /// Tried to link an account that is another user's.
    LinkRefusedTaken,
    /// Unlinked an account.
    Unlinked,
}
