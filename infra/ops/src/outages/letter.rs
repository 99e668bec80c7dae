//! The text for Ring's representative.

use std::fmt::Write as _;

use super::{Outages, second};
use crate::failure::Failure;

/// That there is nothing to ask for.
pub(super) fn nothing(outages: &Outages) -> Failure {
    Failure::new("There is nothing to write to Ring's representative")
        .because(format!(
            "no event since {} is known that Ring may hold still",
            second(outages.since)
        ))
        .advise("see `ops outages` for what there was, and what could not be read")
}

/// The letter, where there is something to ask for.
pub(super) fn letter(outages: &Outages) -> Option<String> {
    let mut asked: Vec<_> = outages.to_be_asked_for().collect();
    asked.sort_by_key(|(_, dead)| dead.first_sent);
    let (_, first) = asked.first()?;
    let mut text = String::new();
    let url = outages.webhook_url.as_deref().unwrap_or("(our webhook URL)");
    let mut line = |words: String| _ = writeln!(text, "{words}");
    line("Subject: Ring Partner API: request to replay dead-lettered webhooks".to_owned());
    line(String::new());
    line("Dear Ring team,".to_owned());
    line(String::new());
    line("our webhook endpoint answered with server errors, or not at all, at the times below. Events whose seven delivery".to_owned());
    line("attempts all fell into them should be in your dead letter queue. Please replay them before their 72 hours are over:".to_owned());
    line(format!("the first run out at {}.", second(first.ask_before)));
    line(String::new());
    line(format!("Webhook URL: {url}"));
    line("Client id:   (yours, from the developer portal)".to_owned());
    line(String::new());
    for (outage, dead) in &asked {
        let until = if outage.goes_on {
            "it goes on; we will write when it is over".to_owned()
        } else {
            second(outage.window.until)
        };
        line(format!("- failing from {} to {until}", second(outage.window.from)));
        line(format!(
            "  events first sent from {} to {}",
            second(dead.first_sent),
            second(dead.last_sent)
        ));
    }
    line(String::new());
    line(
        "It does no harm if you replay more than these: we tell an event that we have already by its data.id."
            .to_owned(),
    );
    line(String::new());
    line("Kind regards,".to_owned());
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Outage, dead_letters};
    use super::*;
    use crate::outages::window::Window;

    fn outages(from: &str, until: &str, now: &str) -> Outages {
        let window = Window {
            from: from.parse().unwrap(),
            until: until.parse().unwrap(),
            failed: Default::default(),
            why: BTreeSet::new(),
        };
        let now = now.parse().unwrap();
        Outages {
            since: "2026-11-22T00:00:00Z".parse().unwrap(),
            now,
            webhook_url: Some("https://api.example/ring/webhook".to_owned()),
            items: vec![Outage {
                dead_letters: dead_letters(&window, std::slice::from_ref(&window), now),
                goes_on: false,
                window,
            }],
            unread: Vec::new(),
            letter: None,
        }
    }

    #[test]
    fn trap_62_the_letter_names_the_url_the_windows_and_the_end_of_the_72_hours() {
        let letter = letter(&outages(
            "2026-11-24T20:00:00Z",
            "2026-11-24T22:00:00Z",
            "2026-11-25T08:00:00Z",
        ))
        .unwrap();
        for words in [
            "https://api.example/ring/webhook",
            "failing from 2026-11-24 20:00:00 UTC to 2026-11-24 22:00:00 UTC",
            "events first sent from 2026-11-24 20:00:00 UTC to 2026-11-24 20:47:23 UTC",
            "run out at 2026-11-27 20:00:00 UTC",
        ] {
            assert!(letter.contains(words), "{words}:\n{letter}");
        }
    }

    #[test]
    fn what_ring_delivered_in_the_end_or_holds_no_more_is_not_asked_for() {
        for (from, until, now) in [
            ("2026-11-24T20:00:00Z", "2026-11-24T20:30:00Z", "2026-11-25T08:00:00Z"),
            ("2026-11-24T20:00:00Z", "2026-11-24T22:00:00Z", "2026-11-28T08:00:00Z"),
        ] {
            assert_eq!(letter(&outages(from, until, now)), None);
        }
    }
}
