//! `ops quarantine`: what Ring signed and nothing here could use, looked at, put back or thrown away.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, IsTerminal as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use entry::{Bodies, Entry, for_a_terminal};
use serde::Serialize;
use shared::edge::clock;
use shared::event;

use crate::failure::Failure;
use crate::queue::{Held, Look, Outgoing, Queue};
use crate::say::Voice;
use crate::stack::{Choice, Stack};

mod entry;

const EXAMPLES: &str = "\
Examples:
  ops --stack ring-prod quarantine list                             what lies there, and why
  ops --stack ring-prod quarantine list --reason unparsable --json  for a machine
  ops --stack ring-prod quarantine show 3f0c11d2                    what one is, without its body
  ops --stack ring-prod quarantine show 3f0c11d2 --body             its body, on the terminal
  ops --stack ring-prod quarantine show 3f0c11d2 --body > body.bin  its body, byte for byte
  ops --stack ring-prod quarantine retry 3f0c11d2 --dry-run         would it be understood by now?
  ops --stack ring-prod quarantine retry --all --reason unparsable  after the program was mended
  ops --stack ring-prod quarantine drop 3f0c11d2 --yes              for good

An id may be shortened to its first letters, eight or more: all that begin so are meant.

Reasons: `unparsable` (no JSON, or without data.type), `undecodable` (our own message is broken), `too-old` (a repeat of it could
not be told any more), `type-too-long` (no event bus takes it), `too-large` (no queue takes it; the body lies in the bucket).";

/// What Ring signed and nothing here could use
#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// List what lies there: id, since when, size, reason, and what it reads as
    ///
    /// Nothing is taken out: messages are hidden from others for the moment of looking, and given back. No body is shown.
    #[command(after_help = EXAMPLES)]
    List {
        /// Only what lies there for this reason
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        bound: Bound,
    },
    /// Show one: all that is known of it, and its body if you ask for it
    ///
    /// Without --body you see what an on-call engineer needs to decide: since when and why it lies there, its size and hash, and
    /// what it reads as by now, with Ring's ids of account and device, or where reading it fails.
    ///
    /// With --body you see the body whole, as Ring sent it, and nothing is masked: it may name a person's devices, and goes into
    /// your terminal's history. On a terminal, control characters and bytes that are no UTF-8 are shown as \x1b or \u{202e}, so
    /// that they can't act on it; redirected into a file or a pipe, the bytes are exactly those that Ring signed.
    #[command(after_help = EXAMPLES)]
    Show {
        /// Which
        id: String,
        /// Print the body, whole and unmasked; with --json in Base64
        #[arg(long)]
        body: bool,
        #[command(flatten)]
        bound: Bound,
    },
    /// Put bodies back into the queue of events, and only then remove them here
    ///
    /// A body that was put back takes the way of any other: an event that is recorded already does nothing, one that still makes
    /// no sense comes back here. A body that no queue takes stays in the bucket, from where it is read. Ended half-way, the tool may have put one back that lies here still: it may be put back again.
    #[command(after_help = EXAMPLES)]
    Retry {
        #[command(flatten)]
        which: Which,
        /// Say what would be put back, and whether it would be understood by now; change nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        bound: Bound,
    },
    /// Throw away for good, the body in the bucket too
    ///
    /// What is dropped is lost: Ring was told 200, and does not send it again. The bucket keeps a deleted body for one day more.
    #[command(after_help = EXAMPLES)]
    Drop {
        #[command(flatten)]
        which: Which,
        /// Say what would be dropped; change nothing
        #[arg(long)]
        dry_run: bool,
        /// Yes, for good
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        bound: Bound,
    },
}

/// How much is looked at.
#[derive(Args, Clone, Copy)]
pub(crate) struct Bound {
    /// Look at this many messages at most
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    max: u64,
}

/// Which ones.
#[derive(Args)]
pub(crate) struct Which {
    /// Which
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All of them, or with --reason all of one reason
    #[arg(long)]
    all: bool,
    /// Only what lies there for this reason
    #[arg(long, requires = "all")]
    reason: Option<String>,
}

/// What lies there.
#[derive(Serialize)]
struct Listed {
    items: Vec<Entry>,
    /// Whether there is more than was looked at.
    more: bool,
}

/// One of them, seen whole.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    entry: Entry,
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// What became of some.
#[derive(Serialize)]
struct Changed {
    #[serde(skip)]
    deed: &'static str,
    dry_run: bool,
    items: Vec<Entry>,
    more: bool,
}

/// The quarantine of a stack.
struct Quarantine {
    queue: Queue,
    events: Queue,
    bodies: Bodies,
    voice: Voice,
}

/// Does what was asked for.
pub(crate) async fn run(command: Command, choice: &Choice, voice: Voice) -> Result<(), Failure> {
    let stack = choice.find().await?;
    let quarantine = Quarantine::of(&stack, voice)?;
    match command {
        Command::List { reason, bound } => quarantine.list(reason.as_deref(), bound.max).await,
        Command::Show { id, body, bound } => quarantine.show(&id, body, bound.max).await,
        Command::Retry { which, dry_run, bound } => quarantine.retry(&which, dry_run, bound.max).await,
        Command::Drop {
            dry_run: false,
            yes: false,
            ..
        } => Err(Failure::misuse("Nothing was dropped")
            .because("what is dropped is lost for good")
            .advise("add --yes, or --dry-run to see what it would be")),
        Command::Drop {
            which, dry_run, bound, ..
        } => quarantine.discard(&which, dry_run, bound.max).await,
    }
}

impl Quarantine {
    fn of(stack: &Stack, voice: Voice) -> Result<Self, Failure> {
        Ok(Self {
            queue: Queue::new(&stack.aws, stack.resource("QuarantineQueue")?, "quarantine"),
            events: Queue::new(&stack.aws, stack.resource("EventsQueue")?, "events"),
            bodies: Bodies::new(&stack.aws, stack.resource("MediaBucket")?),
            voice,
        })
    }

    async fn list(&self, reason: Option<&str>, most: u64) -> Result<(), Failure> {
        let mut items = Vec::new();
        let mut progress = self.voice.begin("looked at");
        let look = async |held: &Held| {
            let entry = Entry::of(held);
            if reason.is_none_or(|reason| entry.reason == reason) {
                items.push(entry);
            }
            Ok(Look::Pass)
        };
        let seen = self.queue.each(most, &mut progress, look).await?;
        drop(progress);
        items.sort_by_key(|entry| entry.since);
        self.voice.answer(&Listed { items, more: seen.more })
    }

    async fn show(&self, id: &str, with_body: bool, most: u64) -> Result<(), Failure> {
        let wanted = Wanted::these(&[id.to_owned()])?;
        let mut found = None;
        let mut progress = self.voice.begin("looked at");
        let look = async |held: &Held| {
            if !wanted.has(held) {
                return Ok(Look::Pass);
            }
            found = Some(held.clone());
            Ok(Look::Enough)
        };
        let seen = self.queue.each(most, &mut progress, look).await?;
        drop(progress);
        let held = found.ok_or_else(|| not_there(&[id.to_owned()], seen.all, seen.more))?;
        let body = self.bodies.of(&held).await?;
        if with_body && !self.voice.json {
            let body = body.ok_or_else(|| entry::gone(&held))?;
            return if io::stdout().is_terminal() {
                self.voice.print(format!("{}\n", for_a_terminal(&body)).as_bytes())
            } else {
                self.voice.print(&body)
            };
        }
        self.voice.answer(&Shown {
            entry: Entry::with(&held, body.as_deref()),
            sha256: body.as_deref().map(entry::digest),
            body_base64: body.filter(|_| with_body).map(|body| STANDARD.encode(body)),
        })
    }

    async fn retry(&self, which: &Which, dry_run: bool, most: u64) -> Result<(), Failure> {
        let deed = if dry_run { "would go back" } else { "went back" };
        self.change(which, deed, dry_run, most, async |held| {
            let body = self.bodies.of(held).await?;
            let entry = Entry::with(held, body.as_deref());
            if dry_run {
                return Ok(entry);
            }
            let Some(body) = body else {
                return Err(entry::gone(held));
            };
            // A body that no queue takes stays in the bucket, and the processor reads it there.
            let message = Outgoing::new(held.body.clone())
                .attribute(entry::ENCODING, held.attribute(entry::ENCODING))
                .attribute(entry::OBJECT, held.attribute(entry::OBJECT))
                .attribute(entry::QUEUED_AT, held.attribute(entry::QUEUED_AT))
                .group(Some(event::group(&body)));
            self.events.send(message).await?;
            self.queue.delete(held).await?;
            Ok(entry)
        })
        .await
    }

    async fn discard(&self, which: &Which, dry_run: bool, most: u64) -> Result<(), Failure> {
        let deed = if dry_run { "would be dropped" } else { "are dropped" };
        self.change(which, deed, dry_run, most, async |held| {
            if !dry_run {
                // The pointer last: as long as it is here, the body can be found and dropped again.
                self.bodies.delete(held).await?;
                self.queue.delete(held).await?;
            }
            Ok(Entry::of(held))
        })
        .await
    }

    /// Does something about each that is wanted. What comes into the queue after this began is left: a body that was put back
    /// and makes no sense still would go round for ever.
    async fn change(
        &self,
        which: &Which,
        deed: &'static str,
        dry_run: bool,
        most: u64,
        mut change: impl AsyncFnMut(&Held) -> Result<Entry, Failure>,
    ) -> Result<(), Failure> {
        let began = clock::now();
        let wanted = if which.all {
            Wanted::All(which.reason.clone())
        } else {
            Wanted::these(&which.ids)?
        };
        let mut items = Vec::new();
        let mut found = BTreeSet::new();
        let mut progress = self.voice.begin(deed);
        let handle = async |held: &Held| {
            if held.sent_at.is_some_and(|sent| sent >= began) || !wanted.has(held) {
                return Ok(Look::Pass);
            }
            items.push(change(held).await?);
            if let Some(name) = wanted.name_of(held) {
                found.insert(name);
            }
            Ok(match (dry_run, wanted.is_complete(&found)) {
                (true, false) => Look::Pass,
                (true, true) => Look::Enough,
                (false, false) => Look::Took,
                (false, true) => Look::TookLast,
            })
        };
        let seen = self.queue.each(most, &mut progress, handle).await;
        drop(progress);
        let done = items.len();
        let (seen, failure) = match seen {
            Ok(seen) => (Some(seen), None),
            Err(failure) => (None, Some(failure)),
        };
        self.voice.answer(&Changed {
            deed,
            dry_run,
            items,
            more: seen.is_some_and(|seen| seen.more),
        })?;
        if let Some(failure) = failure {
            return Err(if done == 0 || dry_run {
                failure
            } else {
                Failure::partly(format!("{done} {deed}, and not all"))
                    .because(failure.to_string())
                    .advise("see to that, and run the same command again: the rest lies there still")
            });
        }
        let missing = wanted.missing(&found);
        match seen {
            Some(seen) if !missing.is_empty() => Err(not_there(&missing, seen.all, seen.more)),
            _ => Ok(()),
        }
    }
}

/// Which messages are wanted.
enum Wanted {
    All(Option<String>),
    These(BTreeSet<String>),
}

/// The shortest that an id may be cut to.
const SHORTEST_ID: usize = 8;

impl Wanted {
    fn these(ids: &[String]) -> Result<Self, Failure> {
        match ids.iter().find(|id| id.len() < SHORTEST_ID) {
            Some(id) => Err(
                Failure::misuse(format!("{id} is too short to be an id")).advise(format!(
                    "give its first {SHORTEST_ID} letters or more, as `ops quarantine list` shows them"
                )),
            ),
            None => Ok(Self::These(ids.iter().cloned().collect())),
        }
    }

    fn has(&self, held: &Held) -> bool {
        match self {
            Self::All(reason) => reason.as_deref().is_none_or(|reason| entry::reason(held) == reason),
            Self::These(_) => self.name_of(held).is_some(),
        }
    }

    fn name_of(&self, held: &Held) -> Option<String> {
        match self {
            Self::All(_) => None,
            Self::These(ids) => ids.iter().find(|id| held.id.starts_with(id.as_str())).cloned(),
        }
    }

    fn is_complete(&self, found: &BTreeSet<String>) -> bool {
        match self {
            Self::All(_) => false,
            // An id in full is found once; of those that begin alike there may be more.
            Self::These(ids) => ids.iter().all(|id| id.len() >= 36 && found.contains(id)),
        }
    }

    fn missing(&self, found: &BTreeSet<String>) -> Vec<String> {
        match self {
            Self::All(_) => Vec::new(),
            Self::These(ids) => ids.difference(found).cloned().collect(),
        }
    }
}

fn not_there(ids: &[String], seen: u64, more: bool) -> Failure {
    let failure = Failure::new(format!("Not in quarantine: {}", ids.join(", ")));
    if more {
        failure
            .because(format!("{seen} messages were looked at, and there are more"))
            .advise("look at more of them with --max")
    } else {
        failure
            .because(format!(
                "none of the {seen} messages there has such an id; somebody may be looking at it at this moment"
            ))
            .advise("see what there is with `ops quarantine list`; what somebody looks at is back within two minutes")
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.items.is_empty() {
            return write!(f, "Nothing is in quarantine.");
        }
        entry::table(f, &self.items)?;
        if self.more {
            write!(f, "\nThere is more than was looked at: raise --max.")?;
        }
        Ok(())
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.items.is_empty() {
            entry::table(f, &self.items)?;
            writeln!(f)?;
        }
        write!(f, "{} {}.", self.items.len(), self.deed)?;
        if self.more {
            write!(f, " There is more than was looked at: run it again, or raise --max.")?;
        }
        Ok(())
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = &self.entry;
        writeln!(f, "id         {}", entry.id)?;
        writeln!(f, "reason     {}", entry.reason)?;
        if let Some(since) = entry.since {
            writeln!(f, "since      {since}")?;
        }
        match (&self.sha256, entry.bytes) {
            (Some(sha256), Some(bytes)) => writeln!(f, "body       {bytes} bytes, SHA-256 {sha256}")?,
            _ => writeln!(f, "body       gone: the bucket does not have it any more")?,
        }
        if let Some(object) = &entry.object {
            writeln!(f, "lies at    {object} of the bucket")?;
        }
        if let Some(message) = &entry.message_id {
            writeln!(f, "was        message {message} of the queue of events")?;
        }
        write!(f, "reads as   {}", entry.reads_as)?;
        if let Some(text) = &self.body_base64 {
            write!(f, "\n\n{text}")?;
        }
        Ok(())
    }
}
