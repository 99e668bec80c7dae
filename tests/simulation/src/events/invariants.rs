//! What must hold of events once nothing goes wrong any more and the queue is empty.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;
use shared::device::Told;
use shared::edge::clock::signed;
use shared::event::{Past, Progress};

use super::queue::{Content, Job};
use super::ring::Event;
use crate::house::House;
use crate::interference::Peace;

/// So long after an event is done, somebody may still be at it who had begun before: the time-out of the processor, and a call.
const STILL_AT_IT: Duration = Duration::from_secs(75);

/// What Ring told of one event, and what we said to it.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// The requests that we have acknowledged.
    pub acknowledged: Vec<u64>,
    /// The requests of the others: nobody knows whether we have them.
    pub unclear: Vec<u64>,
}

/// All that was sent.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// Events, and how they were delivered.
    pub events: BTreeMap<Event, Sent>,
    /// Bodies that make no sense, and whether they were acknowledged.
    pub nonsense: BTreeMap<Vec<u8>, bool>,
    /// The accounts that are linked at the end.
    pub linked: BTreeSet<String>,
    /// The accounts that were linked before, and are not any more.
    pub left: BTreeSet<String>,
    /// Events that somebody asked to have published again.
    pub replayed: BTreeSet<String>,
}

/// What it came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Acknowledged events of linked accounts, found once and announced.
    pub ok: u64,
    /// Acknowledged events of others, parked.
    pub parked: u64,
    /// How often the bus was told again what it knew.
    pub announced_again: u64,
    /// Media that were asked for.
    pub media: u64,
    /// The most often that a message was handed out.
    pub most_received: u32,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.ok += other.ok;
        self.parked += other.parked;
        self.announced_again += other.announced_again;
        self.media += other.media;
        self.most_received = self.most_received.max(other.most_received);
    }
}

/// Nothing goes wrong from here on, and what is in the queue is taken.
pub async fn drain(house: &House) -> Result<(), String> {
    house.interfere(Arc::new(Peace));
    let over = Arc::new(AtomicBool::new(true));
    let pollers = (0..2).map(|_| tokio::spawn(house.clone().poll(0, Arc::clone(&over))));
    let drained = tokio::time::timeout(Duration::from_secs(4 * 3600), futures_util::future::join_all(pollers)).await;
    match drained {
        Ok(pollers) => pollers
            .into_iter()
            .try_for_each(|poller| poller.map_err(|error| error.to_string())),
        Err(_) => Err(format!(
            "{} messages are never dealt with",
            house.world.all().queue.depth()
        )),
    }
}

type Where = (String, i64);

/// What must hold; and what was counted.
pub fn hold(house: &House, book: &Book) -> Result<Count, String> {
    let all = house.world.all();
    let claim = |holds: bool, what: &dyn Fn() -> String| if holds { Ok(()) } else { Err(what()) };
    let mut count = Count {
        most_received: all.queue.most_seen,
        ..Count::default()
    };

    // Nothing is left, or set aside that can be understood.
    claim(all.queue.depth() == 0, &|| {
        format!("{} messages are in the queue", all.queue.depth())
    })?;
    claim(all.queue.dead.is_empty(), &|| {
        let dead = &all.queue.dead[0];
        format!(
            "{} messages are dead letters, {} received {} times",
            all.queue.dead.len(),
            dead.id,
            dead.received
        )
    })?;
    for (content, reason) in &all.queue.quarantine {
        let is_nonsense = matches!(content, Content::Body(body) if book.nonsense.contains_key(body));
        claim(is_nonsense, &|| {
            format!("what makes sense is in quarantine as {reason}: {content:?}")
        })?;
    }
    for (body, is_acknowledged) in &book.nonsense {
        let is_kept = all
            .queue
            .quarantine
            .iter()
            .any(|(content, _)| *content == Content::Body(body.clone()));
        claim(is_kept || !is_acknowledged, &|| {
            "what makes no sense was acknowledged, and is lost".to_owned()
        })?;
    }

    // What is found, by device and millisecond: no id is worked out here.
    let mut rows: BTreeMap<Where, Vec<&str>> = BTreeMap::new();
    for past in all.events.history() {
        let device = past.device_id.as_ref().map(ToString::to_string).unwrap_or_default();
        let at = (device, past.occurred_at.as_millisecond());
        rows.entry(at).or_default().push(past.event_id.as_str());
    }
    let mut told: BTreeMap<Where, Vec<(Timestamp, &str)>> = BTreeMap::new();
    for (when, announcement) in &all.published {
        let device = announcement.device_id.clone().unwrap_or_default();
        let at = (device, announcement.occurred_at.as_millisecond());
        told.entry(at).or_default().push((*when, &announcement.event_id));
    }
    let sent: BTreeMap<Where, (&Event, &Sent)> = book
        .events
        .iter()
        .map(|(event, sent)| ((event.device.clone(), event.at), (event, sent)))
        .collect();
    for at in rows.keys().chain(told.keys()) {
        claim(sent.contains_key(at), &|| format!("unexpected: nobody told of {at:?}"))?;
    }
    let mut ids: BTreeMap<&str, &Where> = BTreeMap::new();
    for (at, (event, sent)) in &sent {
        let (rows, told) = (
            rows.get(at).map_or(&[][..], Vec::as_slice),
            told.get(at).map_or(&[][..], Vec::as_slice),
        );
        let own: BTreeSet<&str> = rows.iter().copied().chain(told.iter().map(|(_, id)| *id)).collect();
        claim(rows.len() <= 1, &|| {
            format!("duplicated: {event:?} has the rows {rows:?}")
        })?;
        claim(own.len() <= 1, &|| format!("duplicated: {event:?} has the ids {own:?}"))?;
        for id in &own {
            let other = ids.insert(id, at);
            claim(other.is_none(), &|| {
                format!("{id} stands for {event:?} and for {other:?}")
            })?;
        }
        let (is_ours, is_acknowledged) = (book.linked.contains(&event.account), !sent.acknowledged.is_empty());
        if is_ours && is_acknowledged {
            claim(rows.len() == 1, &|| {
                format!("lost: {event:?} was acknowledged, and is in no history")
            })?;
            claim(!told.is_empty(), &|| {
                format!("lost: {event:?} was acknowledged, and never announced")
            })?;
            count.ok += 1;
            count.announced_again += told.len() as u64 - 1;
        }
        claim(rows.is_empty() || !told.is_empty(), &|| {
            format!("{event:?} is done, and was never announced")
        })?;
        if !is_ours && !book.left.contains(&event.account) {
            claim(own.is_empty(), &|| {
                format!("{event:?} took effect, and its account is not linked")
            })?;
        }
        // A repeat does nothing: once an event is done, nobody begins to tell of it.
        for (when, id) in told {
            let done_at = all.events.done_at(id);
            let is_late = done_at.is_some_and(|done_at| *when > done_at + signed(STILL_AT_IT));
            claim(!is_late || book.replayed.contains(*id), &|| {
                format!("{event:?} was done at {done_at:?}, and took effect again at {when}")
            })?;
        }
    }

    // What is recorded is done, or waits for its account; and every request of it is kept.
    let done: BTreeSet<_> = all.events.history().map(Past::place).collect();
    let mut marked = BTreeSet::new();
    for marker in all.events.markers() {
        match (&marker.progress, marker.place()) {
            (Progress::Parked, _) => {
                let account = marker.account_id.as_ref().map(ToString::to_string).unwrap_or_default();
                claim(!book.linked.contains(&account), &|| {
                    format!("{} waits for {account}, which is linked", marker.event_id.as_str())
                })?;
            }
            (_, Some(place)) => {
                claim(done.contains(&place), &|| {
                    format!("{} was left half-way", marker.event_id.as_str())
                })?;
            }
            (_, None) => return Err(format!("{} is pending nowhere", marker.event_id.as_str())),
        }
        let at = (
            marker.device_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            marker.occurred_at.as_millisecond(),
        );
        let Some((event, sent)) = sent.get(&at) else {
            return Err(format!("unexpected: a marker of {at:?}"));
        };
        marked.insert(at);
        let mut known: BTreeSet<_> = all
            .events
            .repeats(&marker.event_id)
            .filter_map(|seen| seen.request_id.clone())
            .collect();
        known.extend(marker.request_id.clone());
        for request in &sent.acknowledged {
            let name = format!("request-{request}");
            claim(known.contains(&name), &|| {
                format!("{name} of {event:?} is not kept: {known:?}")
            })?;
        }
        if marker.progress == Progress::Parked {
            count.parked += 1;
        }
    }
    for (at, (event, sent)) in &sent {
        claim(marked.contains(at) || sent.acknowledged.is_empty(), &|| {
            format!("lost: {event:?} was acknowledged, and is not recorded")
        })?;
    }

    // What an event asks for is asked for once, and whoever is to do it was told.
    let (mut asked, mut media) = (BTreeSet::new(), BTreeSet::new());
    let jobs: BTreeSet<&Job> = all.queue.jobs.iter().collect();
    for medium in all.events.media() {
        let id = medium.id.as_str().to_owned();
        let of = (medium.event_id.clone(), medium.request.action());
        claim(asked.insert(of), &|| format!("an event has asked twice: {medium:?}"))?;
        let is_told = [Job::Fetch(id.clone()), Job::Record(id)]
            .iter()
            .any(|job| jobs.contains(job));
        claim(is_told, &|| format!("nobody was told of {medium:?}"))?;
        media.insert(medium.id.as_str());
    }
    for past in all.events.history() {
        for id in &past.media {
            claim(media.contains(id.as_str()), &|| {
                format!("{past:?} has asked for a medium that is nowhere")
            })?;
        }
        count.media += past.media.len() as u64;
    }
    claim(all.events.captured_twice == 0, &|| {
        "a device was captured twice at once".to_owned()
    })?;

    // A device is as the newest that was told of it says.
    for known in all.events.devices() {
        let of_device = || {
            all.events
                .history()
                .filter(|past| past.account_id == known.account_id && past.device_id.as_ref() == Some(&known.device_id))
        };
        let newest = |yes: &str, no: &str, asked: bool| {
            let mut all_told: Vec<Told> = of_device()
                .filter(|past| [yes, no].contains(&past.kind.as_str()))
                .map(|past| Told {
                    is: past.kind.as_str() == yes,
                    at: past.occurred_at.as_millisecond(),
                    by: past.event_id.as_str().to_owned(),
                })
                .collect();
            let answers = all
                .asked
                .iter()
                .filter(|(account, device, ..)| asked && *account == known.account_id && *device == known.device_id);
            all_told.extend(answers.map(|(_, _, at, is)| Told {
                is: *is,
                at: at.as_millisecond(),
                by: "listing".to_owned(),
            }));
            all_told
                .into_iter()
                .max_by(|one, other| (one.at, &one.by).cmp(&(other.at, &other.by)))
        };
        let online = newest("device_online", "device_offline", false);
        claim(known.online == online, &|| {
            format!("{known:?}: the newest of online is {online:?}")
        })?;
        let present = newest("device_added", "device_removed", true);
        claim(known.present == present, &|| {
            format!("{known:?}: the newest of present is {present:?}")
        })?;
        let has_rung = of_device().any(|past| past.kind.as_str() == "button_press");
        claim(known.doorbell == has_rung, &|| {
            format!("{known:?}: it has rung: {has_rung}")
        })?;
    }
    Ok(count)
}
