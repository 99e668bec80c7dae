//! The Ring user behind a token. Ring: Users API.
//!
//! The account id is the one thing to keep; name and e-mail are fetched when they are to be shown, and `Debug` leaves
//! them out. The telephone number is not read at all.

use std::fmt;

use serde::Deserialize;

use crate::integrations::mask_identifier;
use crate::opaque::opaque_id;

opaque_id! {
    /// A Ring account, by the id that users/me, nonces and webhooks share (`data.id`, `meta.account_id`). Opaque.
    AccountId
}

/// A Ring user. Personal data: for the screen of the one it concerns, not for logs or tables.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The account id.
    pub id: AccountId,
    /// The first name, where Ring gives one.
    pub first_name: Option<String>,
    /// The last name, where Ring gives one.
    pub last_name: Option<String>,
    /// The e-mail address, where Ring gives one. It may change: never a key.
    pub email: Option<String>,
}

impl User {
    /// The name so that its owner knows it again and others learn little: `J*** D**`. Without a name the masked e-mail.
    pub fn masked_name(&self) -> String {
        let parts: Vec<String> = [&self.first_name, &self.last_name]
            .into_iter()
            .flatten()
            .flat_map(|name| name.split_whitespace())
            .map(masked_word)
            .collect();
        if parts.is_empty() {
            mask_identifier(self.email.as_deref().unwrap_or_default())
        } else {
            parts.join(" ")
        }
    }

    /// Reads the answer of `GET /v1/users/me`.
    pub(crate) fn parse(body: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Answer {
            data: Data,
        }
        #[derive(Deserialize)]
        struct Data {
            id: AccountId,
            #[serde(default)]
            attributes: serde_json::Map<String, serde_json::Value>,
        }
        let Answer {
            data: Data { id, attributes },
        } = serde_json::from_slice(body)?;
        let text = |name: &str| attributes.get(name).and_then(|value| value.as_str()).map(str::to_owned);
        Ok(Self {
            id,
            first_name: text("first_name"),
            last_name: text("last_name"),
            email: text("email"),
        })
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The first letter and a star for each further one; one star at least, seven at most.
fn masked_word(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(String::from).unwrap_or_default();
    first + &"*".repeat(letters.count().clamp(1, 7))
}
