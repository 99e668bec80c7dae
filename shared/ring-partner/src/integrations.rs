//! The link between a Ring user and a partner's user. Ring: App Integration.
//!
//! Both calls are needed: POST with the nonce, then PATCH to `completed`. Ring says `awaiting` before the one and after
//! it, so its status tells nothing about which has happened: callers keep their own state.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Where an integration stands, in Ring's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum IntegrationStatus {
    /// Verified, or about to be: the configuration on the partner's side is not finished.
    Awaiting,
    /// Configured and operational.
    Completed,
    /// A word that Ring's documentation does not list.
    Other(String),
}

impl IntegrationStatus {
    /// Ring's word for it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Awaiting => "awaiting",
            Self::Completed => "completed",
            Self::Other(word) => word,
        }
    }
}

impl From<String> for IntegrationStatus {
    fn from(word: String) -> Self {
        match word.as_str() {
            "awaiting" => Self::Awaiting,
            "completed" => Self::Completed,
            _ => Self::Other(word),
        }
    }
}

impl From<IntegrationStatus> for String {
    fn from(status: IntegrationStatus) -> Self {
        status.as_str().to_owned()
    }
}

impl fmt::Display for IntegrationStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What PATCH answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Integration {
    /// Where the integration stands now.
    pub status: IntegrationStatus,
    /// The masked identifier that the Ring user sees.
    pub account_identifier: Option<String>,
    /// When it was changed.
    pub updated_at: Option<Timestamp>,
}

impl Integration {
    pub(crate) fn parse(body: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Answer {
            status: IntegrationStatus,
            account_identifier: Option<String>,
            updated_at: Option<serde_json::Value>,
        }
        let Answer {
            status,
            account_identifier,
            updated_at,
        } = serde_json::from_slice(body)?;
        let updated_at = updated_at
            .as_ref()
            .and_then(|time| time.as_str())
            .and_then(|time| time.parse().ok());
        Ok(Self {
            status,
            account_identifier,
            updated_at,
        })
    }
}

/// The partner's user as Ring may show it: `user@example.com` becomes `u***r@example.com`, one or two letters before
/// the `@` become the first and the stars, and anything that is no e-mail address is masked whole by the same rule.
///
/// The number of stars is fixed, so the length stays hidden too.
pub fn mask_identifier(identifier: &str) -> String {
    let identifier = identifier.trim();
    match identifier.rsplit_once('@') {
        Some((local, domain)) if is_domain(domain) => format!("{}@{domain}", masked(local)),
        _ => masked(identifier),
    }
}

fn is_domain(domain: &str) -> bool {
    !domain.is_empty()
        && !domain
            .chars()
            .any(|letter| letter.is_whitespace() || letter.is_control())
}

fn masked(text: &str) -> String {
    let mut letters = text.chars().filter(|letter| !letter.is_control());
    let first = letters.next().map(String::from).unwrap_or_default();
    // Of two letters one stays hidden, so the second is never shown as the last.
    let last = letters
        .next()
        .and_then(|_| letters.next_back())
        .map(String::from)
        .unwrap_or_default();
    format!("{first}***{last}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn traps_31_and_32_identifiers_are_masked_by_the_documented_style() {
        for (identifier, masked) in [
            ("user@partner.example.com", "u***r@partner.example.com"),
            ("a-much-longer-user@d", "a***r@d"),
            ("abc@d", "a***c@d"),
            ("ab@d", "a***@d"),
            ("u@d", "u***@d"),
            ("@d", "***@d"),
            ("a@b@d", "a***b@d"),
            (" user@d\n", "u***r@d"),
            ("Ünal.Öz@d.de", "Ü***z@d.de"),
            ("🦀🦀🦀@d", "🦀***🦀@d"),
            ("partner-user-4711", "p***1"),
            ("4711@", "4***@"),
            ("user@two words", "u***s"),
            ("x", "x***"),
            ("xy", "x***"),
            ("", "***"),
        ] {
            assert_eq!(mask_identifier(identifier), masked, "{identifier:?}");
        }
    }

    #[test]
    fn the_documented_answers_are_read() {
        let confirmed = Integration::parse(br#"{"status": "awaiting"}"#).unwrap();
        assert_eq!(confirmed.status, IntegrationStatus::Awaiting);
        let updated = br#"{"account_identifier":"u***r@partner.example.com","status":"completed",
            "updated_at":"2026-02-03T00:35:00Z"}"#;
        let updated = Integration::parse(updated).unwrap();
        assert_eq!(updated.status, IntegrationStatus::Completed);
        assert_eq!(updated.account_identifier.as_deref(), Some("u***r@partner.example.com"));
        assert_eq!(updated.updated_at.unwrap().to_string(), "2026-02-03T00:35:00Z");
        let unknown = Integration::parse(br#"{"status":"revoked","updated_at":12}"#).unwrap();
        assert_eq!((unknown.status.as_str(), unknown.updated_at), ("revoked", None));
        assert!(Integration::parse(b"{}").is_err());
    }

    proptest! {
        #[test]
        fn a_mask_shows_two_letters_at_most_and_never_how_many_there_are(local in "[^@\\s\\pC*]{1,64}") {
            let masked = mask_identifier(&format!("{local}@example.com"));
            let (shown, domain) = masked.rsplit_once('@').unwrap();
            prop_assert_eq!(domain, "example.com");
            let letters: Vec<char> = shown.replace('*', "").chars().collect();
            prop_assert!(letters.len() <= 2 && letters.len() < local.chars().count().max(2));
            prop_assert_eq!(shown.matches('*').count(), 3);
        }

        #[test]
        fn anything_can_be_masked(identifier in any::<String>()) {
            let masked = mask_identifier(&identifier);
            prop_assert!(masked.contains("***"));
            prop_assert!(!masked.chars().any(char::is_control));
        }
    }
}
