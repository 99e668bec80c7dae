//! `ops audit`: who did what, when, and with which device.

use std::fmt;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use shared::audit::store::{Audit, Read};
use shared::edge::clock;

use crate::failure::{Doing as _, Failure};
use crate::say::Voice;
use crate::stack::Choice;
use crate::when::When;

const EXAMPLES: &str = "\
Examples:
  ops --stack ring-prod audit --since 7d                              what was done within a week, the newest first
  ops --stack ring-prod audit --user usr_a67jbvHrYDnbnVoJEnGNBNpjr6Q  what one user did: the id is the `user_id` of the bus
  ops --stack ring-prod audit --account ava1.ring.account.X           who linked, and unlinked, a Ring account
  ops --stack ring-prod audit --device ava1.ring.device.X --json      when a device came and went
  ops --stack ring-prod audit --deed erased --since 90d               how many were erased

The trail is only added to; its retention deletes (`AuditRetentionDays`). Whose an entry is, and what it is about, is sealed under
a key of its user's, which goes when they are erased: then it says that something was done, and when. With --user that user's
entries are read; without it the whole trail is read through, which takes long where it is large.";

/// Show the audit trail: who did what, when, and with which account, link and device
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    /// Of this user alone
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// About this Ring account alone
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// About this device alone
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Of this kind alone, by its word: linked, viewed, fetched, recorded, unlinked, exported, erased, ...
    #[arg(long, value_name = "DEED")]
    deed: Option<String>,
    /// At this time or later
    #[arg(long, value_name = "TIME")]
    since: Option<When>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    until: Option<When>,
    /// Show at most this many, the newest
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max: u32,
}

/// What was found.
#[derive(Serialize)]
struct Trail {
    /// How many there are.
    found: usize,
    /// The newest of them.
    entries: Vec<Line>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Line {
    at: Timestamp,
    deed: String,
    /// Who, as the trail knows them.
    who: String,
    /// Whether its user was erased, and the key to it destroyed.
    erased: bool,
    user_id: Option<String>,
    account_id: Option<String>,
    link_id: Option<String>,
    device_id: Option<String>,
    /// The event whose policy did it.
    why: Option<String>,
}

/// Does what was asked for.
pub(crate) async fn run(command: Command, choice: &Choice, voice: Voice) -> Result<(), Failure> {
    let now = clock::now();
    let stack = choice.find().await?;
    let (trail, links) = (stack.resource("AuditTable")?, stack.resource("LinksTable")?);
    // It is read alone: how long an entry would be kept has no part in it.
    let audit = Audit::new(&stack.aws, trail, 0, links);
    let mut progress = voice.begin("read");
    let (mut found, mut after, mut seen) = (Vec::new(), None, 0);
    loop {
        let page = audit.page(command.user.as_deref(), after).await;
        let (page, end) = page.or_fail(|| "The audit trail can't be read".into())?;
        seen += page.len() as u64;
        progress.at(seen, None);
        found.extend(page.into_iter().map(Line::from).filter(|line| command.takes(line, now)));
        after = end;
        if after.is_none() {
            break;
        }
    }
    drop(progress);
    found.sort_by_key(|line| std::cmp::Reverse(line.at));
    let count = found.len();
    found.truncate(usize::try_from(command.max).unwrap_or(usize::MAX));
    voice.answer(&Trail {
        found: count,
        entries: found,
    })
}

impl Command {
    fn takes(&self, line: &Line, now: Timestamp) -> bool {
        let is = |asked: &Option<String>, found: Option<&String>| asked.is_none() || asked.as_ref() == found;
        is(&self.account, line.account_id.as_ref())
            && is(&self.device, line.device_id.as_ref())
            && is(&self.deed, Some(&line.deed))
            && self.since.is_none_or(|since| line.at >= since.at(now))
            && self.until.is_none_or(|until| line.at < until.at(now))
    }
}

impl From<Read> for Line {
    fn from(read: Read) -> Self {
        let Read { at, deed, who, entry } = read;
        Self {
            at,
            deed: deed.as_str().to_owned(),
            who,
            erased: entry.is_none(),
            user_id: entry.as_ref().map(|entry| entry.user_id.clone()),
            account_id: entry
                .as_ref()
                .and_then(|entry| Some(entry.account_id.as_ref()?.to_string())),
            link_id: entry.as_ref().and_then(|entry| entry.link_id.clone()),
            device_id: entry
                .as_ref()
                .and_then(|entry| Some(entry.device_id.as_ref()?.to_string())),
            why: entry.and_then(|entry| entry.why),
        }
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.entries {
            let who = line.user_id.as_ref().unwrap_or(&line.who);
            write!(f, "{:<32}{:<20}{who}", line.at.to_string(), line.deed)?;
            for (word, id) in [
                ("account", &line.account_id),
                ("link", &line.link_id),
                ("device", &line.device_id),
                ("because of", &line.why),
            ] {
                if let Some(id) = id {
                    write!(f, "  {word} {id}")?;
                }
            }
            writeln!(f, "{}", if line.erased { "  (erased)" } else { "" })?;
        }
        match self.found - self.entries.len() {
            0 => write!(f, "{} found", self.found),
            more => write!(f, "{} found; {more} older ones are not shown: --max", self.found),
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::audit::{Deed, Entry};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_770_000_000 + second).unwrap()
    }

    fn line(second: i64, deed: Deed, is_there: bool) -> Line {
        let entry = Entry {
            at: at(second),
            user_id: "usr_1".to_owned(),
            deed,
            account_id: None,
            link_id: Some("lnk_1".to_owned()),
            device_id: None,
            why: None,
        };
        Line::from(Read {
            at: at(second),
            deed,
            who: "who_1".to_owned(),
            entry: is_there.then_some(entry),
        })
    }

    #[test]
    fn who_was_erased_is_shown_by_nothing_but_a_drawn_name() {
        let trail = Trail {
            found: 3,
            entries: vec![line(1, Deed::Erased, false), line(0, Deed::Linked, true)],
        };
        let said = trail.to_string();
        assert!(said.contains("erased              who_1  (erased)"), "{said}");
        assert!(said.contains("linked              usr_1  link lnk_1\n"), "{said}");
        assert!(said.ends_with("3 found; 1 older ones are not shown: --max"), "{said}");
    }

    #[test]
    fn each_filter_leaves_out_what_is_not_asked_for() {
        let all = |deed: Option<&str>, account: Option<&str>, since: Option<When>| Command {
            user: None,
            account: account.map(str::to_owned),
            device: None,
            deed: deed.map(str::to_owned),
            since,
            until: None,
            max: 1,
        };
        let linked = line(0, Deed::Linked, true);
        assert!(all(None, None, None).takes(&linked, at(9)));
        assert!(all(Some("linked"), None, Some(When::At(at(0)))).takes(&linked, at(9)));
        assert!(!all(Some("unlinked"), None, None).takes(&linked, at(9)));
        assert!(!all(None, Some("a"), None).takes(&linked, at(9)));
        assert!(!all(None, None, Some(When::At(at(1)))).takes(&linked, at(9)));
    }
}
