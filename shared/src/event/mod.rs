//! An event: what Ring told us once, whatever it sent. Its *marker* is written under a condition, with what is still to be
//! done in it; once that is done a row of the device's *history* says so, and what was done when. Whoever finds the one
//! without the other goes on. This file does no I/O: [`process`] is the walk, written over [`ports`]; [`store`] keeps events.

use std::time::Duration;

use jiff::Timestamp;
use ring_partner::devices::DeviceId;
use ring_partner::users::AccountId;
use ring_partner::webhook::{EventKind, Webhook};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::device::Gone;
use crate::edge::bus::Announcement;
use crate::edge::clock::signed;
use crate::edge::key;
use crate::edge::queue::Message;

mod effect;
mod history;
pub mod ports;
pub mod process;
pub mod silence;
pub mod store;
pub mod synthetic;
mod views;

pub use effect::{Effect, Plan};
pub use history::{Past, Place, Repeat, Step};
pub use views::{Seen, Views};

/// Events are kept for as long as their history is, and never for less than this: so long a repeat must be known as one.
/// Ring's retries last 73 minutes, its dead-letter queue 72 h, our own queues 14 days. Ring: Webhook Response Handling, Retry
/// Logic.
pub const LEAST_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// The attribute of a message in the queue that asks for a record to be looked at again.
pub const RESUME: &str = "resume";
/// The attribute of a message in the queue that asks for an event to be published again.
pub const REPLAY: &str = "replay";

/// An event's id: the same for every delivery of it, and for no other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(String);

impl EventId {
    /// The id of what this webhook tells. Account, device and `data.id` say which event it is: `data.id` stays the same
    /// over Ring's retries and replays. Without one the request's id serves, and without that the body itself.
    #[must_use]
    pub fn of(webhook: &Webhook, body: &[u8]) -> Self {
        let account = webhook.account_id.as_ref().map_or("", AccountId::as_str);
        let device = webhook.device_id.as_ref().map_or("", DeviceId::as_str);
        let (by, id) = match (&webhook.id, &webhook.request_id) {
            (Some(id), _) => ("id", id.clone()),
            (None, Some(request_id)) => ("request", request_id.to_string()),
            (None, None) => ("body", hex::encode(Sha256::digest(body))),
        };
        Self(key::derived("evt", &[account, device, by, &id]))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for EventId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

/// A message that asks for an event to be looked at again: it was parked, or left half-way.
#[must_use]
pub fn resume_message(id: &EventId) -> Message {
    Message::new(id.as_str()).attribute(RESUME, id.as_str())
}

/// A message that asks for an event to be published again, under the id that it has; what was left of it is done first.
#[must_use]
pub fn replay_message(id: &EventId) -> Message {
    Message::new(id.as_str()).attribute(REPLAY, id.as_str())
}

/// The attribute of a message in the queue that tells of a device that is gone without an event.
pub const GONE: &str = "gone";

/// A message that tells of a device that a listing did not show any more: what follows from a removal follows.
#[must_use]
pub fn gone_message(gone: &Gone) -> Message {
    let body = serde_json::to_string(gone).unwrap_or_default();
    Message::new(body)
        .group(account_key(&gone.account_id))
        .attribute(GONE, "device")
}

/// How a webhook came to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The message that it lies in: the same each time the queue hands it out.
    pub message: String,
    /// When the intake queued it.
    pub received_at: Timestamp,
}

/// The marker of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub event_id: EventId,
    /// The Ring account; none in a body of the old form whose device nobody knows.
    pub account_id: Option<AccountId>,
    /// The device.
    pub device_id: Option<DeviceId>,
    /// What happened, in Ring's word.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// What moved, in Ring's word.
    pub subtype: Option<String>,
    /// When it happened, by Ring; when Ring does not tell, when it was sent, or came.
    pub occurred_at: Timestamp,
    /// When Ring sent it (`meta.time`).
    pub sent_at: Option<Timestamp>,
    /// When the intake queued it.
    pub received_at: Timestamp,
    /// When it was recorded, or released.
    pub recorded_at: Timestamp,
    /// The message that it was recorded from.
    pub message: String,
    /// Ring's id of the request that it came by.
    pub request_id: Option<String>,
    /// What it said, as a hash: a repeat that says something else is told by it.
    pub content: String,
    /// Whether whoever hears of it is to be told, where a policy says so.
    #[serde(default)]
    pub notify: Option<bool>,
    /// What is to be done.
    pub progress: Progress,
    /// When it may be forgotten, in epoch seconds.
    pub expires_at: i64,
}

/// How far an event has come. That it is done, its row in the history says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Progress {
    /// Its account is not linked here: it waits for that.
    Parked,
    /// These effects come in this order, unless they have.
    Pending {
        /// What is to be done.
        effects: Vec<Effect>,
    },
}

/// The longest word for what moved that is kept; Ring's are a dozen letters.
const LONGEST_SUBTYPE: usize = 128;
/// The largest body that is kept of a repeat that says something else. A row of the table takes 400 KB.
const LARGEST_KEPT_BODY: usize = 256 * 1024;

impl Record {
    /// The record of a webhook, to be kept for so long. Parked, until its account is known to be linked.
    #[must_use]
    pub fn of(webhook: &Webhook, body: &[u8], delivery: &Delivery, kept_for: Duration, now: Timestamp) -> Self {
        let received_at = delivery.received_at;
        Self {
            event_id: EventId::of(webhook, body),
            account_id: webhook.account_id.clone(),
            device_id: webhook.device_id.clone(),
            kind: webhook.kind.clone(),
            subtype: webhook
                .sub_type
                .as_ref()
                .map(ToString::to_string)
                .filter(|word| word.len() <= LONGEST_SUBTYPE),
            occurred_at: webhook.occurred_at.or(webhook.sent_at).unwrap_or(received_at),
            sent_at: webhook.sent_at,
            received_at,
            recorded_at: now,
            message: delivery.message.clone(),
            request_id: webhook.request_id.as_ref().map(ToString::to_string),
            content: content_of(body),
            notify: None,
            progress: Progress::Parked,
            expires_at: (received_at + signed(kept_for.max(LEAST_KEPT))).as_second(),
        }
    }

    /// The record of an event of this account, with all this to come from now on.
    #[must_use]
    pub fn pending(self, account: &AccountId, plan: Plan, message: &str, now: Timestamp) -> Self {
        Self {
            account_id: Some(account.clone()),
            progress: Progress::Pending { effects: plan.effects },
            notify: plan.notify,
            message: message.to_owned(),
            recorded_at: now,
            ..self
        }
    }

    /// Whether it is older than a repeat of it would be known: it can't be told apart from one any more.
    #[must_use]
    pub fn is_too_old(&self) -> bool {
        let told = self.sent_at.unwrap_or(self.occurred_at);
        let kept_for = self.expires_at - self.received_at.as_second();
        self.received_at.as_second() - told.as_second() > kept_for
    }

    /// Its place in the history of its device, or of its account where it is about none. `None` while it is parked.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        let account = self.account_id.as_ref()?;
        if self.progress == Progress::Parked {
            return None;
        }
        Some(Place::of(
            account,
            self.device_id.as_ref(),
            self.occurred_at,
            &self.event_id,
        ))
    }

    /// Its row in the history, now that all this was done and asked for these media.
    #[must_use]
    pub fn past(&self, account: &AccountId, ledger: Vec<Step>, media: Vec<String>) -> Past {
        Past {
            event_id: self.event_id.clone(),
            account_id: account.clone(),
            kind: self.kind.clone(),
            subtype: self.subtype.clone(),
            device_id: self.device_id.clone(),
            occurred_at: self.occurred_at,
            sent_at: self.sent_at,
            received_at: self.received_at,
            recorded_at: self.recorded_at,
            media,
            ledger,
            expires_at: self.expires_at,
        }
    }

    /// How this body, which came for the same event, differs from it; `None`: not at all.
    #[must_use]
    pub fn repeated_by(&self, come: &Self, body: &[u8]) -> Option<Repeat> {
        let differs = come.content != self.content;
        if !differs && come.request_id == self.request_id {
            return None;
        }
        let kept = differs && body.len() <= LARGEST_KEPT_BODY;
        Some(Repeat {
            request_id: come.request_id.clone(),
            content: come.content.clone(),
            body: kept.then(|| String::from_utf8_lossy(body).into_owned()),
            received_at: come.received_at,
            expires_at: self.expires_at,
        })
    }

    /// What the bus is told.
    #[must_use]
    pub fn announcement(&self, account_id: &AccountId, user_id: &str, device_name: Option<String>) -> Announcement {
        let mut more = serde_json::Map::new();
        more.insert("type".into(), self.kind.as_str().into());
        if let Some(subtype) = &self.subtype {
            more.insert("subtype".into(), subtype.as_str().into());
        }
        more.insert("received_at".into(), self.received_at.to_string().into());
        if let Some(notify) = self.notify {
            more.insert("notify".into(), notify.into());
        }
        Announcement {
            kind: self.kind.as_str().to_owned(),
            schema: "ring_event/1".to_owned(),
            event_id: self.event_id.as_str().to_owned(),
            account_id: account_id.to_string(),
            user_id: Some(user_id.to_owned()),
            device_id: self.device_id.as_ref().map(ToString::to_string),
            device_name,
            cause_event_id: None,
            occurred_at: self.occurred_at,
            more,
        }
    }
}

/// What a body says of its event, as a hash: its `data` as it stands there, since a replay has a `meta` of its own.
fn content_of(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Body<'b> {
        #[serde(borrow)]
        data: &'b RawValue,
    }
    let said = serde_json::from_slice::<Body<'_>>(body).map_or(body, |body| body.data.get().as_bytes());
    hex::encode(&Sha256::digest(said)[..16])
}

/// Whose a webhook is, for fairness between homes, as a hash: the account's, or where the body names none the device's.
#[must_use]
pub fn group(body: &[u8]) -> String {
    let Ok(webhook) = Webhook::parse(body) else {
        return "unknown".to_owned();
    };
    match (webhook.account_id, webhook.device_id) {
        (Some(account), _) => account_key(&account),
        (None, Some(device)) => key::derived("dev", &[device.as_str()]),
        (None, None) => "unknown".to_owned(),
    }
}

/// A sortable position: the time in milliseconds, then the id to tell events of one millisecond apart.
#[must_use]
pub fn position(at: Timestamp, id: &str) -> String {
    format!("{:015}#{id}", at.as_millisecond().max(0))
}

/// The place of an account's own things in a history.
#[must_use]
pub fn account_key(account: &AccountId) -> String {
    key::derived("acc", &[account.as_str()])
}

/// The place of one device's things in a history or an index.
#[must_use]
pub fn device_key(account: &AccountId, device: &DeviceId) -> String {
    key::derived("dev", &[account.as_str(), device.as_str()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Regions;

    const MOTION: &str = r#"{
        "meta": {"version": "1.1", "time": "2026-02-13T13:39:57.200155525Z",
                 "request_id": "2ad45ade-1818-4154-813b-afdd8bcd8085", "account_id": "ava1.ring.account.XXXYYY"},
        "data": {"id": "d1_human_1770989995231", "type": "motion_detected", "subType": "human",
                 "attributes": {"source": "d1", "source_type": "devices", "timestamp": 1770989995231}}}"#;

    fn record(body: &str) -> Record {
        received("2026-02-13T13:39:58Z", body, Duration::ZERO)
    }

    fn received(at: &str, body: &str, kept_for: Duration) -> Record {
        let delivery = Delivery {
            message: "m-1".to_owned(),
            received_at: at.parse().unwrap(),
        };
        let webhook = Webhook::parse(body.as_bytes()).unwrap();
        Record::of(&webhook, body.as_bytes(), &delivery, kept_for, delivery.received_at)
    }

    #[test]
    fn trap_51_a_replay_under_another_request_id_is_the_same_event() {
        let replay = MOTION.replace("2ad45ade", "ffffffff");
        assert_eq!(record(MOTION).event_id, record(&replay).event_id);
    }

    #[test]
    fn trap_51_another_account_device_or_id_is_another_event() {
        for (from, to) in [
            ("XXXYYY", "ZZZ"),
            ("\"source\": \"d1\"", "\"source\": \"d2\""),
            ("d1_human", "d1_motion"),
        ] {
            assert_ne!(
                record(MOTION).event_id,
                record(&MOTION.replace(from, to)).event_id,
                "{from}"
            );
        }
    }

    #[test]
    fn without_an_id_the_request_tells_the_event_and_without_that_the_body() {
        let without_id = MOTION.replace("\"id\": \"d1_human_1770989995231\",", "");
        assert_eq!(record(&without_id).event_id, record(&format!("{without_id} ")).event_id);
        let without_both = without_id.replace("\"request_id\": \"2ad45ade-1818-4154-813b-afdd8bcd8085\",", "");
        assert_eq!(record(&without_both).event_id, record(&without_both).event_id);
        assert_ne!(
            record(&without_both).event_id,
            record(&format!("{without_both} ")).event_id
        );
    }

    #[test]
    fn trap_47_and_48_a_late_retry_or_replay_is_taken_and_only_what_is_past_telling_apart_is_not() {
        for (at, kept_for_days, too_old) in [
            ("2026-02-13T13:39:58Z", 0, false),
            // 72 hours in Ring's dead-letter queue.
            ("2026-02-16T13:39:57Z", 0, false),
            ("2026-03-15T13:39:57Z", 0, false),
            ("2026-03-15T13:39:58Z", 0, true),
            ("2026-03-15T13:39:58Z", 90, false),
            ("2026-05-14T13:39:58Z", 90, true),
        ] {
            let kept_for = Duration::from_secs(kept_for_days * 24 * 3600);
            assert_eq!(
                received(at, MOTION, kept_for).is_too_old(),
                too_old,
                "{at}, {kept_for_days}"
            );
        }
    }

    #[test]
    fn trap_51_a_repeat_that_is_not_the_same_to_the_letter_is_told_by_its_request_or_its_data() {
        let first = record(MOTION);
        assert_eq!(first.repeated_by(&record(MOTION), MOTION.as_bytes()), None);

        let replay = MOTION.replace("2ad45ade", "ffffffff").replace("13:39:57", "14:39:57");
        let repeat = first.repeated_by(&record(&replay), replay.as_bytes()).unwrap();
        assert!(repeat.request_id.as_deref().unwrap().starts_with("ffffffff"));
        assert_eq!(repeat.body, None, "it says the same");

        let other = MOTION.replace("motion_detected", "button_press");
        let repeat = first.repeated_by(&record(&other), other.as_bytes()).unwrap();
        assert_eq!(repeat.body.as_deref(), Some(&*other));
    }

    #[test]
    fn a_record_is_never_kept_for_less_than_thirty_days() {
        let kept = |days: u64| {
            let record = received("2026-02-13T13:39:58Z", MOTION, Duration::from_secs(days * 24 * 3600));
            (record.expires_at - record.received_at.as_second()) / (24 * 3600)
        };
        assert_eq!((kept(1), kept(30), kept(90)), (30, 30, 90));
    }

    #[test]
    fn a_place_is_the_devices_or_else_the_accounts_and_parked_events_have_none() {
        let account = AccountId::new("a").unwrap();
        let parked = record(MOTION);
        assert_eq!(parked.place(), None);
        let plan = Plan::of(&parked, None, &Regions::none());
        let pending = parked.pending(&account, plan, "m-1", Timestamp::UNIX_EPOCH);
        let place = pending.place().unwrap();
        assert!(place.partition.starts_with("dev_"), "{place:?}");
        assert_eq!(pending.past(&account, Vec::new(), Vec::new()).place(), place);
        let of_account = Record {
            device_id: None,
            ..pending
        };
        assert_eq!(of_account.place().unwrap().partition, account_key(&account));
    }

    #[test]
    fn trap_44_an_unknown_type_is_published_as_it_came() {
        let record = record(&MOTION.replace("motion_detected", "package_delivered"));
        let plan = Plan::of(&record, None, &Regions::none());
        assert_eq!(plan.effects, [Effect::Announce]);
        let told = record.announcement(&AccountId::new("a").unwrap(), "usr_1", None);
        assert_eq!(told.kind, "package_delivered");
    }

    #[test]
    fn two_homes_are_two_groups_and_one_home_is_one() {
        let of = |meta: &str, device: &str| {
            let data = format!(r#"{{"type":"button_press","attributes":{{"source":"{device}"}}}}"#);
            group(format!(r#"{{"meta":{meta},"data":{data}}}"#).as_bytes())
        };
        let (one, two) = (r#"{"account_id":"one"}"#, r#"{"account_id":"two"}"#);
        assert_eq!(of(one, "door"), of(one, "yard"));
        assert_ne!(of(one, "door"), of(two, "door"));
        assert_ne!(
            of("{}", "door"),
            of("{}", "yard"),
            "without an account the device tells"
        );
        for (meta, device) in [(one, "door"), ("{}", "door")] {
            let group = of(meta, device);
            assert!(!group.contains("one") && !group.contains("door"), "{group}");
        }
        assert_eq!(group(b"not to be understood"), "unknown");
    }

    #[test]
    fn positions_sort_by_time() {
        let early = position(Timestamp::from_millisecond(999).unwrap(), "z");
        let late = position(Timestamp::from_millisecond(1_770_989_995_231).unwrap(), "a");
        assert!(early < late);
    }
}
