//! `ops dlq`: messages that no program got done, put back into the queue that they came from.

use std::fmt;

use clap::{Subcommand, ValueEnum};
use serde::Serialize;
use shared::edge::batch::QUEUED_AT;

use crate::failure::Failure;
use crate::queue::{Depth, Held, Look, Queue};
use crate::say::Voice;
use crate::stack::{Choice, Stack};

const EXAMPLES: &str = "\
Examples:
  ops --stack ring-prod dlq list                       how much waits in each queue, and in its dead-letter queue
  ops --stack ring-prod dlq redrive events --dry-run   how much would be moved
  ops --stack ring-prod dlq redrive events --max 10    ten first, to see whether they go through by now
  ops --stack ring-prod dlq redrive events             the rest";

/// Messages that no program got done
#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// List the queues: how much waits, and how much was given up
    #[command(after_help = EXAMPLES)]
    List,
    /// Move messages from a dead-letter queue back into its queue
    ///
    /// Mend first what made them fail: each has been tried for hours. A message is sent to its queue, and only then deleted from
    /// the dead-letter queue; ended between the two, it is in both, which does no harm: an event that is recorded and a medium
    /// that is stored do nothing when they come again.
    #[command(after_help = EXAMPLES)]
    Redrive {
        /// Of which queue
        queue: Name,
        /// Move this many messages at most
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
        max: u64,
        /// Say how much would be moved; change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// A queue that has a dead-letter queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// Ring's webhooks
    Events,
    /// Clips and snapshots to be fetched
    Media,
    /// Recordings to be made
    Captures,
}

impl Name {
    const ALL: [Self; 3] = [Self::Events, Self::Media, Self::Captures];

    fn resources(self) -> (&'static str, &'static str) {
        match self {
            Self::Events => ("EventsQueue", "EventsDlq"),
            Self::Media => ("MediaQueue", "MediaDlq"),
            Self::Captures => ("CapturesQueue", "CapturesDlq"),
        }
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Events => ("events", "events_dlq"),
            Self::Media => ("media", "media_dlq"),
            Self::Captures => ("captures", "captures_dlq"),
        }
    }

    fn queues(self, stack: &Stack) -> Result<(Queue, Queue), Failure> {
        let ((to, from), (to_word, from_word)) = (self.resources(), self.words());
        Ok((
            Queue::new(&stack.aws, stack.resource(to)?, to_word),
            Queue::new(&stack.aws, stack.resource(from)?, from_word),
        ))
    }
}

/// How much there is.
#[derive(Serialize)]
struct Listed {
    items: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    queue: &'static str,
    #[serde(flatten)]
    depth: Depth,
}

/// What was moved.
#[derive(Serialize)]
struct Moved {
    queue: &'static str,
    dry_run: bool,
    /// How many were moved, or would be.
    moved: u64,
    /// Whether there may be more.
    more: bool,
}

/// Does what was asked for.
pub(crate) async fn run(command: Command, choice: &Choice, voice: Voice) -> Result<(), Failure> {
    let stack = choice.find().await?;
    match command {
        Command::List => list(&stack, voice).await,
        Command::Redrive { queue, max, dry_run } => redrive(&stack, voice, queue, max, dry_run).await,
    }
}

async fn list(stack: &Stack, voice: Voice) -> Result<(), Failure> {
    let mut items = Vec::new();
    let mut look = async |queue: &Queue, name: &'static str| {
        items.push(Line {
            queue: name,
            depth: queue.depth().await?,
        });
        Ok::<_, Failure>(())
    };
    for name in Name::ALL {
        // A stack of a version without recordings has no such queue.
        if let Ok((to, from)) = name.queues(stack) {
            let (to_word, from_word) = name.words();
            look(&to, to_word).await?;
            look(&from, from_word).await?;
        }
    }
    for (resource, name) in [("QuarantineQueue", "quarantine"), ("RescueQueue", "rescue")] {
        look(&Queue::new(&stack.aws, stack.resource(resource)?, name), name).await?;
    }
    voice.answer(&Listed { items })
}

async fn redrive(stack: &Stack, voice: Voice, name: Name, max: u64, dry_run: bool) -> Result<(), Failure> {
    let (to, from) = name.queues(stack)?;
    let (_, word) = name.words();
    if dry_run {
        let waiting = from.depth().await?.waiting;
        return voice.answer(&Moved {
            queue: word,
            dry_run,
            moved: waiting.min(max),
            more: waiting > max,
        });
    }
    let mut moved = 0;
    let mut progress = voice.begin("moved");
    let handle = async |held: &Held| {
        let queued_at = held.sent_at.map(|at| at.as_millisecond().to_string());
        to.send(held.as_it_is().attribute(QUEUED_AT, queued_at.as_deref()))
            .await?;
        from.delete(held).await?;
        moved += 1;
        Ok(Look::Took)
    };
    let seen = from.each(max, &mut progress, handle).await;
    drop(progress);
    let (more, failure) = match seen {
        Ok(seen) => (seen.more, None),
        Err(failure) => (true, Some(failure)),
    };
    voice.answer(&Moved {
        queue: word,
        dry_run,
        moved,
        more,
    })?;
    match failure {
        None => Ok(()),
        Some(failure) if moved == 0 => Err(failure),
        Some(failure) => Err(Failure::partly(format!("{moved} were moved, and not all"))
            .because(failure.to_string())
            .advise("see to that, and run the same command again: the rest is in the dead-letter queue still")),
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<14}  {:>9}  {:>9}  {:>9}",
            "QUEUE", "WAITING", "IN FLIGHT", "PUT OFF"
        )?;
        for Line { queue, depth } in &self.items {
            write!(
                f,
                "\n{queue:<14}  {:>9}  {:>9}  {:>9}",
                depth.waiting, depth.in_flight, depth.put_off
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queue, moved, .. } = self;
        if self.dry_run {
            write!(f, "About {moved} messages of {queue} would be moved back.")?;
        } else {
            write!(f, "{moved} messages of {queue} were moved back.")?;
        }
        if self.more {
            write!(f, " There is more: run it again, or raise --max.")?;
        }
        Ok(())
    }
}
