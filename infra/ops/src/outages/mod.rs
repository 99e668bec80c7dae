//! `ops outages`: when we failed Ring, what of it may wait in Ring's dead-letter queue, for how long still, and what to write to
//! Ring's representative about it.

use std::collections::BTreeSet;
use std::fmt;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use shared::edge::clock;
use window::{Sign, Source, Window, windows};

use crate::failure::Failure;
use crate::say::Voice;
use crate::stack::Choice;
use crate::when::When;

mod letter;
mod logs;
mod metrics;
mod window;

const EXAMPLES: &str = "\
Examples:
  ops --stack ring-prod outages                                      of the last 72 hours
  ops --stack ring-prod outages --since 7d                           further back
  ops --stack ring-prod outages --since 2026-11-24T22:00:00Z --json  for a machine
  ops --stack ring-prod outages --letter > letter.txt                what to write to Ring's representative

An outage is a run of minutes in which a webhook was answered with 5xx, or could not be answered by the function; it ends with
the next minute in which none was. Three records are read, and one that can't be read is said:

  the intake's log         each 503 of its own, to the millisecond, and why
  the gateway's log        each 5xx on the route, whoever made it: the function, its time-out, or the gateway
  metrics of both          5xx of the route by the minute, errors and throttles of the function; kept for 15 days

Logs reach back for as long as the stack's parameter LogRetentionDays says. What nobody here can see: requests that never reached
the gateway.

Ring tries seven times over 73 minutes, then keeps what it could not deliver for 72 hours, and replays it when its representative
is asked. So a window costs events only where each of the seven tries fell into it, or into another one: the others have come.";

/// When we failed Ring, what it may hold for us, and what to write to its representative
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    /// Look back to this time; a metric's minutes are kept for 15 days
    #[arg(long, default_value = "72h", value_name = "TIME")]
    since: When,
    /// Print only the text for Ring's representative; with --json it is the field `letter`
    #[arg(long)]
    letter: bool,
}

/// What was found.
#[derive(Serialize)]
struct Outages {
    since: Timestamp,
    now: Timestamp,
    webhook_url: Option<String>,
    items: Vec<Outage>,
    /// What could not be read, and why.
    unread: Vec<Unread>,
    /// The text for Ring's representative, where there is something to ask for.
    letter: Option<String>,
}

/// One outage, and what it means.
#[derive(Serialize)]
struct Outage {
    #[serde(flatten)]
    window: Window,
    /// Whether it goes on at this moment.
    goes_on: bool,
    /// What may lie in Ring's dead-letter queue because of it.
    dead_letters: Option<DeadLetters>,
}

/// Events that Ring may hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct DeadLetters {
    /// The first try of the earliest of them.
    first_sent: Timestamp,
    /// The first try of the latest.
    last_sent: Timestamp,
    /// Ask for a replay before this: read strictly, Ring's 72 hours begin with the first of them.
    ask_before: Timestamp,
    /// What is left until then, in minutes; nothing once it has passed.
    left_minutes: i64,
}

/// A record that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Unread {
    source: Source,
    why: String,
}

/// What one record told.
struct Told {
    signs: Vec<Sign>,
    /// It has more than was read.
    cut: bool,
}

/// Does what was asked for.
pub(crate) async fn run(command: Command, choice: &Choice, voice: Voice) -> Result<(), Failure> {
    let now = clock::now();
    let since = command.since.at(now);
    if since >= now {
        return Err(Failure::misuse("The time to look back to has not come yet"));
    }
    let stack = choice.find().await?;
    let mut progress = voice.begin("lines read");
    let intake = logs::intake(&stack, since, now, &mut progress).await;
    let gateway = logs::gateway(&stack, since, now, &mut progress).await;
    drop(progress);
    let metrics = metrics::read(&stack, since, now).await;

    let mut signs = Vec::new();
    let mut unread = BTreeSet::new();
    for (source, told) in [
        (Source::IntakeLog, intake),
        (Source::GatewayLog, gateway),
        (Source::Metrics, metrics),
    ] {
        match told {
            Ok(told) => {
                signs.extend(told.signs);
                if told.cut {
                    let why = "it has more than was read; look at a shorter time".to_owned();
                    unread.insert(Unread { source, why });
                }
            }
            Err(failure) => {
                _ = unread.insert(Unread {
                    source,
                    why: failure.to_string(),
                })
            }
        }
    }
    if unread.len() == 3 && signs.is_empty() {
        let why: Vec<_> = unread.into_iter().map(|unread| unread.why).collect();
        return Err(Failure::new("Nothing that tells of outages can be read").because(why.join("\n              ")));
    }
    let windows = windows(signs);
    let items = windows.iter().map(|window| Outage {
        window: window.clone(),
        goes_on: window.until > now,
        dead_letters: dead_letters(window, &windows, now),
    });
    let mut outages = Outages {
        since,
        now,
        webhook_url: stack.output("WebhookUrl").map(str::to_owned),
        items: items.collect(),
        unread: unread.into_iter().collect(),
        letter: None,
    };
    outages.letter = letter::letter(&outages);
    if command.letter && !voice.json {
        let letter = outages.letter.as_deref().ok_or_else(|| letter::nothing(&outages))?;
        for unread in &outages.unread {
            voice.warn(&format!("{} is not read: {}", unread.source, unread.why));
        }
        return voice.print(letter.as_bytes());
    }
    voice.answer(&outages)
}

/// How long Ring keeps what it could not deliver. Ring: Webhook Response Handling, Retry Logic.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(72);

/// What this window may have put into Ring's dead-letter queue: events whose first try fell into it and whose others all fell
/// into some window.
fn dead_letters(window: &Window, all: &[Window], now: Timestamp) -> Option<DeadLetters> {
    let (first_sent, last_sent) = window::given_up(window, all)?;
    let ask_before = first_sent + KEPT_FOR;
    let left = ask_before.duration_since(now);
    Some(DeadLetters {
        first_sent,
        last_sent,
        ask_before,
        left_minutes: left.as_mins().max(0),
    })
}

impl Outages {
    /// Those that Ring may hold events of still.
    fn to_be_asked_for(&self) -> impl Iterator<Item = (&Outage, &DeadLetters)> {
        let held = self
            .items
            .iter()
            .filter_map(|outage| Some((outage, outage.dead_letters.as_ref()?)));
        // The last of them is kept for longer than the first.
        held.filter(|(_, dead)| dead.last_sent + window::TRIES_LAST + KEPT_FOR > self.now)
    }
}

/// A time as people read it, to the second.
fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `71 h 58 min`.
fn span(minutes: i64) -> String {
    if minutes < 60 {
        format!("{minutes} min")
    } else {
        format!("{} h {:02} min", minutes / 60, minutes % 60)
    }
}

impl fmt::Display for Outages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.items.is_empty() {
            write!(f, "No outage since {} is known.", second(self.since))?;
        }
        for (index, outage) in self.items.iter().enumerate() {
            if index > 0 {
                writeln!(f, "\n")?;
            }
            write!(f, "{outage}")?;
        }
        if self.letter.is_some() {
            write!(
                f,
                "\n\nThe text for Ring's representative: the same command with --letter."
            )?;
        }
        for Unread { source, why } in &self.unread {
            write!(
                f,
                "\n\nNot read: {source}. Outages that only it shows are missing here.\n  {why}"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window = &self.window;
        let minutes = window.until.duration_since(window.from).as_secs().div_euclid(60).max(1);
        write!(f, "{} - ", second(window.from))?;
        if self.goes_on {
            write!(f, "goes on")?;
        } else {
            write!(f, "{}, {}", second(window.until), span(minutes))?;
        }
        for (source, count) in &window.failed {
            write!(f, "\n  {source}: {count}")?;
        }
        if !window.why.is_empty() {
            let why: Vec<_> = window.why.iter().map(String::as_str).collect();
            write!(f, "\n  why: {}", why.join(", "))?;
        }
        match &self.dead_letters {
            None => write!(
                f,
                "\n  nothing is lost by it: of each event one of Ring's seven tries fell outside"
            ),
            Some(dead) => {
                write!(
                    f,
                    "\n  Ring may hold what it first sent from {} to {}",
                    second(dead.first_sent),
                    second(dead.last_sent)
                )?;
                if dead.left_minutes > 0 {
                    write!(
                        f,
                        "\n  ask for a replay before {}: {} left",
                        second(dead.ask_before),
                        span(dead.left_minutes)
                    )
                } else {
                    write!(
                        f,
                        "\n  its 72 hours are over since {}, at least for the first of them",
                        second(dead.ask_before)
                    )
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn window(from: &str, until: &str) -> Window {
        Window {
            from: at(from),
            until: at(until),
            failed: [(Source::Metrics, 3)].into(),
            why: BTreeSet::new(),
        }
    }

    #[test]
    fn trap_62_what_is_left_of_the_72_hours_is_counted_from_the_first_event_that_ring_gave_up() {
        let long = window("2026-11-25T00:00:00Z", "2026-11-25T02:00:00Z");
        let now = at("2026-11-25T10:00:00Z");
        let dead = dead_letters(&long, std::slice::from_ref(&long), now).unwrap();
        assert_eq!(dead.first_sent, at("2026-11-25T00:00:00Z"));
        assert_eq!(dead.ask_before, at("2026-11-28T00:00:00Z"));
        assert_eq!(dead.left_minutes, 62 * 60);
        let late = dead_letters(&long, std::slice::from_ref(&long), at("2026-11-29T00:00:00Z")).unwrap();
        assert_eq!(late.left_minutes, 0);
    }

    #[test]
    fn an_outage_reads_as_a_person_wants_it() {
        let long = window("2026-11-25T00:00:00Z", "2026-11-25T02:00:00Z");
        let short = window("2026-11-25T05:00:00Z", "2026-11-25T05:03:00Z");
        let now = at("2026-11-25T10:00:00Z");
        let all = [long, short];
        let items = all.iter().map(|window| Outage {
            window: window.clone(),
            goes_on: false,
            dead_letters: dead_letters(window, &all, now),
        });
        let mut outages = Outages {
            since: at("2026-11-22T10:00:00Z"),
            now,
            webhook_url: None,
            items: items.collect(),
            unread: vec![Unread {
                source: Source::GatewayLog,
                why: "no rights".to_owned(),
            }],
            letter: None,
        };
        outages.letter = letter::letter(&outages);
        let said = outages.to_string();
        assert!(
            said.contains("2026-11-25 00:00:00 UTC - 2026-11-25 02:00:00 UTC, 2 h 00 min"),
            "{said}"
        );
        assert!(said.contains("62 h 00 min left"), "{said}");
        assert!(
            said.contains("3 min\n") && said.contains("nothing is lost by it"),
            "{said}"
        );
        assert!(
            said.contains("--letter") && said.contains("Not read: the gateway's log"),
            "{said}"
        );
    }
}
