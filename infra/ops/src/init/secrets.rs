//! Ring's three credentials, from whoever has them to Secrets Manager: typed without an echo, or read from a file or standard input;
//! never from the command line, and into no file.

use std::fmt;
use std::fs;
use std::io::{BufRead, Read as _, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Command;
use super::dialogue::{self, Dialogue};
use crate::failure::{Doing as _, Failure};
use crate::say::Voice;
use crate::secret::Secret;
use crate::stack::Choice;

/// What Ring shows once, when an application is made. Ring: Obtain Credentials.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    client_id: Option<String>,
    client_secret: Option<String>,
    hmac_signing_key: Option<String>,
}

/// What became of them.
#[derive(Serialize)]
struct Put {
    stack: String,
    dry_run: bool,
    written: Vec<&'static str>,
    /// They had that value already, or none was given.
    unchanged: Vec<&'static str>,
    next: Vec<String>,
}

pub(super) async fn run(command: &Command, choice: &Choice, voice: Voice) -> Result<(), Failure> {
    let stack = choice.find().await?;
    let mut held = Vec::new();
    for secret in [Secret::Client, Secret::Signing] {
        let text = secret.read(&stack).await?.map(|held| held.text);
        held.push((secret, text));
    }
    let has_value = |of: Secret| held.iter().any(|(secret, text)| *secret == of && text.is_some());
    // What replaces a value has been agreed to: by --yes, or by a person.
    let (credentials, agreed) = match &command.from {
        Some(path) => (read(path)?, command.yes),
        None if command.yes => {
            return Err(Failure::misuse("There is nobody who answers").advise("with --yes, name a file with --from"));
        }
        None => (ask(&mut dialogue::at_the_terminal(), has_value)?, true),
    };
    let mut put = Put {
        dry_run: command.dry_run,
        written: Vec::new(),
        unchanged: Vec::new(),
        next: vec![format!("ops --stack {} doctor", stack.name)],
        stack: stack.name.clone(),
    };
    let mut writing = Vec::new();
    for (secret, before) in held {
        match credentials.of(secret, before.as_deref())? {
            Some(text) if before.as_deref() != Some(text.as_str()) => {
                // What no program can read is nobody's loss.
                let is_of_use = before
                    .as_deref()
                    .is_some_and(|text| secret.read_as_programs_do(text).is_ok());
                if is_of_use && !agreed && !command.dry_run {
                    return Err(
                        Failure::misuse(format!("The {} has another value already", secret.name()))
                            .because("nothing was written")
                            .advise("add --yes to replace it"),
                    );
                }
                writing.push((secret, text));
            }
            _ => put.unchanged.push(secret.name()),
        }
    }
    // Only when both are known to be right.
    for (secret, text) in writing {
        if !command.dry_run {
            let partly = !put.written.is_empty();
            secret.write(&stack, text).await.map_err(|failure| match partly {
                true => failure.or_advise("one secret is written; the same command again writes the other"),
                false => failure,
            })?;
        }
        put.written.push(secret.name());
    }
    voice.answer(&put)
}

/// From a file, or standard input.
fn read(path: &Path) -> Result<Credentials, Failure> {
    let what = || format!("The credentials can't be read from {}", path.display());
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    // What an error of JSON says may have a piece of what was read in it.
    serde_json::from_str(&text.or_fail(what)?).map_err(|error| {
        Failure::new(what())
            .because(format!("it is not JSON of the form that is needed (line {})", error.line()))
            .advise(r#"write {"client_id": "…", "client_secret": "…", "hmac_signing_key": "…"}, or what of it is to be changed"#)
    })
}

fn ask(
    dialogue: &mut Dialogue<impl BufRead, impl Write>,
    has_value: impl Fn(Secret) -> bool,
) -> Result<Credentials, Failure> {
    let mut credentials = Credentials::default();
    dialogue.say("Ring shows these once, when the application is made. What you type of them is not shown.")?;
    let is_wanted = |dialogue: &mut Dialogue<_, _>, secret: Secret, what: &str| {
        Ok::<_, Failure>(!has_value(secret) || dialogue.agrees(&format!("{what} already. Replace?"))?)
    };
    if is_wanted(dialogue, Secret::Client, "Client id and secret are there")? {
        loop {
            credentials.client_id = Some(dialogue.ask("Client id: ")?);
            credentials.client_secret = Some(dialogue.ask_hidden("Client secret: ")?);
            dialogue.say("")?;
            if is_right(dialogue, &credentials, Secret::Client)? {
                break;
            }
        }
    }
    if is_wanted(dialogue, Secret::Signing, "An HMAC signing key is there")? {
        loop {
            credentials.hmac_signing_key = Some(dialogue.ask_hidden("HMAC signing key: ")?);
            dialogue.say("")?;
            if is_right(dialogue, &credentials, Secret::Signing)? {
                break;
            }
        }
    }
    Ok(credentials)
}

fn is_right(
    dialogue: &mut Dialogue<impl BufRead, impl Write>,
    credentials: &Credentials,
    secret: Secret,
) -> Result<bool, Failure> {
    match credentials.of(secret, None) {
        Ok(_) => Ok(true),
        Err(failure) => {
            dialogue.say(&failure.to_string())?;
            Ok(false)
        }
    }
}

impl Credentials {
    /// What a secret is to hold; nothing where nothing was given for it. What is replaced stays as the previous one.
    fn of(&self, secret: Secret, before: Option<&str>) -> Result<Option<String>, Failure> {
        let (mut value, field) = match (secret, self) {
            (
                Secret::Client,
                Self {
                    client_id: None,
                    client_secret: None,
                    ..
                },
            )
            | (
                Secret::Signing,
                Self {
                    hmac_signing_key: None, ..
                },
            ) => return Ok(None),
            (
                Secret::Client,
                Self {
                    client_id: Some(id),
                    client_secret: Some(secret),
                    ..
                },
            ) => (
                json!({ "client_id": id.trim(), "client_secret": secret.trim() }),
                "client_secret",
            ),
            (Secret::Client, _) => {
                return Err(Failure::misuse("Client id and client secret come together")
                    .because("nothing was written")
                    .advise("give both"));
            }
            (
                Secret::Signing,
                Self {
                    hmac_signing_key: Some(key),
                    ..
                },
            ) => (json!({ "hmac_signing_key": key.trim() }), "hmac_signing_key"),
        };
        let held: Value = before
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        // Another client's secret is none that could be shown in this one's place.
        let is_of_the_same = held.get("client_id") == value.get("client_id");
        let current = held[field]
            .as_str()
            .filter(|current| is_of_the_same && !current.is_empty());
        if current.is_some() && current == value[field].as_str() {
            return Ok(before.map(str::to_owned));
        }
        if let Some(current) = current {
            value[format!("{field}_previous")] = json!(current);
        }
        let text = value.to_string();
        match secret.complaint(&text) {
            None => Ok(Some(text)),
            Some(complaint) => Err(Failure::misuse(format!("This can't be the {}", secret.name()))
                .because(complaint)
                .advise("paste it as Ring's portal shows it")),
        }
    }
}

impl fmt::Display for Put {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.dry_run { "would be written" } else { "written" };
        for name in &self.written {
            writeln!(f, "{name:<16}  {word}")?;
        }
        for name in &self.unchanged {
            writeln!(f, "{name:<16}  as it was")?;
        }
        write!(f, "\nNext:\n  {}", self.next.join("\n  "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(text: &str) -> Credentials {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_replaced_stays_as_the_previous_one_and_the_same_one_changes_nothing() {
        let new = credentials(r#"{"hmac_signing_key": " new\n"}"#);
        let of = |before: Option<&str>| {
            let text = new.of(Secret::Signing, before).unwrap().unwrap();
            serde_json::from_str::<Value>(&text).unwrap()
        };
        assert_eq!(of(None), json!({"hmac_signing_key": "new"}));
        assert_eq!(of(Some("not JSON")), json!({"hmac_signing_key": "new"}));
        assert_eq!(
            of(Some(
                r#"{"hmac_signing_key":"old","hmac_signing_key_previous":"older"}"#
            )),
            json!({"hmac_signing_key": "new", "hmac_signing_key_previous": "old"})
        );
        let client = credentials(r#"{"client_id": "id", "client_secret": "new"}"#);
        let of = |before: &str| {
            let text = client.of(Secret::Client, Some(before)).unwrap().unwrap();
            serde_json::from_str::<Value>(&text).unwrap()
        };
        assert_eq!(
            of(r#"{"client_id":"id","client_secret":"old"}"#),
            json!({"client_id": "id", "client_secret": "new", "client_secret_previous": "old"})
        );
        assert_eq!(
            of(r#"{"client_id":"another","client_secret":"old"}"#),
            json!({"client_id": "id", "client_secret": "new"})
        );
        let same = r#"{"client_id":"id","client_secret":"new","client_secret_previous":"old"}"#;
        assert_eq!(client.of(Secret::Client, Some(same)).unwrap().unwrap(), same);
        let same = r#"{"hmac_signing_key":"new","hmac_signing_key_previous":"old"}"#;
        assert_eq!(new.of(Secret::Signing, Some(same)).unwrap().unwrap(), same);
        assert!(
            new.of(Secret::Client, None).unwrap().is_none(),
            "what is not given is not touched"
        );
    }

    #[test]
    fn what_can_t_be_a_credential_is_refused_and_not_repeated() {
        for text in [
            r#"{"client_id": "hush"}"#,
            r#"{"client_id": "hush", "client_secret": "hush"}"#,
            r#"{"client_id": "hush", "client_secret": ""}"#,
            r#"{"client_id": "hush", "client_secret": "hush hush"}"#,
        ] {
            let said = credentials(text).of(Secret::Client, None).unwrap_err().to_string();
            assert!(!said.contains("hush"), "{said}");
        }
    }

    #[test]
    fn a_person_is_asked_again_until_it_can_be_and_before_something_is_replaced() {
        let answers = b"id\nid\nid\nsecret\nn\n";
        let mut questions = Vec::new();
        let mut dialogue = Dialogue::of(&answers[..], &mut questions);
        let given = ask(&mut dialogue, |secret| secret == Secret::Signing).unwrap();
        assert_eq!(given.client_secret.as_deref(), Some("secret"));
        assert_eq!(given.hmac_signing_key, None);
        let questions = String::from_utf8(questions).unwrap();
        assert!(questions.contains("two of its values are the same"), "{questions}");
        assert!(
            questions.contains("An HMAC signing key is there already. Replace?"),
            "{questions}"
        );
    }
}
