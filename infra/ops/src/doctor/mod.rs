//! `ops doctor`: whether a stack is fit for Ring. From outside, as Ring's reviewers look: the four URLs; from inside, what would
//! fail some day without a sound: secrets, schedules, keys, quotas. It changes nothing: the one event that it sends is synthetic,
//! and acted on by nobody.

mod deployment;
mod door;
mod finding;
mod key;
mod quota;
mod schedule;
mod secret;
mod visit;

use std::fmt;
use std::time::Duration;

use clap::Args;
use finding::{Finding, Verdict, within};
use serde::Serialize;
use shared::edge::clock;

use crate::failure::Failure;
use crate::say::Voice;
use crate::stack::{Choice, Stack};

const EXAMPLES: &str = "\
Examples:
  ops --stack ring-prod doctor                     is it fit for Ring?
  ops --stack ring-prod doctor --oldest-key 90     and is no key older than a quarter?
  ops --stack ring-prod doctor --json              for a script: the exit status is 0 when nothing fails
  ops --local doctor                               the stack on this machine; it has no TLS to look at

What holds, what fails and what to do about it, and what could not be looked at, and why: that is no failure, and nothing is known
of it. Secrets are read and never shown. Ring's own requests are not touched: the webhook that is sent is a synthetic event, which is
recorded for a day and acted on by nobody.

Exit status: 0 nothing fails; 1 something does, or the stack can't be looked at.";

/// Longer than a synthetic event may take to its record, which is the longest of all looks.
const CHECK_WITHIN: Duration = Duration::from_secs(50);

/// Whether the stack is fit for Ring: its four URLs from outside, secrets, schedules, keys and quotas
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    /// How many days a secret may be old before it is to be changed
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..))]
    oldest_key: u16,
}

/// All that was found.
#[derive(Serialize)]
struct Report {
    stack: String,
    /// Whether nothing fails.
    fit: bool,
    findings: Vec<Finding>,
}

/// Does what was asked for.
pub(crate) async fn run(command: Command, choice: &Choice, voice: Voice) -> Result<(), Failure> {
    let stack = choice.find().await?;
    let oldest = Duration::from_secs(u64::from(command.oldest_key) * 86_400);
    let report = Report::of(&stack, look(&stack, oldest).await);
    voice.answer(&report)?;
    match report.count(Verdict::Fails) {
        0 => Ok(()),
        1 => Err(Failure::new("One check fails").advise("see what it says")),
        more => Err(Failure::new(format!("{more} checks fail")).advise("see what each of them says, from the top")),
    }
}

/// All checks, side by side but for what signs an event.
async fn look(stack: &Stack, oldest: Duration) -> Vec<Finding> {
    let now = clock::now();
    let (signing, client) = tokio::join!(
        secret::signing(stack, oldest, now, CHECK_WITHIN),
        within(CHECK_WITHIN, "oauth-secret", secret::client(stack, oldest, now)),
    );
    let (key, of_signing) = signing;
    let (doors, schedules, keys, quotas, deployments) = tokio::join!(
        door::look(stack, key.as_ref(), CHECK_WITHIN),
        within(CHECK_WITHIN, "schedules", schedule::look(stack, now)),
        within(CHECK_WITHIN, "kms-keys", key::look(stack)),
        quota::look(stack, CHECK_WITHIN),
        within(CHECK_WITHIN, "gradual-deployment", deployment::look(stack)),
    );
    [doors, of_signing, client, schedules, keys, quotas, deployments].concat()
}

impl Report {
    fn of(stack: &Stack, findings: Vec<Finding>) -> Self {
        Self {
            stack: stack.name.clone(),
            fit: findings.iter().all(|finding| finding.verdict != Verdict::Fails),
            findings,
        }
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.verdict == verdict)
            .count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let [holds, fails, unknown] =
            [Verdict::Holds, Verdict::Fails, Verdict::NotChecked].map(|verdict| self.count(verdict));
        write!(
            f,
            "\n{}: {holds} hold, {fails} fail, {unknown} could not be checked.",
            self.stack
        )
    }
}
