//! What the runner says when it can't go on: what happened, why, and what to do about it.

use std::error::Error;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

const TAIL_LINES: usize = 25;

/// A failure as a person wants to read it.
#[derive(Debug)]
pub struct Failure {
    what: String,
    why: Option<String>,
    advice: Option<String>,
    log: Option<(PathBuf, String)>,
}

impl Failure {
    /// What happened, as a sentence without its full stop.
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            why: None,
            advice: None,
            log: None,
        }
    }

    /// Why it happened: an error with all its sources, or plain words.
    #[must_use]
    pub fn because(mut self, why: impl Into<Reason>) -> Self {
        self.why = Some(why.into().0);
        self
    }

    /// What to do about it.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// The log of the tool that failed; its end is shown.
    #[must_use]
    pub fn with_log(mut self, log: &Path) -> Self {
        let text = fs::read(log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        self.log = Some((log.to_owned(), tail));
        self
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
        if let Some((path, tail)) = &self.log {
            write!(f, "\n  its log:    {}", path.display())?;
            for line in tail.lines() {
                write!(f, "\n    | {line}")?;
            }
        }
        Ok(())
    }
}

impl Error for Failure {}

/// Why something failed.
pub struct Reason(String);

impl From<String> for Reason {
    fn from(words: String) -> Self {
        Self(words)
    }
}

impl From<&str> for Reason {
    fn from(words: &str) -> Self {
        Self(words.to_owned())
    }
}

impl From<&dyn Error> for Reason {
    fn from(error: &dyn Error) -> Self {
        let mut words: Vec<String> = Vec::new();
        let mut next = Some(error);
        while let Some(error) = next {
            let said = error.to_string();
            // Many libraries repeat their source's text in their own.
            if !words.last().is_some_and(|last| last.contains(&said)) {
                words.push(said);
            }
            next = error.source();
        }
        Self(words.join(": "))
    }
}

/// Turns any error into a [`Failure`] that says what was being done.
pub(crate) trait Doing<T> {
    /// What happened, should this be an error.
    fn or_fail(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Error + 'static> Doing<T> for Result<T, E> {
    fn or_fail(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(what()).because(&error as &dyn Error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_why_and_what_to_do() {
        let said = Failure::new("Deploying failed")
            .because("no disk")
            .advise("make room")
            .to_string();
        assert_eq!(
            said,
            "Deploying failed.\n  why:        no disk\n  what to do: make room"
        );
    }

    #[test]
    fn a_failure_ends_with_the_end_of_the_log() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = folder.path().join("tool.log");
        fs::write(
            &log,
            (0..100).map(|line| format!("line {line}\n\n")).collect::<String>(),
        )
        .expect("written");
        let said = Failure::new("It failed").with_log(&log).to_string();
        assert!(said.ends_with("    | line 99"), "{said}");
        assert!(said.contains("| line 75") && !said.contains("| line 74"), "{said}");
    }

    #[test]
    fn a_chain_of_errors_is_told_once_each() {
        #[derive(Debug, thiserror::Error)]
        #[error("the outer one: the inner one")]
        struct Outer(#[source] Inner);
        #[derive(Debug, thiserror::Error)]
        #[error("the inner one")]
        struct Inner;
        let told: Result<(), Outer> = Err(Outer(Inner));
        let said = told.or_fail(|| "It failed".into()).expect_err("an error").to_string();
        assert_eq!(said, "It failed.\n  why:        the outer one: the inner one");
    }
}
