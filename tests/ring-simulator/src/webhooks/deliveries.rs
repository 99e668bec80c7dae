//! The deliveries there are and where each stands: due, under way, delivered, refused, or a dead letter.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

use super::schedule::{self, DEAD_LETTER_LIFE, Next};
use super::seal::Seal;
use crate::ring::lock;

/// How many deliveries are kept; the oldest that are over go first.
const KEPT: usize = 10_000;

/// How many there can be, those that are not over among them.
const PENDING_LIMIT: usize = 100_000;

/// All deliveries, and a bell that rings when one moves on.
#[derive(Default)]
pub(crate) struct Webhooks {
    list: Mutex<List>,
    moved: watch::Sender<()>,
}

#[derive(Default)]
struct List {
    deliveries: BTreeMap<u64, Delivery>,
    taken: u64,
}

/// What is to be delivered: these bytes, sealed in this way at each attempt.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) user: Option<String>,
    pub(super) device: Option<String>,
    pub(super) kind: String,
    pub(super) request_id: Option<String>,
    pub(super) content_type: String,
    pub(super) body: Bytes,
    pub(super) seal: Seal,
    pub(super) replay_of: Option<String>,
}

struct Delivery {
    letter: Letter,
    state: State,
    attempts: Vec<Attempt>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Due(Timestamp),
    UnderWay(Timestamp),
    Delivered,
    Refused,
    DeadLettered(Timestamp),
}

/// One attempt, by the simulator's clock.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Attempt {
    number: usize,
    due: String,
    began: String,
    ended: String,
    /// None: no answer in time, or no connection.
    status: Option<u16>,
    error: Option<String>,
}

/// A delivery as it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    pub(crate) id: String,
    pub(crate) status: &'static str,
    #[serde(rename = "type")]
    kind: String,
    user: Option<String>,
    device: Option<String>,
    request_id: Option<String>,
    /// When the next attempt is due.
    next_due: Option<String>,
    /// How long the dead-letter queue keeps it.
    kept_until: Option<String>,
    replay_of: Option<String>,
    pub(crate) attempts: Vec<Attempt>,
    /// As text where it is text.
    body: String,
}

/// Why a delivery can't be replayed.
pub(crate) enum NoReplay {
    Unknown,
    UnderWay,
    Expired,
}

impl Webhooks {
    /// Takes a letter on, due at once.
    pub(super) fn take(&self, letter: Letter, now: Timestamp) -> u64 {
        let mut list = lock(&self.list);
        list.taken += 1;
        let number = list.taken;
        list.deliveries.insert(
            number,
            Delivery {
                letter,
                state: State::Due(now),
                attempts: Vec::new(),
            },
        );
        if list.deliveries.len() > KEPT {
            let over = |delivery: &Delivery| !matches!(delivery.state, State::Due(_) | State::UnderWay(_));
            let oldest = list
                .deliveries
                .iter()
                .find(|(_, delivery)| over(delivery))
                .map(|(number, _)| *number);
            oldest.map(|number| list.deliveries.remove(&number));
        }
        number
    }

    pub(super) fn is_full(&self) -> bool {
        lock(&self.list).deliveries.len() >= PENDING_LIMIT
    }

    /// When a delivery is due, while it is.
    pub(super) fn due(&self, number: u64) -> Option<Timestamp> {
        match lock(&self.list).deliveries.get(&number)?.state {
            State::Due(at) => Some(at),
            _ => None,
        }
    }

    /// Puts a delivery under way, and gives its letter and the number of the attempt.
    pub(super) fn begin(&self, number: u64) -> Option<(Letter, usize)> {
        let mut list = lock(&self.list);
        let delivery = list.deliveries.get_mut(&number)?;
        let State::Due(due) = delivery.state else { return None };
        delivery.state = State::UnderWay(due);
        Some((delivery.letter.clone(), delivery.attempts.len() + 1))
    }

    /// Writes an attempt down, and moves the delivery on.
    pub(super) fn end(
        &self,
        number: u64,
        status: Option<u16>,
        error: Option<String>,
        began: Timestamp,
        ended: Timestamp,
    ) {
        if let Some(delivery) = lock(&self.list).deliveries.get_mut(&number)
            && let State::UnderWay(due) = delivery.state
        {
            let made = delivery.attempts.len() + 1;
            let (due, began, at) = (due.to_string(), began.to_string(), ended.to_string());
            delivery.attempts.push(Attempt {
                number: made,
                due,
                began,
                ended: at,
                status,
                error,
            });
            delivery.state = match schedule::next(made, status, ended) {
                Next::Delivered => State::Delivered,
                Next::Refused => State::Refused,
                Next::Retry(at) => State::Due(at),
                Next::DeadLetter => State::DeadLettered(ended),
            };
        }
        self.moved.send_replace(());
    }

    /// Waits until all of these have had an attempt answered, or the bound has passed.
    pub(crate) async fn first_answers(&self, ids: &[u64], bound: Duration) {
        self.wait(bound, |list| {
            ids.iter().all(|id| {
                list.deliveries
                    .get(id)
                    .is_none_or(|delivery| !delivery.attempts.is_empty())
            })
        })
        .await;
    }

    /// Waits until nothing is under way, and nothing is due at `now`; or the bound has passed.
    pub(super) async fn quiet(&self, now: Timestamp, bound: Duration) {
        self.wait(bound, |list| {
            list.deliveries.values().all(|delivery| match delivery.state {
                State::UnderWay(_) => false,
                State::Due(at) => at > now,
                _ => true,
            })
        })
        .await;
    }

    /// The next moment at which a delivery is due.
    pub(super) fn earliest_due(&self) -> Option<Timestamp> {
        let list = lock(&self.list);
        let due = list.deliveries.values().filter_map(|delivery| match delivery.state {
            State::Due(at) => Some(at),
            _ => None,
        });
        due.min()
    }

    pub(crate) fn show(&self, id: &str, now: Timestamp) -> Option<Shown> {
        let number = number(id)?;
        lock(&self.list)
            .deliveries
            .get(&number)
            .map(|delivery| delivery.show(number, now))
    }

    /// All deliveries, oldest first; with a status, those that have it.
    pub(crate) fn list(&self, status: Option<&str>, now: Timestamp) -> Vec<Shown> {
        let list = lock(&self.list);
        let shown = list
            .deliveries
            .iter()
            .map(|(number, delivery)| delivery.show(*number, now));
        shown
            .filter(|shown| status.is_none_or(|status| status == shown.status))
            .collect()
    }

    /// The letter of a delivery that is over, to be sent anew.
    pub(super) fn reopen(&self, id: &str, now: Timestamp) -> Result<Letter, NoReplay> {
        let list = lock(&self.list);
        let delivery = number(id)
            .and_then(|number| list.deliveries.get(&number))
            .ok_or(NoReplay::Unknown)?;
        match delivery.state {
            State::Due(_) | State::UnderWay(_) => Err(NoReplay::UnderWay),
            State::DeadLettered(at) if now.duration_since(at) > DEAD_LETTER_LIFE => Err(NoReplay::Expired),
            _ => Ok(Letter {
                replay_of: Some(id.to_owned()),
                ..delivery.letter.clone()
            }),
        }
    }

    async fn wait(&self, bound: Duration, done: impl Fn(&List) -> bool) {
        let mut moved = self.moved.subscribe();
        let finished = async {
            // The sender lives in `self`: an error can't come, and would end the wait.
            while !done(&lock(&self.list)) && moved.changed().await.is_ok() {}
        };
        // Past the bound the caller goes on with what there is.
        let _ = tokio::time::timeout(bound, finished).await;
    }
}

impl Delivery {
    fn show(&self, number: u64, now: Timestamp) -> Shown {
        let (status, next_due, kept_until) = match self.state {
            State::Due(at) => ("due", Some(at), None),
            State::UnderWay(_) => ("under_way", None, None),
            State::Delivered => ("delivered", None, None),
            State::Refused => ("refused", None, None),
            State::DeadLettered(at) => {
                let until = at + DEAD_LETTER_LIFE;
                (if now > until { "expired" } else { "dead_lettered" }, None, Some(until))
            }
        };
        Shown {
            id: id(number),
            status,
            kind: self.letter.kind.clone(),
            user: self.letter.user.clone(),
            device: self.letter.device.clone(),
            request_id: self.letter.request_id.clone(),
            next_due: next_due.map(|at| at.to_string()),
            kept_until: kept_until.map(|at| at.to_string()),
            replay_of: self.letter.replay_of.clone(),
            attempts: self.attempts.clone(),
            body: String::from_utf8_lossy(&self.letter.body).into_owned(),
        }
    }
}

/// The id of a delivery, as it is shown.
pub(crate) fn id(number: u64) -> String {
    format!("delivery-{number}")
}

fn number(id: &str) -> Option<u64> {
    id.strip_prefix("delivery-")?.parse().ok()
}
