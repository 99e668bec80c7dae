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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_user_is_read_without_the_telephone_number() {
        let user = User::parse(include_bytes!("../tests/samples/user.json")).unwrap();
        assert_eq!(user.id.as_str(), "ava1.ring.account.XXXYYY");
        assert_eq!(user.first_name.as_deref(), Some("John"));
        assert_eq!(user.last_name.as_deref(), Some("Doe"));
        assert_eq!(user.email.as_deref(), Some("johndoe@example.com"));
    }

    #[test]
    fn only_the_id_has_to_be_there() {
        for attributes in [
            "",
            r#","attributes":{}"#,
            r#","attributes":{"first_name":null,"email":7}"#,
        ] {
            let user = User::parse(format!(r#"{{"data":{{"id":"a"{attributes}}}}}"#).as_bytes()).unwrap();
            assert_eq!((user.first_name, user.last_name, user.email), (None, None, None));
        }
        for body in ["", "{}", r#"{"data":{"id":""}}"#, r#"{"data":{"type":"users"}}"#] {
            assert!(User::parse(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn debug_shows_the_id_alone() {
        let user = User::parse(include_bytes!("../tests/samples/user.json")).unwrap();
        assert_eq!(
            format!("{user:?}"),
            r#"User { id: AccountId("ava1.ring.account.XXXYYY"), .. }"#
        );
    }

    #[test]
    fn a_masked_name_shows_initials_and_hides_the_rest() {
        let check = |first: Option<&str>, last: Option<&str>, email: Option<&str>, expected: &str| {
            let user = User {
                id: AccountId::new("a").unwrap(),
                first_name: first.map(str::to_owned),
                last_name: last.map(str::to_owned),
                email: email.map(str::to_owned),
            };
            assert_eq!(user.masked_name(), expected);
        };
        check(Some("John"), Some("Doe"), None, "J*** D**");
        check(Some("J"), None, None, "J*");
        check(Some("Émilie du"), Some("Châtelet-Lomont"), None, "É***** d* C*******");
        check(None, Some(" "), Some("johndoe@example.com"), "j***e@example.com");
        check(None, None, None, "***");
    }
}
