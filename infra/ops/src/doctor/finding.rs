//! What a check found: whether something holds, does not, or could not be looked at; and what to do about it.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::failure::Failure;

/// What one check found.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    /// What was looked at, by a name that does not change.
    pub(super) check: &'static str,
    pub(super) verdict: Verdict,
    /// As a clause without its full stop.
    pub(super) said: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Holds,
    Fails,
    /// It could not be looked at, so nothing is known.
    NotChecked,
}

impl Finding {
    pub(super) fn holds(check: &'static str, said: impl Into<String>) -> Self {
        Self {
            check,
            verdict: Verdict::Holds,
            said: said.into(),
            advice: None,
        }
    }

    pub(super) fn fails(check: &'static str, said: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            check,
            verdict: Verdict::Fails,
            said: said.into(),
            advice: Some(advice.into()),
        }
    }

    pub(super) fn not_checked(check: &'static str, why: impl Into<String>) -> Self {
        Self {
            check,
            verdict: Verdict::NotChecked,
            said: why.into(),
            advice: None,
        }
    }

    /// A look that failed says nothing of what was to be looked at.
    pub(super) fn of_failure(check: &'static str, failure: Failure) -> Self {
        let (said, advice) = failure.told();
        Self {
            advice,
            ..Self::not_checked(check, said)
        }
    }
}

/// What a check finds, unless it takes longer.
pub(super) async fn within(
    time: Duration,
    check: &'static str,
    looking: impl Future<Output = Vec<Finding>>,
) -> Vec<Finding> {
    tokio::time::timeout(time, looking).await.unwrap_or_else(|_| {
        let why = format!("there was no answer within {} s", time.as_secs());
        vec![Finding::not_checked(check, why)]
    })
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { check, said, .. } = self;
        match self.verdict {
            Verdict::Holds => write!(f, "holds        {check:<22}  {said}")?,
            Verdict::Fails => write!(f, "FAILS        {check:<22}  {said}")?,
            Verdict::NotChecked => write!(f, "not checked  {check:<22}  {said}")?,
        }
        if let Some(advice) = &self.advice {
            write!(f, "\n             {:<22}  what to do: {advice}", "")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_check_that_takes_too_long_is_not_checked() {
        let found = within(Duration::from_millis(20), "x", std::future::pending()).await;
        assert_eq!((found[0].check, found[0].verdict), ("x", Verdict::NotChecked));
    }

    #[test]
    fn a_failure_to_look_is_no_verdict_and_keeps_its_advice() {
        let failure = Failure::new("It can't be read").because("forbidden").advise("ask");
        let found = Finding::of_failure("x", failure);
        assert_eq!(found.verdict, Verdict::NotChecked);
        assert_eq!(
            found.to_string(),
            format!(
                "not checked  x{:21}  It can't be read: forbidden\n{:37}what to do: ask",
                "", ""
            )
        );
    }
}
