//! The stack's two secrets: where they are, what the programs read in them, and what is hardly meant. What they hold is never shown.

use aws_sdk_secretsmanager::Client;
use jiff::Timestamp;
use serde_json::{Map, Value};
use shared::edge::secret::{ClientSecrets, FromSecret as _, SecretError, SigningKeys};

use crate::failure::{Doing as _, Failure};
use crate::stack::Stack;

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secret {
    /// Ring's OAuth client.
    Client,
    /// What Ring signs with.
    Signing,
}

/// What it holds.
pub(crate) struct Held {
    /// Its string.
    pub(crate) text: String,
    /// When that was written.
    pub(crate) written_at: Option<Timestamp>,
}

impl Secret {
    /// What it is called in what this tool says.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Client => "oauth-secret",
            Self::Signing => "signing-secret",
        }
    }

    /// The template's output that says where it is.
    pub(crate) fn output(self) -> &'static str {
        match self {
            Self::Client => "OAuthSecretId",
            Self::Signing => "SigningSecretId",
        }
    }

    /// What the programs read in it; the last, of what was before a rotation, may be left out.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Client => &["client_id", "client_secret", "client_secret_previous"],
            Self::Signing => &["hmac_signing_key", "hmac_signing_key_previous"],
        }
    }

    /// What it holds now; nothing where it was never given a value.
    pub(crate) async fn read(self, stack: &Stack) -> Result<Option<Held>, Failure> {
        let what = || format!("The secret of the output {} can't be read", self.output());
        let read = Client::new(&stack.aws).get_secret_value().secret_id(self.id(stack)?);
        let answer = read.send().await;
        let is_empty = |error: &aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError| {
            error.is_resource_not_found_exception()
        };
        if answer
            .as_ref()
            .is_err_and(|error| error.as_service_error().is_some_and(is_empty))
        {
            return Ok(None);
        }
        let answer = answer.or_fail(what)?;
        let written_at = answer
            .created_date()
            .and_then(|at| Timestamp::from_second(at.secs()).ok());
        let text = answer.secret_string().unwrap_or_default().to_owned();
        Ok(Some(Held { text, written_at }))
    }

    /// Gives it a new value.
    pub(crate) async fn write(self, stack: &Stack, text: String) -> Result<(), Failure> {
        let put = Client::new(&stack.aws).put_secret_value().secret_id(self.id(stack)?);
        let put = put.secret_string(text).send().await;
        put.or_fail(|| format!("The secret of the output {} can't be written", self.output()))?;
        Ok(())
    }

    fn id(self, stack: &Stack) -> Result<&str, Failure> {
        let output = self.output();
        stack.output(output).ok_or_else(|| {
            Failure::new(format!("The stack {} has no output {output}", stack.name))
                .because("it is another stack, or not deployed to its end")
                .advise("see whether the name is right, and whether its deployment went well")
        })
    }

    /// Whether the programs can read such a value.
    pub(crate) fn read_as_programs_do(self, text: &str) -> Result<(), SecretError> {
        match self {
            Self::Client => ClientSecrets::from_secret(text).map(drop),
            Self::Signing => SigningKeys::from_secret(text).map(drop),
        }
    }

    /// What is wrong with such a value: what no program could read, and what one would take and is hardly meant.
    pub(crate) fn complaint(self, text: &str) -> Option<String> {
        if let Err(error) = self.read_as_programs_do(text) {
            return Some(error.to_string());
        }
        let fields: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
        let words: Vec<&str> = fields.values().filter_map(Value::as_str).collect();
        let is_placeholder = |word: &&str| word.contains('…') || word.contains("...") || word.contains('<');
        let is_there_twice = |(place, word): (usize, &&str)| words[..place].contains(word);
        let said = if fields.keys().any(|name| !self.fields().contains(&name.as_str())) {
            "it has a field that no program reads"
        } else if words.iter().any(is_placeholder) {
            "a value is the placeholder of an example"
        } else if words.iter().any(|word| word.contains(char::is_whitespace)) {
            "a value has a blank or a line's end in it"
        } else if words.iter().enumerate().any(is_there_twice) {
            "two of its values are the same"
        } else {
            return None;
        };
        Some(said.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_meant_is_found_and_never_shown() {
        for (secret, text, word) in [
            (Secret::Client, r#"{"client_id":"hush"}"#, "client_secret"),
            (
                Secret::Client,
                r#"{"client_id":"hush","client_secret":"hush"}"#,
                "the same",
            ),
            (
                Secret::Client,
                r#"{"client_id":"hush…","client_secret":"hush"}"#,
                "placeholder",
            ),
            (
                Secret::Client,
                "{\"client_id\":\"hush\\n\",\"client_secret\":\"b\"}",
                "line's end",
            ),
            (
                Secret::Client,
                r#"{"client_id":"hush","client_secret":"b","secret":"hush"}"#,
                "no program reads",
            ),
            (Secret::Signing, r#"{"hmac_signing_key":""}"#, "must not be empty"),
            (
                Secret::Signing,
                r#"{"hmac_signing_key":"hush","hmac_signing_key_old":"hush"}"#,
                "no program reads",
            ),
            (
                Secret::Signing,
                r#"{"hmac_signing_key":"hush","hmac_signing_key_previous":"hush"}"#,
                "the same",
            ),
        ] {
            let said = secret.complaint(text).unwrap();
            assert!(said.contains(word) && !said.contains("hush"), "{said}");
        }
        for (secret, text) in [
            (Secret::Client, r#"{"client_id":"a","client_secret":"b"}"#),
            (
                Secret::Client,
                r#"{"client_id":"a","client_secret":"c","client_secret_previous":"b"}"#,
            ),
            (Secret::Signing, r#"{"hmac_signing_key":"a"}"#),
            (
                Secret::Signing,
                r#"{"hmac_signing_key":"a","hmac_signing_key_previous":"b"}"#,
            ),
            (
                Secret::Signing,
                r#"{"hmac_signing_key":"a","hmac_signing_key_previous":null}"#,
            ),
        ] {
            assert_eq!(secret.complaint(text), None, "{text}");
        }
    }
}
