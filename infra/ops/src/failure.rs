//! What the tool says when it can't go on: what happened, why, and what to do about it; and the status it exits with.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// A failure as the person at the terminal wants to read it.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    why: Option<String>,
    advice: Option<String>,
    status: Status,
}

/// What is known about the work, in the statuses that `--help` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Failed = 1,
    Misused = 2,
    Partly = 3,
}

impl Failure {
    /// What happened, as a sentence without its full stop.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            why: None,
            advice: None,
            status: Status::Failed,
        }
    }

    /// The command line asks for what can't be.
    pub(crate) fn misuse(what: impl Into<String>) -> Self {
        Self {
            status: Status::Misused,
            ..Self::new(what)
        }
    }

    /// Some of it is done, and some is not; the same command again does the rest.
    pub(crate) fn partly(what: impl Into<String>) -> Self {
        Self {
            status: Status::Partly,
            ..Self::new(what)
        }
    }

    /// Why it happened, in plain words.
    #[must_use]
    pub(crate) fn because(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// What to do about it.
    #[must_use]
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// What to do about it, where nothing was said yet.
    #[must_use]
    pub(crate) fn or_advise(self, advice: &str) -> Self {
        match self.advice {
            Some(_) => self,
            None => self.advise(advice),
        }
    }

    /// What happened and why, and what to do about it: for who goes on, and tells it among other things.
    pub(crate) fn told(self) -> (String, Option<String>) {
        let said = match self.why {
            Some(why) => format!("{}: {why}", self.what),
            None => self.what,
        };
        (said, self.advice)
    }

    /// The status to exit with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.status as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", self.what)?;
        if let Some(why) = &self.why {
            write!(f, "\n  why:        {why}")?;
        }
        if let Some(advice) = &self.advice {
            write!(f, "\n  what to do: {advice}")?;
        }
        Ok(())
    }
}

/// An error and all that caused it, each said once: many libraries repeat their source's text in their own.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let said = error.to_string();
        if !words.last().is_some_and(|last| last.contains(&said)) {
            words.push(said);
        }
        next = error.source();
    }
    words.join(": ")
}

/// Turns any error into a [`Failure`] that says what was being done.
pub(crate) trait Doing<T> {
    /// What happened, should this be an error.
    fn or_fail(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Error + 'static> Doing<T> for Result<T, E> {
    fn or_fail(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| {
            let why = chain(&error);
            let advice = advice_on(&why);
            let failure = Failure::new(what()).because(why);
            match advice {
                Some(advice) => failure.advise(advice),
                None => failure,
            }
        })
    }
}

/// What is mostly meant by what AWS or its SDK says.
fn advice_on(why: &str) -> Option<&'static str> {
    let has = |words: &[&str]| words.iter().any(|word| why.contains(word));
    if has(&["ExpiredToken", "expired"]) {
        Some("sign in to the AWS account again")
    } else if has(&["AccessDenied", "NotAuthorized", "UnauthorizedOperation"]) {
        Some("use credentials that may do this: docs/runbook.md lists the rights of each command")
    } else if has(&["credentials", "UnrecognizedClient", "InvalidClientTokenId"]) {
        Some("sign in to the AWS account of the stack; `ops --help` says how")
    } else if has(&["region", "Region"]) {
        Some("name the stack's region with AWS_REGION")
    } else if has(&["dispatch failure", "timeout", "timed out"]) {
        Some("see whether AWS can be reached from here; then run the same command again")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the outer one: the inner one")]
    struct Outer(#[source] Inner);
    #[derive(Debug, thiserror::Error)]
    #[error("the inner one")]
    struct Inner;

    #[test]
    fn a_failure_says_what_why_and_what_to_do() {
        let said = Failure::new("Nothing was moved").because("no queue").advise("make one");
        assert_eq!(
            said.to_string(),
            "Nothing was moved.\n  why:        no queue\n  what to do: make one"
        );
    }

    #[test]
    fn a_chain_of_errors_is_told_once_each() {
        assert_eq!(chain(&Outer(Inner)), "the outer one: the inner one");
    }

    #[test]
    fn what_aws_says_of_rights_and_sessions_comes_with_what_to_do() {
        for (said, word) in [
            ("AccessDeniedException: no identity-based policy", "rights"),
            ("ExpiredTokenException: the token is expired", "sign in"),
            ("the credentials provider was not enabled", "sign in"),
            ("Missing Region", "AWS_REGION"),
        ] {
            let advice = advice_on(said).unwrap();
            assert!(advice.contains(word), "{said}: {advice}");
        }
        assert_eq!(advice_on("something else"), None);
    }

    #[test]
    fn the_status_says_whether_something_was_done() {
        let status = |failure: Failure| format!("{:?}", failure.exit_code());
        assert_eq!(status(Failure::new("x")), format!("{:?}", ExitCode::from(1)));
        assert_eq!(status(Failure::misuse("x")), format!("{:?}", ExitCode::from(2)));
        assert_eq!(status(Failure::partly("x")), format!("{:?}", ExitCode::from(3)));
    }
}
