//! The two secrets: whether they are there, of the form that the programs read, and not too old.

use std::time::Duration;

use jiff::Timestamp;
use shared::edge::secret::{ClientSecrets, FromSecret as _, SigningKeys};

use super::finding::{Finding, within};
use crate::secret::{Held, Secret};
use crate::stack::Stack;

/// For how long what was before a rotation is of use: Ring's retries take 73 minutes, and its replays some days.
const OVERLAP: Duration = Duration::from_secs(7 * 86_400);

/// The signing keys, where they can be read, and what is found of them.
pub(super) async fn signing(
    stack: &Stack,
    oldest: Duration,
    now: Timestamp,
    time: Duration,
) -> (Option<SigningKeys>, Vec<Finding>) {
    let mut keys = None;
    let looking = async {
        let (held, mut findings) = look(Secret::Signing, stack, oldest, now).await;
        if let Some(held) = held {
            keys = SigningKeys::from_secret(&held.text).ok();
            findings.extend(left_over(Secret::Signing, &held, now));
        }
        findings
    };
    let findings = within(time, Secret::Signing.name(), looking).await;
    (keys, findings)
}

/// What is found of the OAuth client's secret.
pub(super) async fn client(stack: &Stack, oldest: Duration, now: Timestamp) -> Vec<Finding> {
    let (held, mut findings) = look(Secret::Client, stack, oldest, now).await;
    findings.extend(held.and_then(|held| left_over(Secret::Client, &held, now)));
    findings
}

async fn look(secret: Secret, stack: &Stack, oldest: Duration, now: Timestamp) -> (Option<Held>, Vec<Finding>) {
    match secret.read(stack).await {
        Err(failure) => (None, vec![Finding::of_failure(secret.name(), failure)]),
        Ok(None) => (None, vec![wrong(secret, "it has no value")]),
        Ok(Some(held)) => {
            let of_text = match secret.complaint(&held.text) {
                Some(complaint) => wrong(secret, &complaint),
                None => Finding::holds(secret.name(), "it is there, and of the form that the programs read"),
            };
            let of_age = of_age(secret, &held, oldest, now);
            (Some(held), [Some(of_text), of_age].into_iter().flatten().collect())
        }
    }
}

fn wrong(secret: Secret, said: &str) -> Finding {
    let advice = "write it with `ops init --secrets`, which asks for what Ring's portal has shown";
    Finding::fails(secret.name(), said, advice)
}

fn of_age(secret: Secret, held: &Held, oldest: Duration, now: Timestamp) -> Option<Finding> {
    let (check, replace) = match secret {
        Secret::Signing => (
            "signing-key-age",
            "have Ring make a new signing key, and rotate as docs/runbook.md says in \"The signing key is rotated\"",
        ),
        Secret::Client => (
            "client-secret-age",
            "have Ring make a new client secret, and rotate as docs/runbook.md says in \"The client secret is rotated\"",
        ),
    };
    let age = now.duration_since(held.written_at?).unsigned_abs();
    let days = |time: Duration| time.as_secs() / 86_400;
    let said = format!("it was written {} days ago", days(age));
    Some(if age > oldest {
        let said = format!("{said}, and may be {} days old", days(oldest));
        Finding::fails(check, said, format!("{replace}; or raise --oldest-key"))
    } else {
        Finding::holds(check, said)
    })
}

/// What was before a rotation, and is there long after it.
fn left_over(secret: Secret, held: &Held, now: Timestamp) -> Option<Finding> {
    let (has_previous, check, said, advice) = match secret {
        Secret::Signing => (
            SigningKeys::from_secret(&held.text).is_ok_and(|keys| keys.all().len() > 1),
            "signing-key-previous",
            "the key before the last rotation is still taken",
            "Ring signs with it no more: write the new one alone, as docs/runbook.md says in \"The signing key is rotated\"",
        ),
        Secret::Client => (
            ClientSecrets::from_secret(&held.text).is_ok_and(|secrets| secrets.all().len() > 1),
            "client-secret-previous",
            "the secret before the last rotation is still kept",
            "Ring takes it no more: write the new one alone, as docs/runbook.md says in \"The client secret is rotated\"",
        ),
    };
    let age = now.duration_since(held.written_at?).unsigned_abs();
    (has_previous && age > OVERLAP).then(|| Finding::fails(check, said, advice))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(1_770_000_000 + day * 86_400).unwrap()
    }

    fn held(text: &str) -> Held {
        Held {
            text: text.to_owned(),
            written_at: Some(at(0)),
        }
    }

    #[test]
    fn a_key_that_is_older_than_it_may_be_says_how_it_is_replaced() {
        let oldest = Duration::from_secs(90 * 86_400);
        let of_age = |days| of_age(Secret::Signing, &held("{}"), oldest, at(days)).unwrap();
        let found = of_age(91);
        assert_eq!((found.check, found.verdict), ("signing-key-age", Verdict::Fails));
        let said = found.to_string();
        assert!(said.contains("91 days ago") && said.contains("is rotated"), "{said}");
        assert_eq!(of_age(90).verdict, Verdict::Holds);
        let unknown = Held {
            text: String::new(),
            written_at: None,
        };
        assert!(super::of_age(Secret::Client, &unknown, oldest, at(0)).is_none());
    }

    #[test]
    fn a_previous_key_is_left_over_a_week_after_its_rotation() {
        let both = held(r#"{"hmac_signing_key":"a","hmac_signing_key_previous":"b"}"#);
        assert!(left_over(Secret::Signing, &both, at(7)).is_none());
        assert_eq!(
            left_over(Secret::Signing, &both, at(8)).unwrap().verdict,
            Verdict::Fails
        );
        assert!(left_over(Secret::Signing, &held(r#"{"hmac_signing_key":"a"}"#), at(8)).is_none());
        let both = held(r#"{"client_id":"i","client_secret":"a","client_secret_previous":"b"}"#);
        assert!(left_over(Secret::Client, &both, at(7)).is_none());
        assert_eq!(
            left_over(Secret::Client, &both, at(8)).unwrap().check,
            "client-secret-previous"
        );
    }
}
