//! `ops replay`: events that are done, published once more for those who missed them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use clap::Args;
use jiff::Timestamp;
use ring_partner::users::AccountId;
use serde::Serialize;
use shared::device::store::Devices;
use shared::edge::clock;
use shared::edge::queue::Queue;
use shared::event::store::{Events, PageEnd};
use shared::event::{Past, account_key, device_key, replay_message};

use crate::failure::{Doing as _, Failure};
use crate::say::{Progress, Voice};
use crate::stack::{Choice, Stack};
use crate::when::When;

const EXAMPLES: &str = "\
Examples:
  ops --stack ring-prod replay --since 2h --dry-run                         how many, of what type
  ops --stack ring-prod replay --since 2026-11-24T22:00:00Z --until 2026-11-24T23:30:00Z
  ops --stack ring-prod replay --since 3d --account ava1.ring.account.X     of one account
  ops --stack ring-prod replay --since 1d --type button_press               of one type

Events are taken by when our intake queued them. With --account the histories of its devices are read; without it the whole table
of events is read through, which costs and takes long where it is large.

What a replay does: each event goes into the queue of events once more, with the request to publish it again, and the processor
publishes it under the `event_id` that it has, for subscribers to tell that they had it. Nothing else happens a second time: no
record, no device state, no clip, snapshot or recording. So it does no harm to replay what nobody missed, or the same again after
an interruption; live events of other accounts don't wait behind it.

What it does not bring: events whose account is linked no more, events that are parked or not done yet (`ops event show`), and
what never came to us (`ops outages`).";

/// Publish events again that are done, under the ids that they have
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    /// Queued at this time or later
    #[arg(long, value_name = "TIME")]
    since: When,
    /// Queued before this time; now, unless told
    #[arg(long, value_name = "TIME")]
    until: Option<When>,
    /// Of this Ring account alone
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Of this type alone, in Ring's word
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Refuse to replay more than this
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    max: u64,
    /// Say what would be replayed; change nothing
    #[arg(long)]
    dry_run: bool,
}

/// What was replayed.
#[derive(Serialize)]
struct Replayed {
    since: Timestamp,
    until: Timestamp,
    dry_run: bool,
    /// How many there are.
    found: usize,
    /// How many of them were sent.
    sent: usize,
    by_type: BTreeMap<String, usize>,
}

/// Does what was asked for.
pub(crate) async fn run(command: Command, choice: &Choice, voice: Voice) -> Result<(), Failure> {
    let now = clock::now();
    let received = command.since.at(now)..command.until.map_or(now, |until| until.at(now));
    if received.is_empty() {
        return Err(Failure::misuse("There is no time between --since and --until"));
    }
    let account = match &command.account {
        None => None,
        Some(account) => {
            let account = AccountId::new(account);
            Some(account.map_err(|_| Failure::misuse("This is no id of a Ring account"))?)
        }
    };
    let stack = choice.find().await?;
    let mut progress = voice.begin("found");
    let mut found = find(&stack, &command, account.as_ref(), &received, &mut progress).await?;
    drop(progress);
    // As they came.
    found.sort_by_key(|past| past.received_at);
    let mut replayed = Replayed {
        since: received.start,
        until: received.end,
        dry_run: command.dry_run,
        found: found.len(),
        sent: 0,
        by_type: BTreeMap::new(),
    };
    for past in &found {
        *replayed.by_type.entry(past.kind.as_str().to_owned()).or_default() += 1;
    }
    let sent = if command.dry_run {
        Ok(())
    } else {
        send(&stack, &found, voice, &mut replayed.sent).await
    };
    voice.answer(&replayed)?;
    match sent {
        Err(failure) if replayed.sent > 0 => {
            Err(Failure::partly(format!("{} were replayed, and not all", replayed.sent))
                .because(failure.to_string())
                .advise("see to that, and run the same command again: to be published twice does no harm"))
        }
        sent => sent,
    }
}

async fn find(
    stack: &Stack,
    command: &Command,
    account: Option<&AccountId>,
    received: &Range<Timestamp>,
    progress: &mut Progress,
) -> Result<Vec<Past>, Failure> {
    let what = || "The events can't be read".to_owned();
    let events = Events::new(&stack.aws, stack.resource("EventsTable")?);
    let histories = match account {
        None => vec![None],
        Some(account) => {
            let devices = Devices::new(&stack.aws, stack.resource("DevicesTable")?);
            let devices = devices
                .ever_of_account(account)
                .await
                .or_fail(|| "Its devices can't be read".into())?;
            let of_devices = devices.iter().map(|known| device_key(account, &known.device_id));
            of_devices.chain([account_key(account)]).map(Some).collect()
        }
    };
    let mut found = Vec::new();
    let mut known = BTreeSet::new();
    for history in histories {
        let mut after: Option<PageEnd> = None;
        loop {
            let (page, end) = events
                .done_between(history.as_deref(), received, after)
                .await
                .or_fail(what)?;
            for past in page {
                let wanted = command.kind.as_deref().is_none_or(|kind| past.kind.as_str() == kind);
                if wanted && known.insert(past.event_id.as_str().to_owned()) {
                    found.push(past);
                }
            }
            progress.at(found.len() as u64, None);
            if found.len() as u64 > command.max {
                return Err(
                    Failure::misuse(format!("There are more than {} events in that time", command.max))
                        .because("so many at once are mostly not meant; nothing was replayed")
                        .advise("give a shorter time, an account or a type, or raise --max"),
                );
            }
            after = end;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(found)
}

async fn send(stack: &Stack, found: &[Past], voice: Voice, sent: &mut usize) -> Result<(), Failure> {
    let queue = Queue::new(&stack.aws, stack.resource("EventsQueue")?);
    let mut progress = voice.begin("replayed");
    for past in found {
        // In its account's group, as the intake has it: others do not wait behind it.
        let message = replay_message(&past.event_id).group(account_key(&past.account_id));
        queue
            .send(message)
            .await
            .or_fail(|| "The queue of events did not take a message".into())?;
        *sent += 1;
        progress.at(*sent as u64, Some(found.len() as u64));
    }
    Ok(())
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, count) in &self.by_type {
            writeln!(f, "{count:>9}  {kind}")?;
        }
        let what = if self.dry_run {
            "would be replayed"
        } else {
            "are replayed"
        };
        let count = if self.dry_run { self.found } else { self.sent };
        write!(
            f,
            "{count} events {what}, of those queued from {} to {}.",
            self.since, self.until
        )
    }
}
