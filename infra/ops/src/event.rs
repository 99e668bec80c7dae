//! `ops event`: what became of one event, from when it happened to the last of its effects.

use std::fmt;

use clap::Subcommand;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use shared::event::ports::Records as _;
use shared::event::store::Events;
use shared::event::{EventId, Past, Progress, Record, Repeat};

use crate::failure::{Doing as _, Failure};
use crate::say::Voice;
use crate::stack::Choice;

const EXAMPLES: &str = "\
Examples:
  ops --stack ring-prod event show evt_VQ0n1YqKkcUoXyPpT6yJmXzqk9E         what became of it, and when
  ops --stack ring-prod event show evt_VQ0n1YqKkcUoXyPpT6yJmXzqk9E --json

The id is the `event_id` of the bus, the API and the logs.";

/// One event: what became of it
#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Show its ledger: sent, queued, recorded, each effect and when; and what repeats of it there were
    ///
    /// You see Ring's ids of account and device, and no body. An event that is done by its ledger was published: whoever missed it
    /// on the bus gets it again by `ops replay`.
    #[command(after_help = EXAMPLES)]
    Show {
        /// Which
        id: String,
    },
}

/// What is known of an event.
#[derive(Serialize)]
struct Shown {
    event_id: String,
    #[serde(rename = "type")]
    kind: String,
    subtype: Option<String>,
    account_id: Option<String>,
    device_id: Option<String>,
    request_id: Option<String>,
    state: State,
    occurred_at: Timestamp,
    sent_at: Option<Timestamp>,
    received_at: Timestamp,
    recorded_at: Timestamp,
    /// What was done, in that order.
    ledger: Vec<Done>,
    /// What is to be done still.
    pending: Vec<String>,
    media: Vec<String>,
    /// Repeats that were not the same to the letter; the first one stands.
    repeats: Vec<Again>,
    /// Until when it is kept.
    kept_until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Done,
    Pending,
    Parked,
}

#[derive(Serialize)]
struct Done {
    effect: String,
    at: Timestamp,
    note: Option<String>,
}

#[derive(Serialize)]
struct Again {
    received_at: Timestamp,
    request_id: Option<String>,
    /// Whether it says something else about the event.
    differs: bool,
}

/// Does what was asked for.
pub(crate) async fn run(command: Command, choice: &Choice, voice: Voice) -> Result<(), Failure> {
    let Command::Show { id } = command;
    let stack = choice.find().await?;
    let events = Events::new(&stack.aws, stack.resource("EventsTable")?);
    let what = || format!("The event {id} can't be read");
    let id = EventId::from(id.clone());
    let record = events.get(&id).await.or_fail(what)?.ok_or_else(|| {
        Failure::new(format!("There is no event {}", id.as_str()))
            .because("it was never recorded, or its retention is over")
            .advise(
                "compare the id; see `ops quarantine list`, `ops dlq list` and `ops outages` for what was not recorded",
            )
    })?;
    let past = match record.place() {
        Some(place) => events.past(&place).await.or_fail(what)?,
        None => None,
    };
    let repeats = events.repeats(&id).await.or_fail(what)?;
    voice.answer(&Shown::of(record, past, repeats))
}

impl Shown {
    fn of(record: Record, past: Option<Past>, repeats: Vec<Repeat>) -> Self {
        let (state, pending) = match (&past, &record.progress) {
            (Some(_), _) => (State::Done, Vec::new()),
            (None, Progress::Parked) => (State::Parked, Vec::new()),
            (None, Progress::Pending { effects }) => {
                let effects = effects.iter().map(|effect| effect.as_str().to_owned());
                (State::Pending, effects.collect())
            }
        };
        let again = repeats.into_iter().map(|repeat| Again {
            received_at: repeat.received_at,
            differs: repeat.content != record.content,
            request_id: repeat.request_id,
        });
        let (ledger, media) = past.map(|past| (past.ledger, past.media)).unwrap_or_default();
        Self {
            repeats: again.collect(),
            event_id: record.event_id.as_str().to_owned(),
            kind: record.kind.as_str().to_owned(),
            subtype: record.subtype,
            account_id: record.account_id.map(|id| id.to_string()),
            device_id: record.device_id.map(|id| id.to_string()),
            request_id: record.request_id,
            state,
            occurred_at: record.occurred_at,
            sent_at: record.sent_at,
            received_at: record.received_at,
            recorded_at: record.recorded_at,
            ledger: ledger
                .into_iter()
                .map(|step| Done {
                    effect: step.effect,
                    at: step.at,
                    note: step.note,
                })
                .collect(),
            pending,
            media,
            kept_until: Timestamp::from_second(record.expires_at).ok(),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subtype = self
            .subtype
            .as_ref()
            .map_or_else(String::new, |subtype| format!(" ({subtype})"));
        writeln!(f, "{} {}{subtype}", self.event_id, self.kind)?;
        let or_none = |id: &Option<String>| id.clone().unwrap_or_else(|| "none that is named".to_owned());
        writeln!(f, "account   {}", or_none(&self.account_id))?;
        writeln!(f, "device    {}", or_none(&self.device_id))?;
        writeln!(f, "request   {}", or_none(&self.request_id))?;
        let mut line = |word: &str, at: Timestamp, more: &str| {
            let since = at.duration_since(self.occurred_at);
            writeln!(f, "{word:<14}{:<32}{:>12}{more}", at.to_string(), after(since))
        };
        line("happened", self.occurred_at, "")?;
        if let Some(sent_at) = self.sent_at {
            line("sent by Ring", sent_at, "")?;
        }
        line("queued", self.received_at, "")?;
        line("recorded", self.recorded_at, "")?;
        for Done { effect, at, note } in &self.ledger {
            let note = note.as_ref().map_or_else(String::new, |note| format!("  {note}"));
            line(effect, *at, &note)?;
        }
        for Again {
            received_at,
            request_id,
            differs,
        } in &self.repeats
        {
            let says = if *differs { ", and says something else" } else { "" };
            line(
                "came again",
                *received_at,
                &format!("  as {}{says}", or_none(request_id)),
            )?;
        }
        for medium in &self.media {
            writeln!(f, "medium    {medium}")?;
        }
        match self.state {
            State::Done => write!(f, "All that it asks for is done."),
            State::Parked => write!(
                f,
                "It is parked: its account is not linked here, and it takes its course when it is."
            ),
            State::Pending => write!(
                f,
                "It is not done: {} left. It is with the processor, in the queue or in its dead-letter queue: `ops dlq list`.",
                self.pending.join(", ")
            ),
        }
    }
}

/// `+1.204 s`.
fn after(since: SignedDuration) -> String {
    format!("{:+.3} s", since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use shared::event::{Delivery, Effect, Plan, Step};

    use super::*;

    const BODY: &str = r#"{"meta": {"version": "1.1", "time": "2026-02-13T13:39:57.5Z",
        "request_id": "2ad45ade-1818-4154-813b-afdd8bcd8085", "account_id": "a1"},
        "data": {"id": "e1", "type": "button_press",
                 "attributes": {"source": "d1", "source_type": "devices", "timestamp": 1770989995000}}}"#;

    fn record() -> Record {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let delivery = Delivery {
            message: "m1".to_owned(),
            received_at: at("2026-02-13T13:39:58Z"),
        };
        let webhook = ring_partner::webhook::Webhook::parse(BODY.as_bytes()).unwrap();
        let kept_for = std::time::Duration::from_secs(90 * 86_400);
        Record::of(
            &webhook,
            BODY.as_bytes(),
            &delivery,
            kept_for,
            at("2026-02-13T13:39:58.25Z"),
        )
    }

    #[test]
    fn a_ledger_tells_each_step_and_how_long_after_the_event_it_was() {
        let account = record().account_id.unwrap();
        let plan = Plan {
            effects: vec![Effect::DeviceState, Effect::Announce],
            notify: None,
        };
        let pending = record().pending(&account, plan, "m1", "2026-02-13T13:39:58.25Z".parse().unwrap());
        let said = Shown::of(pending.clone(), None, Vec::new()).to_string();
        assert!(said.contains("It is not done: device_state, announce left"), "{said}");

        let step = Step {
            effect: "announce".to_owned(),
            at: "2026-02-13T13:39:59Z".parse().unwrap(),
            note: None,
        };
        let past = pending.past(&account, vec![step], Vec::new());
        let repeat = Repeat {
            request_id: Some("r2".to_owned()),
            content: "other".to_owned(),
            body: None,
            received_at: "2026-02-13T13:41:00Z".parse().unwrap(),
            expires_at: 0,
        };
        let said = Shown::of(pending, Some(past), vec![repeat]).to_string();
        for words in [
            "sent by Ring  2026-02-13T13:39:57.5Z",
            "+2.500 s",
            "+4.000 s",
            "says something else",
            "is done",
        ] {
            assert!(said.contains(words), "{words}:\n{said}");
        }
    }

    #[test]
    fn a_parked_event_says_what_it_waits_for() {
        let said = Shown::of(record(), None, Vec::new()).to_string();
        assert!(said.contains("parked") && said.contains("not linked"), "{said}");
    }
}
